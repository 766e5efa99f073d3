//! HPKE (RFC 9180), base mode: sealing on the way in (deposits), on the way out (releases) and past us (answers to
//! challenges). The suite follows the recipient's key; the context goes into `info`, per-message data into the AAD.
//! Nothing set up here is ever serialised, and no key pair is used in two suites.

mod answer;
mod deposit;
mod kem;
mod pair;
mod payload;
mod release;
#[cfg(test)]
mod tests;

use crate::error::Error;

pub use answer::{SealedAnswer, open_answer, seal_answer};
pub use deposit::{SealedDeposit, SealedField, open_deposit, seal_deposit};
pub use pair::{DepositKeyPair, PublicKey, WorkerKeyPair};
pub use release::{ReleasedField, open_released, seal_to};

/// A KEM of the HPKE registry. KDF (HKDF-SHA-256) and AEAD (AES-256-GCM) are the same for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// MLKEM768-X25519 (0x647A, X-Wing): for deposits, whose traffic can be recorded today and opened later.
    MlKem768X25519,
    /// DHKEM(X25519, HKDF-SHA256) (0x0020, RFC 9180).
    X25519,
}

impl Suite {
    /// The KEM's number in the HPKE registry.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::MlKem768X25519 => 0x647A,
            Self::X25519 => 0x0020,
        }
    }

    /// From the KEM's number.
    ///
    /// # Errors
    /// [`Error::UnknownSuite`] for any other number.
    pub const fn from_id(id: u16) -> Result<Self, Error> {
        match id {
            0x647A => Ok(Self::MlKem768X25519),
            0x0020 => Ok(Self::X25519),
            _ => Err(Error::UnknownSuite),
        }
    }

    /// The length of a public key in bytes.
    #[must_use]
    pub const fn public_len(self) -> usize {
        match self {
            Self::MlKem768X25519 => 1216,
            Self::X25519 => 32,
        }
    }

    /// The length of an encapsulated key in bytes.
    #[must_use]
    pub const fn encapsulated_len(self) -> usize {
        match self {
            Self::MlKem768X25519 => 1120,
            Self::X25519 => 32,
        }
    }
}
