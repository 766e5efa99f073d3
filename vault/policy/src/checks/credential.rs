//! The login: it exists in the job's tenant (7) and may be used (9). Another tenant's login is answered exactly like
//! one that does not exist.

use cofre_model::credential::CredentialState;
use cofre_model::reason::Reason;

use super::{Checked, Refusal, consent, ensure};
use crate::facts::{Evidence, Facts};

/// There is such a login in this tenant, and its row is what was committed.
pub(super) fn exists(facts: &Facts) -> Checked {
    match (&facts.credential, &facts.job) {
        (Evidence::Forged, _) => Err(Reason::IntegrityFailure.into()),
        // An enrolment that ended without a login leaves an id behind, but never a login.
        (Evidence::Genuine(credential), Ok(job)) => ensure(
            credential.tenant == job.tenant && credential.state != CredentialState::Discarded,
            Reason::CredentialNotFound,
        ),
        (Evidence::Absent, _) | (Evidence::Genuine(_), Err(_)) => Err(Reason::CredentialNotFound.into()),
    }
}

/// A secret rests, the institution has not refused or locked it, and nobody has asked for its end.
pub(super) fn usable(facts: &Facts) -> Checked {
    let Evidence::Genuine(credential) = &facts.credential else {
        return Err(Reason::CredentialNotFound.into());
    };
    match credential.state {
        CredentialState::SecretRejected => Err(Reason::SecretRejected.into()),
        CredentialState::Erasing | CredentialState::Erased => Err(ended(facts)),
        // The deposit makes a login active; before that there is nothing to release, whoever is present.
        CredentialState::Enrolling => Err(Reason::CredentialEnrolling.into()),
        CredentialState::Active => ensure(credential.secret_version > 0, Reason::CredentialEnrolling),
        CredentialState::Discarded => Err(Reason::CredentialNotFound.into()),
    }?;
    if facts.now < credential.not_before {
        return Err(Refusal::until(Reason::LockedAtInstitution, credential.not_before));
    }
    Ok(())
}

/// Why an erased login is refused: where its consent ended first, that is the reason.
fn ended(facts: &Facts) -> Refusal {
    match consent::in_force(facts) {
        Err(refusal) if matches!(refusal.reason, Reason::ConsentRevoked | Reason::ConsentExpired) => refusal,
        Ok(()) | Err(_) => Reason::Erased.into(),
    }
}
