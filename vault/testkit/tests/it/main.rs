//! What tests stand on, tested.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a step of a test that fails is a failed test")]

mod postgres;
mod stores;
