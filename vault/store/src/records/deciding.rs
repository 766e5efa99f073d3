//! Everything the rows say for one release decision, read in one snapshot. Nothing is judged here: absence is a
//! fact, MACs are for the caller to verify, and signed statements too.

use cofre_model::consent::Consent;
use cofre_model::credential::Credential;
use cofre_model::entry::Epochs;
use cofre_model::id::{AttendanceId, CredentialId, InstitutionId, RequestId, SigningKeyId, TenantId};
use cofre_model::job::SigningKey;
use cofre_model::registry::{Institution, LockdownScope, Template, Tenant, Worker, WorkerState};
use cofre_model::time::{Span, Timestamp};
use cofre_policy::facts::{LeaseFacts, Repeat};

use crate::engine::Session;
use crate::error::Error;
use crate::records::{Records, consents, credentials, epochs, grants, institutions, ledger, tenants, workers};
use crate::row::Cells;
use crate::standing::Standing;
use crate::standing::register::Held;
use crate::statement::statement;
use crate::unverified::Unverified;

/// How far the clock may lie behind the newest entry before no grant is made.
pub(crate) const CLOCK_SLACK: Span = Span::secs(2);

/// What to read. Tenant and login are as the job names them, whether or not its signature holds.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseQuery<'a> {
    /// The worker, as SPIFFE id text.
    pub worker: &'a str,
    /// The tenant.
    pub tenant: TenantId,
    /// The login.
    pub credential: CredentialId,
    /// The request.
    pub request: RequestId,
    /// The key that claims to have signed the job.
    pub job_key: SigningKeyId,
    /// The key that claims to have signed the attendance statement, and that statement's id.
    pub attendance: Option<(SigningKeyId, AttendanceId)>,
    /// The instant to count back from.
    pub now: Timestamp,
}

/// A release granted earlier under the same request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastRelease {
    /// Digest of that request.
    pub digest: [u8; 32],
    /// Digest of the key its answer was sealed to.
    pub seal_key_digest: [u8; 32],
    /// Ledger index of the grant.
    pub index: u64,
    /// Whether the worker has reported its outcome: then it is over, and cannot be repeated.
    pub reported: bool,
    /// When the session it belongs to began.
    pub session: Timestamp,
}

impl PastRelease {
    /// Whether a request is an exact repeat of this one.
    #[must_use]
    pub fn repeat(&self, digest: &[u8; 32], seal_key_digest: &[u8; 32]) -> Repeat {
        if !self.reported && self.digest == *digest && self.seal_key_digest == *seal_key_digest {
            Repeat::Same { first: self.index }
        } else {
            Repeat::Other
        }
    }
}

/// The rows.
#[derive(Debug, Clone)]
pub struct ReleaseRows {
    /// The epochs of the snapshot.
    pub epochs: Epochs,
    /// The time of the newest ledger entry.
    pub last_entry: Timestamp,
    /// Digest of the policy set in force.
    pub policy_digest: Option<[u8; 32]>,
    /// The registered worker.
    pub worker: Option<Worker>,
    /// The widest stop button that is pressed and concerns this login.
    pub lockdown: Option<LockdownScope>,
    /// The tenant.
    pub tenant: Option<Tenant>,
    /// The version of its key in force; 0 without a tenant.
    pub tenant_key_version: u32,
    /// The oldest version of its key that something may still lie under; 0 without a tenant.
    pub tenant_key_oldest: u32,
    /// How long the tenant lets its key stay warm; zero without a tenant.
    pub tenant_warm_for: Span,
    /// The login, in this tenant.
    pub credential: Unverified<Credential>,
    /// Its institution.
    pub institution: Option<Institution>,
    /// The template its fields follow.
    pub template: Option<Template>,
    /// The consent in force, else the newest that names the login.
    pub consent: Unverified<Consent>,
    /// The lease, if one is live.
    pub lease: Option<LeaseFacts>,
    /// What this worker was granted under this request id.
    pub past: Option<PastRelease>,
    /// Granted releases in the last hour.
    pub releases_last_hour: u32,
    /// Unattended sessions in the last 24 hours.
    pub unattended_last_day: u32,
    /// When the last of them was granted.
    pub unattended_last_at: Option<Timestamp>,
    /// Whether another request used the attendance statement.
    pub attendance_used: bool,
    /// The key that claims to have signed the job.
    pub job_key: Option<SigningKey>,
    /// The key that claims to have signed the attendance statement.
    pub attendance_key: Option<SigningKey>,
}

/// Rows with what was asked for.
struct Rows<'a> {
    query: &'a ReleaseQuery<'a>,
    rows: ReleaseRows,
}

impl Held for Rows<'_> {
    fn held_against(&mut self, standing: &Standing) -> bool {
        let Self { query, rows } = self;
        // A stop button or a quarantine that somebody took out of its table is still in the ledger.
        let institution = rows.institution.as_ref().map(|institution| &institution.id);
        let pressed = standing.lockdown(&query.tenant, institution, Some(&query.credential));
        // The order of the scopes is the order from wide to narrow.
        rows.lockdown = rows.lockdown.into_iter().chain(pressed).min();
        if let Some(worker) = &mut rows.worker
            && standing.quarantined(query.worker)
        {
            worker.state = WorkerState::Quarantined;
        }
        let consent = rows.consent.held_against(standing);
        rows.credential.held_against(standing) && consent
    }
}

impl ReleaseRows {
    /// Whether this request repeats an earlier one.
    #[must_use]
    pub fn repeat(&self, digest: &[u8; 32], seal_key_digest: &[u8; 32]) -> Repeat {
        self.past.as_ref().map_or(Repeat::New, |past| past.repeat(digest, seal_key_digest))
    }

    /// Whether the clock agrees with the newest entry.
    #[must_use]
    pub fn clock_trusted(&self, now: Timestamp) -> bool {
        self.last_entry.since(now) <= CLOCK_SLACK
    }
}

/// Whether another request used an attendance statement.
pub(crate) async fn token_used(
    session: &mut Session<'_>,
    token: &AttendanceId,
    worker: &str,
    request: &RequestId,
) -> Result<bool, Error> {
    let row = statement("SELECT 1 FROM tokens_used WHERE id = $1 AND NOT (worker_id = $2 AND request_id = $3)")
        .bind(token.to_string())
        .bind(worker)
        .bind(request.to_string())
        .fetch_optional(session)
        .await?;
    Ok(row.is_some())
}

async fn read(session: &mut Session<'_>, query: &ReleaseQuery<'_>) -> Result<ReleaseRows, Error> {
    let row = credentials::row(session, &query.tenant, &query.credential).await?;
    let (institution_id, version) = match &row {
        None => (None, 0),
        Some(row) => {
            let cells = Cells::of("credentials", row);
            (Some(cells.id::<InstitutionId>("institution_id")?), cells.int("template_version")?)
        }
    };
    let (institution, template) = match &institution_id {
        None => (None, None),
        Some(id) => {
            (institutions::institution(session, id).await?, institutions::template(session, id, version).await?)
        }
    };
    let counts = grants::counts(session, &query.credential, query.now).await?;
    let tenant = tenants::tenant(session, &query.tenant).await?;
    let (attendance_key, attendance_used) = match &query.attendance {
        None => (None, false),
        Some((key, token)) => {
            (tenants::signing_key(session, key).await?, token_used(session, token, query.worker, &query.request).await?)
        }
    };
    Ok(ReleaseRows {
        epochs: epochs::current(session, Some(query.worker), Some(&query.tenant), Some(&query.credential)).await?,
        last_entry: ledger::head(session).await?.last_time,
        policy_digest: workers::policy(session).await?,
        worker: workers::worker(session, query.worker).await?,
        lockdown: workers::lockdown(session, &query.tenant, institution_id.as_ref(), Some(&query.credential)).await?,
        tenant_key_version: tenant.as_ref().map_or(0, |record| record.key_version),
        tenant_key_oldest: tenant.as_ref().map_or(0, |record| record.oldest_key_version),
        tenant_warm_for: tenant.as_ref().map_or_else(Span::default, |record| record.warm_for),
        tenant: tenant.map(|record| record.tenant),
        credential: row.as_ref().map_or_else(|| Ok(Unverified::absent()), Unverified::of)?,
        institution,
        template,
        consent: consents::deciding(session, &query.tenant, &query.credential, query.now).await?,
        lease: grants::lease(session, &query.credential, query.now).await?,
        past: grants::past(session, query.worker, &query.request).await?,
        releases_last_hour: counts.last_hour,
        unattended_last_day: counts.unattended_last_day,
        unattended_last_at: counts.unattended_last_at,
        attendance_used,
        job_key: tenants::signing_key(session, &query.job_key).await?,
        attendance_key,
    })
}

impl Records {
    /// Everything a release decision reads, in one snapshot.
    ///
    /// # Errors
    /// The store's.
    pub async fn release_rows(&self, query: &ReleaseQuery<'_>) -> Result<ReleaseRows, Error> {
        let mut look = self.look();
        loop {
            let mut snapshot = look.begin().await?;
            let mut rows = Rows { query, rows: read(&mut snapshot, query).await? };
            if look.keeps(snapshot, &mut rows).await? {
                return Ok(rows.rows);
            }
        }
    }
}
