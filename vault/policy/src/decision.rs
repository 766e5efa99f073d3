//! What a decision is: a [`Grant`] that only this crate makes, or a [`Denial`], both with the ledger entry that will
//! say so.

use cofre_model::entry::{Entry, Epochs};
use cofre_model::id::{AttendanceId, CredentialId, JobId, RequestId, TenantId};
use cofre_model::permit::ReleaseWarrant;
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_model::wording::Attendance;

/// The outcome of deciding. Both are committed.
#[derive(Debug)]
#[must_use = "a decision that is not committed never happened"]
#[expect(clippy::large_enum_variant, reason = "one exists at a time, and it is moved twice")]
pub enum Decision {
    /// Release, if the commit still finds everything as decided.
    Permit(Grant),
    /// Refuse.
    Deny(Denial),
}

/// Permission to release, until committed only a proposal. Cannot be forged or copied.
///
/// ```compile_fail
/// # use cofre_policy::decision::Grant;
/// fn copy(grant: &Grant) -> Grant {
///     grant.clone()
/// }
/// ```
/// ```compile_fail
/// # use cofre_policy::decision::{Grant, GrantTerms};
/// fn forge(terms: GrantTerms) -> Grant {
///     Grant { terms } // private field
/// }
/// ```
/// The passing twin: whoever is handed one may read its terms.
/// ```
/// # use cofre_policy::decision::Grant;
/// fn until(grant: &Grant) -> cofre_model::time::Timestamp {
///     grant.terms().not_after
/// }
/// ```
#[derive(Debug)]
#[must_use = "a grant that is not committed never happened"]
pub struct Grant {
    terms: GrantTerms,
}

impl Grant {
    pub(crate) fn new(terms: GrantTerms) -> Self {
        Self { terms }
    }

    /// What was granted.
    #[must_use]
    pub fn terms(&self) -> &GrantTerms {
        &self.terms
    }

    /// Gives up the grant for its terms; the commit does this once.
    #[must_use]
    pub fn into_terms(self) -> GrantTerms {
        self.terms
    }
}

/// What a grant says and what the commit has to check again.
#[derive(Debug)]
pub struct GrantTerms {
    /// The epochs relied on.
    pub epochs: Epochs,
    /// The least of all time bounds relied on; the commit's own time must lie before it.
    pub not_after: Timestamp,
    /// The tenant.
    pub tenant: TenantId,
    /// The login.
    pub credential: CredentialId,
    /// The job.
    pub job: JobId,
    /// The request.
    pub request: RequestId,
    /// Its digest.
    pub request_digest: [u8; 32],
    /// Digest of the key the answer is sealed to.
    pub seal_key_digest: [u8; 32],
    /// The worker, as SPIFFE id text.
    pub worker: String,
    /// Attended or not.
    pub attendance: Attendance,
    /// The attendance statement to mark as used, with the instant it may be forgotten at.
    pub attendance_token: Option<(AttendanceId, Timestamp)>,
    /// The ledger index of the first grant where this is a repeat.
    pub redelivery_of: Option<u64>,
    /// For unattended grants: how many the last 24 hours may hold, this one included.
    pub unattended_per_day: u8,
    /// The lease ends at this instant.
    pub lease_until: Timestamp,
    /// What the permit will warrant.
    pub warrant: ReleaseWarrant,
    /// The entry.
    pub entry: Entry,
}

/// A refusal. A value, not an error; anybody may make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The exact reason.
    pub reason: Reason,
    /// When trying again makes sense.
    pub retry_at: Option<Timestamp>,
    /// The epochs relied on: a denial is checked again too.
    pub epochs: Epochs,
    /// The entry.
    pub entry: Entry,
}
