//! The job (6): signed by the tenant's scheduler for this very worker and login, and not past its deadline. That it
//! is a read needs no check: the closed list of purposes holds nothing else.

use cofre_model::reason::Reason;

use super::{Checked, ensure};
use crate::facts::{Evidence, Facts};

/// The statement held, and it names this caller, this tenant and the login that was looked up.
pub(super) fn holds(facts: &Facts) -> Checked {
    let Ok(job) = &facts.job else {
        return Err(Reason::JobInvalid.into());
    };
    ensure(job.worker == facts.caller.identity, Reason::JobInvalid)?;
    ensure(facts.tenant.as_ref().is_some_and(|tenant| tenant.id == job.tenant), Reason::JobInvalid)?;
    ensure(facts.now < job.deadline, Reason::JobInvalid)?;
    // The keys of the statements were valid when these were verified; nothing is granted that is over already.
    ensure(facts.now < facts.statements_until, Reason::JobInvalid)?;
    match &facts.credential {
        Evidence::Genuine(credential) => ensure(credential.id == job.credential, Reason::JobInvalid),
        Evidence::Absent | Evidence::Forged => Ok(()),
    }
}
