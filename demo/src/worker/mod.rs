//! The demo worker: what runs in the sandbox, once for each login.

pub mod bank;
pub mod events;
pub mod sandbox;
pub mod self_test;
pub mod ticket;
pub mod visit;
