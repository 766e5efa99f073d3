//! What a worker process says: one JSON object a line on its standard output. Counts, outcomes and indexes only; no
//! event has a place for a value of a login or a code.

use serde::Serialize;

use super::sandbox::Enforced;
use super::self_test::Attempt;

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The sandbox is closed.
    Sandbox(Enforced),
    /// The vault released the login.
    Released {
        /// Index of the ledger entry.
        entry: u64,
        /// Whether the promise held under the pinned signer; a login without one is never used.
        promise_verified: bool,
        /// RFC 3339.
        lease_until: String,
    },
    /// A second factor was asked of the investor.
    Challenge {
        /// The challenge.
        id: String,
        /// Which try, from 1.
        attempt: u8,
    },
    /// The positions are read; the worker holds the session until it is told to stop.
    Holding,
    /// The visit is over.
    Result(Ended),
    /// The vault refused.
    Refused {
        /// The public reason.
        public_reason: String,
        /// Index of the ledger entry that records it.
        entry: Option<u64>,
    },
    /// The worker failed.
    Failed {
        /// What to do.
        why: String,
    },
    /// What the sandbox let through, asked on purpose.
    SelfTest {
        /// Each attempt.
        attempts: Vec<Attempt>,
    },
}

/// How a visit ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// As reported to the vault.
    pub outcome: String,
    /// How many positions were read.
    pub positions: Option<usize>,
    /// Cash and positions together, in minor units.
    pub total_minor: Option<u64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// The second factor that was passed.
    pub sca: Option<String>,
    /// Index of the entry that granted the login.
    pub entry: u64,
    /// Whether its promise held.
    pub promise_verified: bool,
    /// Index of the entry of the report; none where it did not arrive.
    pub reported: Option<u64>,
    /// What the vault said when it told the worker to stop.
    pub stopped_by: Option<String>,
    /// Whether the bank confirmed the logout; none where there was no session.
    pub logged_out: Option<bool>,
}

impl Event {
    /// The line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        // INVARIANT: structs of strings and numbers always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}
