//! Closing versions of a tenant's key: from then on nothing new comes under them, so that whoever finds nothing there knows
//! that it stays so.

use cofre_model::id::TenantId;
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::row::{Cells, instant};
use crate::statement::{either, statement};

/// The lock that whoever closes a version takes alone, and whoever puts a row under one shares with others. PostgreSQL's
/// triggers take it by the same name.
fn rows_under(tenant: &TenantId) -> String {
    format!("rows under keys of {tenant}")
}

/// Refuses where this version takes no new rows. Holds until the transaction ends.
pub(crate) async fn takes_rows(transaction: &mut Session<'_>, tenant: &TenantId, version: u32) -> Result<(), Error> {
    // SQLite has one writer, which has the lock already.
    either("SELECT $1", "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))")
        .bind(rows_under(tenant))
        .execute(transaction)
        .await?;
    let closed = statement("SELECT 1 FROM closed_keys WHERE tenant_id = $1 AND below > $2")
        .bind(tenant.to_string())
        .bind(i64::from(version))
        .fetch_optional(transaction)
        .await?;
    if closed.is_some() { Err(Error::Closed) } else { Ok(()) }
}

impl Keyring {
    /// Closes every version of a tenant's key below `below`. Whatever was put under one of them is there once this is done;
    /// nothing comes after it. A bound only grows: to close what is closed already changes nothing.
    ///
    /// # Errors
    /// [`Error::Shareless`] where no share in force of `below` is there; else the store's.
    pub async fn close_tenant_keys(&self, tenant: &TenantId, below: u32, at: Timestamp) -> Result<(), Error> {
        let mut transaction = self.engine().begin(&rows_under(tenant)).await?;
        let opens =
            statement("SELECT 1 FROM tenant_keys WHERE tenant_id = $1 AND version = $2 AND state = 'CURRENT' LIMIT 1")
                .bind(tenant.to_string())
                .bind(i64::from(below))
                .fetch_optional(&mut transaction)
                .await?;
        if opens.is_none() {
            return Err(Error::Shareless);
        }
        statement(
            "INSERT INTO closed_keys AS c VALUES ($1, $2, $3) ON CONFLICT (tenant_id) DO UPDATE
               SET below = excluded.below, at = excluded.at WHERE c.below < excluded.below",
        )
        .bind(tenant.to_string())
        .bind(i64::from(below))
        .bind(instant(at))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await
    }

    /// How many rows lie under versions that take no new ones, of all tenants. They are still to be moved.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_under_closed_count(&self) -> Result<u64, Error> {
        // Tenant by tenant, by the index: a join may be answered by reading every row there is.
        let row = statement(
            "SELECT CAST(COALESCE(SUM(closed.rows_under), 0) AS BIGINT) AS under FROM (SELECT
                 (SELECT COUNT(*) FROM subject_keys s WHERE s.tenant_id = c.tenant_id AND s.tenant_key_version < c.below)
                 + (SELECT COUNT(*) FROM deposit_keys d WHERE d.tenant_id = c.tenant_id AND d.tenant_key_version < c.below)
                 AS rows_under FROM closed_keys c) AS closed",
        )
        .fetch_one(&mut self.engine().read().await?)
        .await?;
        Cells::of("subject_keys", &row).int("under")
    }
}
