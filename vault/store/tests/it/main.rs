//! The stores on real SQLite files in throw-away folders, through their public interface alone.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test's own scaffolding takes for granted may fail the test"
)]

mod databases;
mod edited;
mod encrypted;
mod ends;
mod files;
mod ledger;
mod model;
mod nodes;
mod operations;
mod outages;
mod races;
mod reads;
mod releases;
mod serving_role;
mod sessions;
mod shared;
mod side_stores;
mod tags;
mod undelivered;
mod world;
