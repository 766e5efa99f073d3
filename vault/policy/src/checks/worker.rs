//! The worker: known, enabled (2) and assigned to this tenant at this institution (8). Its build is not looked at
//! here; build digests join with the registry that holds them.

use cofre_model::caller::Role;
use cofre_model::reason::Reason;
use cofre_model::registry::{InstitutionState, WorkerState};

use super::{Checked, ensure};
use crate::facts::{Evidence, Facts};

/// The registered worker is the caller and nobody has quarantined it. Unknown counts as quarantined.
pub(super) fn trusted(facts: &Facts) -> Checked {
    let trusted = facts.worker.as_ref().is_some_and(|worker| {
        worker.state == WorkerState::Enabled
            && worker.id.role() == Role::Worker
            && worker.id.to_string() == facts.caller.identity
    });
    ensure(trusted, Reason::WorkerQuarantined)
}

/// The pair of tenant and institution is one of the worker's, and the institution is served.
pub(super) fn assigned(facts: &Facts) -> Checked {
    let Evidence::Genuine(credential) = &facts.credential else {
        return Err(Reason::WorkerNotAssigned.into());
    };
    let assigned = facts.worker.as_ref().is_some_and(|worker| {
        worker
            .scopes
            .iter()
            .any(|(tenant, institution)| *tenant == credential.tenant && *institution == credential.institution)
    });
    ensure(assigned, Reason::WorkerNotAssigned)?;
    let served = facts.institution.as_ref().is_some_and(|institution| {
        institution.id == credential.institution && institution.state == InstitutionState::Enabled
    });
    ensure(served, Reason::InstitutionSuspended)
}
