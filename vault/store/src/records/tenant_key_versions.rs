//! Versions of tenants' keys, and whose key a rotation still has to bring forward.

use cofre_model::id::TenantId;
use cofre_model::keys::{TenantKeyState, TenantKeyVersion};

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::records::tenants::{self, TenantRecord};
use crate::row::{Cells, Row, column};
use crate::statement::statement;

fn record(row: &Row) -> Result<TenantKeyVersion, Error> {
    let cells = Cells::of("tenant_key_versions", row);
    Ok(TenantKeyVersion {
        tenant: cells.id("tenant_id")?,
        version: cells.int("version")?,
        key_id: cells.bytes("key_id")?,
        state: cells.word("state", TenantKeyState::from_text)?,
        state_entry: cells.int("state_entry")?,
        state_at: cells.time("state_at")?,
    })
}

pub(crate) async fn version(
    session: &mut Session<'_>,
    tenant: &TenantId,
    version: u32,
) -> Result<Option<TenantKeyVersion>, Error> {
    let row = statement("SELECT * FROM tenant_key_versions WHERE tenant_id = $1 AND version = $2")
        .bind(tenant.to_string())
        .bind(i64::from(version))
        .fetch_optional(session)
        .await?;
    row.as_ref().map(record).transpose()
}

pub(crate) async fn versions(session: &mut Session<'_>, tenant: &TenantId) -> Result<Vec<TenantKeyVersion>, Error> {
    let rows = statement("SELECT * FROM tenant_key_versions WHERE tenant_id = $1 ORDER BY version")
        .bind(tenant.to_string())
        .fetch_all(session)
        .await?;
    rows.iter().map(record).collect()
}

impl Records {
    /// One version of a tenant's key.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_key_version(&self, tenant: &TenantId, version: u32) -> Result<Option<TenantKeyVersion>, Error> {
        self::version(&mut self.reader().await?, tenant, version).await
    }

    /// Every version of a tenant's key, the oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_key_versions(&self, tenant: &TenantId) -> Result<Vec<TenantKeyVersion>, Error> {
        versions(&mut self.reader().await?, tenant).await
    }

    /// The tenants, or the one that is named, whose key came into force before the entry `opened_entry`, or has rows left
    /// under older versions; by id, after `after`.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants_to_rotate(
        &self,
        target: Option<&TenantId>,
        opened_entry: u64,
        after: Option<&TenantId>,
        at_most: u32,
    ) -> Result<Vec<TenantRecord>, Error> {
        let rows = statement(
            "SELECT t.* FROM tenants t
             LEFT JOIN tenant_key_versions v ON v.tenant_id = t.id AND v.version = t.tenant_key_version
             WHERE (t.id = $1 OR $1 IS NULL) AND (t.id > $3 OR $3 IS NULL)
               AND (v.state_entry IS NULL OR v.state_entry < $2 OR t.tenant_key_oldest < t.tenant_key_version)
             ORDER BY t.id LIMIT $4",
        )
        .bind(target.map(ToString::to_string))
        .bind(column(opened_entry))
        .bind(after.map(ToString::to_string))
        .bind(i64::from(at_most))
        .fetch_all(&mut self.reader().await?)
        .await?;
        rows.iter().map(tenants::record).collect()
    }

    /// How many tenants [`Self::tenants_to_rotate`] gives in all.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants_to_rotate_count(&self, target: Option<&TenantId>, opened_entry: u64) -> Result<u64, Error> {
        let row = statement(
            "SELECT COUNT(*) AS due FROM tenants t
             LEFT JOIN tenant_key_versions v ON v.tenant_id = t.id AND v.version = t.tenant_key_version
             WHERE (t.id = $1 OR $1 IS NULL)
               AND (v.state_entry IS NULL OR v.state_entry < $2 OR t.tenant_key_oldest < t.tenant_key_version)",
        )
        .bind(target.map(ToString::to_string))
        .bind(column(opened_entry))
        .fetch_one(&mut self.reader().await?)
        .await?;
        Cells::of("tenants", &row).int("due")
    }

    /// How many tenants got a new key after the entry `opened_entry` and have all under it.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants_rotated_count(&self, target: Option<&TenantId>, opened_entry: u64) -> Result<u64, Error> {
        let row = statement(
            "SELECT COUNT(*) AS rotated FROM tenants t
             JOIN tenant_key_versions v ON v.tenant_id = t.id AND v.version = t.tenant_key_version
             WHERE (t.id = $1 OR $1 IS NULL)
               AND v.version > 1 AND v.state_entry > $2 AND t.tenant_key_oldest = t.tenant_key_version",
        )
        .bind(target.map(ToString::to_string))
        .bind(column(opened_entry))
        .fetch_one(&mut self.reader().await?)
        .await?;
        Cells::of("tenants", &row).int("rotated")
    }
}
