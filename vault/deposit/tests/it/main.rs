//! Deposits over real stores, through the use case's public interface alone.

#![expect(clippy::expect_used, reason = "what a test's own scaffolding takes for granted may fail the test")]

mod edited;
mod house;
