//! The stores on real SQLite files in throw-away folders, through their public interface alone.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test's own scaffolding takes for granted may fail the test"
)]

mod databases;
mod edited;
mod ends;
mod files;
mod ledger;
mod model;
mod operations;
mod outages;
mod put_back;
mod races;
mod reads;
mod releases;
mod sessions;
mod side_stores;
mod tags;
mod undelivered;
mod world;
