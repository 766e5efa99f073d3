//! Use case: a worker obtains one login. Decide, record, unwrap, open, narrow, seal to the worker.
//!
//! [`release`](release::Releases::release) and its `deliver` are the whole path; the other files read the facts
//! before it and write the outcomes after it. Nothing here can change what a login is.

mod error;
mod facts;
mod outcome;
pub mod release;
mod report;
mod verdicts;

pub use error::Error;
pub use outcome::to_mend;
pub use release::{Answer, Releases, Wiring};
pub use report::{LeaseEnd, LeaseWatch};
pub use verdicts::Count;

pub use cofre_store::Promise;
