//! Workers and the pairs of tenant and institution they may serve; the stop buttons that are pressed; the policy
//! set in force.

use cofre_model::id::{CredentialId, InstitutionId, TenantId};
use cofre_model::registry::{LockdownScope, Worker, WorkerState};

use crate::commit::operation::Lockdown;
use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::row::Cells;
use crate::statement::statement;

pub(crate) async fn worker(session: &mut Session<'_>, id: &str) -> Result<Option<Worker>, Error> {
    let row = statement("SELECT * FROM workers WHERE spiffe_id = $1").bind(id).fetch_optional(session).await?;
    let Some(row) = row else { return Ok(None) };
    let cells = Cells::of("workers", &row);
    let scopes = statement("SELECT * FROM worker_scopes WHERE worker = $1 ORDER BY tenant, institution")
        .bind(id)
        .fetch_all(session)
        .await?
        .iter()
        .map(|row| {
            let cells = Cells::of("worker_scopes", row);
            Ok((cells.id::<TenantId>("tenant")?, cells.id::<InstitutionId>("institution")?))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Some(Worker { id: cells.spiffe("spiffe_id")?, state: cells.word("state", WorkerState::from_text)?, scopes }))
}

/// The widest stop button that is pressed and concerns this login.
pub(crate) async fn lockdown(
    session: &mut Session<'_>,
    tenant: &TenantId,
    institution: Option<&InstitutionId>,
    credential: Option<&CredentialId>,
) -> Result<Option<LockdownScope>, Error> {
    let rows = statement(
        "SELECT scope_kind FROM lockdowns WHERE (scope_kind = 'PLATFORM') OR (scope_kind = 'TENANT' AND scope_id = $1)
           OR (scope_kind = 'INSTITUTION' AND scope_id = $2) OR (scope_kind = 'CREDENTIAL' AND scope_id = $3)",
    )
    .bind(tenant.to_string())
    .bind(institution.map(ToString::to_string))
    .bind(credential.map(ToString::to_string))
    .fetch_all(session)
    .await?;
    let pressed: Vec<LockdownScope> = rows
        .iter()
        .map(|row| Cells::of("lockdowns", row).word("scope_kind", LockdownScope::from_text))
        .collect::<Result<_, _>>()?;
    // The order of the numbers is the order from wide to narrow.
    Ok(pressed.into_iter().min())
}

pub(crate) async fn policy(session: &mut Session<'_>) -> Result<Option<[u8; 32]>, Error> {
    let row = statement("SELECT digest FROM policy_active WHERE scope = 'platform'").fetch_optional(session).await?;
    row.as_ref().map(|row| Cells::of("policy_active", row).bytes("digest")).transpose()
}

impl Records {
    /// The worker of this identity.
    ///
    /// # Errors
    /// The store's.
    pub async fn worker(&self, id: &str) -> Result<Option<Worker>, Error> {
        worker(&mut self.reader().await?, id).await
    }

    /// Every stop button that is pressed.
    ///
    /// # Errors
    /// The store's.
    pub async fn lockdowns(&self) -> Result<Vec<Lockdown>, Error> {
        let rows = statement("SELECT * FROM lockdowns ORDER BY scope_kind, scope_id")
            .fetch_all(&mut self.reader().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("lockdowns", row);
                Ok(match cells.word("scope_kind", LockdownScope::from_text)? {
                    LockdownScope::Platform => Lockdown::Platform,
                    LockdownScope::Tenant => Lockdown::Tenant(cells.id("scope_id")?),
                    LockdownScope::Institution => Lockdown::Institution(cells.id("scope_id")?),
                    LockdownScope::Credential => Lockdown::Credential(cells.id("scope_id")?),
                })
            })
            .collect()
    }

    /// The digest of the policy set in force.
    ///
    /// # Errors
    /// The store's.
    pub async fn policy(&self) -> Result<Option<[u8; 32]>, Error> {
        policy(&mut self.reader().await?).await
    }
}
