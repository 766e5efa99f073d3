//! The tenant (5): served, and released for in this region.

use cofre_model::reason::Reason;
use cofre_model::registry::TenantState;

use super::{Checked, ensure};
use crate::facts::Facts;

/// Active and at home here. Without a job that holds there is no tenant to look at: step 6 refuses.
pub(super) fn served(facts: &Facts) -> Checked {
    match &facts.tenant {
        None => ensure(facts.job.is_err(), Reason::TenantSuspended),
        Some(tenant) => {
            ensure(tenant.state == TenantState::Active, Reason::TenantSuspended)?;
            ensure(tenant.home_region == facts.region, Reason::WrongRegion)
        }
    }
}
