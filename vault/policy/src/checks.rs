//! The invariants of a release, one family per file, and the order they are asked in. The first that does not hold
//! decides. No policy can relax any of them: policies are one step in the middle of this list.
//!
//! Not checked here: the peer's certificate (the counter does that before facts exist), joint holders, advisers and
//! second-factor freshness (steps 12, 13 and 15 of the list join with joint consents), and everything the commit
//! checks again under its lock.

mod attendance;
mod consent;
mod credential;
mod fields;
mod job;
mod lease;
mod request;
mod service;
mod tenant;
mod worker;

pub(crate) use attendance::FRESH_FOR;
pub use attendance::SPACING;
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
pub(crate) use lease::own as own_lease;
pub(crate) use request::{MOST_FIELDS, REQUEST_WINDOW};

use crate::facts::Facts;

/// A check that did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) retry_at: Option<Timestamp>,
}

impl Refusal {
    /// A refusal that says when trying again makes sense.
    pub(crate) const fn until(reason: Reason, retry_at: Timestamp) -> Self {
        Self { reason, retry_at: Some(retry_at) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_at: None }
    }
}

/// What one check says.
pub(crate) type Checked = Result<(), Refusal>;

/// Refuses with `reason` unless `holds`.
pub(crate) fn ensure(holds: bool, reason: Reason) -> Checked {
    if holds { Ok(()) } else { Err(reason.into()) }
}

/// How a step is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    /// An invariant: a pure function of the facts.
    Invariant(fn(&Facts) -> Checked),
    /// The policies in force.
    Policies,
}

/// One step of the decision.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its number in the published list of checks; stands in the register as `invariant:<number>`.
    pub number: u8,
    /// What it holds.
    pub title: &'static str,
    /// Every reason it can refuse with.
    pub reasons: &'static [Reason],
    pub(crate) asked: Asked,
}

const fn step(number: u8, title: &'static str, check: fn(&Facts) -> Checked, reasons: &'static [Reason]) -> Step {
    Step { number, title, reasons, asked: Asked::Invariant(check) }
}

/// The steps of a release decision, in the order they are asked.
pub const ORDER: [Step; 14] = [
    step(2, "the worker is known and enabled", worker::trusted, &[Reason::WorkerQuarantined]),
    step(3, "the request is fresh and new", request::fresh, &[Reason::BadRequest, Reason::Replay]),
    step(4, "the service may decide", service::ready, &[Reason::ClockUntrusted, Reason::Lockdown]),
    step(5, "the tenant is served, here", tenant::served, &[Reason::TenantSuspended, Reason::WrongRegion]),
    step(6, "the job holds for this worker", job::holds, &[Reason::JobInvalid]),
    step(
        7,
        "the login exists in this tenant",
        credential::exists,
        &[Reason::CredentialNotFound, Reason::IntegrityFailure],
    ),
    step(
        8,
        "the worker is assigned, the institution served",
        worker::assigned,
        &[Reason::WorkerNotAssigned, Reason::InstitutionSuspended],
    ),
    step(
        9,
        "the login may be used",
        credential::usable,
        &[
            Reason::SecretRejected,
            Reason::LockedAtInstitution,
            Reason::CredentialEnrolling,
            Reason::Erased,
            Reason::ConsentRevoked,
            Reason::ConsentExpired,
        ],
    ),
    step(
        10,
        "a consent is in force",
        consent::in_force,
        &[
            Reason::ConsentMissing,
            Reason::ConsentNotActive,
            Reason::ConsentExpired,
            Reason::ConsentRevoked,
            Reason::ConsentEvidenceInvalid,
        ],
    ),
    step(11, "the consent covers this use", consent::covers, &[Reason::ConsentScopeExceeded]),
    step(
        14,
        "the investor is present, or visits are few",
        attendance::allowed,
        &[Reason::AttendanceInvalid, Reason::FrequencyExceeded],
    ),
    Step { number: 16, title: "the policies agree", reasons: &[Reason::PolicyDenied], asked: Asked::Policies },
    step(17, "only what the template lets leave", fields::narrow, &[Reason::FieldNotReleasable]),
    step(18, "nobody else holds the login", lease::free, &[Reason::LeaseHeld]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_asked_in_the_order_of_their_numbers() {
        assert!(ORDER.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(ORDER.iter().filter(|step| matches!(step.asked, Asked::Policies)).count(), 1);
        assert!(ORDER.iter().all(|step| !step.reasons.is_empty()));
    }
}
