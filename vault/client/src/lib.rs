//! What a worker, a front end or a person's tool links: identity and connection, sealing a login on the investor's
//! side, asking for one and opening it, second factors, promises and proofs, and the calls of the personal roles.
//!
//! What the vault says is verified here against what the caller pinned, never taken at its word: deposit keys,
//! receipts, certificates and promises against the deployment's signer, challenge keys against the authorities. No
//! signing key of a tenant ever enters: statements are signed by a closure of the caller's.

pub mod answer;
pub mod ceremony;
pub mod challenge;
pub mod connect;
pub mod deployment;
pub mod error;
pub mod front_end;
pub mod identity;
pub mod notice;
pub mod paper;
pub mod people;
pub mod promise;
pub mod sealing;
pub mod statements;
pub mod worker;

#[cfg(test)]
mod samples;
mod wire;

pub use cofre_envelope::ClientSecret;
pub use deployment::Deployment;
pub use error::{Error, Refused};
pub use front_end::FrontEnd;
pub use identity::{Identity, ServerIdentity};
pub use worker::Worker;
