//! Credentials and the enrolment sessions that fill them.

use cofre_model::credential::Credential;
use cofre_model::id::{CredentialId, EnrolmentId, SubjectId, TenantId};
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::records::subjects::column_words;
use crate::row::{Cells, Row};
use crate::statement::{either, statement};
use crate::unverified::Unverified;

column_words! {
    /// Where an enrolment session stands.
    EnrolmentState {
        /// A login may be deposited until it expires.
        Open = "OPEN",
        /// A login was deposited.
        Completed = "COMPLETED",
        /// Cancelled, lapsed or replaced by a newer one.
        Ended = "ENDED",
    }
}

/// A credential as records hold it.
#[derive(Debug, Clone)]
pub struct CredentialRecord {
    /// What the row claims: good for showing or ending it, never for granting.
    pub claimed: Credential,
    /// The row, to be verified before anything is granted on it.
    pub row: Unverified<Credential>,
    /// Its epoch.
    pub epoch: u64,
}

/// An enrolment session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Its id.
    pub id: EnrolmentId,
    /// The tenant that opened it.
    pub tenant: TenantId,
    /// The login it fills.
    pub credential: CredentialId,
    /// The template the deposit must follow.
    pub template_version: u32,
    /// It takes a deposit before this instant.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: EnrolmentState,
    /// Ledger index of the newest intent to deposit.
    pub intent: Option<u64>,
    /// The secret version of that intent; 0 where there was none.
    pub version: u32,
}

fn record(row: &Row) -> Result<CredentialRecord, Error> {
    let unverified = Unverified::of(row)?;
    let claimed = unverified.claimed().ok_or(Error::corrupt("credentials", "state"))?;
    Ok(CredentialRecord { claimed, row: unverified, epoch: Cells::of("credentials", row).int("epoch")? })
}

/// The row as it stands, if it belongs to this tenant.
pub(crate) async fn row(session: &mut Session<'_>, tenant: &TenantId, id: &CredentialId) -> Result<Option<Row>, Error> {
    statement("SELECT * FROM credentials WHERE id = $1 AND tenant_id = $2")
        .bind(id.to_string())
        .bind(tenant.to_string())
        .fetch_optional(session)
        .await
}

pub(crate) async fn credential(
    session: &mut Session<'_>,
    tenant: &TenantId,
    id: &CredentialId,
) -> Result<Option<CredentialRecord>, Error> {
    row(session, tenant, id).await?.as_ref().map(record).transpose()
}

pub(crate) async fn of_owner(
    session: &mut Session<'_>,
    tenant: &TenantId,
    owner: &SubjectId,
) -> Result<Vec<CredentialRecord>, Error> {
    let rows = statement("SELECT * FROM credentials WHERE owner_id = $1 AND tenant_id = $2 ORDER BY id")
        .bind(owner.to_string())
        .bind(tenant.to_string())
        .fetch_all(session)
        .await?;
    rows.iter().map(record).collect()
}

pub(crate) async fn enrolment(
    session: &mut Session<'_>,
    tenant: &TenantId,
    id: &EnrolmentId,
) -> Result<Option<Enrolment>, Error> {
    let row = statement("SELECT * FROM enrolments WHERE id = $1 AND tenant_id = $2")
        .bind(id.to_string())
        .bind(tenant.to_string())
        .fetch_optional(session)
        .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("enrolments", row);
            Ok(Enrolment {
                id: cells.id("id")?,
                tenant: cells.id("tenant_id")?,
                credential: cells.id("credential_id")?,
                template_version: cells.int("template_version")?,
                expires_at: cells.time("expires_at")?,
                state: cells.word("state", EnrolmentState::from_text)?,
                intent: cells.optional("intent_entry", Cells::int)?,
                version: cells.int("version")?,
            })
        })
        .transpose()
}

/// Whether another login of this tenant carries this dedupe tag. An empty one is nobody's.
pub(crate) async fn twin(
    session: &mut Session<'_>,
    tenant: &TenantId,
    id: &CredentialId,
    dedupe_tag: &[u8],
) -> Result<bool, Error> {
    // Each engine writes empty bytes its own way, and takes its partial index only for its own words.
    let row = either(
        "SELECT 1 FROM credentials WHERE tenant_id = $1 AND dedupe_tag = $2 AND dedupe_tag <> x'' AND id <> $3",
        "SELECT 1 FROM credentials WHERE tenant_id = $1 AND dedupe_tag = $2 AND dedupe_tag <> ''::bytea AND id <> $3",
    )
    .bind(tenant.to_string())
    .bind(dedupe_tag)
    .bind(id.to_string())
    .fetch_optional(session)
    .await?;
    Ok(row.is_some())
}

impl Records {
    /// A credential of this tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn credential(&self, tenant: &TenantId, id: &CredentialId) -> Result<Option<CredentialRecord>, Error> {
        credential(&mut self.reader().await?, tenant, id).await
    }

    /// Every credential a subject of this tenant holds.
    ///
    /// # Errors
    /// The store's.
    pub async fn credentials_of(&self, tenant: &TenantId, owner: &SubjectId) -> Result<Vec<CredentialRecord>, Error> {
        of_owner(&mut self.reader().await?, tenant, owner).await
    }

    /// An enrolment session of this tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn enrolment(&self, tenant: &TenantId, id: &EnrolmentId) -> Result<Option<Enrolment>, Error> {
        enrolment(&mut self.reader().await?, tenant, id).await
    }

    /// Whether another login of this tenant carries this dedupe tag. A first look, so that a duplicate leaves nothing
    /// behind; the commit decides.
    ///
    /// # Errors
    /// The store's.
    pub async fn has_twin(&self, tenant: &TenantId, id: &CredentialId, dedupe_tag: &[u8]) -> Result<bool, Error> {
        twin(&mut self.reader().await?, tenant, id, dedupe_tag).await
    }

    /// The tenant of a credential, for callers bound to no tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_of_credential(&self, id: &CredentialId) -> Result<Option<TenantId>, Error> {
        let row = statement("SELECT tenant_id FROM credentials WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref().map(|row| Cells::of("credentials", row).id("tenant_id")).transpose()
    }
}
