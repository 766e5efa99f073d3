//! The counter: TLS acceptor, caller identity, per-method gate, limits, tonic services and the one error map.
//!
//! Attacker-made bytes become a [`Caller`](cofre_model::caller::Caller) and a parsed request here, or nothing.
//! This room never sees a key, a table or a plaintext, and decides nothing but who may knock at which method.

pub mod acceptor;
pub mod counter;
pub mod departure;
pub mod gate;
pub mod limits;
pub mod peer;
pub mod revocation;
pub mod services;
pub mod status;
pub mod tls;

mod answer;
mod handshakes;
mod load;
mod unreadable;
