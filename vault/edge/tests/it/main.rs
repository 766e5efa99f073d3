//! The counter as a peer meets it: real sockets, real TLS, real HTTP/2, and behind the layers a service that counts
//! who gets through.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a step of a test that fails is a failed test"
)]

mod attacks;
mod calls;
mod certificates;
mod chains;
mod door;
mod identifiers;
mod identities;
mod methods;
mod served;
mod standing;
mod support;
mod vault;
