//! The tenant key: the root of one tenant's tree. Custodians hold it, in shares; here it lives only while warm.

use std::sync::Arc;

use cofre_model::id::TenantId;
use cofre_model::sealed::WrappedKey;
use subtle::ConstantTimeEq;

use super::{DedupeKey, EvidenceKey, KeyBytes, RowMac, ServiceKey, Share, SubjectKey, share};
use crate::context::{Encoder, RowKeyKind, WrapDepositKey, WrapEvidence, WrapRowKey, WrapSubject};
use crate::error::Error;
use crate::primitive::hkdf_sha512;
use crate::sealing::DepositKeyPair;
use crate::slab::Slab;

/// Under which version of a tenant key the keys of its rows are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKeyPlace {
    /// The tenant.
    pub tenant: TenantId,
    /// The id derived from the key that wraps.
    pub tenant_key_id: [u8; 16],
    /// Its version.
    pub tenant_key_version: u32,
}

impl RowKeyPlace {
    const fn of(self, kind: RowKeyKind) -> WrapRowKey {
        let Self { tenant, tenant_key_id, tenant_key_version } = self;
        WrapRowKey { tenant, kind, tenant_key_id, tenant_key_version }
    }
}

/// The root key of one tenant, one version of it.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct TenantKey(KeyBytes);

impl TenantKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn generate(slab: &Arc<Slab>) -> Result<Self, Error> {
        KeyBytes::generate(slab).map(Self)
    }

    /// The 16-byte id derived from the key. Public: records and ledger carry it, so that another key is noticed.
    ///
    /// # Errors
    /// None that input can cause.
    pub fn id(&self) -> Result<[u8; 16], Error> {
        let mut id = [0; 16];
        let info = Encoder::new("cofre/v1/key").part(b"id").done();
        hkdf_sha512(self.0.expose(), &[], &[&info], &mut id)?;
        Ok(id)
    }

    /// The key of row MACs.
    ///
    /// # Errors
    /// [`Error::SlabFull`].
    pub fn integrity(&self) -> Result<RowMac, Error> {
        self.0.derive("integrity").map(RowMac)
    }

    /// The key that finds a login deposited twice.
    ///
    /// # Errors
    /// [`Error::SlabFull`].
    pub fn dedupe(&self) -> Result<DedupeKey, Error> {
        self.0.derive("dedupe").map(DedupeKey)
    }

    /// Wraps the keys of the tenant's rows, derived from its first key, so that rows go on to verify under this one. Gives
    /// the key of row MACs and the key of duplicate tags, in this order.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn wrap_row_keys(
        &self,
        (integrity, dedupe): (&RowMac, &DedupeKey),
        place: RowKeyPlace,
    ) -> Result<(WrappedKey, WrappedKey), Error> {
        let integrity = self.0.wrap(&integrity.0, &place.of(RowKeyKind::Integrity).encode())?;
        Ok((integrity, self.0.wrap(&dedupe.0, &place.of(RowKeyKind::Dedupe).encode())?))
    }

    /// Unwraps what [`Self::wrap_row_keys`] wrapped.
    ///
    /// # Errors
    /// The cause, where key, context or bytes are not those of the wrapping.
    pub fn unwrap_row_keys(
        &self,
        (integrity, dedupe): (&WrappedKey, &WrappedKey),
        place: RowKeyPlace,
    ) -> Result<(RowMac, DedupeKey), Error> {
        let integrity = self.0.unwrap(integrity, &place.of(RowKeyKind::Integrity).encode())?;
        let dedupe = self.0.unwrap(dedupe, &place.of(RowKeyKind::Dedupe).encode())?;
        Ok((RowMac(integrity), DedupeKey(dedupe)))
    }

    /// A key every node of the tenant can derive for one service, under a label of its own.
    ///
    /// # Errors
    /// [`Error::SlabFull`].
    pub fn service(&self, label: &str) -> Result<ServiceKey, Error> {
        self.0.derive(&format!("service/{label}")).map(ServiceKey)
    }

    /// Splits the key into `shares` that are random, each and in every incomplete set (XOR, n of n). One share is the
    /// key itself, for custodians that each hold the whole.
    ///
    /// # Errors
    /// [`Error::NoShares`], [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn split(&self, shares: u16) -> Result<Vec<Share>, Error> {
        share::split(&self.0, shares)
    }

    /// Combines all shares and compares the id derived from the result with the one recorded.
    ///
    /// # Errors
    /// [`Error::WrongTenantKey`] where a share is missing, foreign or substituted; [`Error::NoShares`].
    pub fn combine(shares: Vec<Share>, expected_id: &[u8; 16]) -> Result<Self, Error> {
        let key = Self(share::combine(shares)?);
        if bool::from(key.id()?.ct_eq(expected_id)) { Ok(key) } else { Err(Error::WrongTenantKey) }
    }

    /// Wraps an owner's subject key.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn wrap_subject(&self, key: &SubjectKey, ctx: &WrapSubject) -> Result<WrappedKey, Error> {
        self.0.wrap(&key.0, &ctx.encode())
    }

    /// Unwraps an owner's subject key.
    ///
    /// # Errors
    /// The cause, where key, context or bytes are not those of the wrapping.
    pub fn unwrap_subject(&self, wrapped: &WrappedKey, ctx: &WrapSubject) -> Result<SubjectKey, Error> {
        self.0.unwrap(wrapped, &ctx.encode()).map(SubjectKey)
    }

    /// Moves a subject key from this tenant key to another version. Opens no data key and no login.
    ///
    /// # Errors
    /// The cause, where the old wrapping does not open, or as in [`Self::wrap_subject`].
    pub fn rewrap_subject(
        &self,
        wrapped: &WrappedKey,
        from: &WrapSubject,
        to: (&Self, &WrapSubject),
    ) -> Result<WrappedKey, Error> {
        to.0.wrap_subject(&self.unwrap_subject(wrapped, from)?, to.1)
    }

    /// Wraps the private half of a deposit key pair.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn wrap_deposit_key(&self, pair: &DepositKeyPair, ctx: &WrapDepositKey) -> Result<WrappedKey, Error> {
        self.0.wrap(pair.private(), &ctx.encode())
    }

    /// Unwraps a deposit key pair; its public half is computed anew.
    ///
    /// # Errors
    /// The cause, where key, context or bytes are not those of the wrapping.
    pub fn unwrap_deposit_key(&self, wrapped: &WrappedKey, ctx: &WrapDepositKey) -> Result<DepositKeyPair, Error> {
        DepositKeyPair::from_private(ctx.suite, self.0.unwrap(wrapped, &ctx.encode())?)
    }

    /// Wraps an owner's evidence key.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn wrap_evidence(&self, key: &EvidenceKey, ctx: &WrapEvidence) -> Result<WrappedKey, Error> {
        self.0.wrap(&key.0, &ctx.encode())
    }

    /// Unwraps an owner's evidence key.
    ///
    /// # Errors
    /// The cause, where key, context or bytes are not those of the wrapping.
    pub fn unwrap_evidence(&self, wrapped: &WrappedKey, ctx: &WrapEvidence) -> Result<EvidenceKey, Error> {
        self.0.unwrap(wrapped, &ctx.encode()).map(EvidenceKey)
    }
}
