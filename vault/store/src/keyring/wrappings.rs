//! Moving tenant keys from one wrapping to the next: what is due, what is in force, and what the older wrappings may
//! still be needed for. Nothing here judges a key: whoever replaces a wrapping has opened the key and
//! compared its id before.

use cofre_model::id::TenantId;
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::keyring::tenant_keys::{self, TenantKeyShare};
use crate::row::{Cells, column, instant};
use crate::statement::statement;

/// One version of one tenant's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion {
    /// The tenant.
    pub tenant: TenantId,
    /// The version.
    pub version: u32,
}

impl std::fmt::Display for KeyVersion {
    /// How claims and lists of failures name it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.tenant, self.version)
    }
}

/// What a rewrap still has to move: what is wrapped for another set than `target`, or by `from_key`.
#[derive(Debug, Clone, Copy)]
pub struct Due<'a> {
    /// The custody set it moves to, as text.
    pub target: &'a str,
    /// A custodian's key that shall wrap nothing any more, though its custodian stays.
    pub from_key: Option<&'a str>,
}

/// The shares that one key of one custodian wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustodianShares {
    /// The custodian.
    pub custodian: String,
    /// Its key.
    pub key: String,
    /// Shares in force.
    pub current: u64,
    /// Shares of wrappings that were replaced.
    pub closed: u64,
    /// Shares that are used no more and not yet destroyed.
    pub retired: u64,
}

/// What a custodian, or one key of it, wrapped.
#[derive(Debug, Clone, Copy)]
pub struct WrappedBy<'a> {
    /// The custodian.
    pub custodian: &'a str,
    /// Its key; none for all of them.
    pub key: Option<&'a str>,
}

fn versions(rows: &[crate::row::Row]) -> Result<Vec<KeyVersion>, Error> {
    rows.iter()
        .map(|row| {
            let cells = Cells::of("tenant_keys", row);
            Ok(KeyVersion { tenant: cells.id("tenant_id")?, version: cells.int("version")? })
        })
        .collect()
}

/// Every change of a key's wrappings starts here: one at a time.
fn lock(key: &KeyVersion) -> String {
    format!("wrapping of {key}")
}

async fn in_force_of(session: &mut Session<'_>, by: WrappedBy<'_>) -> Result<u64, Error> {
    let row = statement(
        "SELECT COUNT(*) AS shares FROM tenant_keys
         WHERE state = 'CURRENT' AND custodian_id = $1 AND (custodian_key = $2 OR $2 IS NULL)",
    )
    .bind(by.custodian)
    .bind(by.key)
    .fetch_one(session)
    .await?;
    Cells::of("tenant_keys", &row).int("shares")
}

impl Keyring {
    /// The next keys that are due, in their order, after `after`.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_due(
        &self,
        due: Due<'_>,
        after: Option<KeyVersion>,
        at_most: u32,
    ) -> Result<Vec<KeyVersion>, Error> {
        let (tenant, version) = after.map_or((String::new(), 0), |key| (key.tenant.to_string(), key.version));
        let rows = statement(
            "SELECT DISTINCT tenant_id, version FROM tenant_keys
             WHERE state = 'CURRENT' AND (custody_set <> $1 OR custodian_key = $2)
               AND (tenant_id > $3 OR (tenant_id = $3 AND version > $4))
             ORDER BY tenant_id, version LIMIT $5",
        )
        .bind(due.target)
        .bind(due.from_key)
        .bind(tenant)
        .bind(i64::from(version))
        .bind(i64::from(at_most))
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        versions(&rows)
    }

    /// How many keys are due.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_due_count(&self, due: Due<'_>) -> Result<u64, Error> {
        let row = statement(
            "SELECT COUNT(*) AS due FROM (SELECT DISTINCT tenant_id, version FROM tenant_keys
             WHERE state = 'CURRENT' AND (custody_set <> $1 OR custodian_key = $2)) AS keys",
        )
        .bind(due.target)
        .bind(due.from_key)
        .fetch_one(&mut self.engine().read().await?)
        .await?;
        Cells::of("tenant_keys", &row).int("due")
    }

    /// How many keys were wrapped for `target` since an instant, other than for the first time.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_moved_since(&self, target: &str, since: Timestamp) -> Result<u64, Error> {
        let row = statement(
            "SELECT COUNT(*) AS moved FROM (SELECT DISTINCT tenant_id, version FROM tenant_keys
             WHERE state = 'CURRENT' AND wrapping > 1 AND custody_set = $1 AND state_at >= $2) AS keys",
        )
        .bind(target)
        .bind(instant(since))
        .fetch_one(&mut self.engine().read().await?)
        .await?;
        Cells::of("tenant_keys", &row).int("moved")
    }

    /// Puts `shares` in force in the place of wrapping `from`, which is closed, and says whether `from` stood there.
    /// The shares get the next number.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn replace_wrapping(
        &self,
        key: KeyVersion,
        from: u32,
        shares: Vec<TenantKeyShare>,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let mut transaction = self.engine().begin(&lock(&key)).await?;
        let there = tenant_keys::in_force(&mut transaction, &key.tenant, key.version).await?;
        if there.first().map(|share| share.wrapping) != Some(from) || shares.is_empty() {
            transaction.roll_back().await?;
            return Ok(false);
        }
        let newest = statement("SELECT MAX(wrapping) AS newest FROM tenant_keys WHERE tenant_id = $1 AND version = $2")
            .bind(key.tenant.to_string())
            .bind(i64::from(key.version))
            .fetch_one(&mut transaction)
            .await?;
        let next = Cells::of("tenant_keys", &newest).int::<u32>("newest")?.saturating_add(1);
        // All of them: an older one that somebody put back is closed as well.
        statement(
            "UPDATE tenant_keys SET state = 'CLOSED', state_at = $3
             WHERE tenant_id = $1 AND version = $2 AND state = 'CURRENT'",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(instant(at))
        .execute(&mut transaction)
        .await?;
        let shares: Vec<_> = shares.into_iter().map(|share| TenantKeyShare { wrapping: next, ..share }).collect();
        tenant_keys::insert(&mut transaction, &shares, at).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Closes whatever is in force beside the newest wrapping.
    ///
    /// # Errors
    /// The store's.
    pub async fn close_older(&self, key: KeyVersion, at: Timestamp) -> Result<u64, Error> {
        let mut transaction = self.engine().begin(&lock(&key)).await?;
        let closed = statement(
            "UPDATE tenant_keys SET state = 'CLOSED', state_at = $3
             WHERE tenant_id = $1 AND version = $2 AND state = 'CURRENT' AND wrapping <
               (SELECT MAX(n.wrapping) FROM tenant_keys n
                WHERE n.tenant_id = $1 AND n.version = $2 AND n.state = 'CURRENT')",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(instant(at))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(closed)
    }

    /// Keeps in mind that every share of a wrapping was opened and gave the key.
    ///
    /// # Errors
    /// The store's.
    pub async fn prove_wrapping(&self, key: KeyVersion, wrapping: u32) -> Result<(), Error> {
        let mut transaction = self.engine().begin(&lock(&key)).await?;
        statement(
            "UPDATE tenant_keys SET proven = 1
             WHERE tenant_id = $1 AND version = $2 AND wrapping = $3 AND proven = 0 AND state = 'CURRENT'",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(i64::from(wrapping))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await
    }

    /// What each key of each custodian wrapped, by state.
    ///
    /// # Errors
    /// The store's.
    pub async fn custodian_shares(&self) -> Result<Vec<CustodianShares>, Error> {
        let rows = statement(
            "SELECT custodian_id, custodian_key,
               SUM(CASE state WHEN 'CURRENT' THEN 1 ELSE 0 END) AS in_force,
               SUM(CASE state WHEN 'CLOSED' THEN 1 ELSE 0 END) AS closed,
               SUM(CASE state WHEN 'RETIRED' THEN 1 ELSE 0 END) AS retired
             FROM tenant_keys GROUP BY custodian_id, custodian_key ORDER BY custodian_id, custodian_key",
        )
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("tenant_keys", row);
                Ok(CustodianShares {
                    custodian: cells.string("custodian_id")?,
                    key: cells.string("custodian_key")?,
                    current: cells.int("in_force")?,
                    closed: cells.int("closed")?,
                    retired: cells.int("retired")?,
                })
            })
            .collect()
    }

    /// How many shares in force a custodian, or one key of it, wrapped.
    ///
    /// # Errors
    /// The store's.
    pub async fn shares_in_force(&self, by: WrappedBy<'_>) -> Result<u64, Error> {
        in_force_of(&mut self.engine().read().await?, by).await
    }

    /// The keys whose wrapping in force was never proven, and that have a closed one that `by` has a share in.
    ///
    /// # Errors
    /// The store's.
    pub async fn unproven(&self, by: WrappedBy<'_>) -> Result<Vec<KeyVersion>, Error> {
        let rows = statement(
            "SELECT DISTINCT k.tenant_id, k.version FROM tenant_keys k
             WHERE k.state = 'CLOSED' AND k.custodian_id = $1 AND (k.custodian_key = $2 OR $2 IS NULL)
               AND NOT EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = k.tenant_id AND n.version = k.version
                 AND n.state = 'CURRENT' AND n.proven = 1)
             ORDER BY k.tenant_id, k.version",
        )
        .bind(by.custodian)
        .bind(by.key)
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        versions(&rows)
    }

    /// Retires every closed wrapping that `by` has a share in; gives the number of its shares. Nothing where `by` still
    /// has a share in force, or where a key has no proven wrapping in force to go on with.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn retire_shares(&self, by: WrappedBy<'_>, at: Timestamp) -> Result<Option<u64>, Error> {
        let mut transaction = self.engine().begin("retire").await?;
        if in_force_of(&mut transaction, by).await? > 0 {
            transaction.roll_back().await?;
            return Ok(None);
        }
        // SECURITY: a wrapping goes only where every share of a newer one was opened and gave the same key.
        let retired = statement(
            "UPDATE tenant_keys SET state = 'RETIRED', state_at = $3 WHERE state = 'CLOSED'
               AND EXISTS (SELECT 1 FROM tenant_keys o WHERE o.tenant_id = tenant_keys.tenant_id
                 AND o.version = tenant_keys.version AND o.wrapping = tenant_keys.wrapping
                 AND o.custodian_id = $1 AND (o.custodian_key = $2 OR $2 IS NULL))
               AND EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = tenant_keys.tenant_id
                 AND n.version = tenant_keys.version AND n.state = 'CURRENT' AND n.proven = 1)",
        )
        .bind(by.custodian)
        .bind(by.key)
        .bind(instant(at))
        .execute(&mut transaction)
        .await?;
        let left = statement(
            "SELECT 1 FROM tenant_keys
             WHERE state = 'CLOSED' AND custodian_id = $1 AND (custodian_key = $2 OR $2 IS NULL) LIMIT 1",
        )
        .bind(by.custodian)
        .bind(by.key)
        .fetch_optional(&mut transaction)
        .await?;
        if left.is_some() {
            transaction.roll_back().await?;
            return Ok(None);
        }
        transaction.commit().await?;
        Ok(Some(retired))
    }

    /// How many shares were retired before an instant.
    ///
    /// # Errors
    /// The store's.
    pub async fn shares_retired(&self, before: Timestamp) -> Result<u64, Error> {
        let row = statement("SELECT COUNT(*) AS retired FROM tenant_keys WHERE state = 'RETIRED' AND state_at < $1")
            .bind(instant(before))
            .fetch_one(&mut self.engine().read().await?)
            .await?;
        Cells::of("tenant_keys", &row).int("retired")
    }

    /// Destroys the shares that were retired before an instant, leaving a tombstone for each wrapping; gives their
    /// number.
    ///
    /// # Errors
    /// The store's.
    pub async fn destroy_retired(&self, before: Timestamp, at: Timestamp, entry_index: u64) -> Result<u64, Error> {
        let mut transaction = self.engine().begin("retire").await?;
        statement(
            "INSERT INTO destroyed SELECT 'wrapping', gone.id, $1, $2 FROM
               (SELECT DISTINCT tenant_id || '/' || version || '/' || wrapping AS id FROM tenant_keys
                WHERE state = 'RETIRED' AND state_at < $3) AS gone
             WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(instant(at))
        .bind(column(entry_index))
        .bind(instant(before))
        .execute(&mut transaction)
        .await?;
        let gone = statement("DELETE FROM tenant_keys WHERE state = 'RETIRED' AND state_at < $1")
            .bind(instant(before))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        if gone > 0 {
            self.engine().forget_deleted().await?;
        }
        Ok(gone)
    }
}
