//! Facts for a decision: rows from records in one snapshot, their MACs looked at, statements verified. Whatever is
//! absent or does not verify is said so in the facts; only a store or a custodian that does not answer is an error.

use cofre_custody::{Broken, TenantRef, Warmed, WrappedKeys};
use cofre_envelope::{PublicKey, RowMac, random, sha256};
use cofre_ledger::signed::{verify_attendance, verify_job};
use cofre_model::caller::Caller;
use cofre_model::consent::Consent;
use cofre_model::credential::{Credential, FieldKey};
use cofre_model::entry::EntryId;
use cofre_model::id::TenantId;
use cofre_model::job::{AttendanceStatement, Job, SigningKey};
use cofre_model::permit::{Evidence as Committed, ReleaseWarrant};
use cofre_model::registry::Tenant;
use cofre_model::request::ReleaseRequest;
use cofre_model::sealed::SealedSecret;
use cofre_model::time::Timestamp;
use cofre_model::wording::Class;
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, JobFault, RequestFacts};
use cofre_store::{ReleaseQuery, ReleaseRows};

use crate::error::Error;
use crate::release::Releases;

/// The statements of a request, after their signatures were looked at, and the keys that was done with.
struct Statements {
    job: Result<Job, JobFault>,
    job_key: Option<SigningKey>,
    attendance: Option<Result<AttendanceStatement, ()>>,
    attendance_key: Option<SigningKey>,
}

impl Statements {
    /// The keys were read before the snapshot: one that ended or changed in between signed nothing.
    fn held_against(self, job_key: Option<&SigningKey>, attendance_key: Option<&SigningKey>) -> Self {
        let job = if self.job_key.as_ref() == job_key { self.job } else { Err(JobFault::Key) };
        let attendance = match self.attendance {
            Some(Ok(_)) if self.attendance_key.as_ref() != attendance_key => Some(Err(())),
            unchanged => unchanged,
        };
        Self { job, attendance, ..self }
    }

    /// Until when the keys speak for what was signed with them.
    fn until(&self) -> Timestamp {
        let keys = self.job_key.iter().chain(&self.attendance_key);
        keys.map(|key| key.not_after).min().unwrap_or_default()
    }
}

impl Releases {
    /// Everything the decision may rely on.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn facts(&self, caller: &Caller, request: &ReleaseRequest) -> Result<Facts, Error> {
        // What cannot be sealed to is refused here: after a grant it would hold the login's lease for nothing.
        PublicKey::try_from(&request.worker_key)?;
        let now = self.clock.now();
        let statements = self.statements(request, now).await?;
        let digest = sha256(&request.digest_input());
        let seal_key_digest = sha256(&request.worker_key.bytes);
        let worker = caller.identity().to_string();
        let rows = self.rows(&worker, request, &statements, now).await?;
        let statements = statements.held_against(rows.job_key.as_ref(), rows.attendance_key.as_ref());
        let statements_until = statements.until();
        let evidence = self.evidence(&rows, statements.job.is_ok()).await?;
        let (tenant, tenant_key_version) = self.key_above(&rows, &evidence.0, request.class).await?;
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
            tenant,
            tenant_key_version,
            tenant_warm_for: rows.tenant_warm_for,
            job: statements.job,
            statements_until,
            credential: evidence.0,
            institution: rows.institution,
            template: rows.template,
            consent: evidence.1,
            attendance,
            releases_last_hour: rows.releases_last_hour,
            lease: rows.lease,
        })
    }

    /// The tenant, with the version of its key that the owner's subject key lies under: the one in force, but while a
    /// rotation moves what lies under it. What is granted then names the key that is going to open it.
    async fn key_above(
        &self,
        rows: &ReleaseRows,
        credential: &Evidence<Credential>,
        class: Class,
    ) -> Result<(Option<Tenant>, u32), Error> {
        let in_force = (rows.tenant.clone(), rows.tenant_key_version);
        let (Some(tenant), Evidence::Genuine(credential)) = (&rows.tenant, credential) else { return Ok(in_force) };
        if rows.tenant_key_oldest >= rows.tenant_key_version {
            return Ok(in_force);
        }
        let Some(data) = self.keyring.data_key(&credential.id, class, credential.secret_version).await? else {
            return Ok(in_force);
        };
        let Some(subject) = self.keyring.subject_key_version(&credential.owner, data.subject_key_version).await? else {
            return Ok(in_force);
        };
        let known = self.records.tenant_key_version(&tenant.id, subject.tenant_key_version).await?;
        let known = known.ok_or(Error::Missing)?;
        Ok((Some(Tenant { tenant_key_id: known.key_id, ..tenant.clone() }), known.version))
    }

    /// The rows under a MAC, looked at. A request whose job does not hold is no reason to ask a custodian: to it there
    /// are no such rows.
    async fn evidence(
        &self,
        rows: &ReleaseRows,
        job_holds: bool,
    ) -> Result<(Evidence<Credential>, Evidence<Consent>), Error> {
        if !job_holds || rows.tenant.is_none() {
            return Ok((Evidence::Absent, Evidence::Absent));
        }
        let mac = self.keys.integrity(&tenant_ref(rows)?).await?;
        let credential = rows.credential.clone().verify(genuine(&mac));
        Ok((credential, rows.consent.clone().verify(genuine(&mac))))
    }

    async fn statements(&self, request: &ReleaseRequest, now: Timestamp) -> Result<Statements, Error> {
        let job_key = self.records.signing_key(&request.job.key_id).await?;
        let job = match &job_key {
            None => Err(JobFault::Key),
            Some(key) => verify_job(&request.job, key, now).map_err(|_| JobFault::Signature),
        };
        // A job for another login than the request names is no job for this request.
        let job = job.and_then(|job| if job.credential == request.credential { Ok(job) } else { Err(JobFault::Login) });
        let (attendance, attendance_key) = match &request.attendance {
            None => (None, None),
            Some(statement) => {
                let key = self.records.signing_key(&statement.key_id).await?;
                let held = key.as_ref().and_then(|key| verify_attendance(statement, key, now).ok());
                (Some(held.ok_or(())), key)
            }
        };
        Ok(Statements { job, job_key, attendance, attendance_key })
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
                tenant: statements.job_key.as_ref().map_or_else(|| TenantId::from_parts(0, [0; 10]), |key| key.tenant),
                credential: request.credential,
                request: request.id,
                job_key: request.job.key_id,
                attendance,
                now,
            })
            .await?)
    }

    /// The tenant key that the facts name.
    fn tenant_key(&self, facts: &Facts) -> Result<TenantRef, Error> {
        let tenant = facts.tenant.as_ref().ok_or(Error::Missing)?;
        Ok(TenantRef { warm_for: facts.tenant_warm_for, ..TenantRef::of(tenant, facts.tenant_key_version) })
    }

    /// Makes the tenant key warm before the commit, or has it for this release alone.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn warm(&self, facts: &Facts, before: Warmed) -> Result<Warmed, Error> {
        Ok(self.keys.warm(&self.tenant_key(facts)?, before).await?)
    }

    /// The sealed fields that the grant names.
    #[tracing::instrument(name = "read", skip_all, fields(store = "ciphertexts"))]
    pub(crate) async fn ciphertexts_of(
        &self,
        entry: &Committed<ReleaseWarrant>,
    ) -> Result<Vec<(FieldKey, SealedSecret)>, Error> {
        let warrant = &entry.warrant;
        let sealed = self.ciphertexts.of(&warrant.credential, warrant.class, warrant.secret_version).await?;
        if sealed.is_empty() { Err(Error::Missing) } else { Ok(sealed) }
    }

    /// Rows that a grant names may be gone because a newer secret took their place; that is no fault of the records.
    pub(crate) async fn renewed(&self, entry: &Committed<ReleaseWarrant>, cause: Error) -> Error {
        if !matches!(cause, Error::Missing) {
            return cause;
        }
        match self.records.credential(&entry.warrant.tenant, &entry.warrant.credential).await {
            Ok(Some(record)) if record.claimed.secret_version > entry.warrant.secret_version => Error::Renewed,
            _ => cause,
        }
    }

    /// The wrapped keys that the grant names.
    #[tracing::instrument(name = "read", skip_all, fields(store = "keyring"))]
    pub(crate) async fn keyring_of(&self, entry: &Committed<ReleaseWarrant>) -> Result<WrappedKeys, Error> {
        let warrant = &entry.warrant;
        let data = self.keyring.data_key(&warrant.credential, warrant.class, warrant.secret_version).await?;
        let data = data.ok_or(Error::Missing)?;
        let subject = self.keyring.subject_key_version(&warrant.owner, data.subject_key_version).await?;
        let subject = subject.ok_or(Error::Missing)?;
        let tenant = self.records.tenant(&warrant.tenant).await?.ok_or(Error::Missing)?;
        let granted = if tenant.tenant.tenant_key_id == warrant.tenant_key_id {
            tenant.key_version
        } else {
            let versions = self.records.tenant_key_versions(&warrant.tenant).await?;
            let named = versions.iter().find(|version| version.key_id == warrant.tenant_key_id);
            named.map(|version| version.version).ok_or(Error::Missing)?
        };
        if subject.tenant_key_version > tenant.key_version {
            // Nothing lies under a version that never came into force: somebody edited the keyring.
            return Err(cofre_custody::Error::Integrity(Broken::SubjectKey).into());
        }
        if subject.tenant_key_version > granted {
            // It was moved in the milliseconds since: the next request names the key it lies under now.
            return Err(Error::Renewed);
        }
        Ok(WrappedKeys {
            tenant: TenantRef {
                key_id: warrant.tenant_key_id,
                warm_for: tenant.warm_for,
                ..TenantRef::of(&tenant.tenant, subject.tenant_key_version)
            },
            subject_key_version: subject.version,
            subject: subject.wrapped,
            data: data.wrapped,
        })
    }
}

fn tenant_ref(rows: &ReleaseRows) -> Result<TenantRef, Error> {
    let tenant = rows.tenant.as_ref().ok_or(Error::Missing)?;
    Ok(TenantRef { warm_for: rows.tenant_warm_for, ..TenantRef::of(tenant, rows.tenant_key_version) })
}

fn genuine(mac: &RowMac) -> impl FnOnce(&str, &[&[u8]], &EntryId, &[u8; 32]) -> bool {
    move |table, columns, entry, tag| mac.verify(table, columns, entry, tag).is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use cofre_model::id::{AttendanceId, CredentialId, JobId, RecipientId, SigningKeyId, SubjectId};
    use cofre_model::job::StatementKind;
    use cofre_model::wording::{Purpose, ScopeSet};

    fn key(kind: StatementKind, not_after: u64) -> SigningKey {
        SigningKey {
            id: SigningKeyId::from_parts(1, [1; 10]),
            tenant: TenantId::from_parts(1, [2; 10]),
            kind,
            public_key: [8; 32],
            not_after: Timestamp::from_secs(not_after),
        }
    }

    fn statements() -> Statements {
        let (tenant, credential) = (TenantId::from_parts(1, [2; 10]), CredentialId::from_parts(1, [3; 10]));
        let job = Job {
            id: JobId::from_parts(1, [4; 10]),
            tenant,
            credential,
            worker: "spiffe://cofre.test/worker/pool-a/w1".into(),
            purpose: Purpose::WealthAggregation,
            scopes: ScopeSet::default(),
            recipient: RecipientId::from_parts(1, [5; 10]),
            history_from: Timestamp::default(),
            deadline: Timestamp::from_secs(50),
        };
        let statement = AttendanceStatement {
            id: AttendanceId::from_parts(1, [6; 10]),
            tenant,
            owner: SubjectId::from_parts(1, [7; 10]),
            credential,
            issued_at: Timestamp::default(),
        };
        Statements {
            job: Ok(job),
            job_key: Some(key(StatementKind::Job, 100)),
            attendance: Some(Ok(statement)),
            attendance_key: Some(key(StatementKind::Attendance, 90)),
        }
    }

    #[test]
    fn a_key_that_changed_before_the_snapshot_signed_nothing() {
        let (job, presence) = (key(StatementKind::Job, 100), key(StatementKind::Attendance, 90));
        let held = statements().held_against(Some(&job), Some(&presence));
        assert!(held.job.is_ok() && matches!(held.attendance, Some(Ok(_))));
        for other in [None, Some(key(StatementKind::Job, 99)), Some(SigningKey { public_key: [9; 32], ..job.clone() })]
        {
            let moved = statements().held_against(other.as_ref(), Some(&presence));
            assert!(matches!(moved.job, Err(JobFault::Key)), "{other:?}");
        }
        for other in [None, Some(key(StatementKind::Attendance, 1))] {
            let moved = statements().held_against(Some(&job), other.as_ref());
            assert!(moved.job.is_ok() && matches!(moved.attendance, Some(Err(()))), "{other:?}");
        }
    }

    #[test]
    fn statements_speak_until_the_first_of_their_keys_ends() {
        assert_eq!(statements().until(), Timestamp::from_secs(90));
        let alone = Statements { attendance: None, attendance_key: None, ..statements() };
        assert_eq!(alone.until(), Timestamp::from_secs(100));
        assert_eq!(Statements { job_key: None, ..alone }.until(), Timestamp::default());
    }
}
