//! Key pairs and public keys of the two suites. Both private keys are 32 bytes; the vault's live in locked memory, a
//! worker's in memory that is wiped.

use std::sync::Arc;

use zeroize::Zeroizing;

use cofre_model::request::{SealKey, SealSuite};

use super::{Suite, kem};
use crate::error::Error;
use crate::keys::KeyBytes;
use crate::random;
use crate::slab::Slab;

/// A public key and its suite, checked to fit each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    suite: Suite,
    bytes: Vec<u8>,
}

impl From<SealSuite> for Suite {
    fn from(suite: SealSuite) -> Self {
        match suite {
            SealSuite::MlKem768X25519 => Self::MlKem768X25519,
            SealSuite::X25519 => Self::X25519,
        }
    }
}

impl From<Suite> for SealSuite {
    fn from(suite: Suite) -> Self {
        match suite {
            Suite::MlKem768X25519 => Self::MlKem768X25519,
            Suite::X25519 => Self::X25519,
        }
    }
}

impl TryFrom<&SealKey> for PublicKey {
    type Error = Error;
    fn try_from(key: &SealKey) -> Result<Self, Error> {
        Self::new(key.suite.into(), &key.bytes)
    }
}

impl PublicKey {
    /// From the bytes as received.
    ///
    /// # Errors
    /// [`Error::PublicKey`] where they are not a public key of the suite.
    pub fn new(suite: Suite, bytes: &[u8]) -> Result<Self, Error> {
        kem::check_public(suite, bytes)?;
        Ok(Self { suite, bytes: bytes.to_vec() })
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Its bytes, as RFC 9180 serialises them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A deposit key pair of a tenant; the private half is in locked memory.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct DepositKeyPair {
    public: PublicKey,
    private: KeyBytes,
}

impl DepositKeyPair {
    /// A fresh pair.
    ///
    /// # Errors
    /// [`Error::Randomness`] or [`Error::SlabFull`].
    pub fn generate(suite: Suite, slab: &Arc<Slab>) -> Result<Self, Error> {
        let ikm = KeyBytes::generate(slab)?;
        let mut bytes = Vec::new();
        let private = KeyBytes::fill::<Error>(slab, |place| {
            bytes = kem::derive(suite, ikm.expose(), place.try_into().map_err(|_| Error::Truncated)?);
            Ok(())
        })?;
        Ok(Self { public: PublicKey { suite, bytes }, private })
    }

    pub(crate) fn from_private(suite: Suite, private: KeyBytes) -> Result<Self, Error> {
        let bytes = kem::public_of(suite, private.expose())?;
        Ok(Self { public: PublicKey { suite, bytes }, private })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn private(&self) -> &KeyBytes {
        &self.private
    }
}

/// A worker's key pair for one job, in the worker's own process: wiped, but not locked.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct WorkerKeyPair {
    public: PublicKey,
    private: Box<Zeroizing<[u8; 32]>>,
}

impl WorkerKeyPair {
    /// A fresh pair.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub fn generate(suite: Suite) -> Result<Self, Error> {
        let mut ikm = Zeroizing::new([0; 32]);
        random::fill(&mut *ikm)?;
        let mut private = Box::new(Zeroizing::new([0; 32]));
        let bytes = kem::derive(suite, &ikm, &mut private);
        Ok(Self { public: PublicKey { suite, bytes }, private })
    }

    /// The public half, sent with each request of the job.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn private(&self) -> &[u8; 32] {
        &self.private
    }
}
