//! The register as custody sees it, over the stores: a Warm entry before a custodian is asked, its outcome after.

use cofre_custody::{Journal, JournalError, Pending, RequestId, TenantRef, WarmOutcome, WrappedTenantKey};
use cofre_envelope::random;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::permit::{Evidence, Permit, Warm, WarmWarrant};
use cofre_model::reason::Reason;
use cofre_store::{CommitError, Keyring, Operation, Records, WarmRequest};

/// Commits warm-ups to records and reads wrapped keys from the keyring.
#[derive(Debug)]
pub(crate) struct StoreJournal {
    pub(crate) records: Records,
    pub(crate) keyring: Keyring,
}

impl StoreJournal {
    async fn begin(&self, tenant: &TenantRef) -> Result<(Permit<Warm>, WrappedTenantKey), JournalError> {
        let rows = self.keyring.tenant_key(&tenant.tenant, tenant.key_version).await.map_err(of_store)?;
        if rows.is_empty() {
            return Err(JournalError::NoSuchKey);
        }
        let mut wrapped = cofre_admin::wrapped(rows).ok_or(JournalError::NoSuchKey)?;
        if tenant.key_version > 1 {
            let carried = self.keyring.carried_keys(&tenant.tenant, tenant.key_version).await.map_err(of_store)?;
            wrapped.carried = cofre_admin::carried(carried);
        }
        let mut entry = Entry::new(EntryKind::Warm, random::array().map_err(unavailable)?);
        entry.tenant = Some(tenant.tenant);
        entry.tenant_key = Some((tenant.key_id, tenant.key_version));
        let request = WarmRequest {
            tenant: tenant.tenant,
            tenant_key_version: tenant.key_version,
            tenant_key_id: tenant.key_id,
            entry,
        };
        let permit = self.records.warm(request).await.map_err(|error| match error {
            CommitError::Refused(reason) => JournalError::Refused(reason),
            CommitError::Store(error) => of_store(error),
        })?;
        Ok((permit, wrapped))
    }

    async fn end(&self, warm: Evidence<WarmWarrant>, outcome: WarmOutcome) -> Result<(), JournalError> {
        let mut entry = Entry::new(EntryKind::WarmOutcome, random::array().map_err(unavailable)?);
        entry.tenant = Some(warm.warrant.tenant);
        entry.tenant_key = Some((warm.warrant.tenant_key_id, warm.warrant.tenant_key_version));
        entry.follows = Some(warm.at.index);
        let asked = || outcome.calls.iter().filter_map(|call| call.request.as_ref());
        let requests: Vec<&str> = asked().map(RequestId::as_str).collect();
        entry.custodian_request = (!requests.is_empty()).then(|| requests.join(","));
        entry.custodian_us = Some(outcome.calls.iter().map(|call| call.took_us).sum());
        // Each try: the custodian's own log shows those too whose answers were lost.
        entry.count = Some(asked().map(|request| u64::from(request.tries())).sum());
        if let Err(failed) = outcome.result {
            entry.reason = Some(match failed {
                cofre_custody::Failed::Integrity => Reason::IntegrityFailure,
                _ => Reason::KeyServiceUnavailable,
            });
            entry.reference = Some(failed.as_str().to_owned());
        }
        self.records.apply(entry, Operation::Note).await.map(|_| ()).map_err(unavailable)
    }
}

fn of_store(error: cofre_store::Error) -> JournalError {
    tracing::warn!(error = %error, "a tenant key cannot be had from the stores");
    cofre_admin::not_had(&error)
}

fn unavailable(error: impl std::fmt::Display) -> JournalError {
    tracing::warn!(error = %error, "a warm-up could not be journalled");
    JournalError::Unavailable
}

impl Journal for StoreJournal {
    fn warm<'a>(&'a self, tenant: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(self.begin(tenant))
    }

    fn warmed(&self, entry: Evidence<WarmWarrant>, outcome: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(self.end(entry, outcome))
    }
}
