//! The one commit. Every change of records, every grant and every denial is one typed request to one writer, which
//! gives it its place in the ledger in the same transaction. All questions of order are answered by that place.
//!
//! What this room does not do: decide (policy did), verify a MAC or a signature (the use case did), open a key.

mod append;
mod apply;
pub(crate) mod carrier;
pub(crate) mod change;
mod consents;
mod ending;
mod enrolment;
mod group;
mod keys;
pub(crate) mod operation;
mod permits;
pub(crate) mod postgres;
mod registry;
mod release;
pub(crate) mod request;
pub(crate) mod sqlite;
pub(crate) mod submit;
mod undelivered;
mod versions;
pub(crate) mod writer;

use std::sync::Arc;

use cofre_model::permit::{EntryRef, GroupSigner, Mint, Permit, Release};
use cofre_model::reason::Reason;
use cofre_model::time::{Clock, Span, Timestamp};

/// What a worker is given besides its answer: that the entry is, and will be provable.
pub use cofre_ledger::promise::Promise;

/// A promised entry is under a checkpoint this long after its commit at the latest.
pub(crate) const INTEGRATE_WITHIN: Span = Span::minutes(1);

/// What the commit needs of the node it runs in.
#[derive(Debug)]
pub struct CommitConfig {
    /// The ledger's origin, `<deployment>/ledger`.
    pub origin: String,
    /// The node, as SPIFFE id text.
    pub node: String,
    /// Random id of this life of the node.
    pub incarnation: [u8; 16],
    /// The right to mint permits; there is one in a process.
    pub mint: Mint,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Signs promises.
    pub signer: Arc<dyn GroupSigner>,
}

/// What became of a decision.
#[derive(Debug)]
#[must_use = "a grant that is not delivered has to be recorded as such"]
pub enum Committed {
    /// The grant stands in the ledger.
    Granted {
        /// Authority to open the keys, once.
        permit: Permit<Release>,
        /// For the worker.
        promise: Box<Promise>,
    },
    /// The denial stands in the ledger.
    Denied {
        /// Where.
        at: EntryRef,
        /// The exact reason.
        reason: Reason,
        /// When trying again makes sense.
        retry_at: Option<Timestamp>,
    },
    /// What the decision relied on has changed: nothing was written. Read the facts and decide again.
    Moved,
}
