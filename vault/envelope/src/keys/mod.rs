//! The key tree: tenant key, subject key, data key, each wrapped by the one above in envelope v1. Every key lives in
//! locked memory and leaves it only wrapped; what is derived is derived by label.

mod data;
mod derived;
mod node;
mod share;
mod subject;
mod tenant;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cofre_model::sealed::WrappedKey;

use crate::context::Encoder;
use crate::error::Error;
use crate::primitive::hkdf_sha512;
use crate::slab::{Slab, Slot};
use crate::{random, v1};

pub use data::Dek;
pub use derived::{DedupeKey, RowMac, ServiceKey};
pub use node::NodeKey;
pub use share::{BoundShare, Share};
pub use subject::{EvidenceKey, SubjectKey};
pub use tenant::{RowKeyPlace, TenantKey};

/// 32 bytes of key in locked memory. The public key types wrap it, each with only the operations that are its own.
pub(crate) struct KeyBytes(Slot);

impl KeyBytes {
    pub(crate) fn generate(slab: &Arc<Slab>) -> Result<Self, Error> {
        Self::fill(slab, random::fill)
    }

    pub(crate) fn fill<E: From<Error>>(
        slab: &Arc<Slab>,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut slot = slab.take(32)?;
        write(slot.bytes_mut())?;
        Ok(Self(slot))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        const NONE: &[u8; 32] = &[0; 32];
        // INVARIANT: the slot has 32 bytes, by the constructors; the other arm cannot be reached.
        self.0.bytes().first_chunk().unwrap_or(NONE)
    }

    pub(crate) fn slab(&self) -> &Arc<Slab> {
        self.0.slab()
    }

    pub(crate) fn copy(&self) -> Result<Self, Error> {
        Self::fill(self.slab(), |place| {
            place.copy_from_slice(self.expose());
            Ok(())
        })
    }

    /// HKDF-SHA-512 of this key under `label`, with an empty salt and info `cofre/v1/key` and the label, canonical.
    fn derive(&self, label: &str) -> Result<Self, Error> {
        let info = Encoder::new("cofre/v1/key").part(label.as_bytes()).done();
        Self::fill(self.slab(), |place| hkdf_sha512(self.expose(), &[], &[&info], place))
    }

    /// Wraps `child` under this key.
    pub(crate) fn wrap(&self, child: &Self, context: &[u8]) -> Result<WrappedKey, Error> {
        v1::seal(self, context, child.copy()?.0).map(WrappedKey::from_bytes)
    }

    /// Unwraps a key that this key wrapped in the same context.
    pub(crate) fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Self, Error> {
        let slot = v1::open(self, context, wrapped.as_bytes(), self.slab())?;
        if slot.bytes().len() == 32 { Ok(Self(slot)) } else { Err(Error::Truncated) }
    }
}
