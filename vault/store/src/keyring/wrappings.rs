//! Moving tenant keys from one wrapping to the next: what is due, and what is in force. Nothing here judges a key: whoever
//! replaces a wrapping has opened the key and compared its id before.

use cofre_model::id::TenantId;
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::keyring::tenant_keys::{self, TenantKeyShare, WRAPPINGS};
use crate::row::{Cells, Row, instant};
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

pub(crate) fn readable(row: &Row) -> Result<KeyVersion, Error> {
    let cells = Cells::of("tenant_keys", row);
    let key = KeyVersion { tenant: cells.id("tenant_id")?, version: cells.int("version")? };
    if key.version == 0 { Err(Error::corrupt("tenant_keys", "version")) } else { Ok(key) }
}

/// Where the keys behind `after` begin, for a statement that asks for those behind it.
pub(crate) fn behind(after: Option<KeyVersion>) -> (String, i64) {
    after.map_or((String::new(), 0), |key| (key.tenant.to_string(), i64::from(key.version)))
}

pub(crate) async fn keys_of(
    session: &mut Session<'_>,
    by: WrappedBy<'_>,
    at_most: usize,
) -> Result<Vec<KeyVersion>, Error> {
    let rows = statement(
        "SELECT DISTINCT tenant_id, version FROM tenant_keys
         WHERE state = 'CURRENT' AND custodian_id = $1 AND (custodian_key = $2 OR $2 IS NULL)
         ORDER BY tenant_id, version LIMIT $3",
    )
    .bind(by.custodian)
    .bind(by.key)
    .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
    .fetch_all(session)
    .await?;
    rows.iter().map(readable).collect()
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
    /// The next keys that are due, in their order, after `after`. A row that names no version of any tenant's key holds up
    /// none of those behind it: it is passed over, and still counts as due.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_due(
        &self,
        due: Due<'_>,
        after: Option<KeyVersion>,
        at_most: u32,
    ) -> Result<Vec<KeyVersion>, Error> {
        let (mut tenant, mut version) = behind(after);
        loop {
            let rows = statement(
                "SELECT DISTINCT tenant_id, version FROM tenant_keys
                 WHERE state = 'CURRENT' AND (custody_set <> $1 OR custodian_key = $2)
                   AND (tenant_id > $3 OR (tenant_id = $3 AND version > $4))
                 ORDER BY tenant_id, version LIMIT $5",
            )
            .bind(due.target)
            .bind(due.from_key)
            .bind(&tenant)
            .bind(version)
            .bind(i64::from(at_most))
            .fetch_all(&mut self.engine().read().await?)
            .await?;
            let keys: Vec<_> = rows.iter().filter_map(|row| readable(row).ok()).collect();
            let Some(last) = rows.last().filter(|_| keys.is_empty()) else { return Ok(keys) };
            let cells = Cells::of("tenant_keys", last);
            (tenant, version) = (cells.string("tenant_id")?, cells.int("version")?);
        }
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
    /// [`Error::Retired`] where one of them was wrapped by a custodian that was retired; else the store's. Nothing was
    /// changed then.
    pub async fn replace_wrapping(
        &self,
        key: KeyVersion,
        from: u32,
        shares: Vec<TenantKeyShare>,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
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
        // The new one first: no share is closed that none stands for.
        let shares: Vec<_> = shares.into_iter().map(|share| TenantKeyShare { wrapping: next, ..share }).collect();
        tenant_keys::insert(&mut transaction, &shares, at).await?;
        // All of them: an older one that somebody put back is closed as well.
        statement(
            "UPDATE tenant_keys SET state = 'CLOSED', state_at = $3
             WHERE tenant_id = $1 AND version = $2 AND state = 'CURRENT' AND wrapping < $4",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(instant(at))
        .bind(i64::from(next))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether a key has more than one wrapping in force.
    ///
    /// # Errors
    /// The store's.
    pub async fn doubled(&self, key: KeyVersion) -> Result<bool, Error> {
        let row = statement(
            "SELECT COUNT(DISTINCT wrapping) AS wrappings FROM tenant_keys
             WHERE tenant_id = $1 AND version = $2 AND state = 'CURRENT'",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .fetch_one(&mut self.engine().read().await?)
        .await?;
        Ok(Cells::of("tenant_keys", &row).int::<u64>("wrappings")? > 1)
    }

    /// What was replaced and is still there, each wrapping for itself: those that are closed, then those that were
    /// retired, each the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn replaced_wrappings(&self, key: KeyVersion) -> Result<Vec<Vec<TenantKeyShare>>, Error> {
        let mut session = self.engine().read().await?;
        let mut wrappings: Vec<Vec<TenantKeyShare>> = Vec::new();
        for state in ["CLOSED", "RETIRED"] {
            for share in tenant_keys::all(&mut session, &key.tenant, key.version, state).await? {
                match wrappings.last_mut().filter(|shares| shares.iter().all(|there| there.wrapping == share.wrapping))
                {
                    Some(shares) => shares.push(share),
                    None => wrappings.push(vec![share]),
                }
            }
        }
        Ok(wrappings)
    }

    /// The custodians that were retired, each with the key that was; where that is empty, all of its keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn retired_custodians(&self) -> Result<Vec<(String, String)>, Error> {
        let rows = statement("SELECT custodian_id, custodian_key FROM retired_custodians ORDER BY 1, 2")
            .fetch_all(&mut self.engine().read().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("retired_custodians", row);
                Ok((cells.string("custodian_id")?, cells.string("custodian_key")?))
            })
            .collect()
    }

    /// Closes whatever is in force beside the newest wrapping.
    ///
    /// # Errors
    /// The store's.
    pub async fn close_older(&self, key: KeyVersion, at: Timestamp) -> Result<u64, Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
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

    /// Keeps in mind when every share of a wrapping was opened and gave the key.
    ///
    /// # Errors
    /// The store's.
    pub async fn prove_wrapping(&self, key: KeyVersion, wrapping: u32, at: Timestamp) -> Result<(), Error> {
        let mut transaction = self.engine().begin(WRAPPINGS).await?;
        statement(
            "UPDATE tenant_keys SET proven = $4
             WHERE tenant_id = $1 AND version = $2 AND wrapping = $3 AND proven < $4 AND state = 'CURRENT'",
        )
        .bind(key.tenant.to_string())
        .bind(i64::from(key.version))
        .bind(i64::from(wrapping))
        .bind(instant(at))
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

    /// The first keys that a custodian, or one key of it, has a share in force of.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_in_force(&self, by: WrappedBy<'_>, at_most: usize) -> Result<Vec<KeyVersion>, Error> {
        keys_of(&mut self.engine().read().await?, by, at_most).await
    }

    /// Whether every share of a key was put before an instant.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_before(&self, key: KeyVersion, at: Timestamp) -> Result<bool, Error> {
        let later =
            statement("SELECT 1 FROM tenant_keys WHERE tenant_id = $1 AND version = $2 AND state_at >= $3 LIMIT 1")
                .bind(key.tenant.to_string())
                .bind(i64::from(key.version))
                .bind(instant(at))
                .fetch_optional(&mut self.engine().read().await?)
                .await?;
        Ok(later.is_none())
    }
}
