//! The key ceremony on paper: the plan of what is to be made, each person's approval of it, and the record of what was
//! made. Three texts of lines `name value`, each with one spelling; approvals and records are signed notes.
//!
//! ```text
//! plan ──▶ approvals, one a person ──▶ keys in the token ──▶ record ──▶ the same persons' signatures
//!          (each over the plan's SHA-256)                    (signed by the new key)
//! ```
//! A ceremony that does not come to its end leaves a fourth text, which nobody signs and no program reads.
//!
//! Nothing here asks a token or believes a certificate: whom a chain proves is said by whoever knows the authorities.

mod approval;
mod lines;
mod plan;
mod record;
mod shape;
#[cfg(test)]
pub(crate) mod tests;
mod unfinished;

use crate::note::NoteError;
use crate::signed::VerifyingKey;

pub use approval::{APPROVED_FOR, Approval, approvers};
pub use plan::{Plan, PlannedKey, Use};
pub use record::{Body, Key, Object, Record, Verified};
pub use shape::{WITNESS_KEY, WITNESS_SHA256};
pub use unfinished::{Reached, Unfinished};

/// Why a plan, an approval or a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyError {
    /// A text that is not as it has to be.
    #[error("{text}: line `{line}` is missing, twice, misplaced or not as it has to be; the text was changed or cut")]
    Malformed {
        /// Which text.
        text: &'static str,
        /// The line that was expected.
        line: &'static str,
    },
    /// Not a signed note.
    #[error("{text}: {cause}")]
    Note {
        /// Which text.
        text: &'static str,
        /// Why.
        cause: NoteError,
    },
    /// An approval of another plan.
    #[error("the approval of {0} is over another plan; have this one approved")]
    OtherPlan(String),
    /// An approval that is too old.
    #[error("the approval of {0} has expired: it holds for a day; have the plan approved again")]
    Expired(String),
    /// An approval of a time that has not come.
    #[error("the approval of {0} is of a time that has not come; set the clocks of both machines")]
    NotYet(String),
    /// One person, or one key, twice.
    #[error("{0} approves twice; each approval must be another person's, with a key of its own")]
    Twice(String),
    /// Fewer approvals than the plan asks for.
    #[error("the plan asks for {wanted} people, and {given} approved")]
    TooFew {
        /// What the plan asks for.
        wanted: u8,
        /// Distinct people that approved.
        given: usize,
    },
    /// The certificate does not prove the person who is named.
    #[error("{person}: {why}")]
    Person {
        /// Who is named.
        person: String,
        /// What is wrong.
        why: String,
    },
    /// A signature does not hold.
    #[error("the signature of {0} does not hold: the text was changed, or somebody else signed")]
    Signature(String),
    /// The token's own signature is not there.
    #[error("the record is not signed by the key that it says was made")]
    Unsigned,
    /// The record is of another key than the one that is pinned.
    #[error("the record is of another signing key than the one that is pinned")]
    OtherKey,
    /// The record says other things than the plan in it.
    #[error("the record does not follow its plan: {0}")]
    OffPlan(&'static str),
    /// A key that may leave the token.
    #[error("the record has a key that may leave its token, or was not made in it: {0}")]
    Loose(String),
    /// A key that is another than its mechanism makes.
    #[error("the record's key {label} is not what such a key has to be: {what}")]
    Unlike {
        /// Its label.
        label: String,
        /// What is wrong.
        what: String,
    },
    /// What was written down of a ceremony that came to no record.
    #[error("this is no record: it is what was written down of a ceremony that did not come to its end; read it")]
    NoRecord,
    /// Somebody who did not approve, or who signed before.
    #[error("{0} did not approve the plan; those sign the record who approved")]
    Stranger(String),
    /// A second signature of the same person.
    #[error("{0} has signed this record already")]
    SignedBefore(String),
}

/// Whom a certificate chain proves, and with which key they sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The SPIFFE id.
    pub name: String,
    /// The certificate's key.
    pub key: VerifyingKey,
}
