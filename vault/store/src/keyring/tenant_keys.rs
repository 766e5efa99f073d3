//! Tenant keys, as shares wrapped by custodians.

use cofre_model::id::TenantId;
use cofre_model::sealed::WrappedKey;
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::row::{Cells, Row, instant};
use crate::statement::statement;

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
    /// How many shares its wrapping has.
    pub share_count: u16,
    /// The wrapped share.
    pub wrapped: WrappedKey,
    /// The mechanism it was wrapped with.
    pub mechanism: String,
    /// The custodian's own name for its key.
    pub custodian_key: String,
    /// The custody set whose digest the share is bound to, as text.
    pub set: String,
    /// Which wrapping of this version it belongs to, from 1.
    pub wrapping: u32,
}

fn share(row: &Row) -> Result<TenantKeyShare, Error> {
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
        set: cells.string("custody_set")?,
        wrapping: cells.int("wrapping")?,
    })
}

/// Every change of a wrapping of any key starts with this lock: whoever retires a custodian has counted what it wraps.
pub(crate) const WRAPPINGS: &str = "wrappings of tenant keys";

/// Whether a custodian that was retired wrapped this, or a key of it that was.
async fn is_retired(transaction: &mut Session<'_>, share: &TenantKeyShare) -> Result<bool, Error> {
    let row = statement(
        "SELECT 1 FROM retired_custodians WHERE custodian_id = $1 AND (custodian_key = '' OR custodian_key = $2)",
    )
    .bind(&share.custodian)
    .bind(&share.custodian_key)
    .fetch_optional(transaction)
    .await?;
    Ok(row.is_some())
}

/// Stores shares as the wrapping in force. To be called under [`WRAPPINGS`].
pub(crate) async fn insert(
    transaction: &mut Session<'_>,
    shares: &[TenantKeyShare],
    at: Timestamp,
) -> Result<(), Error> {
    for share in shares {
        if is_retired(transaction, share).await? {
            return Err(Error::Retired);
        }
        let stored = statement(
            "INSERT INTO tenant_keys VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'CURRENT', $11, 0)
             ON CONFLICT DO NOTHING",
        )
        .bind(share.tenant.to_string())
        .bind(i64::from(share.version))
        .bind(i64::from(share.wrapping))
        .bind(&share.custodian)
        .bind(i64::from(share.share))
        .bind(i64::from(share.share_count))
        .bind(share.wrapped.as_bytes())
        .bind(&share.mechanism)
        .bind(&share.custodian_key)
        .bind(&share.set)
        .bind(instant(at))
        .execute(transaction)
        .await?;
        if stored == 0 {
            return Err(Error::Exists);
        }
    }
    Ok(())
}

/// The shares of the newest wrapping in force.
pub(crate) async fn in_force(
    session: &mut Session<'_>,
    tenant: &TenantId,
    version: u32,
) -> Result<Vec<TenantKeyShare>, Error> {
    newest(session, tenant, version, "CURRENT").await
}

/// The shares of the newest wrapping in a state.
pub(crate) async fn newest(
    session: &mut Session<'_>,
    tenant: &TenantId,
    version: u32,
    state: &str,
) -> Result<Vec<TenantKeyShare>, Error> {
    let rows = statement(
        "SELECT * FROM tenant_keys WHERE tenant_id = $1 AND version = $2 AND state = $3 AND wrapping =
           (SELECT MAX(wrapping) FROM tenant_keys WHERE tenant_id = $1 AND version = $2 AND state = $3)
         ORDER BY custodian_id, share",
    )
    .bind(tenant.to_string())
    .bind(i64::from(version))
    .bind(state)
    .fetch_all(session)
    .await?;
    rows.iter().map(share).collect()
}

impl Keyring {
    /// Stores the shares of one version of a tenant key, all or none.
    ///
    /// # Errors
    /// [`Error::Exists`] where this version has shares already; [`Error::Retired`] where one of them was wrapped by a
    /// custodian that was retired.
    pub async fn put_tenant_key(&self, shares: &[TenantKeyShare], at: Timestamp) -> Result<(), Error> {
        let mut transaction = self.engine.begin(WRAPPINGS).await?;
        for share in shares {
            let there = statement("SELECT 1 FROM tenant_keys WHERE tenant_id = $1 AND version = $2 LIMIT 1")
                .bind(share.tenant.to_string())
                .bind(i64::from(share.version))
                .fetch_optional(&mut transaction)
                .await?;
            if there.is_some() {
                return Err(Error::Exists);
            }
        }
        insert(&mut transaction, shares, at).await?;
        transaction.commit().await
    }

    /// The shares of one version of a tenant key as they are wrapped now, by custodian and place; none where there is
    /// no such version.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_key(&self, tenant: &TenantId, version: u32) -> Result<Vec<TenantKeyShare>, Error> {
        in_force(&mut self.engine.read().await?, tenant, version).await
    }

    /// The custody sets that tenant keys are wrapped for now, as text, and how many keys each.
    ///
    /// # Errors
    /// The store's.
    pub async fn custody_sets(&self) -> Result<Vec<(String, u64)>, Error> {
        let rows = statement(
            "SELECT custody_set, COUNT(*) AS keys FROM
               (SELECT DISTINCT tenant_id, version, custody_set FROM tenant_keys WHERE state = 'CURRENT') AS held
             GROUP BY custody_set ORDER BY custody_set",
        )
        .fetch_all(&mut self.engine.read().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("tenant_keys", row);
                Ok((cells.string("custody_set")?, cells.int("keys")?))
            })
            .collect()
    }
}
