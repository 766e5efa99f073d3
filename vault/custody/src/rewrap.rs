//! Wrapping a tenant key anew: opened with the custodians it has, under a Rewrap permit, its id derived again and
//! compared, and wrapped by the custodians it shall have. Nothing is stored or dropped here; what came of it is the
//! caller's to record and to keep.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofre_model::permit::{Evidence, Permit, Rewrap, RewrapWarrant};

use crate::error::Error;
use crate::journal::{Call, Failed, WarmOutcome};
use crate::set::{CustodySet, WrappedTenantKey};
use crate::shares::Which;
use crate::warm::{Inner, TenantRef, row_keys};

/// What a job over keys may do with them.
#[derive(Clone)]
pub struct RewrapKeys(pub(crate) Arc<Inner>);

impl fmt::Debug for RewrapKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RewrapKeys")
    }
}

/// What came of wrapping a tenant key anew.
#[derive(Debug)]
pub struct Rewrapped<T = WrappedTenantKey> {
    /// The entry it was done under, to be followed up.
    pub entry: Evidence<RewrapWarrant>,
    /// Every custodian call, in order: those that opened, then those that wrapped.
    pub calls: Vec<Call>,
    /// The new shares; what the old ones are is not changed by them. Nothing, where shares were only opened.
    pub result: Result<T, Error>,
}

impl<T> Rewrapped<T> {
    /// Why nothing came of it, for the entry.
    #[must_use]
    pub fn failed(&self) -> Option<Failed> {
        self.result.as_ref().err().map(Failed::from)
    }
}

impl RewrapKeys {
    /// Opens a tenant key once and wraps it by every custodian of `to`, which has to be the permit's target: one call for each share it needs and one for
    /// each share it gives. Eats the permit.
    ///
    /// A set that is stricter than the one the key has would promise more than it holds, since the older shares still
    /// open: it is refused.
    pub async fn rewrap(
        &self,
        permit: Permit<Rewrap>,
        tenant: &TenantRef,
        from: &WrappedTenantKey,
        to: &CustodySet,
    ) -> Rewrapped {
        let entry = permit.entry().clone();
        let wiring = &self.0.wiring;
        if entry.warrant.target != to.to_string() {
            return Rewrapped { entry, calls: Vec::new(), result: Err(Error::Foreign) };
        }
        if to.stricter_than(&from.set) {
            return Rewrapped { entry, calls: Vec::new(), result: Err(Error::Stricter) };
        }
        let clock = wiring.clock.as_ref();
        // The id is derived again and compared in here: what is wrapped below is the key the records name.
        let (key, mut calls) = wiring.unwrapping.unwrap(permit.ask(), tenant, from, clock).await;
        self.0.tally(&calls);
        let result = match key {
            Ok(key) => {
                let which = Which { region: &tenant.region, tenant: tenant.tenant, version: tenant.key_version };
                let (wrapped, wraps) = wiring.wrapping.wrap_listed(which, to, &key, clock).await;
                calls.extend(wraps);
                wrapped
            }
            Err(cause) => Err(cause),
        };
        Rewrapped { entry, calls, result }
    }

    /// Opens every share of a tenant key that is not in force yet, and compares the id each of them gives. Eats the
    /// permit; nothing is kept.
    pub async fn opens(&self, permit: Permit<Rewrap>, tenant: &TenantRef, wrapped: &WrappedTenantKey) -> Rewrapped<()> {
        let entry = permit.entry().clone();
        if entry.warrant.target != wrapped.set.to_string() {
            return Rewrapped { entry, calls: Vec::new(), result: Err(Error::Foreign) };
        }
        let wiring = &self.0.wiring;
        let (key, calls) = wiring.unwrapping.prove(permit.ask(), tenant, wrapped, wiring.clock.as_ref()).await;
        self.0.tally(&calls);
        Rewrapped { entry, calls, result: key.map(drop) }
    }

    /// Whether every custodian of a set is configured here.
    ///
    /// # Errors
    /// [`Error::UnknownCustodian`] names the first that is not.
    pub fn knows(&self, set: &CustodySet) -> Result<(), Error> {
        self.0.wiring.wrapping.knows(set)
    }

    /// Opens every share of a tenant key as it is wrapped now, under a Warm entry of its own, and compares the id each
    /// of them gives; opens the keys of the tenant's rows that lie beside it. Nothing is kept warm by it.
    ///
    /// # Errors
    /// [`Error`]; the wrapping is not proven then.
    pub async fn prove(&self, tenant: &TenantRef) -> Result<(), Error> {
        let wiring = &self.0.wiring;
        let (permit, wrapped) = wiring.journal.warm(tenant).await?;
        self.0.warm_ups.fetch_add(1, Ordering::Relaxed);
        let entry = permit.entry().clone();
        let (key, calls) = wiring.unwrapping.prove(permit, tenant, &wrapped, wiring.clock.as_ref()).await;
        self.0.tally(&calls);
        let proven = key.and_then(|key| row_keys(tenant, &key, wrapped.carried.as_ref()).map(drop));
        let result = proven.as_ref().copied().map_err(Failed::from);
        wiring.journal.warmed(entry, WarmOutcome { calls, result }).await?;
        proven
    }
}
