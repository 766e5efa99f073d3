//! Jobs over the key tree: what they are to do and where they stand. How far a job has come is not here: the rows it
//! works on say that themselves, until it ends.

use crate::id::KeyJobId;
use crate::time::Timestamp;
use crate::wording::words;

words! {
    /// What a job over keys does.
    KeyJobKind {
        /// Every tenant key's shares are opened with the custodians they have and wrapped for another custody set.
        Rewrap = 1 "REWRAP",
    }

    /// Where a job over keys stands.
    KeyJobState {
        /// Any node works on it.
        Running = 1 "RUNNING",
        /// Nothing was left.
        Done = 2 "DONE",
        /// An operator stopped it. What it moved stays moved.
        Stopped = 3 "STOPPED",
    }
}

impl KeyJobState {
    /// Whether nobody works on such a job any more.
    #[must_use]
    pub const fn ends(self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// A job over keys, as an operator ordered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyJob {
    /// Its id.
    pub id: KeyJobId,
    /// What it does.
    pub kind: KeyJobKind,
    /// Where to: the text of a custody set.
    pub target: String,
    /// What this key of a custodian wrapped is moved too, though its set is the target already.
    pub from_key: Option<String>,
    /// Rows a second that one node may move at most; none for as many as it can.
    pub rate: Option<u32>,
    /// Where it stands.
    pub state: KeyJobState,
    /// When it was opened, as the ledger says.
    pub opened_at: Timestamp,
    /// The index of the entry that opened it.
    pub opened_entry: u64,
    /// How it ended; nothing while it runs.
    pub ended: Option<KeyJobEnd>,
}

impl KeyJob {
    /// The most keys a second that one node may be told to move. Without a rate it moves as many as it can.
    pub const FASTEST: u32 = 10_000;

    /// What the entry that opened it has to say of it.
    #[must_use]
    pub fn reference(&self) -> String {
        reference(&self.id, self.kind, &self.target, self.rate, self.from_key.as_deref())
    }
}

/// What the entry that opens a job says of it: all that was ordered, so that no row of a job says more. Neither a target
/// nor a rate has a space in it; the name of a key may, and comes last.
#[must_use]
pub fn reference(id: &KeyJobId, kind: KeyJobKind, target: &str, rate: Option<u32>, from_key: Option<&str>) -> String {
    let rate = rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string());
    let from_key = from_key.map(|key| format!(" {key}")).unwrap_or_default();
    format!("{id} {kind} {target} {rate}{from_key}")
}

/// How a job over keys ended. Rows that it moved may have been moved on since, so this is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyJobEnd {
    /// When, as the ledger says.
    pub at: Timestamp,
    /// Rows it moved.
    pub moved: u64,
}
