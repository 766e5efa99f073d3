//! The node's own signing key: signs the promise of each committed group. Made at start, never stored; the custodian's
//! signer certifies its public half.

use std::fmt;
use std::sync::Arc;

use cofre_model::permit::GroupSigner;

use super::KeyBytes;
use crate::error::Error;
use crate::primitive::{ed25519_public, ed25519_sign};
use crate::slab::Slab;

/// An Ed25519 key whose seed lives in locked memory. It is expanded for each signature and forgotten again.
pub struct NodeKey {
    seed: KeyBytes,
    public: [u8; 32],
}

impl NodeKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn generate(slab: &Arc<Slab>) -> Result<Self, Error> {
        let seed = KeyBytes::generate(slab)?;
        let public = ed25519_public(seed.expose());
        Ok(Self { seed, public })
    }
}

impl GroupSigner for NodeKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        ed25519_sign(self.seed.expose(), message)
    }

    fn public_key(&self) -> [u8; 32] {
        self.public
    }
}

impl fmt::Debug for NodeKey {
    /// The signer's contract asks for `Debug`; only the public half is printed, never the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("public", &format_args!("{:02x?}", self.public)).finish_non_exhaustive()
    }
}
