//! Facts for a decision: rows from records in one snapshot, their MACs looked at, statements verified. Whatever is
//! absent or does not verify is said so in the facts; only a store or a custodian that does not answer is an error.

use cofre_custody::{TenantRef, WrappedKeys};
use cofre_envelope::{RowMac, random, sha256};
use cofre_ledger::signed::{verify_attendance, verify_job};
use cofre_model::caller::Caller;
use cofre_model::credential::FieldKey;
use cofre_model::entry::EntryId;
use cofre_model::id::TenantId;
use cofre_model::job::{AttendanceStatement, Job, SigningKey};
use cofre_model::permit::{Evidence as Committed, ReleaseWarrant};
use cofre_model::request::ReleaseRequest;
use cofre_model::sealed::SealedSecret;
use cofre_model::time::Timestamp;
use cofre_policy::facts::{AttendanceFacts, Facts, JobFault, RequestFacts};
use cofre_store::{ReleaseQuery, ReleaseRows};

use crate::error::Error;
use crate::release::Releases;

/// The statements of a request, after their signatures were looked at.
struct Statements {
    job: Result<Job, JobFault>,
    /// The tenant the job's key belongs to; no tenant where the key is unknown.
    tenant: Option<TenantId>,
    attendance: Option<Result<AttendanceStatement, ()>>,
}

impl Releases {
    /// Everything the decision may rely on.
    pub(crate) async fn facts(&self, caller: &Caller, request: &ReleaseRequest) -> Result<Facts, Error> {
        let now = self.clock.now();
        let statements = self.statements(request, now).await?;
        let digest = sha256(&request.digest_input());
        let seal_key_digest = sha256(&request.worker_key.bytes);
        let worker = caller.identity().to_string();
        let rows = self.rows(&worker, request, &statements, now).await?;
        let mac = match &rows.tenant {
            Some(_) => Some(self.keys.integrity(&tenant_ref(&rows)?).await?),
            None => None,
        };
        let repeat = rows.repeat(&digest, &seal_key_digest);
        let clock_trusted = rows.clock_trusted(now);
        let attendance = attendance(&rows, statements.attendance);
        Ok(Facts {
            now,
            clock_trusted,
            region: self.region.clone(),
            epochs: rows.epochs,
            entry_id: random::array().map_err(|_| Error::Randomness)?,
            caller: caller.into(),
            request: RequestFacts {
                id: request.id,
                digest,
                seal_key_digest,
                class: request.class,
                fields: request.fields.clone(),
                repeat,
            },
            worker: rows.worker,
            lockdown: rows.lockdown,
            tenant: rows.tenant,
            tenant_key_version: rows.tenant_key_version,
            job: statements.job,
            credential: rows.credential.verify(genuine(mac.as_deref())),
            institution: rows.institution,
            template: rows.template,
            consent: rows.consent.verify(genuine(mac.as_deref())),
            attendance,
            releases_last_hour: rows.releases_last_hour,
            lease: rows.lease,
        })
    }

    async fn statements(&self, request: &ReleaseRequest, now: Timestamp) -> Result<Statements, Error> {
        let key = self.records.signing_key(&request.job.key_id).await?;
        let tenant = key.as_ref().map(|key| key.tenant);
        let job = match key {
            None => Err(JobFault::Key),
            Some(key) => verify_job(&request.job, &key, now).map_err(|_| JobFault::Signature),
        };
        // A job for another login than the request names is no job for this request.
        let job = job.and_then(|job| if job.credential == request.credential { Ok(job) } else { Err(JobFault::Login) });
        let attendance = match &request.attendance {
            None => None,
            Some(statement) => {
                let key: Option<SigningKey> = self.records.signing_key(&statement.key_id).await?;
                Some(key.and_then(|key| verify_attendance(statement, &key, now).ok()).ok_or(()))
            }
        };
        Ok(Statements { job, tenant, attendance })
    }

    async fn rows(
        &self,
        worker: &str,
        request: &ReleaseRequest,
        statements: &Statements,
        now: Timestamp,
    ) -> Result<ReleaseRows, Error> {
        let attendance = match (&request.attendance, &statements.attendance) {
            (Some(signed), Some(Ok(statement))) => Some((signed.key_id, statement.id)),
            _ => None,
        };
        Ok(self
            .records
            .release_rows(&ReleaseQuery {
                worker,
                // No tenant has the id of instant 0: an unknown key finds no row of anybody.
                tenant: statements.tenant.unwrap_or_else(|| TenantId::from_parts(0, [0; 10])),
                credential: request.credential,
                request: request.id,
                job_key: request.job.key_id,
                attendance,
                now,
            })
            .await?)
    }

    /// The tenant key that the facts name.
    pub(crate) fn tenant_key(&self, facts: &Facts) -> Result<TenantRef, Error> {
        let tenant = facts.tenant.as_ref().ok_or(Error::Missing)?;
        Ok(TenantRef::of(tenant, facts.tenant_key_version))
    }

    /// The sealed fields that the grant names.
    pub(crate) async fn ciphertexts_of(
        &self,
        entry: &Committed<ReleaseWarrant>,
    ) -> Result<Vec<(FieldKey, SealedSecret)>, Error> {
        let warrant = &entry.warrant;
        let sealed = self.ciphertexts.of(&warrant.credential, warrant.class, warrant.secret_version).await?;
        if sealed.is_empty() { Err(Error::Missing) } else { Ok(sealed) }
    }

    /// The wrapped keys that the grant names.
    pub(crate) async fn keyring_of(&self, entry: &Committed<ReleaseWarrant>) -> Result<WrappedKeys, Error> {
        let warrant = &entry.warrant;
        let data = self.keyring.data_key(&warrant.credential, warrant.class, warrant.secret_version).await?;
        let data = data.ok_or(Error::Missing)?;
        let subject = self.keyring.subject_key_version(&warrant.owner, data.subject_key_version).await?;
        let subject = subject.ok_or(Error::Missing)?;
        let tenant = self.records.tenant(&warrant.tenant).await?.ok_or(Error::Missing)?;
        Ok(WrappedKeys {
            tenant: TenantRef {
                key_id: warrant.tenant_key_id,
                ..TenantRef::of(&tenant.tenant, subject.tenant_key_version)
            },
            subject_key_version: subject.version,
            subject: subject.wrapped,
            data: data.wrapped,
        })
    }
}

fn tenant_ref(rows: &ReleaseRows) -> Result<TenantRef, Error> {
    rows.tenant.as_ref().map(|tenant| TenantRef::of(tenant, rows.tenant_key_version)).ok_or(Error::Missing)
}

/// Looks at a row's MAC. Without a key nothing is genuine; rows of no tenant are absent anyway.
fn genuine(mac: Option<&RowMac>) -> impl FnOnce(&str, &[&[u8]], &EntryId, &[u8; 32]) -> bool {
    move |table, columns, entry, tag| mac.is_some_and(|mac| mac.verify(table, columns, entry, tag).is_ok())
}

fn attendance(rows: &ReleaseRows, statement: Option<Result<AttendanceStatement, ()>>) -> AttendanceFacts {
    match statement {
        None => {
            AttendanceFacts::Unattended { granted_last_day: rows.unattended_last_day, last_at: rows.unattended_last_at }
        }
        Some(Ok(statement)) => AttendanceFacts::Attended { statement, used: rows.attendance_used },
        Some(Err(())) => AttendanceFacts::Invalid,
    }
}
