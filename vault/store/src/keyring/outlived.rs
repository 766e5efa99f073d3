//! Versions of tenants' keys that nothing lies under any more: retired as a whole, and destroyed long after, with the keys
//! of rows beside them. Nothing here opens a share: that every share of the version in force opens was seen before.

use cofre_model::id::TenantId;
use cofre_model::time::Timestamp;

use crate::error::Error;
use crate::keyring::Keyring;
use crate::keyring::retiring::{AHEAD, Destruction};
use crate::keyring::tenant_keys::WRAPPINGS;
use crate::keyring::wrappings::{KeyVersion, readable};
use crate::row::{Cells, instant};
use crate::statement::statement;

/// A tenant with shares of versions that take no new rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlived {
    /// The tenant.
    pub tenant: TenantId,
    /// The version below which those are.
    pub below: u32,
    /// Whether something still lies under one of them. What does not, stays so.
    pub needed: bool,
}

impl Keyring {
    /// The next tenants with shares of versions that take no new rows, by id, after `after`. What was retired already does
    /// not count.
    ///
    /// # Errors
    /// The store's.
    pub async fn outlived(&self, after: Option<&TenantId>, at_most: u32) -> Result<Vec<Outlived>, Error> {
        // The lowest version is what an index gives, however many rows there are.
        let rows = statement(
            "SELECT c.tenant_id, c.below, CAST(CASE WHEN coalesce((SELECT MIN(s.tenant_key_version) FROM subject_keys s
                 WHERE s.tenant_id = c.tenant_id), c.below) < c.below
               OR (SELECT COUNT(*) FROM deposit_keys d
                 WHERE d.tenant_id = c.tenant_id AND d.tenant_key_version < c.below) > 0 THEN 1 ELSE 0 END AS BIGINT) AS needed
             FROM closed_keys c WHERE c.tenant_id > $1 AND EXISTS (SELECT 1 FROM tenant_keys k
               WHERE k.tenant_id = c.tenant_id AND k.version < c.below AND k.state <> 'RETIRED')
             ORDER BY c.tenant_id LIMIT $2",
        )
        .bind(after.map(ToString::to_string).unwrap_or_default())
        .bind(i64::from(at_most))
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        let outlived = |row| {
            let cells = Cells::of("closed_keys", row);
            Ok(Outlived { tenant: cells.id("tenant_id")?, below: cells.int("below")?, needed: cells.flag("needed")? })
        };
        rows.iter().map(outlived).collect()
    }

    /// Whether a version takes no new rows and has none.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_outlived(&self, key: KeyVersion) -> Result<bool, Error> {
        let row = statement(
            "SELECT 1 FROM closed_keys c WHERE c.tenant_id = $1 AND c.below > $2
               AND coalesce((SELECT MIN(s.tenant_key_version) FROM subject_keys s
                 WHERE s.tenant_id = $1 AND s.tenant_key_version >= $2), $2 + 1) > $2
               AND NOT EXISTS (SELECT 1 FROM deposit_keys d WHERE d.tenant_id = $1 AND d.tenant_key_version = $2)",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .fetch_optional(&mut self.engine().read().await?)
        .await?;
        Ok(row.is_some())
    }

    /// Whether the newest wrapping in force of a key was proven since an instant.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_proven(&self, key: KeyVersion, since: Timestamp, now: Timestamp) -> Result<bool, Error> {
        let row = statement(
            "SELECT 1 FROM tenant_keys n WHERE n.tenant_id = $1 AND n.version = $2 AND n.state = 'CURRENT'
               AND n.proven >= $3 AND n.proven <= $4 AND n.wrapping = (SELECT MAX(w.wrapping) FROM tenant_keys w
                 WHERE w.tenant_id = n.tenant_id AND w.version = n.version AND w.state = 'CURRENT') LIMIT 1",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(instant(since))
        .bind(instant(now.plus(AHEAD)))
        .fetch_optional(&mut self.engine().read().await?)
        .await?;
        Ok(row.is_some())
    }

    /// Retires every share of the versions of one tenant's key below the one in force; gives their number. None where one
    /// of them still takes new rows or has some, or where the newest wrapping of the one in force was not proven since
    /// `proven`.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn retire_older(&self, in_force: KeyVersion, proven: Timestamp, at: Timestamp) -> Result<u64, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        // SECURITY: whoever puts a row reads the bound under a lock, so that none comes after it was looked for here. The
        // lowest version is what an index gives; what is asked for by EXISTS may be answered by reading all rows.
        let shares = statement(
            "UPDATE tenant_keys SET state = 'RETIRED', state_at = $3
             WHERE tenant_id = $1 AND version < $2 AND state <> 'RETIRED'
               AND EXISTS (SELECT 1 FROM closed_keys c WHERE c.tenant_id = $1 AND c.below >= $2)
               AND coalesce((SELECT MIN(s.tenant_key_version) FROM subject_keys s WHERE s.tenant_id = $1), $2) >= $2
               AND NOT EXISTS (SELECT 1 FROM deposit_keys d WHERE d.tenant_id = $1 AND d.tenant_key_version < $2)
               AND EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = $1 AND n.version = $2 AND n.state = 'CURRENT'
                 AND n.proven >= $4 AND n.proven <= $5 AND n.wrapping = (SELECT MAX(w.wrapping) FROM tenant_keys w
                   WHERE w.tenant_id = $1 AND w.version = $2 AND w.state = 'CURRENT'))",
        )
        .bind(in_force.tenant.to_string())
        .bind(i64::from(in_force.version))
        .bind(instant(at))
        .bind(instant(proven))
        .bind(instant(at.plus(AHEAD)))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(shares)
    }

    /// The next versions, in their order, all of whose shares were retired before an instant.
    ///
    /// # Errors
    /// The store's.
    pub async fn versions_retired(
        &self,
        before: Timestamp,
        after: Option<KeyVersion>,
        at_most: u32,
    ) -> Result<Vec<KeyVersion>, Error> {
        let (tenant, version) = crate::keyring::wrappings::behind(after);
        let rows = statement(
            "SELECT k.tenant_id, k.version FROM tenant_keys k JOIN closed_keys c
               ON c.tenant_id = k.tenant_id AND k.version < c.below
             WHERE k.tenant_id > $2 OR (k.tenant_id = $2 AND k.version > $3)
             GROUP BY k.tenant_id, k.version
             HAVING SUM(CASE WHEN k.state = 'RETIRED' AND k.state_at < $1 THEN 0 ELSE 1 END) = 0
             ORDER BY k.tenant_id, k.version LIMIT $4",
        )
        .bind(instant(before))
        .bind(tenant)
        .bind(version)
        .bind(i64::from(at_most))
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        rows.iter().map(readable).collect()
    }

    /// Destroys one version of a tenant's key that was retired before an instant, with the keys of rows beside it, once what
    /// it gives is committed; nothing where a share of it was not, or the wrapping of the version in force that is named,
    /// every share of which was opened just now, is not its newest by then, or does not say that it was proven since `proven`.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn destroy_version(
        &self,
        key: KeyVersion,
        (in_force, wrapping): (KeyVersion, u32),
        (before, proven, at): (Timestamp, Timestamp, Timestamp),
    ) -> Result<Option<Destruction>, Error> {
        if key.tenant != in_force.tenant || key.version >= in_force.version {
            return Ok(None);
        }
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        // SECURITY: what opens goes only where every share of a newer version was opened, and nothing lies under it. All of
        // it goes or nothing: a version with a share that somebody put back is not said to be gone.
        let rows = statement(
            "DELETE FROM tenant_keys WHERE tenant_id = $1 AND version = $2 AND state = 'RETIRED' AND state_at < $3
               AND NOT EXISTS (SELECT 1 FROM tenant_keys b
                 WHERE b.tenant_id = $1 AND b.version = $2 AND NOT (b.state = 'RETIRED' AND b.state_at < $3))
               AND coalesce((SELECT MIN(s.tenant_key_version) FROM subject_keys s WHERE s.tenant_id = $1
                 AND s.tenant_key_version >= $2), $2 + 1) > $2
               AND NOT EXISTS (SELECT 1 FROM deposit_keys d WHERE d.tenant_id = $1 AND d.tenant_key_version = $2)
               AND EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = $1 AND n.version = $4 AND n.state = 'CURRENT'
                 AND n.wrapping = $5 AND n.proven >= $6 AND n.proven <= $7)
               AND $5 = (SELECT MAX(m.wrapping) FROM tenant_keys m WHERE m.tenant_id = $1 AND m.version = $4)
             RETURNING wrapping",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(instant(before))
        .bind(i64::from(in_force.version))
        .bind(i64::from(wrapping))
        .bind(instant(proven))
        .bind(instant(at.plus(AHEAD)))
        .fetch_all(&mut transaction)
        .await?;
        if rows.is_empty() {
            transaction.roll_back().await?;
            return Ok(None);
        }
        statement(
            "DELETE FROM row_keys WHERE tenant_id = $1 AND version = $2 AND NOT EXISTS (SELECT 1 FROM tenant_keys k
               WHERE k.tenant_id = $1 AND k.version = $2)",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .execute(&mut transaction)
        .await?;
        let wrappings: Result<Vec<u32>, Error> =
            rows.iter().map(|row| Cells::of("tenant_keys", row).int("wrapping")).collect();
        let gone = wrappings?.into_iter().map(|wrapping| (key, wrapping)).collect();
        Ok(Some(Destruction::of_version(transaction, self.clone(), gone, key, at)))
    }
}
