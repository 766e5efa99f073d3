//! What must be true of every permitted release, said a second time and in other words than the checks use: from the
//! promises, not from the code. It shares nothing with the crate but the types of the facts.

use cofre_model::consent::ConsentState;
use cofre_model::credential::CredentialState;
use cofre_model::registry::{Institution, InstitutionState, TenantState, WorkerState};
use cofre_model::wording::{Attendance, Class, Form};
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, Repeat};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

/// The promise that a permit for these facts would break, if any.
pub(crate) fn broken_promise(facts: &Facts) -> Option<&'static str> {
    let now = facts.now.micros();
    let Evidence::Genuine(consent) = &facts.consent else { return Some("a true consent") };
    let Evidence::Genuine(login) = &facts.credential else { return Some("a true login") };
    let Ok(job) = &facts.job else { return Some("a signed job") };
    let (Some(worker), Some(tenant), Some(bank)) = (&facts.worker, &facts.tenant, &facts.institution) else {
        return Some("registered parties");
    };
    let made_at = facts.request.id.unix_ms() * 1_000;
    let session_goes_on = facts.lease.as_ref().is_some_and(|lease| {
        lease.until.micros() > now
            && lease.since.micros().saturating_add(5 * MINUTE) > now
            && lease.job == job.id
            && lease.worker == facts.caller.identity
            && lease.seal_key_digest == facts.request.seal_key_digest
    });
    let repeated = matches!(facts.request.repeat, Repeat::Same { .. });
    let promises = [
        ("nobody pressed stop", facts.lockdown.is_none() && facts.clock_trusted),
        ("consent is active", matches!(consent.state, ConsentState::Active)),
        ("consent has begun", consent.valid_from.micros() <= now),
        ("consent has not ended", consent.valid_until.micros() > now),
        ("consent is for this login", consent.credential == login.id && consent.credential == job.credential),
        ("consent is by the holder", consent.subject == login.owner),
        ("one tenant throughout", [consent.tenant, login.tenant, job.tenant].iter().all(|id| *id == tenant.id)),
        ("consent names the purpose", consent.purpose == job.purpose),
        ("consent names the recipient", consent.recipient == job.recipient),
        ("some scope", job.scopes.iter().next().is_some()),
        ("scopes consented to", job.scopes.iter().all(|scope| consent.scopes.iter().any(|given| given == scope))),
        ("history consented to", job.history_from.micros() >= consent.history_from.micros()),
        ("the job is this worker's", job.worker == facts.caller.identity && worker.id.to_string() == job.worker),
        ("the job is not late", job.deadline.micros() > now),
        ("the keys of the statements are valid", facts.statements_until.micros() > now),
        ("the worker is trusted", worker.state != WorkerState::Quarantined),
        ("the worker is assigned", worker.scopes.contains(&(login.tenant, login.institution.clone()))),
        ("the tenant is served here", tenant.state == TenantState::Active && tenant.home_region == facts.region),
        ("the bank is served", bank.state == InstitutionState::Enabled && bank.id == login.institution),
        (
            "the request is of now",
            (now..=now + 10 * MINUTE).contains(&(made_at + 5 * MINUTE)) && made_at + 5 * MINUTE != now,
        ),
        ("the request is no replay", !matches!(facts.request.repeat, Repeat::Other)),
        ("a secret rests", login.secret_version >= 1 && login.not_before.micros() <= now),
        ("the login is enrolled, its secret not refused", login.state == CredentialState::Active),
        ("no seed leaves", matches!(facts.request.class, Class::Login)),
        ("fields as narrow as the form says", fields_are_narrow(facts)),
        (
            "one session at a time",
            session_goes_on || facts.lease.as_ref().is_none_or(|lease| lease.until.micros() <= now),
        ),
    ];
    let broken = promises.iter().find(|(_, kept)| !kept).map(|(promise, _)| *promise);
    broken.or_else(|| match &facts.attendance {
        AttendanceFacts::Invalid => Some("presence is proven"),
        AttendanceFacts::Attended { statement, used } => {
            let issued = statement.issued_at.micros();
            let of_this =
                (statement.tenant, statement.owner, statement.credential) == (tenant.id, login.owner, login.id);
            let kept = !used && of_this && issued <= now + 2 * SECOND && now < issued + 5 * MINUTE;
            (!kept).then_some("presence is fresh, used once and for this login")
        }
        AttendanceFacts::Unattended { granted_last_day, last_at } => {
            let counted = facts.lease.as_ref().is_some_and(|lease| lease.attendance == Attendance::Unattended);
            let same_visit = repeated || (session_goes_on && counted);
            let visits = if same_visit { (*granted_last_day).max(1) } else { granted_last_day + 1 };
            let spaced = same_visit || last_at.is_none_or(|last| now >= last.micros() + 30 * MINUTE);
            let few = visits <= u32::from(consent.unattended_per_day);
            (!(few && spaced)).then_some("unattended visits are few and spaced")
        }
    })
}

/// What the shipped policies promise beyond the invariants: nobody unattended outside the bank's hours.
pub(crate) fn is_welcome(facts: &Facts) -> bool {
    let attended = matches!(facts.attendance, AttendanceFacts::Attended { .. });
    let minute = facts.now.micros() / MINUTE % 1440;
    let in_hours =
        |bank: &Institution| (u64::from(bank.unattended_from)..u64::from(bank.unattended_to)).contains(&minute);
    attended || facts.institution.as_ref().is_some_and(in_hours)
}

fn fields_are_narrow(facts: &Facts) -> bool {
    let Some(form) = &facts.template else { return false };
    let mut seen = Vec::new();
    for asked in &facts.request.fields {
        let Some(field) = form.fields.iter().find(|field| field.key == asked.key) else { return false };
        let allowed: &[Form] = match field.release_form {
            Form::Full => &[Form::Full, Form::Positions, Form::Code],
            Form::Positions => &[Form::Positions, Form::Code],
            Form::Code => &[Form::Code],
        };
        let mut ascending = asked.positions.clone();
        ascending.sort_unstable();
        ascending.dedup();
        let positions_fit = (asked.form == Form::Positions) != asked.positions.is_empty();
        if field.signing_factor
            || !allowed.contains(&asked.form)
            || !positions_fit
            || ascending != asked.positions
            || asked.positions.contains(&0)
            || seen.contains(&&asked.key)
        {
            return false;
        }
        seen.push(&asked.key);
    }
    !seen.is_empty()
}
