//! Use case: the life of a consent. A notice is rendered, the investor says yes to exactly that text, a receipt is
//! signed; withdrawing takes one call, no reason and no custodian.

mod error;
mod lifecycle;
pub mod notice;
mod receipt;
mod sweep;

use std::sync::Arc;

pub use error::Error;
pub use lifecycle::{Given, Offer, Receipts};

use cofre_custody::{RowKeys, Signer, TenantRef};
use cofre_envelope::random;
use cofre_model::caller::{Caller, Role};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::ConsentId;
use cofre_model::reason::Reason;
use cofre_model::registry::TenantState;
use cofre_model::time::Clock;
use cofre_store::{Records, TenantRecord};

/// What `server` hands to this use case: no more than it may use.
#[derive(Debug)]
pub struct Consents {
    /// Records.
    pub records: Records,
    /// Row MACs, and nothing that opens a login.
    pub keys: RowKeys,
    /// The deployment's signer, which signs receipts.
    pub signer: Arc<dyn Signer>,
    /// The name its key goes by in receipts.
    pub signer_name: String,
    /// The operator's name, shown in notices and receipts.
    pub aisp: String,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
}

impl Consents {
    /// The served tenant the caller is bound to.
    async fn tenant(&self, caller: &Caller) -> Result<TenantRecord, Error> {
        let slug = caller.identity().tenant().ok_or(Error::refused(Reason::NotFound))?;
        let record = self.records.tenant_by_slug(slug).await?.ok_or(Error::refused(Reason::NotFound))?;
        match record.tenant.state {
            TenantState::Active => Ok(record),
            TenantState::Suspended => Err(Error::refused(Reason::TenantSuspended)),
        }
    }

    /// The tenant of a consent, for a caller that may name it: its own tenant's, or a person of the deployment. A
    /// suspended tenant's consents can still be withdrawn and shown.
    async fn tenant_of(&self, caller: &Caller, consent: &ConsentId) -> Result<TenantRecord, Error> {
        let tenant = match (caller.identity().tenant(), caller.identity().role()) {
            (Some(slug), _) => self.records.tenant_by_slug(slug).await?,
            (None, Role::Privacy | Role::Auditor) => match self.records.tenant_of_consent(consent).await? {
                Some(tenant) => self.records.tenant(&tenant).await?,
                None => None,
            },
            (None, _) => None,
        };
        tenant.ok_or(Error::refused(Reason::NotFound))
    }

    fn entry(kind: EntryKind, method: Option<&'static str>, tenant: &TenantRecord) -> Result<Entry, Error> {
        let mut entry = Entry::new(kind, random::array()?);
        entry.method = method.map(Into::into);
        entry.tenant = Some(tenant.tenant.id);
        Ok(entry)
    }
}

fn tenant_ref(record: &TenantRecord) -> TenantRef {
    TenantRef { warm_for: record.warm_for, ..TenantRef::of(&record.tenant, record.key_version) }
}
