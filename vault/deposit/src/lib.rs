//! Use case: take a login that was sealed in the investor's browser and seal it for rest.
//!
//! Plaintext exists here only in locked memory, between opening the deposit and sealing each field under a fresh data
//! key. Signing factors are refused by their field key, before anything is opened.

mod deposit;
mod enrolment;
mod error;
mod keys;
mod template;

use std::sync::Arc;

pub use deposit::Rests;
pub use enrolment::{OpenSession, StateOf};
pub use error::Error;
pub use keys::DepositKey;

use cofre_custody::{DepositKeys, Signer, TenantRef, WrapKey};
use cofre_envelope::random;
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::reason::Reason;
use cofre_model::registry::TenantState;
use cofre_model::time::Clock;
use cofre_store::{Ciphertexts, Keyring, Records, TenantRecord};

/// What `server` hands to this use case: no more than it may use.
#[derive(Debug)]
pub struct Deposits {
    /// Records.
    pub records: Records,
    /// Ciphertexts, to put.
    pub ciphertexts: Ciphertexts,
    /// The keyring, to put.
    pub keyring: Keyring,
    /// Keys that open against a deposit permit.
    pub keys: DepositKeys,
    /// Makes deposit keys; has no unwrap.
    pub wrapping: WrapKey,
    /// The deployment's signer, which vouches for deposit keys.
    pub signer: Arc<dyn Signer>,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
}

impl Deposits {
    /// The tenant the caller is bound to, if it is served.
    async fn tenant(&self, caller: &Caller) -> Result<TenantRecord, Error> {
        let slug = caller.identity().tenant().ok_or(Error::refused(Reason::NotFound))?;
        let record = self.records.tenant_by_slug(slug).await?.ok_or(Error::refused(Reason::NotFound))?;
        match record.tenant.state {
            TenantState::Active => Ok(record),
            TenantState::Suspended => Err(Error::refused(Reason::TenantSuspended)),
        }
    }

    fn entry(kind: EntryKind, caller: &Caller, method: &'static str, tenant: &TenantRecord) -> Result<Entry, Error> {
        let mut entry = Entry::new(kind, random::array()?).by(caller);
        entry.method = Some(method.into());
        entry.tenant = Some(tenant.tenant.id);
        Ok(entry)
    }
}

fn tenant_ref(record: &TenantRecord) -> TenantRef {
    TenantRef { warm_for: record.warm_for, ..TenantRef::of(&record.tenant, record.key_version) }
}
