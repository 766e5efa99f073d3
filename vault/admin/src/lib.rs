//! Use case: registries of tenants, institutions, templates and workers; stop buttons; what an operator sees.
//!
//! Everything here is an operation with its ledger entry. Nothing here can read a login, and whatever narrows takes
//! one person and no custodian.

mod error;
mod keys;
mod registry;
mod security;
mod status;
mod tenant;

use std::sync::Arc;

pub use error::Error;
pub use keys::{
    KeyJobs, KeyStatus, OwnersKeys, Pass, Progress, Retired, RewrapOrder, RotateOrder, Source, carried, carried_rows,
    not_had, stored, wrapped,
};
pub use status::{Custodian, Part, Status};
pub use tenant::RegisteredTenant;

use cofre_custody::{CustodySet, TenantKeys, WrapKey};
use cofre_envelope::{Slab, random};
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::Slug;
use cofre_model::time::{Clock, Span};
use cofre_store::{Keyring, Records};

/// What `server` hands to this use case: no more than it may use.
#[derive(Debug)]
pub struct Admin {
    /// Records.
    pub records: Records,
    /// The keyring, to put a new tenant's key.
    pub keyring: Keyring,
    /// Makes tenant keys; has no unwrap.
    pub wrapping: WrapKey,
    /// Warm keys, to wipe and to count.
    pub keys: TenantKeys,
    /// Locked memory, to count.
    pub slab: Arc<Slab>,
    /// The custodians that wrap a new tenant's key.
    pub custody: CustodySet,
    /// How long a new tenant's key may stay warm.
    pub warm_for: Span,
    /// The deployment's name.
    pub deployment: String,
    /// The region this cell decides for.
    pub region: Slug,
    /// Development or production, as shown to operators.
    pub mode: &'static str,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
}

impl Admin {
    fn entry(kind: EntryKind, caller: &Caller, method: &'static str) -> Result<Entry, Error> {
        let mut entry = Entry::new(kind, random::array()?).by(caller);
        entry.method = Some(method.into());
        Ok(entry)
    }
}
