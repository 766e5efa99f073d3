//! The lease (18): one job session at a time per login. The session that holds it may ask again.

use cofre_model::reason::Reason;

use super::{Checked, Refusal};
use crate::facts::{Facts, LeaseFacts};

/// No live lease, or one of this very job, worker and seal key whose longest session is not over. The commit writes no
/// lease beyond that; a row that says otherwise was edited, and a grant on it would be over before it was given.
pub(super) fn free(facts: &Facts) -> Checked {
    match live(facts) {
        Some(lease) if own(facts).is_none_or(|own| facts.now >= own.session_ends()) => {
            Err(Refusal::until(Reason::LeaseHeld, lease.until))
        }
        Some(_) | None => Ok(()),
    }
}

/// The live lease of the asking job, worker and seal key.
pub(crate) fn own(facts: &Facts) -> Option<&LeaseFacts> {
    live(facts).filter(|lease| {
        facts.job.as_ref().is_ok_and(|job| job.id == lease.job)
            && lease.worker == facts.caller.identity
            && lease.seal_key_digest == facts.request.seal_key_digest
    })
}

fn live(facts: &Facts) -> Option<&LeaseFacts> {
    facts.lease.as_ref().filter(|lease| facts.now < lease.until)
}
