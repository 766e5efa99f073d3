//! Registering tenants over real stores and a custodian in memory.

#![expect(clippy::expect_used, reason = "what a test's own scaffolding takes for granted may fail the test")]

mod bench;
mod tenants;
