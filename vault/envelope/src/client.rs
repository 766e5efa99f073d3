//! Secrets in a client's own process: an investor's page before it seals, a worker after it opened. They are wiped
//! when dropped, but not locked: a worker need not have the right to lock memory. The vault itself never uses this.

use zeroize::Zeroizing;

use crate::error::Error;
use crate::plain::{padded_len, unpadded_len};

/// A secret value in a client's memory.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct ClientSecret(Zeroizing<Vec<u8>>);

impl ClientSecret {
    /// Takes over bytes that were read into wiped memory. Give the vector its full capacity before filling it: growth
    /// leaves copies.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// A copy. The caller wipes its own.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// Lends the value. What is copied out of the closure is the caller's to wipe.
    pub fn with_bytes<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.0)
    }

    /// The padded layout, allocated once at its full length: u16 length, value, zeros to a multiple of 64.
    pub(crate) fn padded(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let prefix = u16::try_from(self.0.len()).map_err(|_| Error::TooLong)?.to_be_bytes();
        let len = padded_len(self.0.len());
        if len > crate::slab::LARGE {
            return Err(Error::TooLong);
        }
        let mut padded = Zeroizing::new(Vec::with_capacity(len));
        padded.extend_from_slice(&prefix);
        padded.extend_from_slice(&self.0);
        padded.resize(len, 0);
        Ok(padded)
    }

    /// The value of a padded layout.
    pub(crate) fn unpad(padded: &[u8]) -> Result<Self, Error> {
        let len = unpadded_len(padded)?;
        padded.get(2..2 + len).map(Self::copy_of).ok_or(Error::Padding)
    }
}
