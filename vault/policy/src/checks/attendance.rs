//! Presence (14): a fresh statement that the investor is there, used once; or, with nobody there, few enough visits
//! (RTS 2018/389, Article 36(5): at most four a day unless the investor asks).

use cofre_model::job::AttendanceStatement;
use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Attendance;

use super::{Checked, Refusal, ensure, lease};
use crate::facts::{AttendanceFacts, Evidence, Facts, Repeat};

/// How long a statement of presence counts.
pub(crate) const FRESH_FOR: Span = Span::minutes(5);
/// How far the front end's clock may run ahead of the vault's.
const AHEAD: Span = Span::secs(2);
/// The least time between two visits nobody attends.
pub const SPACING: Span = Span::minutes(30);
/// The rolling day in which unattended visits are counted.
const DAY: Span = Span::hours(24);

/// Attended and proven, or unattended and within the consent's limit.
pub(super) fn allowed(facts: &Facts) -> Checked {
    match &facts.attendance {
        AttendanceFacts::Invalid => Err(Reason::AttendanceInvalid.into()),
        AttendanceFacts::Attended { statement, used } => {
            ensure(!used && holds(statement, facts), Reason::AttendanceInvalid)
        }
        AttendanceFacts::Unattended { granted_last_day, last_at } => few_enough(facts, *granted_last_day, *last_at),
    }
}

fn holds(statement: &AttendanceStatement, facts: &Facts) -> bool {
    let Evidence::Genuine(credential) = &facts.credential else {
        return false;
    };
    facts.now < statement.issued_at.plus(FRESH_FOR)
        && statement.issued_at <= facts.now.plus(AHEAD)
        && statement.tenant == credential.tenant
        && statement.owner == credential.owner
        && statement.credential == credential.id
}

/// Visits are counted, not answers: an exact repeat, and a further release of a session that was counted, belong to a
/// visit that counts already. A session that began with the investor there was never counted.
fn few_enough(facts: &Facts, granted_last_day: u32, last_at: Option<Timestamp>) -> Checked {
    let Evidence::Genuine(consent) = &facts.consent else {
        return Err(Reason::FrequencyExceeded.into());
    };
    let counted_session = lease::own(facts).is_some_and(|lease| lease.attendance == Attendance::Unattended);
    let counted_already = matches!(facts.request.repeat, Repeat::Same { .. }) || counted_session;
    let others = granted_last_day.saturating_sub(u32::from(counted_already));
    if others >= u32::from(consent.unattended_per_day) {
        // A consent that allows none gives no instant to wait for: somebody has to be present.
        let retry_at = last_at.filter(|_| consent.unattended_per_day > 0).map(|last| last.plus(DAY));
        return Err(Refusal { reason: Reason::FrequencyExceeded, retry_at });
    }
    match last_at.map(|last| last.plus(SPACING)) {
        Some(free_at) if !counted_already && facts.now < free_at => {
            Err(Refusal::until(Reason::FrequencyExceeded, free_at))
        }
        Some(_) | None => Ok(()),
    }
}
