//! The vocabulary of the vault: identifiers, identities, states, time, opaque sealed bytes, ledger entries
//! and the permits without which no key opens.
//!
//! This room knows no network, no table, no cipher, no clock and no source of randomness. Everything here is
//! data with its invariants; whoever holds a value of one of these types may rely on them.

pub mod caller;
pub mod consent;
pub mod credential;
pub mod entry;
pub mod id;
pub mod job;
pub mod keys;
pub mod permit;
pub mod reason;
pub mod registry;
pub mod request;
pub mod sealed;
pub mod statement;
pub mod time;
pub mod wording;
