//! The demonstration: dev CA, seeds, TestBank, the sandboxed demo worker and the story that ends in a table. Never shipped.

pub mod testbank;
pub mod worker;
