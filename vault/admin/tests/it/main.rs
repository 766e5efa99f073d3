//! Registering tenants and moving their keys, over real stores and custodians in memory.

#![expect(clippy::expect_used, reason = "what a test's own scaffolding takes for granted may fail the test")]

mod bench;
mod house;
mod kills;
mod retire;
mod rewrap;
mod rotate;
mod seeded;
mod tenants;
mod versions;
