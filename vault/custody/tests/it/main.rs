//! Custody from outside: the contract that every PKCS#11 module passes, a table of what each can do, faults of hsm-sim, warm keys and the
//! dangerous calls.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on stops")]

mod bench;
mod capability;
mod contract;
mod faults;
mod host;
mod memory;
mod modules;
mod open;
mod sets;
mod warm;
