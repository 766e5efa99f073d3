//! Tenant keys, as shares wrapped by custodians.

use cofre_model::id::TenantId;
use cofre_model::sealed::WrappedKey;
use sqlx::sqlite::SqliteRow;

use crate::error::Error;
use crate::keyring::Keyring;
use crate::open::Engine;
use crate::row::Cells;

/// One share of a tenant key, as one custodian wrapped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantKeyShare {
    /// The tenant.
    pub tenant: TenantId,
    /// The version of its key, from 1.
    pub version: u32,
    /// The custodian that wrapped it.
    pub custodian: String,
    /// Which share, from 0.
    pub share: u16,
    /// How many shares make the key.
    pub share_count: u16,
    /// The wrapped share.
    pub wrapped: WrappedKey,
    /// The mechanism it was wrapped with.
    pub mechanism: String,
    /// The custodian's own name for its key.
    pub custodian_key: String,
}

fn share(row: &SqliteRow) -> Result<TenantKeyShare, Error> {
    let cells = Cells::of("tenant_keys", row);
    Ok(TenantKeyShare {
        tenant: cells.id("tenant_id")?,
        version: cells.int("version")?,
        custodian: cells.string("custodian_id")?,
        share: cells.int("share")?,
        share_count: cells.int("share_count")?,
        wrapped: WrappedKey::from_bytes(cells.blob("wrapped")?.to_vec()),
        mechanism: cells.string("mechanism")?,
        custodian_key: cells.string("custodian_key")?,
    })
}

impl Keyring {
    /// Stores the shares of one version of a tenant key, all or none.
    ///
    /// # Errors
    /// [`Error::Exists`] where this version has shares already.
    pub async fn put_tenant_key(&self, shares: &[TenantKeyShare]) -> Result<(), Error> {
        let Engine::Sqlite(database) = self.engine();
        let mut transaction = database.begin().await?;
        for share in shares {
            let stored = sqlx::query(
                "INSERT INTO tenant_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'CURRENT') ON CONFLICT DO NOTHING",
            )
            .bind(share.tenant.to_string())
            .bind(i64::from(share.version))
            .bind(&share.custodian)
            .bind(i64::from(share.share))
            .bind(i64::from(share.share_count))
            .bind(share.wrapped.as_bytes())
            .bind(&share.mechanism)
            .bind(&share.custodian_key)
            .execute(&mut *transaction)
            .await?;
            if stored.rows_affected() == 0 {
                return Err(Error::Exists);
            }
        }
        Ok(transaction.commit().await?)
    }

    /// The shares of one version of a tenant key, by custodian and place; none where there is no such version.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_key(&self, tenant: &TenantId, version: u32) -> Result<Vec<TenantKeyShare>, Error> {
        let Engine::Sqlite(database) = self.engine();
        let rows =
            sqlx::query("SELECT * FROM tenant_keys WHERE tenant_id = ? AND version = ? ORDER BY custodian_id, share")
                .bind(tenant.to_string())
                .bind(i64::from(version))
                .fetch_all(&database.read)
                .await?;
        rows.iter().map(share).collect()
    }
}
