//! Operations on jobs over keys. The rows they move are in the keyring; here is what was ordered, counted and ended.

use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState};
use cofre_model::reason::Reason;

use crate::commit::apply::{ABSENT, WRONG_STATE};
use crate::commit::group::Group;
use crate::commit::operation::NewKeyJob;
use crate::commit::registry::Follows;
use crate::error::CommitError;
use crate::records::key_jobs::{self, KeyCount};
use crate::records::tenants;
use crate::row::{column, instant};
use crate::statement::statement;

/// Whose keys a rotation is of: those of all, or of a tenant that is there. It has no place to move away from.
async fn rotation(group: &mut Group<'_>, job: &NewKeyJob) -> Result<(), CommitError> {
    if job.from_key.is_some() {
        return Err(CommitError::Refused(Reason::BadRequest));
    }
    let known = match TenantId::try_from(job.target.as_str()) {
        Ok(tenant) => tenants::tenant(group.rows(), &tenant).await?.is_some(),
        Err(_) => job.target == KeyJob::ALL,
    };
    if known { Ok(()) } else { Err(ABSENT) }
}

/// One job of a kind at a time: two that move the same rows to two places would never end.
pub(crate) async fn open(group: &mut Group<'_>, job: &NewKeyJob) -> Follows {
    if job.rate.is_some_and(|rate| !(1..=KeyJob::FASTEST).contains(&rate)) {
        return Err(CommitError::Refused(Reason::BadRequest));
    }
    if job.kind == KeyJobKind::Rotate {
        rotation(group, job).await?;
    }
    let (at, entry) = (instant(group.at()), column(group.head.size));
    let opened =
        statement("INSERT INTO key_jobs VALUES (?, ?, ?, ?, ?, 'RUNNING', ?, ?, NULL, NULL) ON CONFLICT DO NOTHING")
            .bind(job.id.to_string())
            .bind(job.kind.as_str())
            .bind(&job.target)
            .bind(&job.from_key)
            .bind(job.rate.map(i64::from))
            .bind(at)
            .bind(entry)
            .execute(group.rows())
            .await?;
    if opened == 1 { Ok(None) } else { Err(WRONG_STATE) }
}

pub(crate) async fn end(group: &mut Group<'_>, id: &KeyJobId, to: KeyJobState, moved: u64) -> Follows {
    let at = instant(group.at());
    let job = key_jobs::job(group.rows(), id).await?.ok_or(ABSENT)?;
    if job.state != KeyJobState::Running {
        return Err(WRONG_STATE);
    }
    statement("UPDATE key_jobs SET state = ?, ended_at = ?, moved = ? WHERE id = ?")
        .bind(to.as_str())
        .bind(at)
        .bind(column(moved))
        .bind(id.to_string())
        .execute(group.rows())
        .await?;
    Ok(Some(job.opened_entry))
}

pub(crate) async fn counted(group: &mut Group<'_>, subject: &str, remaining: u64, signed: &[u8]) -> Follows {
    let (at, entry) = (instant(group.at()), column(group.head.size));
    statement("INSERT INTO key_counts (subject, remaining, at, statement, entry_index) VALUES (?, ?, ?, ?, ?)")
        .bind(subject)
        .bind(column(remaining))
        .bind(at)
        .bind(signed)
        .bind(entry)
        .execute(group.rows())
        .await?;
    Ok(None)
}

/// Needs a count of zero, the newest, that no earlier retirement used up, and no rewrap under way; of versions of tenants'
/// keys, no rotation either. The count stays.
pub(crate) async fn retire(group: &mut Group<'_>, subject: &str) -> Follows {
    let count = key_jobs::count(group.rows(), subject).await?.ok_or(WRONG_STATE)?;
    let of_versions = subject == KeyCount::OF_TENANT_KEYS;
    let moving = statement("SELECT 1 FROM key_jobs WHERE state = 'RUNNING' AND (kind = ? OR ?)")
        .bind(KeyJobKind::Rewrap.as_str())
        .bind(of_versions)
        .fetch_optional(group.rows())
        .await?;
    if count.remaining > 0 || count.retired_entry.is_some() || moving.is_some() {
        return Err(WRONG_STATE);
    }
    let retired_entry = column(group.head.size);
    statement("UPDATE key_counts SET retired_entry = ? WHERE entry_index = ?")
        .bind(retired_entry)
        .bind(column(count.entry_index))
        .execute(group.rows())
        .await?;
    Ok(Some(count.entry_index))
}
