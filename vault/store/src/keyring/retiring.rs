//! Retiring the wrappings that a newer one stands for. What was retired is destroyed later, and leaves a tombstone. Nothing
//! here opens a share: that every share of the newer one opens was seen before, and is asked again by its number and time.

use cofre_model::time::{Span, Timestamp};

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::keyring::tenant_keys::WRAPPINGS;
use crate::keyring::wrappings::{KeyVersion, WrappedBy, behind, keys_of, readable};
use crate::row::{Cells, column, instant};
use crate::statement::statement;

/// By how much the clocks of those who write and read a proof may differ. One from further ahead is none: nobody has
/// opened anything by then.
pub(crate) const AHEAD: Span = Span::hours(1);

/// A custodian that is about to be retired. Dropped before it was committed, that never happened.
#[derive(Debug)]
#[must_use = "nothing is retired before it is committed"]
pub struct Retirement {
    transaction: Session<'static>,
}

impl Retirement {
    /// From here on the custodian wraps nothing any more.
    ///
    /// # Errors
    /// The store's.
    pub async fn commit(self) -> Result<(), Error> {
        self.transaction.commit().await
    }
}

/// Shares that are about to be destroyed. Dropped before it was committed, that never happened.
#[derive(Debug)]
#[must_use = "nothing is destroyed before it is committed"]
pub struct Destruction {
    transaction: Session<'static>,
    keyring: Keyring,
    /// The wrapping of each share.
    gone: Vec<(KeyVersion, u32)>,
    /// Versions that are gone with their last share.
    versions: Vec<KeyVersion>,
    at: Timestamp,
}

impl Destruction {
    pub(crate) fn of_version(
        transaction: Session<'static>,
        keyring: Keyring,
        gone: Vec<(KeyVersion, u32)>,
        version: KeyVersion,
        at: Timestamp,
    ) -> Self {
        Self { transaction, keyring, gone, versions: vec![version], at }
    }

    /// How many shares it destroys.
    #[must_use]
    pub fn shares(&self) -> u64 {
        u64::try_from(self.gone.len()).unwrap_or(u64::MAX)
    }

    /// Destroys them, leaving a tombstone for each wrapping, and for each version that is gone with its last, that name the
    /// entry; gives their number.
    ///
    /// # Errors
    /// The store's.
    pub async fn commit(mut self, entry_index: u64) -> Result<u64, Error> {
        let shares = self.shares();
        self.gone.sort_unstable();
        self.gone.dedup();
        for (key, wrapping) in &self.gone {
            statement("INSERT INTO destroyed VALUES ('wrapping', $1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(format!("{key}/{wrapping}"))
                .bind(instant(self.at))
                .bind(column(entry_index))
                .execute(&mut self.transaction)
                .await?;
        }
        for key in &self.versions {
            statement("INSERT INTO destroyed VALUES ('tenant-key', $1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(key.to_string())
                .bind(instant(self.at))
                .bind(column(entry_index))
                .execute(&mut self.transaction)
                .await?;
        }
        self.transaction.commit().await?;
        self.keyring.engine().forget_deleted().await?;
        Ok(shares)
    }
}

/// Whether `by` wrapped a share that was replaced since and is still there, or was retired already.
async fn wrapped_before(session: &mut Session<'_>, by: WrappedBy<'_>) -> Result<bool, Error> {
    let row = statement(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM tenant_keys WHERE state IN ('CLOSED', 'RETIRED')
           AND custodian_id = $1 AND (custodian_key = $2 OR $2 IS NULL))
         OR EXISTS (SELECT 1 FROM retired_custodians WHERE custodian_id = $1 AND custodian_key = $3)",
    )
    .bind(by.custodian)
    .bind(by.key)
    .bind(by.key.unwrap_or_default())
    .fetch_optional(session)
    .await?;
    Ok(row.is_some())
}

impl Keyring {
    /// Whether a custodian, or one key of it, wrapped a share that was replaced since and is still there, or was retired
    /// already.
    ///
    /// # Errors
    /// The store's.
    pub async fn wrapped_before(&self, by: WrappedBy<'_>) -> Result<bool, Error> {
        wrapped_before(&mut self.engine().read().await?, by).await
    }

    /// The next keys, in their order, that have a closed wrapping which `by` has a share in; each with whether the newest
    /// one in force was proven since an instant.
    ///
    /// # Errors
    /// The store's.
    pub async fn closed_keys(
        &self,
        by: WrappedBy<'_>,
        (proven, now): (Timestamp, Timestamp),
        after: Option<KeyVersion>,
        at_most: u32,
    ) -> Result<Vec<(KeyVersion, bool)>, Error> {
        let (tenant, version) = behind(after);
        let rows = statement(
            "SELECT k.tenant_id, k.version, (SELECT COUNT(*) FROM tenant_keys n
               WHERE n.tenant_id = k.tenant_id AND n.version = k.version AND n.state = 'CURRENT'
                 AND n.proven >= $6 AND n.proven <= $7 AND n.wrapping = (SELECT MAX(m.wrapping) FROM tenant_keys m
                   WHERE m.tenant_id = n.tenant_id AND m.version = n.version AND m.state = 'CURRENT')) AS proven
             FROM (SELECT DISTINCT tenant_id, version FROM tenant_keys
               WHERE state = 'CLOSED' AND custodian_id = $1 AND (custodian_key = $2 OR $2 IS NULL)
                 AND (tenant_id > $3 OR (tenant_id = $3 AND version > $4))
               ORDER BY tenant_id, version LIMIT $5) AS k
             ORDER BY k.tenant_id, k.version",
        )
        .bind(by.custodian)
        .bind(by.key)
        .bind(tenant)
        .bind(version)
        .bind(i64::from(at_most))
        .bind(instant(proven))
        .bind(instant(now.plus(AHEAD)))
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        rows.iter().map(|row| Ok((readable(row)?, Cells::of("tenant_keys", row).int::<u64>("proven")? > 0))).collect()
    }

    /// From the commit of what it gives on, `by` wraps nothing any more. Nothing where `by` still has a share in force,
    /// but of keys that are `nobodys`, or where it never wrapped what was replaced: its name would be lost for nothing.
    /// Until it is committed or dropped no key is moved.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn retire_custodian(
        &self,
        by: WrappedBy<'_>,
        nobodys: &[KeyVersion],
        at: Timestamp,
    ) -> Result<Option<Retirement>, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        let left = keys_of(&mut transaction, by, nobodys.len().saturating_add(1)).await?;
        if left.iter().any(|key| !nobodys.contains(key)) || !wrapped_before(&mut transaction, by).await? {
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
        Ok(Some(Retirement { transaction }))
    }

    /// Retires the first closed wrappings that `by` has a share in, at most `at_most` of them, and gives the number of
    /// shares. None of a custodian that was not retired, and none of a key whose newest wrapping in force was not proven
    /// since `proven`.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn retire_shares(
        &self,
        by: WrappedBy<'_>,
        proven: Timestamp,
        at: Timestamp,
        at_most: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        // SECURITY: a wrapping goes only where every share of a newer one was opened and gave the same key.
        let retired = statement(
            "UPDATE tenant_keys SET state = 'RETIRED', state_at = $4 WHERE state = 'CLOSED'
               AND EXISTS (SELECT 1 FROM retired_custodians WHERE custodian_id = $1 AND custodian_key = $3)
               AND (tenant_id, version, wrapping) IN (SELECT DISTINCT o.tenant_id, o.version, o.wrapping FROM tenant_keys o
                 WHERE o.state = 'CLOSED' AND o.custodian_id = $1 AND (o.custodian_key = $2 OR $2 IS NULL)
                   AND EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = o.tenant_id AND n.version = o.version
                     AND n.state = 'CURRENT' AND n.proven >= $5 AND n.proven <= $6 AND n.wrapping > o.wrapping
                     AND n.wrapping = (SELECT MAX(m.wrapping) FROM tenant_keys m
                       WHERE m.tenant_id = n.tenant_id AND m.version = n.version AND m.state = 'CURRENT'))
                 ORDER BY o.tenant_id, o.version, o.wrapping LIMIT $7)",
        )
        .bind(by.custodian)
        .bind(by.key)
        .bind(by.key.unwrap_or_default())
        .bind(instant(at))
        .bind(instant(proven))
        .bind(instant(at.plus(AHEAD)))
        .bind(i64::from(at_most))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(retired)
    }

    /// The next keys, in their order, that have shares which were retired before an instant.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_retired(
        &self,
        before: Timestamp,
        after: Option<KeyVersion>,
        at_most: u32,
    ) -> Result<Vec<KeyVersion>, Error> {
        let (tenant, version) = behind(after);
        let rows = statement(
            "SELECT DISTINCT tenant_id, version FROM tenant_keys
             WHERE state = 'RETIRED' AND state_at < $1 AND (tenant_id > $2 OR (tenant_id = $2 AND version > $3))
             ORDER BY tenant_id, version LIMIT $4",
        )
        .bind(instant(before))
        .bind(tenant)
        .bind(version)
        .bind(i64::from(at_most))
        .fetch_all(&mut self.engine().read().await?)
        .await?;
        rows.iter().map(readable).collect()
    }

    /// Destroys the shares of these keys that were retired before an instant, once what it gives is committed; nothing
    /// where there are none. Each key comes with the wrapping every share of which was opened just now: where another is
    /// the newest in force by then, or none says that it was proven since `proven`, its older shares stay.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn destroy_retired(
        &self,
        keys: &[(KeyVersion, u32)],
        before: Timestamp,
        proven: Timestamp,
        at: Timestamp,
    ) -> Result<Option<Destruction>, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        let mut gone = Vec::new();
        for (key, newest) in keys {
            // SECURITY: what opens goes only where every share of a newer wrapping was opened and gave the same key.
            let rows = statement(
                "DELETE FROM tenant_keys WHERE tenant_id = $1 AND version = $2 AND state = 'RETIRED' AND state_at < $3
                   AND wrapping < $4 AND EXISTS (SELECT 1 FROM tenant_keys n WHERE n.tenant_id = $1 AND n.version = $2
                     AND n.state = 'CURRENT' AND n.wrapping = $4 AND n.proven >= $5 AND n.proven <= $6)
                   AND $4 = (SELECT MAX(m.wrapping) FROM tenant_keys m WHERE m.tenant_id = $1 AND m.version = $2)
                 RETURNING wrapping",
            )
            .bind(key.tenant.to_string())
            .bind(i64::from(key.version))
            .bind(instant(before))
            .bind(i64::from(*newest))
            .bind(instant(proven))
            .bind(instant(at.plus(AHEAD)))
            .fetch_all(&mut transaction)
            .await?;
            for row in &rows {
                gone.push((*key, Cells::of("tenant_keys", row).int::<u32>("wrapping")?));
            }
        }
        if gone.is_empty() {
            transaction.roll_back().await?;
            return Ok(None);
        }
        Ok(Some(Destruction { transaction, keyring: self.clone(), gone, versions: Vec::new(), at }))
    }
}
