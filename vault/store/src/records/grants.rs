//! Grants that were committed, and the leases they opened.

use cofre_model::id::{CredentialId, JobId, RequestId, SubjectId, TenantId};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Outcome};
use cofre_policy::facts::LeaseFacts;

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::records::deciding::PastRelease;
use crate::row::{Cells, instant};
use crate::statement::statement;

/// The newest grant of a job on a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGrant {
    /// Ledger index of the grant.
    pub index: u64,
    /// The tenant.
    pub tenant: TenantId,
    /// The login.
    pub credential: CredentialId,
    /// Who holds it.
    pub owner: SubjectId,
    /// The job.
    pub job: JobId,
    /// The worker, as SPIFFE id text.
    pub worker: String,
    /// The request.
    pub request: RequestId,
    /// The version of the secret that was released.
    pub secret_version: u32,
    /// Whether the investor was present.
    pub attendance: Attendance,
    /// When it was granted.
    pub at: Timestamp,
    /// What the worker reported, if it did.
    pub outcome: Option<Outcome>,
    /// The end of the lease, while this job and worker hold it; it may have passed.
    pub lease_until: Option<Timestamp>,
}

/// Granted releases, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) last_hour: u32,
    pub(crate) unattended_last_day: u32,
    pub(crate) unattended_first_at: Option<Timestamp>,
    pub(crate) unattended_last_at: Option<Timestamp>,
}

/// What frequency rules look at: the last hour, and the rolling 24 hours before `now`. Sessions count once.
pub(crate) async fn counts(
    session: &mut Session<'_>,
    credential: &CredentialId,
    now: Timestamp,
) -> Result<Counts, Error> {
    let row = statement(
        "SELECT COUNT(CASE WHEN at > $2 THEN 1 END) AS last_hour,
           COUNT(CASE WHEN attendance = 'UNATTENDED' AND counted = 1 THEN 1 END) AS unattended,
           MIN(CASE WHEN attendance = 'UNATTENDED' AND counted = 1 THEN at END) AS first_at,
           MAX(CASE WHEN attendance = 'UNATTENDED' AND counted = 1 THEN at END) AS last_at
         FROM releases WHERE credential_id = $1 AND at > $3",
    )
    .bind(credential.to_string())
    .bind(instant(now.minus(Span::hours(1))))
    .bind(instant(now.minus(Span::days(1))))
    .fetch_one(session)
    .await?;
    let cells = Cells::of("releases", &row);
    Ok(Counts {
        last_hour: cells.int("last_hour")?,
        unattended_last_day: cells.int("unattended")?,
        unattended_first_at: cells.optional("first_at", Cells::time)?,
        unattended_last_at: cells.optional("last_at", Cells::time)?,
    })
}

/// The lease on a login, if it is live at `now`.
pub(crate) async fn lease(
    session: &mut Session<'_>,
    credential: &CredentialId,
    now: Timestamp,
) -> Result<Option<LeaseFacts>, Error> {
    let row = statement("SELECT * FROM leases WHERE credential_id = $1 AND until > $2")
        .bind(credential.to_string())
        .bind(instant(now))
        .fetch_optional(session)
        .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("leases", row);
            Ok(LeaseFacts {
                job: cells.id("job_id")?,
                worker: cells.string("worker_id")?,
                seal_key_digest: cells.bytes("seal_key_digest")?,
                since: cells.time("since")?,
                attendance: cells.word("attendance", Attendance::from_text)?,
                until: cells.time("until")?,
            })
        })
        .transpose()
}

/// The release this worker was granted under this request id.
pub(crate) async fn past(
    session: &mut Session<'_>,
    worker: &str,
    request: &RequestId,
) -> Result<Option<PastRelease>, Error> {
    let row = statement("SELECT * FROM releases WHERE worker_id = $1 AND request_id = $2")
        .bind(worker)
        .bind(request.to_string())
        .fetch_optional(session)
        .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("releases", row);
            Ok(PastRelease {
                digest: cells.bytes("digest")?,
                seal_key_digest: cells.bytes("seal_key_digest")?,
                index: cells.int("entry_index")?,
                reported: !cells.is_null("outcome")?,
                session: cells.time("session_since")?,
            })
        })
        .transpose()
}

pub(crate) async fn newest(
    session: &mut Session<'_>,
    credential: &CredentialId,
    job: &JobId,
) -> Result<Option<OpenGrant>, Error> {
    let row = statement(
        "SELECT r.*, l.until AS lease_until FROM releases r
         LEFT JOIN leases l ON l.credential_id = r.credential_id AND l.job_id = r.job_id AND l.worker_id = r.worker_id
         WHERE r.credential_id = $1 AND r.job_id = $2 ORDER BY r.id DESC LIMIT 1",
    )
    .bind(credential.to_string())
    .bind(job.to_string())
    .fetch_optional(session)
    .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("releases", row);
            Ok(OpenGrant {
                index: cells.int("entry_index")?,
                tenant: cells.id("tenant_id")?,
                credential: cells.id("credential_id")?,
                owner: cells.id("owner_id")?,
                job: cells.id("job_id")?,
                worker: cells.string("worker_id")?,
                request: cells.id("request_id")?,
                secret_version: cells.int("secret_version")?,
                attendance: cells.word("attendance", Attendance::from_text)?,
                at: cells.time("at")?,
                outcome: cells.optional("outcome", |cells, column| cells.word(column, Outcome::from_text))?,
                lease_until: cells.optional("lease_until", Cells::time)?,
            })
        })
        .transpose()
}

impl Records {
    /// The newest grant of this job on this login.
    ///
    /// # Errors
    /// The store's.
    pub async fn grant(&self, credential: &CredentialId, job: &JobId) -> Result<Option<OpenGrant>, Error> {
        newest(&mut self.reader().await?, credential, job).await
    }
}
