//! A register in memory, with behaviour: it keeps what was committed, can refuse, lose outcomes and confuse tenants.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use cofre_custody::{Call, Journal, JournalError, Pending, TenantRef, WarmOutcome, WrappedTenantKey};
use cofre_model::id::TenantId;
use cofre_model::permit::{Evidence, Permit, Warm, WarmWarrant};

use crate::bench::warm_permit;

/// A register in memory.
#[derive(Debug, Default)]
pub(crate) struct Register {
    pub(crate) keys: Mutex<std::collections::HashMap<(TenantId, u32), WrappedTenantKey>>,
    pub(crate) entries: Mutex<Vec<WarmWarrant>>,
    pub(crate) outcomes: Mutex<Vec<WarmOutcome>>,
    pub(crate) refuses: AtomicBool,
    pub(crate) loses_outcomes: AtomicBool,
    /// Grants a permit for this tenant instead of the one asked for.
    pub(crate) confuses: Mutex<Option<TenantId>>,
}

impl Register {
    pub(crate) fn keep(&self, tenant: TenantId, wrapped: WrappedTenantKey) {
        self.keep_version(tenant, 1, wrapped);
    }

    pub(crate) fn keep_version(&self, tenant: TenantId, version: u32, wrapped: WrappedTenantKey) {
        self.keys.lock().expect("whole").insert((tenant, version), wrapped);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.outcomes.lock().expect("whole").iter().flat_map(|outcome| outcome.calls.clone()).collect()
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.lock().expect("whole").len()
    }
}

impl Journal for Register {
    fn warm<'a>(&'a self, tenant: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(async move {
            if self.refuses.load(Ordering::SeqCst) {
                return Err(JournalError::Refused(cofre_model::reason::Reason::Lockdown));
            }
            let key = (tenant.tenant, tenant.key_version);
            let kept = self.keys.lock().expect("whole").get(&key).cloned().ok_or(JournalError::NoSuchKey)?;
            let warrant = WarmWarrant {
                tenant: self.confuses.lock().expect("whole").unwrap_or(tenant.tenant),
                tenant_key_version: tenant.key_version,
                tenant_key_id: tenant.key_id,
            };
            self.entries.lock().expect("whole").push(warrant.clone());
            Ok((warm_permit(warrant), kept))
        })
    }

    fn warmed(&self, _entry: Evidence<WarmWarrant>, outcome: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(async move {
            self.outcomes.lock().expect("whole").push(outcome);
            if self.loses_outcomes.load(Ordering::SeqCst) { Err(JournalError::Unavailable) } else { Ok(()) }
        })
    }
}
