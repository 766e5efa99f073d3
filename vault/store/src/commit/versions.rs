//! Operations on versions of a tenant's key. The keys themselves, and what lies under them, are in the keyring; here is
//! which version is in force, and which were.

use cofre_model::entry::Entry;
use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState, TenantKeyState, TenantKeyVersion};

use crate::commit::apply::{ABSENT, WRONG_STATE};
use crate::commit::group::Group;
use crate::commit::operation::Operation;
use crate::commit::permits::served;
use crate::commit::registry::Follows;
use crate::error::{CommitError, Error};
use crate::records::{Records, key_jobs, tenant_key_versions, tenants};
use crate::row::{column, instant};
use crate::statement::statement;

/// Refuses where this job does not rotate this tenant's key, or does not any more.
pub(crate) async fn rotates(group: &mut Group<'_>, job: &KeyJobId, tenant: &TenantId) -> Result<(), CommitError> {
    let job = key_jobs::job(group.rows(), job).await?.ok_or(WRONG_STATE)?;
    let covers = job.target == KeyJob::ALL || job.target == tenant.to_string();
    if job.kind == KeyJobKind::Rotate && job.state == KeyJobState::Running && covers {
        Ok(())
    } else {
        Err(WRONG_STATE)
    }
}

/// Refuses an entry that names another key.
fn names(entry: &Entry, version: u32, key_id: [u8; 16]) -> Result<(), CommitError> {
    if entry.tenant_key == Some((key_id, version)) { Ok(()) } else { Err(Error::Unfit { kind: entry.kind }.into()) }
}

async fn put(group: &mut Group<'_>, key: &TenantKeyVersion) -> Result<(), CommitError> {
    statement("INSERT INTO tenant_key_versions VALUES (?, ?, ?, ?, ?, ?)")
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(key.key_id.to_vec())
        .bind(key.state.as_str())
        .bind(column(key.state_entry))
        .bind(instant(key.state_at))
        .execute(group.rows())
        .await?;
    Ok(())
}

/// The first version of a new tenant's key is in force from the start.
pub(crate) async fn first(
    group: &mut Group<'_>,
    tenant: TenantId,
    version: u32,
    key_id: [u8; 16],
) -> Result<(), CommitError> {
    let (state_entry, state_at) = (group.head.size, group.at());
    let state = TenantKeyState::Current;
    put(group, &TenantKeyVersion { tenant, version, key_id, state, state_entry, state_at }).await
}

pub(crate) async fn make(
    group: &mut Group<'_>,
    job: &KeyJobId,
    tenant: TenantId,
    version: u32,
    key_id: [u8; 16],
) -> Follows {
    tenants::tenant(group.rows(), &tenant).await?.ok_or(ABSENT)?;
    rotates(group, job, &tenant).await?;
    let known = tenant_key_versions::versions(group.rows(), &tenant).await?;
    if known.iter().any(|key| key.version >= version) {
        return Err(WRONG_STATE);
    }
    let (state_entry, state_at) = (group.head.size, group.at());
    put(group, &TenantKeyVersion { tenant, version, key_id, state: TenantKeyState::Made, state_entry, state_at })
        .await?;
    Ok(None)
}

/// What was made and not opened is closed with those that were: it stays behind the one in force.
pub(crate) async fn open(
    group: &mut Group<'_>,
    entry: &Entry,
    job: &KeyJobId,
    tenant: &TenantId,
    version: u32,
) -> Follows {
    let in_force = served(group, tenant).await?.key_version;
    rotates(group, job, tenant).await?;
    let made = tenant_key_versions::version(group.rows(), tenant, version).await?.ok_or(WRONG_STATE)?;
    if made.state != TenantKeyState::Made || made.version <= in_force {
        return Err(WRONG_STATE);
    }
    names(entry, version, made.key_id)?;
    let (state_entry, state_at) = (column(group.head.size), instant(group.at()));
    statement(
        "UPDATE tenant_key_versions SET state = CASE version WHEN ?2 THEN 'CURRENT' ELSE 'CLOSED' END, state_entry = ?3,
           state_at = ?4 WHERE tenant_id = ?1 AND state IN ('MADE', 'CURRENT')",
    )
    .bind(tenant.to_string())
    .bind(i64::from(version))
    .bind(state_entry)
    .bind(state_at)
    .execute(group.rows())
    .await?;
    statement("UPDATE tenants SET tenant_key_id = ?, tenant_key_version = ?, epoch = epoch + 1 WHERE id = ?")
        .bind(made.key_id.to_vec())
        .bind(i64::from(version))
        .bind(tenant.to_string())
        .execute(group.rows())
        .await?;
    Ok(None)
}

pub(crate) async fn moved(
    group: &mut Group<'_>,
    entry: &Entry,
    job: &KeyJobId,
    tenant: &TenantId,
    version: u32,
) -> Follows {
    let known = tenants::tenant(group.rows(), tenant).await?.ok_or(ABSENT)?;
    rotates(group, job, tenant).await?;
    if known.key_version != version {
        return Err(WRONG_STATE);
    }
    names(entry, version, known.tenant.tenant_key_id)?;
    statement("UPDATE tenants SET tenant_key_oldest = ? WHERE id = ?")
        .bind(i64::from(version))
        .bind(tenant.to_string())
        .execute(group.rows())
        .await?;
    Ok(None)
}

impl Records {
    /// For a change of versions of a tenant's key: refuses one whose job or tenant is stopped, whatever the tables say,
    /// and has the entry name the key on record where whoever asks does not.
    pub(crate) async fn key_named_in(&self, mut entry: Entry, operation: &Operation) -> Result<Entry, CommitError> {
        let (job, tenant, version) = match operation {
            Operation::MakeTenantKey { job, tenant, version, .. }
            | Operation::TenantKeyMoved { job, tenant, version, .. } => {
                self.catch_up().await?;
                (job, tenant, *version)
            }
            Operation::OpenTenantKey { job, tenant, version } => {
                self.not_stopped(tenant).await?;
                (job, tenant, *version)
            }
            _ => return Ok(entry),
        };
        self.key_job_runs(job)?;
        // One that is made is named by the operation itself, and not there yet.
        if !matches!(operation, Operation::MakeTenantKey { .. })
            && let Some(key) = self.tenant_key_version(tenant, version).await?
        {
            entry.tenant_key = entry.tenant_key.or(Some((key.key_id, key.version)));
            names(&entry, key.version, key.key_id)?;
        }
        Ok(entry)
    }
}
