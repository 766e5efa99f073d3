//! The life of a consent over real stores, through the use case's public interface alone. The house
//! of the deposits opens them, as `cofre_testkit::stores` says.

#![expect(clippy::expect_used, reason = "what a test's own scaffolding takes for granted may fail the test")]

#[path = "../../../deposit/tests/it/house.rs"]
mod house;
mod receipts;
