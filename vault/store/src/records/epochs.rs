//! Epochs: one number per thing a decision relies on. A decision is made against the numbers it read, and the
//! commit compares them again.

use cofre_model::entry::Epochs;
use cofre_model::id::{CredentialId, TenantId};

use crate::engine::Session;
use crate::error::Error;
use crate::row::Cells;
use crate::statement::statement;

/// The epochs as they stand. What does not exist, or is not named, has epoch 0.
pub(crate) async fn current(
    session: &mut Session<'_>,
    worker: Option<&str>,
    tenant: Option<&TenantId>,
    credential: Option<&CredentialId>,
) -> Result<Epochs, Error> {
    let row = statement(
        "SELECT (SELECT epoch FROM cell) AS cell,
           COALESCE((SELECT epoch FROM policy_active WHERE scope = 'platform'), 0) AS policy,
           COALESCE((SELECT epoch FROM tenants WHERE id = $1), 0) AS tenant,
           COALESCE((SELECT i.epoch FROM credentials c JOIN institutions i ON i.id = c.institution_id
                     WHERE c.id = $2 AND c.tenant_id = $1), 0) AS institution,
           COALESCE((SELECT epoch FROM workers WHERE spiffe_id = $3), 0) AS worker,
           COALESCE((SELECT epoch FROM credentials WHERE id = $2 AND tenant_id = $1), 0) AS credential",
    )
    .bind(tenant.map(ToString::to_string))
    .bind(credential.map(ToString::to_string))
    .bind(worker)
    .fetch_one(session)
    .await?;
    let cells = Cells::of("epochs", &row);
    Ok(Epochs {
        cell: cells.int("cell")?,
        policy: cells.int("policy")?,
        tenant: cells.int("tenant")?,
        institution: cells.int("institution")?,
        worker: cells.int("worker")?,
        credential: cells.int("credential")?,
    })
}
