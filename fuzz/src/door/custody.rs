//! A custodian and a signer in memory, with behaviour: shares open for the context they were wrapped for. And the
//! register as custody sees it, over the stores.

use std::sync::{Arc, Mutex, PoisonError};

use cofre_custody::{
    Cause, Custodian, CustodianId, CustodySet, Description, Fault, Journal, JournalError, Mechanism, Operation as Step,
    Pending, RequestId, Signer, TenantRef, Unwrapped, VerifyingKey, WarmOutcome, Wrapped, WrappedShare,
    WrappedTenantKey,
};
use cofre_envelope::{BoundShare, Slab, random};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::permit::{Evidence, GroupSigner, Permit, Warm, WarmWarrant};
use cofre_model::sealed::WrappedKey;
use cofre_store::{CommitError, Keyring, Operation, Records, WarmRequest};
use ed25519_dalek::{Signer as _, SigningKey};

/// Keeps what it wrapped for as long as the process lives, so that copies of the stores open too.
#[derive(Debug)]
pub(super) struct Memory {
    id: CustodianId,
    slab: Arc<Slab>,
    public: VerifyingKey,
    kept: Mutex<Vec<(Vec<u8>, [u8; 64])>>,
}

fn own_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

impl Memory {
    pub(super) fn new(slab: &Arc<Slab>) -> Arc<Self> {
        let id = CustodianId::try_from("hsm-1").expect("a name");
        let public = VerifyingKey::Ed25519(own_key().verifying_key().to_bytes());
        Arc::new(Self { id, slab: Arc::clone(slab), public, kept: Mutex::default() })
    }

    fn fault(&self, cause: Cause) -> Fault {
        Fault { custodian: self.id.clone(), operation: Step::Unwrap, cause, detail: None, request: None }
    }
}

impl Custodian for Memory {
    fn id(&self) -> &CustodianId {
        &self.id
    }

    fn describe(&self) -> Description {
        Description {
            custodian: self.id.clone(),
            manufacturer: "memory".to_owned(),
            model: String::new(),
            serial: String::new(),
            token_label: String::new(),
            key_label: String::new(),
            mechanism: Mechanism::AesGcm,
            sessions: 1,
            signer: None,
        }
    }

    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async { Ok(()) })
    }

    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((context, share.with_bytes(|bytes| *bytes)));
        let bytes = WrappedKey::from_bytes((kept.len() - 1).to_be_bytes().to_vec());
        Box::pin(async {
            Ok(Wrapped {
                bytes,
                mechanism: Mechanism::AesGcm,
                custodian_key: "memory".to_owned(),
                request: RequestId::new("wrap".to_owned()),
            })
        })
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault> {
        let place = wrapped.wrapped.as_bytes().try_into().map(usize::from_be_bytes).ok();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = place.and_then(|place| kept.get(place)).filter(|(own, _)| *own == context).map(|(_, share)| *share);
        Box::pin(async move {
            let bytes = found.ok_or_else(|| self.fault(Cause::Integrity))?;
            let share = BoundShare::fill::<cofre_envelope::Error>(&self.slab, |slot| {
                slot.copy_from_slice(&bytes);
                Ok(())
            });
            let share = share.map_err(|_| self.fault(Cause::LockedMemory))?;
            Ok(Unwrapped { share, request: RequestId::new("unwrap".to_owned()) })
        })
    }
}

impl Signer for Memory {
    fn public_key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        Box::pin(async move { Ok(own_key().sign(message).to_bytes()) })
    }
}

/// Signs promises.
#[derive(Debug)]
pub(super) struct NodeKey;

impl GroupSigner for NodeKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        SigningKey::from_bytes(&[9; 32]).sign(message).to_bytes()
    }

    fn public_key(&self) -> [u8; 32] {
        SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes()
    }
}

/// Commits warm-ups to records.
#[derive(Debug)]
pub(super) struct Warmed {
    pub(super) records: Records,
    pub(super) keyring: Keyring,
    pub(super) set: CustodySet,
}

impl Warmed {
    async fn begin(&self, tenant: &TenantRef) -> Result<(Permit<Warm>, WrappedTenantKey), JournalError> {
        let unavailable = |_| JournalError::Unavailable;
        let rows = self.keyring.tenant_key(&tenant.tenant, tenant.key_version).await.map_err(unavailable)?;
        let mut shares = Vec::new();
        for row in rows {
            shares.push(WrappedShare {
                custodian: CustodianId::try_from(row.custodian.as_str()).map_err(|_| JournalError::NoSuchKey)?,
                share: row.share,
                wrapped: row.wrapped,
                mechanism: Mechanism::from_text(&row.mechanism).ok_or(JournalError::NoSuchKey)?,
                custodian_key: row.custodian_key,
            });
        }
        if shares.is_empty() {
            return Err(JournalError::NoSuchKey);
        }
        let mut entry = Entry::new(EntryKind::Warm, random::array().map_err(|_| JournalError::Unavailable)?);
        entry.tenant = Some(tenant.tenant);
        entry.tenant_key = Some((tenant.key_id, tenant.key_version));
        let request = WarmRequest {
            tenant: tenant.tenant,
            tenant_key_version: tenant.key_version,
            tenant_key_id: tenant.key_id,
            entry,
        };
        let permit = self.records.warm(request).await.map_err(|problem| match problem {
            CommitError::Refused(reason) => JournalError::Refused(reason),
            CommitError::Store(_) => JournalError::Unavailable,
        })?;
        Ok((permit, WrappedTenantKey { set: self.set.clone(), shares, carried: None }))
    }

    async fn end(&self, warm: Evidence<WarmWarrant>) -> Result<(), JournalError> {
        let mut entry = Entry::new(EntryKind::WarmOutcome, random::array().map_err(|_| JournalError::Unavailable)?);
        entry.tenant = Some(warm.warrant.tenant);
        entry.follows = Some(warm.at.index);
        self.records.apply(entry, Operation::Note).await.map(|_| ()).map_err(|_| JournalError::Unavailable)
    }
}

impl Journal for Warmed {
    fn warm<'a>(&'a self, tenant: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(self.begin(tenant))
    }

    fn warmed(&self, entry: Evidence<WarmWarrant>, _: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(self.end(entry))
    }
}
