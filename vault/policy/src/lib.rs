//! The rulebook, pure: facts in, decision out. Invariants in code come first and no policy can relax them; Cedar
//! policies come second and can only narrow. No clock, no randomness, no table, no network.

pub mod bundle;
mod cedar;
pub mod checks;
pub mod decision;
pub mod error;
pub mod facts;
mod input;
mod record;
pub mod rules;

pub use error::PolicyError;
pub use rules::{Opinion, Rules};
