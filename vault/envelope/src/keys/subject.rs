//! Keys of one owner: the subject key, whose destruction is the owner's erasure, and the evidence key, which outlives
//! it only for what the law wants kept.

use std::sync::Arc;

use cofre_model::sealed::{SealedSecret, WrappedKey};

use super::{Dek, KeyBytes};
use crate::context::{WrapData, WrapEvidence};
use crate::error::Error;
use crate::plain::Plain;
use crate::slab::Slab;
use crate::v1;

/// The key of one owner, under which all data keys of the owner's logins are wrapped.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct SubjectKey(pub(super) KeyBytes);

impl SubjectKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn generate(slab: &Arc<Slab>) -> Result<Self, Error> {
        KeyBytes::generate(slab).map(Self)
    }

    /// Wraps the data key of one version of one login.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn wrap_data(&self, dek: &Dek, ctx: &WrapData) -> Result<WrappedKey, Error> {
        self.0.wrap(&dek.0, &ctx.encode())
    }

    /// Unwraps the data key of one version of one login.
    ///
    /// # Errors
    /// The cause, where key, context or bytes are not those of the wrapping.
    pub fn unwrap_data(&self, wrapped: &WrappedKey, ctx: &WrapData) -> Result<Dek, Error> {
        self.0.unwrap(wrapped, &ctx.encode()).map(Dek)
    }
}

/// The key of one owner's evidence: consents, receipts, mandates that must be kept for a term.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct EvidenceKey(pub(super) KeyBytes);

impl EvidenceKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn generate(slab: &Arc<Slab>) -> Result<Self, Error> {
        KeyBytes::generate(slab).map(Self)
    }

    /// Seals one document under its name (an opaque id).
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn seal(&self, ctx: &WrapEvidence, name: &str, plain: Plain) -> Result<SealedSecret, Error> {
        v1::seal(&self.0, &ctx.document(name), plain.into_padded()).map(SealedSecret::from_bytes)
    }

    /// Opens one document.
    ///
    /// # Errors
    /// The cause, where key, context, name or bytes are not those of the sealing.
    pub fn open(&self, ctx: &WrapEvidence, name: &str, sealed: &SealedSecret) -> Result<Plain, Error> {
        Plain::unpad(v1::open(&self.0, &ctx.document(name), sealed.as_bytes(), self.0.slab())?)
    }
}
