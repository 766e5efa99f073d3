//! The binary as its users meet it: exit codes and words.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what a test takes for granted may fail the test"
)]

mod calls;
mod connection;
mod support;
mod vault;
mod verify;
mod verify_proof;
