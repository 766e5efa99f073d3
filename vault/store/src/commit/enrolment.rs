//! Operations on enrolment sessions: opening one, ending it, and making a deposited login visible.

use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::EntryId;
use cofre_model::id::{CredentialId, EnrolmentId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;

use crate::commit::apply::{ABSENT, WRONG_STATE};
use crate::commit::ending::{self, Tagged};
use crate::commit::group::Group;
use crate::commit::registry::Follows;
use crate::error::CommitError;
use crate::records::credentials::{self, EnrolmentState};
use crate::records::subjects::{self, Subject, SubjectState};
use crate::records::{institutions, tenants};
use crate::row::instant;
use crate::statement::statement;

pub(crate) async fn open(
    group: &mut Group<'_>,
    subject: Option<&Subject>,
    (credential, entry, tag): (&Credential, &EntryId, Option<&[u8; 32]>),
    enrolment: &EnrolmentId,
    expires_at: Timestamp,
) -> Follows {
    let tenant = &credential.tenant;
    if tenants::tenant(group.rows(), tenant).await?.is_none() {
        return Err(ABSENT);
    }
    if let Some(subject) = subject {
        add_subject(group, subject, credential).await?;
    }
    let owner = subjects::subject(group.rows(), tenant, &credential.owner).await?.ok_or(ABSENT)?;
    if owner.state != SubjectState::Active {
        return Err(WRONG_STATE);
    }
    let version = credential.template_version;
    if institutions::template(group.rows(), &credential.institution, version).await?.is_none() {
        return Err(ABSENT);
    }
    match credentials::credential(group.rows(), tenant, &credential.id).await? {
        None => add_credential(group, credential, entry, tag.ok_or(WRONG_STATE)?).await?,
        Some(known) => same_login(&known.claimed, credential)?,
    }
    if expires_at <= group.at() {
        return Err(WRONG_STATE);
    }
    end_sessions(group, &credential.id).await?;
    let stored = statement("INSERT INTO enrolments VALUES (?, ?, ?, ?, NULL, 0, ?, 'OPEN') ON CONFLICT DO NOTHING")
        .bind(enrolment.to_string())
        .bind(tenant.to_string())
        .bind(credential.id.to_string())
        .bind(i64::from(version))
        .bind(instant(expires_at))
        .execute(group.rows())
        .await?;
    if stored == 1 { Ok(None) } else { Err(WRONG_STATE) }
}

async fn add_subject(group: &mut Group<'_>, subject: &Subject, credential: &Credential) -> Result<(), CommitError> {
    if subject.id != credential.owner || subject.tenant != credential.tenant || subject.state != SubjectState::Active {
        return Err(WRONG_STATE);
    }
    let stored = statement("INSERT INTO subjects VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(subject.id.to_string())
        .bind(subject.tenant.to_string())
        .bind(subject.kind.as_str())
        .bind(&subject.external_ref)
        .bind(subject.state.as_str())
        .execute(group.rows())
        .await?;
    // The id or the reference is taken: the caller reads again and names the subject that exists.
    if stored == 1 { Ok(()) } else { Err(WRONG_STATE) }
}

async fn add_credential(
    group: &mut Group<'_>,
    credential: &Credential,
    entry: &EntryId,
    tag: &[u8; 32],
) -> Result<(), CommitError> {
    let blank = credential.state == CredentialState::Enrolling
        && credential.secret_version == 0
        && credential.dedupe_tag.is_empty()
        && credential.not_before == Timestamp::default();
    if !blank {
        return Err(WRONG_STATE);
    }
    let stored = statement(
        "INSERT INTO credentials VALUES (?, ?, ?, ?, ?, 'ENROLLING', 0, 0, x'', ?, ?, 1, 0, 'ENROLLING', x'')
         ON CONFLICT DO NOTHING",
    )
    .bind(credential.id.to_string())
    .bind(credential.tenant.to_string())
    .bind(credential.institution.to_string())
    .bind(i64::from(credential.template_version))
    .bind(credential.owner.to_string())
    .bind(entry.to_vec())
    .bind(tag.to_vec())
    .execute(group.rows())
    .await?;
    if stored == 1 { Ok(()) } else { Err(WRONG_STATE) }
}

/// Whose login it is and where it works never change; and nothing is entered anew into one that ended.
fn same_login(known: &Credential, asked: &Credential) -> Result<(), CommitError> {
    let same = known.owner == asked.owner && known.institution == asked.institution && known.tenant == asked.tenant;
    let open =
        matches!(known.state, CredentialState::Enrolling | CredentialState::Active | CredentialState::SecretRejected);
    if same && open { Ok(()) } else { Err(WRONG_STATE) }
}

/// Ends the open sessions of a login.
pub(crate) async fn end_sessions(group: &mut Group<'_>, credential: &CredentialId) -> Result<(), CommitError> {
    statement("UPDATE enrolments SET state = 'ENDED' WHERE credential_id = ? AND state = 'OPEN'")
        .bind(credential.to_string())
        .execute(group.rows())
        .await?;
    Ok(())
}

pub(crate) async fn end(group: &mut Group<'_>, tenant: &TenantId, enrolment: &EnrolmentId) -> Follows {
    let session = credentials::enrolment(group.rows(), tenant, enrolment).await?.ok_or(ABSENT)?;
    if session.state != EnrolmentState::Open {
        return Err(WRONG_STATE);
    }
    end_sessions(group, &session.credential).await?;
    let discarded = statement(
        "UPDATE credentials SET state = 'DISCARDED', epoch = epoch + 1 WHERE id = ? AND state = 'ENROLLING' AND secret_version = 0",
    )
    .bind(session.credential.to_string())
    .execute(group.rows())
    .await?;
    if discarded > 0 {
        ending::set_tag_aside(group, Tagged::Credential(&session.credential)).await?;
    }
    Ok(session.intent)
}

pub(crate) async fn complete(
    group: &mut Group<'_>,
    enrolment: &EnrolmentId,
    credential: &Credential,
    entry: &EntryId,
    tag: &[u8; 32],
) -> Follows {
    let session = credentials::enrolment(group.rows(), &credential.tenant, enrolment).await?.ok_or(ABSENT)?;
    let known = credentials::credential(group.rows(), &credential.tenant, &credential.id).await?.ok_or(ABSENT)?;
    same_login(&known.claimed, credential)?;
    let fits = session.state == EnrolmentState::Open
        && session.expires_at > group.at()
        && session.credential == credential.id
        && session.intent.is_some()
        && session.version == credential.secret_version
        && session.template_version == credential.template_version
        && credential.state == CredentialState::Active;
    if !fits {
        return Err(WRONG_STATE);
    }
    // The institution locked it meanwhile: the MAC was made for a row without that lock, so it is to be made anew.
    if known.claimed.not_before != credential.not_before {
        return Err(CommitError::Refused(Reason::ConsentChanged));
    }
    if credentials::twin(group.rows(), &credential.tenant, &credential.id, &credential.dedupe_tag).await? {
        return Err(CommitError::Refused(Reason::DuplicateLogin));
    }
    rewrite(group, credential, entry, tag).await?;
    statement("UPDATE enrolments SET state = 'COMPLETED' WHERE id = ?")
        .bind(enrolment.to_string())
        .execute(group.rows())
        .await?;
    Ok(session.intent)
}

/// Writes the deciding columns of a login with the MAC made for this entry.
pub(crate) async fn rewrite(
    group: &mut Group<'_>,
    credential: &Credential,
    entry: &EntryId,
    tag: &[u8; 32],
) -> Result<(), CommitError> {
    statement(
        "UPDATE credentials SET template_version = ?1, state = ?2, secret_version = ?3, not_before = ?4, dedupe_tag = ?5,
           entry_id = ?6, tag = ?7, epoch = epoch + 1, tagged_state = ?2, last_tag = x'' WHERE id = ?8",
    )
    .bind(i64::from(credential.template_version))
    .bind(credential.state.as_str())
    .bind(i64::from(credential.secret_version))
    .bind(instant(credential.not_before))
    .bind(&credential.dedupe_tag)
    .bind(entry.to_vec())
    .bind(tag.to_vec())
    .bind(credential.id.to_string())
    .execute(group.rows())
    .await?;
    Ok(())
}
