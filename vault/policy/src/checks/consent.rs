//! The investor's consent: in force at this instant (10) and wide enough for this use (11). One consent per login;
//! joint holders and advisers join as steps 12 and 13.

use cofre_model::consent::ConsentState;
use cofre_model::reason::Reason;

use super::{Checked, ensure};
use crate::facts::{Evidence, Facts};

/// There is a consent, its evidence is true, and now lies between its start and its end.
pub(super) fn in_force(facts: &Facts) -> Checked {
    let consent = match &facts.consent {
        Evidence::Absent => return Err(Reason::ConsentMissing.into()),
        Evidence::Forged => return Err(Reason::ConsentEvidenceInvalid.into()),
        Evidence::Genuine(consent) => consent,
    };
    match consent.state {
        ConsentState::AwaitingAuthorisation => Err(Reason::ConsentNotActive.into()),
        ConsentState::Revoked => Err(Reason::ConsentRevoked.into()),
        ConsentState::Expired => Err(Reason::ConsentExpired.into()),
        ConsentState::Active => {
            // A state is only as new as the sweep that wrote it: the end counts from its own instant.
            ensure(facts.now < consent.valid_until, Reason::ConsentExpired)?;
            ensure(consent.valid_from <= facts.now, Reason::ConsentNotActive)
        }
    }
}

/// Same tenant, login, person, purpose and recipient; no scope and no history beyond what was consented to. A job
/// that names no scope covers nothing and is refused.
pub(super) fn covers(facts: &Facts) -> Checked {
    let (Evidence::Genuine(consent), Evidence::Genuine(credential), Ok(job)) =
        (&facts.consent, &facts.credential, &facts.job)
    else {
        return Err(Reason::ConsentScopeExceeded.into());
    };
    let covered = consent.tenant == job.tenant
        && consent.credential == credential.id
        && consent.subject == credential.owner
        && consent.purpose == job.purpose
        && consent.recipient == job.recipient
        && !job.scopes.is_empty()
        && job.scopes.is_subset(&consent.scopes)
        && consent.history_from <= job.history_from;
    ensure(covered, Reason::ConsentScopeExceeded)
}
