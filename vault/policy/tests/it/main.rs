//! Tests of the rulebook as a whole: the case files, their completeness, bad policy sets, the record of a decision
//! and properties over random facts.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panicking, in what they call as well"
)]

mod cases;
mod change;
mod completeness;
mod facts;
mod loading;
mod oracle;
mod order;
mod properties;
mod record;
