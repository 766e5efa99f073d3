//! Searches of the register.

use crate::entry::EntryKind;
use crate::id::{CredentialId, TenantId};
use crate::reason::Reason;

/// A range of the ledger and how much of it to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// First index.
    pub from: u64,
    /// One past the last index; `u64::MAX` for the end.
    pub to: u64,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// What to look for; an empty part matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// The login.
    pub credential: Option<CredentialId>,
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The kind of entry.
    pub kind: Option<EntryKind>,
    /// The exact reason.
    pub reason: Option<Reason>,
    /// The caller's SPIFFE id text, exactly.
    pub caller: Option<String>,
    /// Where and how much.
    pub page: Page,
}
