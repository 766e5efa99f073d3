//! THE one error map: from the exact reason of a refusal to what leaves by the wire. Nothing but the public reason,
//! a fixed text, the entry's index and the field to mend goes out; the exact reason is for the register and its
//! auditors.

use std::borrow::Cow;
use std::collections::HashMap;

use cofre_model::reason::{PublicReason, Reason};
use cofre_model::time::Span;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::Level;

/// The domain of every `google.rpc.ErrorInfo` of this vault.
pub const DOMAIN: &str = "cofre";
/// The key under which `ErrorInfo` carries the index of the refusal's ledger entry.
pub const ENTRY: &str = "entry";

/// One row of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The status code.
    pub code: Code,
    /// What the caller is told.
    pub public: PublicReason,
    /// After what time the same call may do better; none where it will not.
    pub retry: Option<Span>,
    /// How loud the log is about it.
    pub level: Level,
}

/// The row of `reason`. Where a public reason stands for several exact ones, they share code and retry, save where
/// the caller has to tell them apart to act: another region, and a limit that time lifts.
#[must_use]
pub const fn row(reason: Reason) -> Row {
    use Reason as R;
    let (code, level) = match reason {
        R::PeerUntrusted => (Code::Unauthenticated, Level::WARN),
        R::WorkerQuarantined => (Code::PermissionDenied, Level::WARN),
        R::BadRequest => (Code::InvalidArgument, Level::INFO),
        R::Replay => (Code::AlreadyExists, Level::WARN),
        R::Lockdown | R::InstitutionSuspended => (Code::Unavailable, Level::INFO),
        R::AuditUnavailable | R::KeyServiceUnavailable | R::ClockUntrusted => (Code::Unavailable, Level::ERROR),
        R::TenantSuspended => (Code::PermissionDenied, Level::INFO),
        R::WrongRegion => (Code::FailedPrecondition, Level::INFO),
        R::JobInvalid | R::OperationNotReadOnly => (Code::PermissionDenied, Level::WARN),
        R::CredentialNotFound | R::NotFound => (Code::NotFound, Level::INFO),
        R::WorkerNotAssigned => (Code::PermissionDenied, Level::WARN),
        R::SecretRejected | R::LockedAtInstitution | R::CredentialEnrolling => (Code::FailedPrecondition, Level::INFO),
        R::Erased
        | R::ConsentMissing
        | R::ConsentNotActive
        | R::ConsentExpired
        | R::ConsentRevoked
        | R::ConsentScopeExceeded => (Code::PermissionDenied, Level::INFO),
        R::ConsentEvidenceInvalid => (Code::PermissionDenied, Level::ERROR),
        R::AttendanceInvalid => (Code::PermissionDenied, Level::INFO),
        R::FrequencyExceeded => (Code::ResourceExhausted, Level::INFO),
        R::PolicyDenied | R::FieldNotReleasable => (Code::PermissionDenied, Level::INFO),
        R::MethodNotAllowed | R::TransactionChallenge => (Code::PermissionDenied, Level::WARN),
        R::LeaseHeld => (Code::Aborted, Level::INFO),
        R::ConsentChanged | R::NotDelivered => (Code::Aborted, Level::INFO),
        R::KeyDisabled | R::IntegrityFailure | R::Internal => (Code::Internal, Level::ERROR),
        R::WrongState | R::ChallengeEnded => (Code::FailedPrecondition, Level::INFO),
        R::DuplicateLogin | R::DepositMalformed => (Code::InvalidArgument, Level::INFO),
        R::SigningFactorRefused => (Code::InvalidArgument, Level::WARN),
        R::RateLimited => (Code::ResourceExhausted, Level::INFO),
    };
    let public = reason.public();
    Row { code, public, retry: retry(public), level }
}

/// Retry times belong to the public reason, so that they cannot tell apart what it keeps together.
const fn retry(public: PublicReason) -> Option<Span> {
    use PublicReason as P;
    match public {
        P::Unavailable => Some(Span::secs(1)),
        P::TryAgain => Some(Span::millis(50)),
        P::LeaseHeld => Some(Span::secs(10)),
        P::PeerUntrusted
        | P::WorkerQuarantined
        | P::BadRequest
        | P::Replay
        | P::TenantNotServed
        | P::JobInvalid
        | P::NotFound
        | P::WorkerNotAssigned
        | P::UserActionNeeded
        | P::ConsentRequired
        | P::AttendanceRequired
        | P::NotPermitted
        | P::Internal
        | P::WrongState
        | P::DepositRefused => None,
    }
}

/// The sentence that goes with a public reason: what to do.
const fn text(public: PublicReason) -> &'static str {
    use PublicReason as P;
    match public {
        P::PeerUntrusted => "come back with a certificate this vault trusts",
        P::WorkerQuarantined => "stop: this worker is not served",
        P::BadRequest => "mend the request",
        P::Replay => "this request id is taken; use a new one",
        P::Unavailable => "not served right now; back off and try again",
        P::TenantNotServed => "this tenant is not served here",
        P::JobInvalid => "the job does not hold; ask for a new one",
        P::NotFound => "there is no such thing for this caller",
        P::WorkerNotAssigned => "this worker is not assigned to the tenant and institution",
        P::UserActionNeeded => "the investor has to act first",
        P::ConsentRequired => "no consent makes this releasable",
        P::AttendanceRequired => "ask the investor to be present, or come back later",
        P::NotPermitted => "not permitted; ask for less",
        P::LeaseHeld => "another job holds this login; come back later",
        P::TryAgain => "something changed meanwhile; repeat with the same request id",
        P::Internal => "the vault failed; it is recorded",
        P::WrongState => "the present state does not allow this call",
        P::DepositRefused => "the deposit was refused",
    }
}

/// A refusal on its way out. Holds what may be told, and the exact reason for the log.
#[derive(Debug, Clone)]
pub struct Refused {
    reason: Reason,
    entry: Option<u64>,
    field: Option<(Cow<'static, str>, Cow<'static, str>)>,
    retry: Option<Span>,
}

impl Refused {
    /// For `reason`, with what the map says about it.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { reason, entry: None, field: None, retry: row(reason).retry }
    }

    /// With the index of the ledger entry that records it, where known.
    #[must_use]
    pub const fn entry(mut self, index: Option<u64>) -> Self {
        self.entry = index;
        self
    }

    /// With the field to mend and the way out. Both are our own words, never the caller's.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>, way_out: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some((name.into(), way_out.into()));
        self
    }

    /// With a better retry time than the map's, such as the end of a lease.
    #[must_use]
    pub const fn retry_after(mut self, span: Span) -> Self {
        self.retry = Some(span);
        self
    }

    /// Logs it and makes the status.
    #[must_use]
    pub fn into_status(self) -> Status {
        let row = row(self.reason);
        log(self.reason, row.level, self.entry);
        let metadata: HashMap<String, String> =
            self.entry.map(|index| (ENTRY.to_owned(), index.to_string())).into_iter().collect();
        let mut details = ErrorDetails::new();
        details.set_error_info(row.public.to_string(), DOMAIN, metadata);
        if let Some(span) = self.retry {
            details.set_retry_info(Some(span.to_std()));
        }
        if let Some((name, way_out)) = &self.field {
            details.add_bad_request_violation(name.as_ref(), way_out.as_ref());
        }
        let message = match &self.field {
            Some((name, way_out)) => format!("{name}: {way_out}"),
            None => text(row.public).to_owned(),
        };
        Status::with_error_details(row.code, message, details)
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        refused.into_status()
    }
}

/// The status of a bare reason.
#[must_use]
pub fn status(reason: Reason) -> Status {
    Refused::new(reason).into_status()
}

fn log(reason: Reason, level: Level, entry: Option<u64>) {
    match level {
        Level::ERROR => tracing::error!(%reason, entry, "refused"),
        Level::WARN => tracing::warn!(%reason, entry, "refused"),
        Level::INFO => tracing::info!(%reason, entry, "refused"),
        Level::DEBUG | Level::TRACE => tracing::debug!(%reason, entry, "refused"),
    }
}

#[cfg(test)]
mod tests;
