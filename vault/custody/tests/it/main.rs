//! Custody from outside: the contract that every driver passes, tables of what each module can do and of what each service
//! says when it fails, faults of hsm-sim, warm keys and the dangerous calls.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on stops")]

mod bench;
mod capability;
mod ceremony;
mod contract;
mod faults;
mod guarded;
mod host;
mod memory;
mod mixed;
mod modules;
mod open;
mod rotate;
mod second;
mod services;
mod sets;
mod site;
mod warm;
