//! Retiring what nothing needs any more: wrappings that a newer one stands for, and versions of tenants' keys under which
//! nothing lies. What was retired is destroyed later, and leaves a tombstone.

use cofre_model::id::TenantId;
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::keyring::tenant_keys::WRAPPINGS;
use crate::keyring::wrappings::{KeyVersion, WrappedBy, keys_of, readable};
use crate::row::{Cells, column, instant};
use crate::statement::{either, statement};

/// A statement over the list `m` of tenants and versions, which comes as the JSON text `$1`: each engine takes such a text
/// apart in its own way.
macro_rules! listed {
    ($text:literal) => {
        either(
            concat!("WITH m (tenant, below) AS (SELECT value ->> 0, value ->> 1 FROM json_each($1)) ", $text),
            concat!(
                "WITH m (tenant, below) AS (SELECT value ->> 0, (value ->> 1)::bigint FROM jsonb_array_elements($1::jsonb)) ",
                $text
            ),
        )
    };
}

/// Shares that are about to be retired. Dropped before it was committed, that never happened.
#[derive(Debug)]
#[must_use = "nothing is retired before it is committed"]
pub struct Retirement {
    transaction: Session<'static>,
    shares: u64,
}

impl Retirement {
    /// How many shares it retires.
    #[must_use]
    pub const fn shares(&self) -> u64 {
        self.shares
    }

    /// Retires them.
    ///
    /// # Errors
    /// The store's.
    pub async fn commit(self) -> Result<u64, Error> {
        self.transaction.commit().await?;
        Ok(self.shares)
    }
}

impl Keyring {
    /// The keys whose wrapping in force was not proven since an instant, and that have a closed one that `by` has a share in.
    ///
    /// # Errors
    /// The store's.
    pub async fn unproven(&self, by: WrappedBy<'_>, since: Timestamp) -> Result<Vec<KeyVersion>, Error> {
        let rows = statement(
            "SELECT DISTINCT k.tenant_id, k.version FROM tenant_keys k
             WHERE k.state = 'CLOSED' AND k.custodian_id = $1 AND (k.custodian_key = $2 OR $2 IS NULL)
               AND NOT EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = k.tenant_id AND n.version = k.version
                 AND n.state = 'CURRENT' AND n.proven >= $3 AND n.wrapping = (SELECT MAX(m.wrapping) FROM tenant_keys m
                   WHERE m.tenant_id = n.tenant_id AND m.version = n.version AND m.state = 'CURRENT'))
             ORDER BY k.tenant_id, k.version",
        )
        .bind(by.custodian)
        .bind(by.key)
        .bind(instant(since))
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        rows.iter().map(readable).collect()
    }

    /// Retires every closed wrapping that `by` has a share in, once what it gives is committed; `by` wraps nothing any
    /// more then. Nothing where `by` still has a share in force, but of keys that are `nobodys`, or where the newest
    /// wrapping in force of a key was not proven since `proven`. Until it is committed or dropped no key is moved.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn retire_shares(
        &self,
        by: WrappedBy<'_>,
        nobodys: &[KeyVersion],
        proven: Timestamp,
        at: Timestamp,
    ) -> Result<Option<Retirement>, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        let left = keys_of(&mut transaction, by, nobodys.len().saturating_add(1)).await?;
        if left.iter().any(|key| !nobodys.contains(key)) {
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
                 AND n.version = tenant_keys.version AND n.state = 'CURRENT' AND n.proven >= $4
                 AND n.wrapping > tenant_keys.wrapping AND n.wrapping = (SELECT MAX(m.wrapping) FROM tenant_keys m
                   WHERE m.tenant_id = n.tenant_id AND m.version = n.version AND m.state = 'CURRENT'))",
        )
        .bind(by.custodian)
        .bind(by.key)
        .bind(instant(at))
        .bind(instant(proven))
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
        // SECURITY: what it wrapped from here on would be lost with it. Whoever puts a share reads this row under the same lock.
        statement("INSERT INTO retired_custodians VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(by.custodian)
            .bind(by.key.unwrap_or_default())
            .bind(instant(at))
            .execute(&mut transaction)
            .await?;
        Ok(Some(Retirement { transaction, shares: retired }))
    }

    /// Retires every share of the versions of tenants' keys below those that are given, once what it gives is committed.
    /// Nothing where one of them still takes new rows or has some, or where the newest wrapping in force of the version
    /// that is given was not proven since `proven`. Until it is committed or dropped no key is moved.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn retire_tenant_keys(
        &self,
        below: &[(TenantId, u32)],
        proven: Timestamp,
        at: Timestamp,
    ) -> Result<Option<Retirement>, Error> {
        let below: Vec<(String, u32)> = below.iter().map(|(tenant, below)| (tenant.to_string(), *below)).collect();
        let below = serde_json::json!(below).to_string();
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        // SECURITY: whoever puts a row reads the bound under a lock, so that none comes after it was looked for here. The
        // lowest version from there on is what an index gives; what is asked for by EXISTS may be answered by reading all rows.
        let left = listed!(
            "SELECT 1 FROM m JOIN tenant_keys k ON k.tenant_id = m.tenant AND k.version < m.below AND k.state <> 'RETIRED'
             WHERE NOT EXISTS (SELECT 1 FROM closed_keys c WHERE c.tenant_id = m.tenant AND c.below >= m.below)
               OR (SELECT MIN(s.tenant_key_version) FROM subject_keys s
                 WHERE s.tenant_id = k.tenant_id AND s.tenant_key_version >= k.version) = k.version
               OR (SELECT d.suite FROM deposit_keys d WHERE d.tenant_id = k.tenant_id
                 AND d.tenant_key_version = k.version ORDER BY d.not_after LIMIT 1) IS NOT NULL
               OR NOT EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = m.tenant AND n.version = m.below
                 AND n.state = 'CURRENT' AND n.proven >= $2 AND n.wrapping = (SELECT MAX(w.wrapping) FROM tenant_keys w
                   WHERE w.tenant_id = n.tenant_id AND w.version = n.version AND w.state = 'CURRENT'))
             LIMIT 1"
        )
        .bind(&below)
        .bind(instant(proven))
        .fetch_optional(&mut transaction)
        .await?;
        if left.is_some() {
            transaction.roll_back().await?;
            return Ok(None);
        }
        let shares = listed!(
            "UPDATE tenant_keys SET state = 'RETIRED', state_at = $2 WHERE state <> 'RETIRED' AND (tenant_id, version) IN
               (SELECT k.tenant_id, k.version FROM m JOIN tenant_keys k ON k.tenant_id = m.tenant AND k.version < m.below)"
        )
        .bind(&below)
        .bind(instant(at))
        .execute(&mut transaction)
        .await?;
        Ok(Some(Retirement { transaction, shares }))
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

    /// Destroys the shares that were retired before an instant, leaving a tombstone for each wrapping, and one for each
    /// version that is gone with its last, along with what it carried; gives the number of shares.
    ///
    /// # Errors
    /// The store's.
    pub async fn destroy_retired(&self, before: Timestamp, at: Timestamp, entry_index: u64) -> Result<u64, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
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
        statement(
            "INSERT INTO destroyed SELECT 'tenant-key', gone.id, $1, $2 FROM
               (SELECT tenant_id || '/' || version AS id FROM tenant_keys GROUP BY tenant_id, version
                HAVING SUM(CASE WHEN state = 'RETIRED' AND state_at < $3 THEN 0 ELSE 1 END) = 0) AS gone
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
        statement(
            "DELETE FROM row_keys WHERE NOT EXISTS (SELECT 1 FROM tenant_keys k
               WHERE k.tenant_id = row_keys.tenant_id AND k.version = row_keys.version)",
        )
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        if gone > 0 {
            self.engine().forget_deleted().await?;
        }
        Ok(gone)
    }
}
