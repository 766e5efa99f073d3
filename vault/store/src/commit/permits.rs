//! Permits that are not releases: to warm a tenant key, to wrap it anew, and to seal a deposit.

use cofre_model::credential::CredentialState;
use cofre_model::entry::EntryKind;
use cofre_model::id::TenantId;
use cofre_model::keys::{KeyJobKind, KeyJobState, TenantKeyState as State};
use cofre_model::permit::{DepositWarrant, MoveWarrant, RewrapWarrant, WarmWarrant};
use cofre_model::reason::Reason;

use crate::commit::carrier::Outcome;
use crate::commit::group::Group;
use crate::commit::request::{DepositIntent, MoveRequest, RewrapRequest, WarmRequest};
use crate::commit::versions;
use crate::error::{CommitError, Error};
use crate::records::credentials::EnrolmentState;
use crate::records::tenants::TenantRecord;
use crate::records::{credentials, key_jobs, tenant_key_versions, tenants, workers};
use crate::row::column;
use crate::statement::statement;

/// The tenant, where nothing keeps its keys from being opened.
pub(crate) async fn served(group: &mut Group<'_>, id: &TenantId) -> Result<TenantRecord, CommitError> {
    if !group.clock_trusted() {
        return Err(CommitError::Refused(Reason::ClockUntrusted));
    }
    let tenant = tenants::tenant(group.rows(), id).await?.ok_or(CommitError::Refused(Reason::NotFound))?;
    match workers::lockdown(group.rows(), id, None, None).await? {
        None => Ok(tenant),
        Some(_) => Err(CommitError::Refused(Reason::Lockdown)),
    }
}

/// Refuses where the tenant's keys are not to be opened, or its key has no such version and id in one of these states.
async fn known(
    group: &mut Group<'_>,
    id: &TenantId,
    (version, key_id): (u32, &[u8; 16]),
    states: &[State],
) -> Result<TenantRecord, CommitError> {
    let tenant = served(group, id).await?;
    let key = tenant_key_versions::version(group.rows(), id, version).await?;
    if key.is_some_and(|key| key.key_id == *key_id && states.contains(&key.state)) {
        Ok(tenant)
    } else {
        Err(CommitError::Refused(Reason::IntegrityFailure))
    }
}

/// The shares of a version that was made and not opened yet are moved once it was.
pub(crate) async fn rewrap(group: &mut Group<'_>, request: RewrapRequest) -> Result<Outcome, CommitError> {
    if request.entry.kind != EntryKind::Rewrap {
        return Err(Error::Unfit { kind: request.entry.kind }.into());
    }
    let key = (request.tenant_key_version, &request.tenant_key_id);
    known(group, &request.tenant, key, &[State::Current, State::Closed]).await?;
    let job = key_jobs::job(group.rows(), &request.job).await?;
    if job.is_none_or(|job| {
        job.kind != KeyJobKind::Rewrap || job.state != KeyJobState::Running || job.target != request.target
    }) {
        return Err(CommitError::Refused(Reason::WrongState));
    }
    group.append(request.entry).await?;
    Ok(Outcome::Rewrap(RewrapWarrant {
        job: request.job,
        target: request.target,
        tenant: request.tenant,
        tenant_key_version: request.tenant_key_version,
        tenant_key_id: request.tenant_key_id,
    }))
}

pub(crate) async fn move_keys(group: &mut Group<'_>, request: MoveRequest) -> Result<Outcome, CommitError> {
    if request.entry.kind != EntryKind::KeysMove {
        return Err(Error::Unfit { kind: request.entry.kind }.into());
    }
    let from = (request.from_version, &request.from_id);
    let tenant = known(group, &request.tenant, from, &[State::Closed]).await?;
    if (tenant.key_version, tenant.tenant.tenant_key_id) != (request.to_version, request.to_id) {
        return Err(CommitError::Refused(Reason::IntegrityFailure));
    }
    if request.count == 0 {
        return Err(CommitError::Refused(Reason::BadRequest));
    }
    versions::rotates(group, &request.job, &request.tenant).await?;
    group.append(request.entry).await?;
    Ok(Outcome::Move(MoveWarrant {
        job: request.job,
        tenant: request.tenant,
        from_version: request.from_version,
        from_id: request.from_id,
        to_version: request.to_version,
        to_id: request.to_id,
        count: request.count,
    }))
}

pub(crate) async fn warm(group: &mut Group<'_>, request: WarmRequest) -> Result<Outcome, CommitError> {
    if request.entry.kind != EntryKind::Warm {
        return Err(Error::Unfit { kind: request.entry.kind }.into());
    }
    let key = (request.tenant_key_version, &request.tenant_key_id);
    known(group, &request.tenant, key, &[State::Made, State::Current, State::Closed]).await?;
    group.append(request.entry).await?;
    Ok(Outcome::Warm(WarmWarrant {
        tenant: request.tenant,
        tenant_key_version: request.tenant_key_version,
        tenant_key_id: request.tenant_key_id,
    }))
}

pub(crate) async fn intend(group: &mut Group<'_>, intent: DepositIntent) -> Result<Outcome, CommitError> {
    if intent.entry.kind != EntryKind::DepositIntended {
        return Err(Error::Unfit { kind: intent.entry.kind }.into());
    }
    let tenant = served(group, &intent.tenant).await?;
    let enrolment = credentials::enrolment(group.rows(), &intent.tenant, &intent.enrolment)
        .await?
        .ok_or(CommitError::Refused(Reason::NotFound))?;
    if enrolment.state != EnrolmentState::Open || enrolment.expires_at <= group.at() {
        return Err(CommitError::Refused(Reason::WrongState));
    }
    let credential = credentials::credential(group.rows(), &intent.tenant, &enrolment.credential)
        .await?
        .ok_or(CommitError::Refused(Reason::NotFound))?
        .claimed;
    if !matches!(
        credential.state,
        CredentialState::Enrolling | CredentialState::Active | CredentialState::SecretRejected
    ) {
        return Err(CommitError::Refused(Reason::WrongState));
    }
    let institution = Some(&credential.institution);
    if workers::lockdown(group.rows(), &intent.tenant, institution, Some(&credential.id)).await?.is_some() {
        return Err(CommitError::Refused(Reason::Lockdown));
    }
    let version = next_version(group, &credential.id.to_string()).await?;
    let mut entry = intent.entry;
    entry.secret_version = Some(version);
    let at = group.append(entry).await?;
    statement("UPDATE enrolments SET intent_entry = ?, version = ? WHERE id = ?")
        .bind(column(at.index))
        .bind(i64::from(version))
        .bind(intent.enrolment.to_string())
        .execute(group.rows())
        .await?;
    Ok(Outcome::Intended(DepositWarrant {
        tenant: intent.tenant,
        owner: credential.owner,
        credential: credential.id,
        class: intent.class,
        secret_version: version,
        enrolment: intent.enrolment,
        template_version: enrolment.template_version,
        deposit_key: intent.deposit_key,
        tenant_key_id: tenant.tenant.tenant_key_id,
    }))
}

/// A version no intent was given before: keys and ciphertexts of an intent that failed stay in nobody's way.
async fn next_version(group: &mut Group<'_>, credential: &str) -> Result<u32, Error> {
    let row = statement(
        "UPDATE credentials SET intended_version = MAX(intended_version, secret_version) + 1 WHERE id = ?
         RETURNING intended_version",
    )
    .bind(credential)
    .fetch_one(group.rows())
    .await?;
    crate::row::Cells::of("credentials", &row).int("intended_version")
}
