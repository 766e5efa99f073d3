//! The data key: seals the fields of one version of one login, one class. It lives for one operation.

use std::sync::Arc;

use cofre_model::credential::FieldKey;
use cofre_model::sealed::SealedSecret;

use super::KeyBytes;
use crate::context::{FieldContext, SecretContext};
use crate::error::Error;
use crate::plain::Plain;
use crate::slab::Slab;
use crate::v1;

/// The data key of one version of one login. Each field gets an AEAD key of its own from it.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct Dek(pub(super) KeyBytes);

impl Dek {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn generate(slab: &Arc<Slab>) -> Result<Self, Error> {
        KeyBytes::generate(slab).map(Self)
    }

    /// Seals one field for rest, where it stands: the plaintext is consumed.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn seal_field(&self, ctx: &SecretContext, field: &FieldKey, plain: Plain) -> Result<SealedSecret, Error> {
        let context = FieldContext { secret: *ctx, field }.encode();
        v1::seal(&self.0, &context, plain.into_padded()).map(SealedSecret::from_bytes)
    }

    /// Opens one field into locked memory.
    ///
    /// # Errors
    /// The cause, where key, context, field or bytes are not those of the sealing.
    pub fn open_field(&self, ctx: &SecretContext, field: &FieldKey, sealed: &SealedSecret) -> Result<Plain, Error> {
        let context = FieldContext { secret: *ctx, field }.encode();
        Plain::unpad(v1::open(&self.0, &context, sealed.as_bytes(), self.0.slab())?)
    }
}
