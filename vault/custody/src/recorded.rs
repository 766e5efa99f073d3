//! What the record of a ceremony has of a service's keys, and what is needed to write it. Plain data: drivers compare, and
//! a build without any reads records all the same.

use crate::custodian::{Mechanism, VerifyingKey};

/// The context of throw-away values, and what a key signs to show that it is there.
pub const PROBE: &[u8] = b"cofre/v1/custody-probe";

/// A throw-away value that a service wrapped when its key was opened. The value itself is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The wrapped bytes.
    pub wrapped: Vec<u8>,
    /// The key, with its version where it has versions, that wrapped it.
    pub key: String,
    /// SHA-256 of the value: who answers with it has opened the bytes.
    pub sha256: [u8; 32],
}

/// What the record of a ceremony says of a service's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The throw-away value that the wrapping key wrapped then.
    pub witness: Vec<u8>,
    /// SHA-256 of the value.
    pub sha256: [u8; 32],
    /// The public half of the signing key, where there was one.
    pub signer: Option<VerifyingKey>,
    /// How the wrapping key wraps.
    pub mechanism: Mechanism,
}
