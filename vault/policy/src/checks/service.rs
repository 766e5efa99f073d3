//! The service itself (4): its clock can be believed and nobody has pressed a stop button. Whether the ledger and
//! the custodian answer shows when they are asked; the commit and the opening of keys refuse by themselves.

use cofre_model::reason::Reason;

use super::{Checked, ensure};
use crate::facts::Facts;

/// Clock trusted, no lockdown.
pub(super) fn ready(facts: &Facts) -> Checked {
    ensure(facts.clock_trusted, Reason::ClockUntrusted)?;
    ensure(facts.lockdown.is_none(), Reason::Lockdown)
}
