//! Erasure against real stores in temporary folders, with real keys and a signer that can be taken away.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a step of a test that fails is a failed test")]

mod certificates;
mod erasing;
mod resuming;
mod support;
