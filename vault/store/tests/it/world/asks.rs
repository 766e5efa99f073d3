//! Requests for releases: what they ask, how they are decided, and what is reported of them.

use cofre_model::credential::{Credential, FieldKey, FieldRequest};
use cofre_model::entry::{CallerRef, EntryKind};
use cofre_model::id::*;
use cofre_model::job::{AttendanceStatement, Job};
use cofre_model::permit::EntryRef;
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::*;
use cofre_policy::facts::{AttendanceFacts, Facts, RequestFacts};
use cofre_store::*;

use super::{REGION, RULES, WORKER, World, credential_tag, true_mac};

/// One release request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Who asks, as SPIFFE id text.
    pub(crate) worker: String,
    pub(crate) credential: CredentialId,
    pub(crate) request: RequestId,
    pub(crate) job: JobId,
    pub(crate) seal_key_digest: [u8; 32],
    pub(crate) digest: [u8; 32],
    pub(crate) attendance: Option<AttendanceStatement>,
}

impl World {
    pub(crate) fn ask(&self, credential: CredentialId) -> Ask {
        let request = RequestId::from_parts(self.ms(), self.bytes());
        let job = JobId::from_parts(self.ms(), self.bytes());
        Ask {
            worker: WORKER.into(),
            credential,
            request,
            job,
            seal_key_digest: self.bytes(),
            digest: self.bytes(),
            attendance: None,
        }
    }

    pub(crate) fn attended(&self, credential: &Credential) -> Ask {
        let statement = AttendanceStatement {
            id: AttendanceId::from_parts(self.ms(), self.bytes()),
            tenant: self.tenant.id,
            owner: credential.owner,
            credential: credential.id,
            issued_at: self.clock.now(),
        };
        Ask { attendance: Some(statement), ..self.ask(credential.id) }
    }

    pub(crate) async fn facts(&self, ask: &Ask) -> Facts {
        self.try_facts(ask).await.expect("rows")
    }

    /// The facts, where the rows can be read at all.
    pub(crate) async fn try_facts(&self, ask: &Ask) -> Result<Facts, Error> {
        let now = self.clock.now();
        let query = ReleaseQuery {
            worker: &ask.worker,
            tenant: self.tenant.id,
            credential: ask.credential,
            request: ask.request,
            job_key: self.job_key,
            attendance: ask.attendance.as_ref().map(|statement| (self.job_key, statement.id)),
            now,
        };
        let rows = self.records().release_rows(&query).await?;
        let attendance = match &ask.attendance {
            Some(statement) => AttendanceFacts::Attended { statement: statement.clone(), used: rows.attendance_used },
            None => AttendanceFacts::Unattended {
                granted_last_day: rows.unattended_last_day,
                last_at: rows.unattended_last_at,
            },
        };
        let repeat = rows.repeat(&ask.digest, &ask.seal_key_digest);
        let key = |key| FieldKey::try_from(key).expect("key");
        let fields = ["user", "password"]
            .map(|name| FieldRequest { key: key(name), form: Form::Full, positions: Vec::new() })
            .to_vec();
        Ok(Facts {
            now,
            clock_trusted: rows.clock_trusted(now),
            region: Slug::try_from(REGION).expect("slug"),
            epochs: rows.epochs,
            entry_id: self.bytes(),
            caller: CallerRef { identity: ask.worker.clone(), fingerprint: [1; 32] },
            request: RequestFacts {
                id: ask.request,
                digest: ask.digest,
                seal_key_digest: ask.seal_key_digest,
                class: Class::Login,
                fields,
                repeat,
            },
            worker: rows.worker,
            lockdown: rows.lockdown,
            tenant: rows.tenant,
            tenant_key_version: rows.tenant_key_version,
            tenant_warm_for: rows.tenant_warm_for,
            statements_until: rows.job_key.map(|key| key.not_after).unwrap_or_default(),
            job: Ok(self.job(ask)),
            credential: rows.credential.verify(true_mac),
            institution: rows.institution,
            template: rows.template,
            consent: rows.consent.verify(true_mac),
            attendance,
            releases_last_hour: rows.releases_last_hour,
            lease: rows.lease,
        })
    }

    fn job(&self, ask: &Ask) -> Job {
        Job {
            id: ask.job,
            tenant: self.tenant.id,
            credential: ask.credential,
            worker: ask.worker.clone(),
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions].into_iter().collect(),
            recipient: self.recipient,
            history_from: self.clock.now().minus(Span::days(1)),
            deadline: self.clock.now().plus(Span::minutes(20)),
        }
    }

    /// Facts, decision, commit: once.
    pub(crate) async fn once(&self, ask: &Ask) -> Committed {
        let decision = RULES.decide(&self.facts(ask).await);
        self.records().commit(decision).await.expect("commit")
    }

    pub(crate) fn decide(&self, facts: &Facts) -> cofre_policy::decision::Decision {
        RULES.decide(facts)
    }

    /// The institution locked the login: its row with the new end of the lock.
    pub(crate) async fn lock(&self, ask: &Ask, row: &Credential) -> Result<EntryRef, CommitError> {
        let entry = self.entry(EntryKind::Reported);
        let report = Operation::ReportOutcome {
            credential: ask.credential,
            job: ask.job,
            worker: ask.worker.clone(),
            outcome: Outcome::Locked,
            lock: Some((row.clone(), credential_tag(row, &entry))),
        };
        self.records().apply(entry, report).await
    }

    pub(crate) async fn report(&self, ask: &Ask, outcome: Outcome) -> Result<EntryRef, CommitError> {
        let report = Operation::ReportOutcome {
            credential: ask.credential,
            job: ask.job,
            worker: ask.worker.clone(),
            outcome,
            lock: None,
        };
        let mut entry = self.entry(EntryKind::Reported);
        let grant = self.records().grant(&ask.credential, &ask.job).await.expect("read");
        entry.secret_version = grant.map(|grant| grant.secret_version);
        self.records().apply(entry, report).await
    }
}
