//! Challenges over real stores, in the deployment that the stores' own tests use.

#![expect(clippy::expect_used, reason = "what a test's own scaffolding takes for granted may fail the test")]

mod bench;
mod challenges;
#[path = "../../../store/tests/it/tags.rs"]
mod tags;
#[expect(dead_code, unused_imports, reason = "the stores' tests use the rest")]
#[path = "../../../store/tests/it/world/mod.rs"]
mod world;
