//! The request (3): its id carries its time, is fresh and was not seen with another content. Its shape was checked
//! when it was parsed; the fields it names are looked at in step 17.

use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};

use super::{Checked, ensure};
use crate::facts::{Facts, Repeat};

/// How far the time in a request id may lie from now, either way.
pub(crate) const REQUEST_WINDOW: Span = Span::minutes(5);

/// More fields than any login form has; keeps a refusal's entry small whatever was asked.
pub(crate) const MOST_FIELDS: usize = 64;

/// Fresh, of sane size, and either new or an exact repeat.
pub(super) fn fresh(facts: &Facts) -> Checked {
    ensure(facts.request.fields.len() <= MOST_FIELDS, Reason::BadRequest)?;
    let made_at = Timestamp::from_millis(facts.request.id.unix_ms());
    let fresh = facts.now < made_at.plus(REQUEST_WINDOW) && made_at <= facts.now.plus(REQUEST_WINDOW);
    ensure(fresh, Reason::BadRequest)?;
    ensure(facts.request.repeat != Repeat::Other, Reason::Replay)
}
