//! The stores on real SQLite files or a real PostgreSQL, through their public interface alone. The engine is the one
//! that COFRE_TEST_STORES names; a test that is about one engine says so.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what a test's own scaffolding takes for granted may fail the test"
)]

mod bodies;
mod columns;
mod databases;
mod edited;
mod encrypted;
mod ends;
mod files;
mod full_disks;
mod garbled_logs;
mod hands;
mod keyring_role;
mod keys;
mod ledger;
mod lists;
mod model;
mod nodes;
mod operations;
mod outages;
mod put_back;
mod races;
mod reads;
mod releases;
mod serving_role;
mod sessions;
mod shared;
mod side_stores;
mod tags;
mod undelivered;
mod under_keys;
mod versions;
mod world;
