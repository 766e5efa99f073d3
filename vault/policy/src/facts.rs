//! What is known when a release is decided. Facts are data from one snapshot; absence is a fact, not an error.
//! Signatures and row MACs were verified by whoever assembled them; what failed verification is said so here.

use cofre_model::consent::Consent;
use cofre_model::credential::{Credential, FieldRequest};
use cofre_model::entry::{CallerRef, EntryId, Epochs};
use cofre_model::id::{JobId, RequestId, Slug};
use cofre_model::job::{AttendanceStatement, Job};
use cofre_model::registry::{Institution, LockdownScope, Template, Tenant, Worker};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Class};

/// Everything a release decision may rely on.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The instant decided at; the commit checks its own clock again.
    pub now: Timestamp,
    /// Whether the clock agrees with the newest ledger entry to within two seconds.
    pub clock_trusted: bool,
    /// The region this cell decides for.
    pub region: Slug,
    /// The epochs the rows below were read at.
    pub epochs: Epochs,
    /// The random id the resulting entry will carry.
    pub entry_id: EntryId,
    /// The authenticated worker, for evidence.
    pub caller: CallerRef,
    /// What was asked.
    pub request: RequestFacts,
    /// The registered worker; nothing where it is unknown.
    pub worker: Option<Worker>,
    /// The widest stop button that is pressed and concerns this request.
    pub lockdown: Option<LockdownScope>,
    /// The job's tenant; nothing where it is unknown.
    pub tenant: Option<Tenant>,
    /// The version of the tenant's key in force, for evidence.
    pub tenant_key_version: u32,
    /// How long the tenant lets its key stay warm. Decides nothing; it is for whoever warms the key.
    pub tenant_warm_for: Span,
    /// The job, where its signature held.
    pub job: Result<Job, JobFault>,
    /// The end of the first of the keys that signed the job and the presence: no grant outlives it.
    pub statements_until: Timestamp,
    /// The login, where it exists in the job's tenant.
    pub credential: Evidence<Credential>,
    /// Its institution; nothing where it is unknown.
    pub institution: Option<Institution>,
    /// The template its fields follow.
    pub template: Option<Template>,
    /// The newest consent that names this login.
    pub consent: Evidence<Consent>,
    /// Whether and how the investor is present.
    pub attendance: AttendanceFacts,
    /// Granted releases of this login in the last hour.
    pub releases_last_hour: u32,
    /// Who holds the login now, if anybody.
    pub lease: Option<LeaseFacts>,
}

/// A row that decides, after its MAC was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence<T> {
    /// There is no such row for this tenant.
    Absent,
    /// There is one, but its MAC is not true: somebody edited the records.
    Forged,
    /// It is as it was committed. Rows that only end things need no MAC.
    Genuine(T),
}

/// The request, as far as it decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts {
    /// Its id; embeds its time.
    pub id: RequestId,
    /// Digest over everything the worker sent.
    pub digest: [u8; 32],
    /// Digest of the key the answer is to be sealed to.
    pub seal_key_digest: [u8; 32],
    /// The class of secret asked for.
    pub class: Class,
    /// The fields asked for.
    pub fields: Vec<FieldRequest>,
    /// Whether this id was seen before.
    pub repeat: Repeat,
}

/// Whether a request id was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Never seen.
    New,
    /// Seen with the same digest and seal key; its first grant stands at this ledger index.
    Same {
        /// Ledger index of the first grant.
        first: u64,
    },
    /// Seen with another content, or another key.
    Other,
}

/// Why a job does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobFault {
    /// The key is unknown, of another kind or past its end.
    Key,
    /// The signature does not verify, or the statement does not parse.
    Signature,
    /// It is a job for another login than the request names.
    Login,
}

/// Whether the investor is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttendanceFacts {
    /// No statement came with the request.
    Unattended {
        /// Unattended releases of this login granted in the last 24 hours.
        granted_last_day: u32,
        /// When the last of them was granted.
        last_at: Option<Timestamp>,
    },
    /// A statement came and its signature held.
    Attended {
        /// What was signed.
        statement: AttendanceStatement,
        /// Whether another request used it before.
        used: bool,
    },
    /// A statement came and does not hold.
    Invalid,
}

/// A live lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseFacts {
    /// The job that holds it.
    pub job: JobId,
    /// The worker that holds it, as SPIFFE id text.
    pub worker: String,
    /// Digest of the key its answers are sealed to.
    pub seal_key_digest: [u8; 32],
    /// When the session began: its first grant.
    pub since: Timestamp,
    /// How the session counts: UNATTENDED once a visit nobody attended was counted for it.
    pub attendance: Attendance,
    /// Until when.
    pub until: Timestamp,
}

impl LeaseFacts {
    /// However often a session asks again, it is over this long after its first grant.
    pub const LONGEST: Span = Span::secs(300);

    /// When its session is over, however often it asks again.
    #[must_use]
    pub const fn session_ends(&self) -> Timestamp {
        self.since.plus(Self::LONGEST)
    }
}
