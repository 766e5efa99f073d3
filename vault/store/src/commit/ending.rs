//! Operations that take something away: reports, stop buttons, quarantine, erasure. None of them needs a key.

use cofre_model::consent::ConsentState;
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::EntryId;
use cofre_model::id::{ConsentId, CredentialId, ErasureId, InstitutionId, JobId, SubjectId, TenantId};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Outcome;

use crate::columns;
use crate::commit::apply::{ABSENT, WRONG_STATE};
use crate::commit::change::Change;
use crate::commit::enrolment;
use crate::commit::group::Group;
use crate::commit::operation::Lockdown;
use crate::commit::registry::Follows;
use crate::error::CommitError;
use crate::records::erasures::{self, ErasureState};
use crate::records::grants::OpenGrant;
use crate::records::subjects::{self, SubjectState};
use crate::records::{credentials, grants};
use crate::row::{Cells, column, instant};
use crate::statement::statement;
use crate::unverified::set_aside;

/// A report is taken this long after the end of its lease.
pub(crate) const REPORT_GRACE: Span = Span::minutes(10);
/// No grant opens a lease longer than this.
pub(crate) const LONGEST_LEASE: Span = Span::secs(120);
/// No report locks a login for longer than this, and a clock's difference more.
pub(crate) const LONGEST_LOCK: Span = Span::hours(7 * 24 + 1);

/// Any change to a login, its consents or its parties: decisions made before it are void.
pub(crate) async fn move_credential(group: &mut Group<'_>, credential: &CredentialId) -> Result<(), CommitError> {
    statement("UPDATE credentials SET epoch = epoch + 1 WHERE id = ?")
        .bind(credential.to_string())
        .execute(group.rows())
        .await?;
    Ok(())
}

/// A row under a MAC.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tagged<'a> {
    Consent(&'a ConsentId),
    Credential(&'a CredentialId),
}

/// For a row that was ended just now: its MAC goes, and only a digest of it stays. Without this, who edits the state
/// back would have a row whose MAC is true again.
pub(crate) async fn set_tag_aside(group: &mut Group<'_>, row: Tagged<'_>) -> Result<(), CommitError> {
    let (table, read, write, id) = match row {
        Tagged::Consent(id) => (
            columns::CONSENTS,
            "SELECT tag FROM consents WHERE id = ? AND tag <> x''",
            "UPDATE consents SET tag = x'', last_tag = ? WHERE id = ?",
            id.to_string(),
        ),
        Tagged::Credential(id) => (
            columns::CREDENTIALS,
            "SELECT tag FROM credentials WHERE id = ? AND tag <> x''",
            "UPDATE credentials SET tag = x'', last_tag = ? WHERE id = ?",
            id.to_string(),
        ),
    };
    // One that was ended before has none any more, and keeps the digest it has.
    if let Some(held) = statement(read).bind(&id).fetch_optional(group.rows()).await? {
        let aside = set_aside(Cells::of(table, &held).blob("tag")?);
        statement(write).bind(aside.to_vec()).bind(&id).execute(group.rows()).await?;
    }
    Ok(())
}

/// Which leases.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leases<'a> {
    All,
    Tenant(&'a TenantId),
    Institution(&'a InstitutionId),
    Credential(&'a CredentialId),
    Worker(&'a str),
}

/// Ends leases, and tells of those that were live.
pub(crate) async fn end_leases(group: &mut Group<'_>, which: Leases<'_>) -> Result<(), CommitError> {
    let (text, of) = match which {
        Leases::All => ("DELETE FROM leases WHERE ?1 = '' RETURNING *", String::new()),
        Leases::Tenant(id) => (
            "DELETE FROM leases WHERE credential_id IN (SELECT id FROM credentials WHERE tenant_id = ?1) RETURNING *",
            id.to_string(),
        ),
        Leases::Institution(id) => (
            "DELETE FROM leases WHERE credential_id IN (SELECT id FROM credentials WHERE institution_id = ?1) RETURNING *",
            id.to_string(),
        ),
        Leases::Credential(id) => ("DELETE FROM leases WHERE credential_id = ?1 RETURNING *", id.to_string()),
        Leases::Worker(id) => ("DELETE FROM leases WHERE worker_id = ?1 RETURNING *", id.to_owned()),
    };
    let ended = statement(text).bind(of).fetch_all(group.rows()).await?;
    for row in &ended {
        let cells = Cells::of("leases", row);
        if cells.time("until")? > group.at() {
            group.changes.push(Change::LeaseEnded {
                credential: cells.id("credential_id")?,
                job: cells.id("job_id")?,
                worker: cells.string("worker_id")?,
            });
        }
    }
    Ok(())
}

pub(crate) async fn report(
    group: &mut Group<'_>,
    entry: &EntryId,
    credential: &CredentialId,
    job: &JobId,
    worker: &str,
    outcome: Outcome,
    lock: Option<&(Credential, [u8; 32])>,
) -> Follows {
    let grant = grants::newest(group.rows(), credential, job).await?.ok_or(ABSENT)?;
    if grant.worker != worker {
        return Err(ABSENT);
    }
    if grant.outcome.is_some() || group.at() > reportable_until(&grant) {
        return Err(WRONG_STATE);
    }
    statement(
        "UPDATE releases SET outcome = ? WHERE credential_id = ? AND job_id = ? AND worker_id = ? AND outcome IS NULL",
    )
    .bind(outcome.as_str())
    .bind(credential.to_string())
    .bind(job.to_string())
    .bind(worker)
    .execute(group.rows())
    .await?;
    statement("DELETE FROM leases WHERE credential_id = ? AND job_id = ? AND worker_id = ?")
        .bind(credential.to_string())
        .bind(job.to_string())
        .bind(worker)
        .execute(group.rows())
        .await?;
    if outcome == Outcome::WrongSecret {
        // A secret entered anew since then was not tried yet.
        let rejected = statement(
            "UPDATE credentials SET state = 'SECRET_REJECTED', epoch = epoch + 1 WHERE id = ? AND state = 'ACTIVE' AND secret_version = ?",
        )
        .bind(credential.to_string())
        .bind(i64::from(grant.secret_version))
        .execute(group.rows())
        .await?;
        if rejected > 0 {
            set_tag_aside(group, Tagged::Credential(credential)).await?;
        }
    }
    if let Some((row, tag)) = lock {
        lock_login(group, entry, &grant.tenant, credential, (row, tag)).await?;
    }
    Ok(Some(grant.index))
}

/// A worker speaks of a login only while it holds it, and shortly after. Where another session or a stop button took
/// the lease away, the longest lease a grant can open counts from the grant.
fn reportable_until(grant: &OpenGrant) -> Timestamp {
    grant.lease_until.unwrap_or_else(|| grant.at.plus(LONGEST_LEASE)).plus(REPORT_GRACE)
}

/// Nothing but `not_before` may change, and only to later.
async fn lock_login(
    group: &mut Group<'_>,
    entry: &EntryId,
    tenant: &TenantId,
    credential: &CredentialId,
    (row, tag): (&Credential, &[u8; 32]),
) -> Result<(), CommitError> {
    let known = credentials::credential(group.rows(), tenant, credential).await?.ok_or(ABSENT)?.claimed;
    let locked = Credential { not_before: row.not_before, ..known.clone() };
    // However wrong the report: the login is not lost for longer than this.
    if row.not_before > group.at().plus(LONGEST_LOCK) {
        return Err(WRONG_STATE);
    }
    if known.state != CredentialState::Active || *row != locked || row.not_before < known.not_before {
        return Err(WRONG_STATE);
    }
    enrolment::rewrite(group, row, entry, tag).await
}

pub(crate) async fn lockdown(group: &mut Group<'_>, lockdown: &Lockdown) -> Follows {
    statement("INSERT INTO lockdowns VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(lockdown.scope().as_str())
        .bind(lockdown.id())
        .execute(group.rows())
        .await?;
    statement("UPDATE cell SET epoch = epoch + 1").execute(group.rows()).await?;
    group.changes.push(Change::Lockdown(lockdown.clone()));
    let which = match lockdown {
        Lockdown::Platform => Leases::All,
        Lockdown::Tenant(id) => Leases::Tenant(id),
        Lockdown::Institution(id) => Leases::Institution(id),
        Lockdown::Credential(id) => Leases::Credential(id),
    };
    end_leases(group, which).await?;
    Ok(None)
}

pub(crate) async fn quarantine(group: &mut Group<'_>, worker: &str) -> Follows {
    let found = statement("UPDATE workers SET state = 'QUARANTINED', epoch = epoch + 1 WHERE spiffe_id = ?")
        .bind(worker)
        .execute(group.rows())
        .await?;
    if found == 0 {
        return Err(ABSENT);
    }
    group.changes.push(Change::WorkerQuarantined { worker: worker.to_owned() });
    end_leases(group, Leases::Worker(worker)).await?;
    Ok(None)
}

pub(crate) async fn accept_erasure(
    group: &mut Group<'_>,
    erasure: &ErasureId,
    tenant: &TenantId,
    subject: &SubjectId,
) -> Follows {
    let person = subjects::subject(group.rows(), tenant, subject).await?.ok_or(ABSENT)?;
    if person.state != SubjectState::Active {
        return Err(WRONG_STATE);
    }
    let mut ended = Vec::new();
    for record in credentials::of_owner(group.rows(), tenant, subject).await? {
        let id = record.claimed.id;
        if record.claimed.state != CredentialState::Discarded {
            end_login(group, &id).await?;
            ended.push(id);
        }
        enrolment::end_sessions(group, &id).await?;
    }
    statement("UPDATE subjects SET state = 'ERASING' WHERE id = ?")
        .bind(subject.to_string())
        .execute(group.rows())
        .await?;
    let kept = statement("INSERT INTO erasures VALUES (?, ?, ?, 'ACCEPTED', ?, NULL, NULL) ON CONFLICT DO NOTHING")
        .bind(erasure.to_string())
        .bind(tenant.to_string())
        .bind(subject.to_string())
        .bind(column(group.head.size))
        .execute(group.rows())
        .await?;
    if kept == 0 {
        return Err(WRONG_STATE);
    }
    group.changes.push(Change::ErasureAccepted { subject: *subject, credentials: ended });
    Ok(None)
}

/// A login that is being erased: its consents end, its lease ends, and its dedupe tag no longer speaks of it.
async fn end_login(group: &mut Group<'_>, credential: &CredentialId) -> Result<(), CommitError> {
    statement("UPDATE credentials SET state = 'ERASING', dedupe_tag = x'', epoch = epoch + 1 WHERE id = ?")
        .bind(credential.to_string())
        .execute(group.rows())
        .await?;
    set_tag_aside(group, Tagged::Credential(credential)).await?;
    let consents = statement(
        "UPDATE consents SET state = 'REVOKED' WHERE credential_id = ? AND state IN ('ACTIVE', 'AWAITING_AUTHORISATION')
         RETURNING id",
    )
    .bind(credential.to_string())
    .fetch_all(group.rows())
    .await?;
    for row in &consents {
        let consent = Cells::of("consents", row).id("id")?;
        set_tag_aside(group, Tagged::Consent(&consent)).await?;
        group.changes.push(Change::ConsentEnded { consent, credential: *credential, state: ConsentState::Revoked });
    }
    end_leases(group, Leases::Credential(credential)).await
}

pub(crate) async fn keys_destroyed(group: &mut Group<'_>, erasure: &ErasureId) -> Follows {
    let known = erasures::erasure(group.rows(), erasure).await?.ok_or(ABSENT)?;
    if known.state != ErasureState::Accepted {
        return Err(WRONG_STATE);
    }
    statement("UPDATE erasures SET state = 'KEYS_DESTROYED' WHERE id = ?")
        .bind(erasure.to_string())
        .execute(group.rows())
        .await?;
    Ok(Some(known.accepted))
}

pub(crate) async fn certify(
    group: &mut Group<'_>,
    erasure: &ErasureId,
    certificate: &[u8],
    horizon: Timestamp,
) -> Follows {
    let known = erasures::erasure(group.rows(), erasure).await?.ok_or(ABSENT)?;
    if known.state != ErasureState::KeysDestroyed {
        return Err(WRONG_STATE);
    }
    statement("UPDATE erasures SET state = 'CERTIFIED', certificate = ?, horizon = ? WHERE id = ?")
        .bind(certificate.to_vec())
        .bind(instant(horizon))
        .bind(erasure.to_string())
        .execute(group.rows())
        .await?;
    statement("UPDATE credentials SET state = 'ERASED', epoch = epoch + 1 WHERE owner_id = ? AND state = 'ERASING'")
        .bind(known.subject.to_string())
        .execute(group.rows())
        .await?;
    // What tied the id to a person goes with the erasure.
    statement("UPDATE subjects SET state = 'ERASED', external_ref = NULL WHERE id = ?")
        .bind(known.subject.to_string())
        .execute(group.rows())
        .await?;
    Ok(Some(known.accepted))
}
