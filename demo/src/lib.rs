//! The demonstration: dev CA, seeds, TestBank, the sandboxed demo worker and the story that ends in a table. Never shipped.

pub mod browser;
pub mod control;
pub mod crowd;
pub mod drill;
pub(crate) mod ledger;
pub mod needles;
pub mod play;
pub mod reference;
pub mod seed;
pub mod story;
pub(crate) mod table;
pub mod testbank;
pub mod up;
pub mod worker;
pub mod world;
