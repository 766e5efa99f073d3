//! The register against real stores in temporary folders, with a signer that can be taken away.
#![expect(clippy::expect_used, reason = "a step of a test that fails is a failed test")]

mod integrate;
mod read;
mod refusals;
mod support;
