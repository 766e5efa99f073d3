//! The module as a program sees it: built as a shared library, loaded by path, spoken to through the C ABI.
//! A loaded module has one state per process, so every test runs its steps in processes of its own (see `harness`).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise, also in the functions its steps share"
)]

mod faults;
mod harness;
mod keys;
mod pins;
mod raw;
mod storage;
mod stranger;
mod threads;
