//! What tests stand on, tested.
#![expect(clippy::expect_used, clippy::panic, reason = "a step of a test that fails is a failed test")]

mod postgres;
mod stores;
