//! The worker's report of how the login went, and the watch over its lease.

use cofre_custody::TenantRef;
use cofre_envelope::random;
use cofre_model::caller::Caller;
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{CredentialId, JobId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::OutcomeReport;
use cofre_model::time::Span;
use cofre_model::wording::Outcome;
use cofre_policy::facts::Evidence;
use cofre_store::{Change, CommitError, Lockdown, OpenGrant, Operation};
use tokio::sync::broadcast;

use crate::error::Error;
use crate::release::Releases;

/// However late the institution is said to open again, the login waits no longer than this.
const LONGEST_LOCK: Span = Span::days(7);

/// Why a lease has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Its consent or its login ended: log out and wipe.
    Revoked,
    /// A stop button was pressed.
    Lockdown,
    /// Its time is over, or its outcome was reported.
    Expired,
}

impl Releases {
    /// Records how the login went. WRONG_SECRET ends every further release until the secret is entered anew.
    ///
    /// # Errors
    /// NOT_FOUND where this worker holds no grant of that job; WRONG_STATE where it was reported, or its lease ended more
    /// than ten minutes ago.
    pub async fn report(&self, caller: &Caller, report: &OutcomeReport) -> Result<EntryRef, Error> {
        let grant = self.own_grant(caller, &report.credential, &report.job).await?;
        let id = random::array().map_err(|_| Error::Randomness)?;
        let mut entry = Entry::new(EntryKind::Reported, id).by(caller);
        entry.method = Some("cofre.v1.ReleaseService/ReportOutcome".into());
        entry.tenant = Some(grant.tenant);
        entry.credential = Some(report.credential);
        entry.owner = Some(grant.owner);
        entry.job = Some(report.job);
        entry.outcome = Some(report.outcome);
        entry.follows = Some(grant.index);
        entry.secret_version = Some(grant.secret_version);
        let lock = self.lock(&grant, report, &entry).await?;
        let operation = Operation::ReportOutcome {
            credential: report.credential,
            job: report.job,
            worker: caller.identity().to_string(),
            outcome: report.outcome,
            lock,
        };
        Ok(self.records.apply(entry, operation).await?)
    }

    /// For LOCKED: the login's row with its new not-before, tagged anew. A row that is not genuine stays untouched.
    async fn lock(
        &self,
        grant: &OpenGrant,
        report: &OutcomeReport,
        entry: &Entry,
    ) -> Result<Option<(Credential, [u8; 32])>, Error> {
        let (Outcome::Locked, Some(until)) = (report.outcome, report.locked_until) else { return Ok(None) };
        let Some(record) = self.records.credential(&grant.tenant, &report.credential).await? else { return Ok(None) };
        let tenant = self.records.tenant(&grant.tenant).await?.ok_or(Error::Missing)?;
        let key = TenantRef { warm_for: tenant.warm_for, ..TenantRef::of(&tenant.tenant, tenant.key_version) };
        let mac = self.keys.integrity(&key).await?;
        let row = record.row.verify(|table, columns, id, tag| mac.verify(table, columns, id, tag).is_ok());
        let Evidence::Genuine(mut credential) = row else { return Ok(None) };
        // A row that permits nothing carries no MAC: tagging it here would make one out of what anybody wrote.
        if credential.state != CredentialState::Active {
            return Ok(None);
        }
        // A worker's word shortens nothing, and takes a login away for a bounded time only.
        credential.not_before = until.min(self.clock.now().plus(LONGEST_LOCK)).max(credential.not_before);
        let columns = cofre_store::columns::credential(&credential);
        let columns: Vec<&[u8]> = columns.iter().map(Vec::as_slice).collect();
        let tag = mac.tag(cofre_store::columns::CREDENTIALS, &columns, &entry.id);
        Ok(Some((credential, tag)))
    }

    /// The newest grant of this job, if it is this worker's.
    async fn own_grant(&self, caller: &Caller, credential: &CredentialId, job: &JobId) -> Result<OpenGrant, Error> {
        let grant = self.records.grant(credential, job).await?;
        grant
            .filter(|grant| grant.worker == caller.identity().to_string())
            .ok_or(Error::Commit(CommitError::Refused(Reason::NotFound)))
    }

    /// Opens a watch over a live lease of this worker.
    ///
    /// # Errors
    /// NOT_FOUND where this worker holds no live lease of that job.
    pub async fn watch(&self, caller: &Caller, credential: CredentialId, job: JobId) -> Result<LeaseWatch, Error> {
        // Subscribed before the row is read, so that nothing falls between.
        let changes = self.records.changes();
        let grant = self.own_grant(caller, &credential, &job).await?;
        let until = grant.lease_until.filter(|until| *until > self.clock.now());
        let until = until.ok_or(Error::Commit(CommitError::Refused(Reason::NotFound)))?;
        let left = until.since(self.clock.now()).to_std();
        Ok(LeaseWatch { changes, grant, left })
    }
}

/// A watch over one lease.
#[derive(Debug)]
pub struct LeaseWatch {
    changes: broadcast::Receiver<Change>,
    grant: OpenGrant,
    left: std::time::Duration,
}

impl LeaseWatch {
    /// Waits until the lease has to stop. A watch that cannot keep up with the changes ends it: better one login too
    /// many broken off than one too long.
    pub async fn end(mut self) -> LeaseEnd {
        let ends = async {
            loop {
                match self.changes.recv().await {
                    Ok(change) => {
                        if let Some(end) = ended(&change, &self.grant) {
                            return end;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => {
                        return LeaseEnd::Revoked;
                    }
                }
            }
        };
        tokio::time::timeout(self.left, ends).await.unwrap_or(LeaseEnd::Expired)
    }
}

fn ended(change: &Change, grant: &OpenGrant) -> Option<LeaseEnd> {
    match change {
        Change::ConsentEnded { credential, .. } if *credential == grant.credential => Some(LeaseEnd::Revoked),
        Change::ErasureAccepted { credentials, .. } if credentials.contains(&grant.credential) => {
            Some(LeaseEnd::Revoked)
        }
        Change::WorkerQuarantined { worker } if *worker == grant.worker => Some(LeaseEnd::Lockdown),
        Change::Lockdown(Lockdown::Platform) => Some(LeaseEnd::Lockdown),
        Change::Lockdown(Lockdown::Tenant(tenant)) if *tenant == grant.tenant => Some(LeaseEnd::Lockdown),
        Change::Lockdown(Lockdown::Credential(credential)) if *credential == grant.credential => {
            Some(LeaseEnd::Lockdown)
        }
        // An institution's lockdown reaches its logins' leases as LeaseEnded.
        Change::LeaseEnded { credential, job, .. } if *credential == grant.credential && *job == grant.job => {
            Some(LeaseEnd::Expired)
        }
        Change::Entry { .. }
        | Change::ConsentEnded { .. }
        | Change::ErasureAccepted { .. }
        | Change::WorkerQuarantined { .. }
        | Change::Lockdown(_)
        | Change::LeaseEnded { .. } => None,
    }
}
