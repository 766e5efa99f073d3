//! Jobs over the key tree: what they are to do and where they stand. How far a job has come is not here: the rows it
//! works on say that themselves, until it ends.

use crate::id::{KeyJobId, TenantId};
use crate::time::Timestamp;
use crate::wording::words;

words! {
    /// What a job over keys does.
    KeyJobKind {
        /// Every tenant key's shares are opened with the custodians they have and wrapped for another custody set.
        Rewrap = 1 "REWRAP",
        /// Every tenant, or one, gets a new version of its key, and what lies under older ones is wrapped under it.
        Rotate = 2 "ROTATE",
    }

    /// Where a version of a tenant key stands.
    TenantKeyState {
        /// It was made and wrapped. Nothing lies under it.
        Made = 1 "MADE",
        /// What is new is wrapped under it.
        Current = 2 "CURRENT",
        /// It opens what lies under it, until its shares are retired; nothing new is put there.
        Closed = 3 "CLOSED",
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
    /// For a rewrap where to, the text of a custody set; for a rotation whose keys, the id of a tenant or [`Self::ALL`].
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
    /// The target of a rotation of every tenant's key.
    pub const ALL: &'static str = "all";

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

/// A version of a tenant key, as the records know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantKeyVersion {
    /// The tenant.
    pub tenant: TenantId,
    /// Its version, from 1. Versions may be left out: one that was begun and not recorded is not used.
    pub version: u32,
    /// The id that is derived from the key.
    pub key_id: [u8; 16],
    /// Where it stands.
    pub state: TenantKeyState,
    /// The index of the entry by which it came into its state.
    pub state_entry: u64,
    /// When that was, as the ledger says.
    pub state_at: Timestamp,
}

/// How a job over keys ended. Rows that it moved may have been moved on since, so this is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyJobEnd {
    /// When, as the ledger says.
    pub at: Timestamp,
    /// Rows it moved.
    pub moved: u64,
}
