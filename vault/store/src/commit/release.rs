//! The commit of a decision. A grant is checked again against the rows as they stand under the write lock; what
//! conflicts is a verdict, recorded as a denial, and never an error.

use cofre_model::entry::{Entry, EntryKind, Epochs, Verdict};
use cofre_model::permit::{EntryRef, ReleaseWarrant};
use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Attendance;
use cofre_policy::checks::SPACING;
use cofre_policy::decision::{Denial, GrantTerms};
use cofre_policy::facts::{LeaseFacts, Repeat};

use crate::commit::carrier::Outcome;
use crate::commit::group::Group;
use crate::error::{CommitError, Error};
use crate::records::{consents, deciding, epochs, grants};
use crate::row::{column, instant};
use crate::statement::statement;

/// Why a grant is not committed as one, and when trying again makes sense.
type Refusal = (Reason, Option<Timestamp>);

/// Where a grant belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    standing: Standing,
    /// When its session began.
    since: Timestamp,
    /// How its session counts from here on.
    attendance: Attendance,
    /// The lease ends at this instant.
    until: Timestamp,
}

/// How a grant stands towards what was granted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A new session: counted.
    New,
    /// A further release in a live session: not counted again.
    Session,
    /// The first one nobody attends in a session that began attended: counted.
    Counted,
    /// An exact repeat of the grant at this index: not counted again.
    Repeat(u64),
}

/// `late` says that the answer may not leave any more, however soon the commit is done.
pub(crate) async fn grant(group: &mut Group<'_>, terms: GrantTerms, late: bool) -> Result<Outcome, CommitError> {
    let now = epochs::current(group.rows(), Some(&terms.worker), Some(&terms.tenant), Some(&terms.credential)).await?;
    if now != terms.epochs {
        return Ok(Outcome::Moved);
    }
    let checked = if late { Err((Reason::NotDelivered, None)) } else { check(group, &terms).await? };
    match checked {
        Ok(place) => write(group, terms, place).await,
        Err((reason, retry_at)) => {
            group.append(refused(terms.entry, reason)).await?;
            Ok(Outcome::Denied(reason, retry_at))
        }
    }
}

pub(crate) async fn deny(group: &mut Group<'_>, denial: Denial) -> Result<Outcome, CommitError> {
    if moved(group, &denial).await? {
        return Ok(Outcome::Moved);
    }
    group.append(refused(denial.entry, denial.reason)).await?;
    Ok(Outcome::Denied(denial.reason, denial.retry_at))
}

async fn moved(group: &mut Group<'_>, denial: &Denial) -> Result<bool, Error> {
    let entry = &denial.entry;
    let worker = entry.caller.as_ref().map(|caller| caller.identity.as_str());
    let now = epochs::current(group.rows(), worker, entry.tenant.as_ref(), entry.credential.as_ref()).await?;
    Ok(now != relied_on(denial))
}

/// A denial names what it relied on as far as that was known; what its entry does not name is not compared.
pub(crate) fn relied_on(denial: &Denial) -> Epochs {
    let (entry, then) = (&denial.entry, denial.epochs);
    let named = |named: bool, value: u64| if named { value } else { 0 };
    let login = entry.tenant.is_some() && entry.credential.is_some();
    Epochs {
        cell: then.cell,
        policy: then.policy,
        tenant: named(entry.tenant.is_some(), then.tenant),
        institution: named(login, then.institution),
        worker: named(entry.caller.is_some(), then.worker),
        credential: named(login, then.credential),
    }
}

/// The same entry, saying no.
fn refused(entry: Entry, reason: Reason) -> Entry {
    Entry {
        kind: EntryKind::Denied,
        verdict: Some(Verdict::Denied),
        reason: Some(reason),
        lease_until: None,
        follows: None,
        ..entry
    }
}

async fn check(group: &mut Group<'_>, terms: &GrantTerms) -> Result<Result<Place, Refusal>, Error> {
    let at = group.at();
    if !group.clock_trusted() {
        return Ok(Err((Reason::ClockUntrusted, None)));
    }
    if at >= terms.not_after {
        return Ok(Err((lapsed(group, terms).await?, None)));
    }
    let past = grants::past(group.rows(), &terms.worker, &terms.request).await?;
    let repeat = past.as_ref().map_or(Repeat::New, |past| past.repeat(&terms.request_digest, &terms.seal_key_digest));
    if repeat == Repeat::Other {
        return Ok(Err((Reason::Replay, None)));
    }
    let lease = grants::lease(group.rows(), &terms.credential, at).await?;
    if let Some(lease) = &lease
        && (lease.job != terms.job || lease.worker != terms.worker || lease.seal_key_digest != terms.seal_key_digest)
    {
        return Ok(Err((Reason::LeaseHeld, Some(lease.until))));
    }
    if let Some((token, _)) = &terms.attendance_token
        && deciding::token_used(group.rows(), token, &terms.worker, &terms.request).await?
    {
        return Ok(Err((Reason::AttendanceInvalid, None)));
    }
    let standing = standing(repeat, lease.as_ref(), terms.attendance);
    if matches!(standing, Standing::New | Standing::Counted)
        && let Some(refusal) = within_frequency(group, terms).await?
    {
        return Ok(Err(refusal));
    }
    let began = match (&lease, standing, &past) {
        (Some(lease), _, _) => lease.since,
        (None, Standing::Repeat(_), Some(past)) => past.session,
        (None, _, _) => at,
    };
    let ends = began.plus(LeaseFacts::LONGEST);
    if ends <= at {
        // SECURITY: without this, repeats would carry one session on for as long as the job lasts.
        return Ok(Err((Reason::Replay, None)));
    }
    let counted = lease.as_ref().is_some_and(|lease| lease.attendance == Attendance::Unattended);
    Ok(Ok(Place {
        standing,
        since: began,
        attendance: if counted { Attendance::Unattended } else { terms.attendance },
        until: lease.map_or(terms.lease_until, |lease| lease.until.max(terms.lease_until)).min(ends),
    }))
}

fn standing(repeat: Repeat, lease: Option<&LeaseFacts>, attendance: Attendance) -> Standing {
    match (repeat, lease) {
        (Repeat::Same { first }, _) => Standing::Repeat(first),
        (_, Some(lease)) if attendance == Attendance::Unattended && lease.attendance == Attendance::Attended => {
            Standing::Counted
        }
        (_, Some(_)) => Standing::Session,
        (_, None) => Standing::New,
    }
}

/// Which bound has passed: the consent's, the attendance statement's, or else the job's.
async fn lapsed(group: &mut Group<'_>, terms: &GrantTerms) -> Result<Reason, Error> {
    let at = group.at();
    let consent = consents::deciding(group.rows(), &terms.tenant, &terms.credential, at).await?;
    Ok(match consent.claimed() {
        Some(consent) if consent.valid_until <= at => Reason::ConsentExpired,
        _ if terms.attendance == Attendance::Attended => Reason::AttendanceInvalid,
        _ => Reason::JobInvalid,
    })
}

/// Unattended sessions of the rolling 24 hours, this one included (RTS 2018/389, Article 36(5)(b)), and the time
/// between two of them.
async fn within_frequency(group: &mut Group<'_>, terms: &GrantTerms) -> Result<Option<Refusal>, Error> {
    if terms.attendance == Attendance::Attended {
        return Ok(None);
    }
    let at = group.at();
    let counts = grants::counts(group.rows(), &terms.credential, at).await?;
    if counts.unattended_last_day >= u32::from(terms.unattended_per_day) {
        let retry_at = counts.unattended_first_at.map(|first| first.plus(Span::days(1)));
        return Ok(Some((Reason::FrequencyExceeded, retry_at)));
    }
    let free_at = counts.unattended_last_at.map(|last| last.plus(SPACING)).filter(|free_at| at < *free_at);
    Ok(free_at.map(|free_at| (Reason::FrequencyExceeded, Some(free_at))))
}

async fn write(group: &mut Group<'_>, terms: GrantTerms, place: Place) -> Result<Outcome, CommitError> {
    let (kind, follows) = match place.standing {
        Standing::Repeat(first) => (EntryKind::Redelivered, Some(first)),
        Standing::New | Standing::Session | Standing::Counted => (EntryKind::Granted, None),
    };
    let entry = Entry {
        kind,
        follows,
        verdict: Some(Verdict::Granted),
        reason: None,
        lease_until: Some(place.until),
        ..terms.entry.clone()
    };
    let at = group.append(entry).await?;
    match place.standing {
        Standing::Repeat(_) => again(group, &terms, &place).await?,
        Standing::New | Standing::Session | Standing::Counted => remember(group, &terms, &place, &at).await?,
    }
    hold(group, &terms, &place).await?;
    use_token(group, &terms, at.time).await?;
    Ok(Outcome::Granted(ReleaseWarrant { lease_until: place.until, ..terms.warrant }))
}

async fn remember(group: &mut Group<'_>, terms: &GrantTerms, place: &Place, at: &EntryRef) -> Result<(), Error> {
    statement(
        "INSERT INTO releases (tenant_id, worker_id, request_id, credential_id, owner_id, job_id, digest, seal_key_digest,
           secret_version, attendance, counted, at, entry_index, session_since, answers)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(terms.tenant.to_string())
    .bind(&terms.worker)
    .bind(terms.request.to_string())
    .bind(terms.credential.to_string())
    .bind(terms.warrant.owner.to_string())
    .bind(terms.job.to_string())
    .bind(terms.request_digest.to_vec())
    .bind(terms.seal_key_digest.to_vec())
    .bind(i64::from(terms.warrant.secret_version))
    .bind(terms.attendance.as_str())
    .bind(i64::from(place.standing != Standing::Session))
    .bind(instant(at.time))
    .bind(column(at.index))
    .bind(instant(place.since))
    .execute(group.rows())
    .await?;
    Ok(())
}

/// A repeat: one more answer of the same request may leave.
async fn again(group: &mut Group<'_>, terms: &GrantTerms, place: &Place) -> Result<(), Error> {
    statement("UPDATE releases SET answers = answers + 1, session_since = ? WHERE worker_id = ? AND request_id = ?")
        .bind(instant(place.since))
        .bind(&terms.worker)
        .bind(terms.request.to_string())
        .execute(group.rows())
        .await?;
    Ok(())
}

/// A lease that is over is replaced, a live one of the same session only ever extended.
async fn hold(group: &mut Group<'_>, terms: &GrantTerms, place: &Place) -> Result<(), Error> {
    statement(
        "INSERT INTO leases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (credential_id) DO UPDATE SET job_id = ?2,
           worker_id = ?3, seal_key_digest = ?4, until = ?5, since = ?6, attendance = ?7",
    )
    .bind(terms.credential.to_string())
    .bind(terms.job.to_string())
    .bind(&terms.worker)
    .bind(terms.seal_key_digest.to_vec())
    .bind(instant(place.until))
    .bind(instant(place.since))
    .bind(place.attendance.as_str())
    .execute(group.rows())
    .await?;
    Ok(())
}

async fn use_token(group: &mut Group<'_>, terms: &GrantTerms, at: Timestamp) -> Result<(), Error> {
    let Some((token, until)) = &terms.attendance_token else { return Ok(()) };
    statement("INSERT INTO tokens_used VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(token.to_string())
        .bind(&terms.worker)
        .bind(terms.request.to_string())
        .bind(instant(*until))
        .execute(group.rows())
        .await?;
    statement("DELETE FROM tokens_used WHERE until < ?").bind(instant(at)).execute(group.rows()).await?;
    Ok(())
}
