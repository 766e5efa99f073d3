//! Secret types in locked memory, the envelope format, key derivation and HPKE sealing. The only crate that holds a
//! cipher, and the only place where keys and opened fields are bytes.
//!
//! Nothing here reads a clock, a table or a network, and nothing decides: whoever may open a key is settled before, by
//! a permit. No secret type can be cloned, printed, compared or serialised (`secrets`), and plaintext is encrypted and
//! decrypted in place in slots of locked memory. `docs/formats.md` gives every byte written here.

mod client;
pub mod context;
mod error;
pub mod hygiene;
mod keys;
mod opened;
mod plain;
mod primitive;
pub mod random;
#[cfg(test)]
mod samples;
mod sealing;
mod secrets;
mod slab;
mod v1;

pub use client::ClientSecret;
pub use error::{Error, Forged};
pub use keys::{
    BoundShare, DedupeKey, Dek, EvidenceKey, NodeKey, RowKeyPlace, RowMac, ServiceKey, Share, SubjectKey, TenantKey,
};
pub use opened::{Narrowed, Opened, open};
pub use plain::Plain;
pub use primitive::sha256;
pub use sealing::{
    DepositKeyPair, PublicKey, ReleasedField, SealedAnswer, SealedDeposit, SealedField, Suite, WorkerKeyPair,
    open_answer, open_deposit, open_released, seal_answer, seal_deposit, seal_to,
};
pub use slab::{Backing, Counters, Room, Slab, Unavailable};
