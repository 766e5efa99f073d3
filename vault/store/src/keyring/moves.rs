//! Moving what lies directly under a tenant's key from one version of it to a later one. A row is changed where it still
//! is what was read, and none ever comes back: whoever was erased meanwhile stays erased. Nothing here judges what is put
//! in its place.

use cofre_model::id::{DepositKeyId, KeyJobId, SubjectId, TenantId};
use cofre_model::sealed::WrappedKey;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::keyring::deposit_keys::{self, StoredDepositKey};
use crate::keyring::subject_keys::{StoredSubjectKey, subject_key};
use crate::row::{Cells, column};
use crate::statement::{either, statement};

/// Nobody moves rows beside another: two that have some of them in common, in another order, would wait for each other.
const MOVES: &str = "moves of keys";

/// A subject key that was wrapped under a later version of its tenant's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedKey {
    /// Whose.
    pub owner: SubjectId,
    /// Its version.
    pub version: u32,
    /// The version of the tenant key that it leaves.
    pub from: u32,
    /// The version of the tenant key that it comes under.
    pub to: u32,
    /// The wrapped key.
    pub wrapped: WrappedKey,
}

/// Keys as a JSON list, each as a list of its own. Written out at once: a tree of values would be as many pieces of memory
/// for each key as it has parts.
fn list_of(moved: &[MovedKey]) -> String {
    let mut list = String::from("[");
    for key in moved {
        let MovedKey { owner, version, from, to, wrapped } = key;
        let wrapped = hex::encode(wrapped.as_bytes());
        if list.len() > 1 {
            list.push(',');
        }
        // INVARIANT: neither an id nor hexadecimal digits have a character that would have to be escaped.
        list.push_str(&format!("[\"{owner}\",{version},{from},{to},\"{wrapped}\"]"));
    }
    list.push(']');
    list
}

/// Where a page of subject keys under versions of a tenant's key begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// With the first one there is.
    Nothing,
    /// Behind this key, as it lay when it was read.
    Key {
        /// The version of the tenant key that it lay under.
        under: u32,
        /// Whose.
        owner: SubjectId,
        /// Its version.
        version: u32,
    },
    /// Behind all that lie under this version of the tenant key, and earlier ones.
    Version(u32),
}

impl Behind {
    /// Behind a key that was read.
    #[must_use]
    pub const fn key(key: &StoredSubjectKey) -> Self {
        Self::Key { under: key.tenant_key_version, owner: key.owner, version: key.version }
    }

    /// The version that a page begins in, at the earliest; nothing where no later one can be.
    const fn from(self) -> Option<u32> {
        match self {
            Self::Nothing => Some(0),
            Self::Key { under, .. } => Some(under),
            Self::Version(version) => version.checked_add(1),
        }
    }

    /// The owner and version, as the row has them, behind which a page of this version begins.
    fn row_in(self, of: u32) -> (String, i64) {
        match self {
            Self::Key { under, owner, version } if under == of => (owner.to_string(), version.into()),
            _ => (String::new(), 0),
        }
    }
}

/// The next subject keys under one version, in order, after `after`. A row that is none holds up none of those behind it:
/// nothing is given only where no row is left.
async fn under(
    session: &mut Session<'_>,
    (tenant, version): (&TenantId, u32),
    mut after: (String, i64),
    at_most: u32,
) -> Result<Vec<StoredSubjectKey>, Error> {
    loop {
        let rows = statement(
            "SELECT * FROM subject_keys WHERE tenant_id = $1 AND tenant_key_version = $2 AND (owner_id, version) > ($3, $4)
             ORDER BY owner_id, version LIMIT $5",
        )
        .bind(tenant.to_string())
        .bind(i64::from(version))
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(at_most))
        .fetch_all(session)
        .await?;
        let keys: Vec<_> = rows.iter().filter_map(|row| subject_key(row).ok()).collect();
        let Some(last) = rows.last().filter(|_| keys.is_empty()) else { return Ok(keys) };
        let cells = Cells::of("subject_keys", last);
        after = (cells.string("owner_id")?, cells.int("version")?);
    }
}

/// The lowest version of a tenant's key from `from` on and below `below` that has subject keys under it.
async fn lowest(session: &mut Session<'_>, tenant: &TenantId, from: u32, below: u32) -> Result<Option<u32>, Error> {
    let row = statement(
        "SELECT MIN(tenant_key_version) AS lowest FROM subject_keys
         WHERE tenant_id = $1 AND tenant_key_version >= $2 AND tenant_key_version < $3",
    )
    .bind(tenant.to_string())
    .bind(i64::from(from))
    .bind(i64::from(below))
    .fetch_one(session)
    .await?;
    Cells::of("subject_keys", &row).optional("lowest", Cells::int)
}

impl Keyring {
    /// The next subject keys of a tenant under versions of its key below `below`, by the version they lie under, then by
    /// owner and version. A page has those of one version only, so that one which does not open holds up none of another.
    ///
    /// # Errors
    /// The store's.
    pub async fn subject_keys_under(
        &self,
        tenant: &TenantId,
        below: u32,
        behind: Behind,
        at_most: u32,
    ) -> Result<Vec<StoredSubjectKey>, Error> {
        let mut session = self.engine().read().await?;
        let mut from = behind.from();
        // Version by version, each in the order of the index; few have any left.
        while let Some(first) = from
            && let Some(version) = lowest(&mut session, tenant, first, below).await?
        {
            let keys = under(&mut session, (tenant, version), behind.row_in(version), at_most).await?;
            if !keys.is_empty() {
                return Ok(keys);
            }
            from = version.checked_add(1);
        }
        Ok(Vec::new())
    }

    /// How many owners' keys of a tenant lie under versions of its key below `below`; `at_most` where there are more. No more
    /// than that are looked at.
    ///
    /// # Errors
    /// The store's.
    pub async fn owners_under_count(&self, tenant: &TenantId, below: u32, at_most: u32) -> Result<u64, Error> {
        let row = statement(
            "SELECT COUNT(*) AS under FROM (SELECT 1 FROM subject_keys
             WHERE tenant_id = $1 AND tenant_key_version < $2 LIMIT $3) AS counted",
        )
        .bind(tenant.to_string())
        .bind(i64::from(below))
        .bind(i64::from(at_most))
        .fetch_one(&mut self.engine().read().await?)
        .await?;
        Cells::of("subject_keys", &row).int("under")
    }

    /// How many owners' keys a job has moved.
    ///
    /// # Errors
    /// The store's.
    pub async fn owners_moved_count(&self, job: &KeyJobId) -> Result<u64, Error> {
        let row = statement("SELECT moved FROM key_moves WHERE job = $1")
            .bind(job.to_string())
            .fetch_optional(&mut self.engine().read().await?)
            .await?;
        row.map_or(Ok(0), |row| Cells::of("key_moves", &row).int("moved"))
    }

    /// A tenant's deposit keys under versions of its key below `below`, by id. A row that cannot be read is left out, and
    /// counted by [`Self::keys_under_count`].
    ///
    /// # Errors
    /// The store's.
    pub async fn deposit_keys_under(&self, tenant: &TenantId, below: u32) -> Result<Vec<StoredDepositKey>, Error> {
        let rows = statement("SELECT * FROM deposit_keys WHERE tenant_id = $1 AND tenant_key_version < $2 ORDER BY id")
            .bind(tenant.to_string())
            .bind(i64::from(below))
            .fetch_all(&mut self.engine().read().await?)
            .await?;
        Ok(rows.iter().filter_map(|row| deposit_keys::record(row).ok()).collect())
    }

    /// How many keys lie directly under versions of a tenant's key below `below`; without a tenant, of every tenant's.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_under_count(&self, tenant: Option<&TenantId>, below: u32) -> Result<u64, Error> {
        let count = match tenant {
            Some(tenant) => statement(
                "SELECT (SELECT COUNT(*) FROM subject_keys WHERE tenant_id = $2 AND tenant_key_version < $1)
                   + (SELECT COUNT(*) FROM deposit_keys WHERE tenant_id = $2 AND tenant_key_version < $1) AS under",
            )
            .bind(i64::from(below))
            .bind(tenant.to_string()),
            None => statement(
                "SELECT (SELECT COUNT(*) FROM subject_keys WHERE tenant_key_version < $1)
                   + (SELECT COUNT(*) FROM deposit_keys WHERE tenant_key_version < $1) AS under",
            )
            .bind(i64::from(below)),
        };
        let row = count.fetch_one(&mut self.engine().read().await?).await?;
        Cells::of("subject_keys", &row).int("under")
    }

    /// Puts subject keys under later versions of their tenants' keys, in one transaction, each where it still lies under
    /// the version it was read from; gives how many that were, and counts them for the job. One that is gone stays gone, and
    /// none comes under a version that takes no new rows, has no share in force or is not later. A few thousand at once.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn move_subject_keys(&self, job: &KeyJobId, moved: &[MovedKey]) -> Result<u64, Error> {
        if moved.is_empty() {
            return Ok(0);
        }
        let list = list_of(moved);
        let mut transaction = self.engine().begin(MOVES).await?;
        // One statement for all of them; each engine takes a list apart in its own way. Counts, because what is asked for by
        // EXISTS may be joined with every tenant's shares.
        let changed = either(
            "UPDATE subject_keys SET wrapped = unhex(m.wrapped), tenant_key_version = m.later
             FROM (SELECT value ->> 0 AS owner, value ->> 1 AS version, value ->> 2 AS earlier, value ->> 3 AS later,
                 value ->> 4 AS wrapped FROM json_each($1)) AS m
             WHERE subject_keys.owner_id = m.owner AND subject_keys.version = m.version
               AND subject_keys.tenant_key_version = m.earlier AND m.later > m.earlier
               AND (SELECT COUNT(*) FROM closed_keys c WHERE c.tenant_id = subject_keys.tenant_id AND c.below > m.later) = 0
               AND (SELECT COUNT(*) FROM tenant_keys k
                 WHERE k.tenant_id = subject_keys.tenant_id AND k.version = m.later AND k.state = 'CURRENT') > 0",
            "UPDATE subject_keys SET wrapped = decode(m.wrapped, 'hex'), tenant_key_version = m.later
             FROM (SELECT value ->> 0 AS owner, (value ->> 1)::bigint AS version, (value ->> 2)::bigint AS earlier,
                 (value ->> 3)::bigint AS later, value ->> 4 AS wrapped FROM jsonb_array_elements($1::jsonb)) AS m
             WHERE subject_keys.owner_id = m.owner AND subject_keys.version = m.version
               AND subject_keys.tenant_key_version = m.earlier AND m.later > m.earlier
               AND (SELECT COUNT(*) FROM closed_keys c WHERE c.tenant_id = subject_keys.tenant_id AND c.below > m.later) = 0
               AND (SELECT COUNT(*) FROM tenant_keys k
                 WHERE k.tenant_id = subject_keys.tenant_id AND k.version = m.later AND k.state = 'CURRENT') > 0",
        )
        .bind(list)
        .execute(&mut transaction)
        .await?;
        statement(
            "INSERT INTO key_moves AS m VALUES ($1, $2) ON CONFLICT (job) DO UPDATE SET moved = m.moved + excluded.moved",
        )
        .bind(job.to_string())
        .bind(column(changed))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(changed)
    }

    /// Puts the private half of a deposit key under a later version of its tenant's key, where it still lies under `from`;
    /// says whether it did, and `to` is later, takes new rows and has a share in force.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn move_deposit_key(
        &self,
        id: &DepositKeyId,
        from: u32,
        to: u32,
        wrapped: &WrappedKey,
    ) -> Result<bool, Error> {
        let mut transaction = self.engine().begin("deposit keys").await?;
        let changed = statement(
            "UPDATE deposit_keys SET wrapped_private = $4, tenant_key_version = $3
             WHERE id = $1 AND tenant_key_version = $2 AND tenant_key_version < $3
               AND NOT EXISTS (SELECT 1 FROM closed_keys c WHERE c.tenant_id = deposit_keys.tenant_id AND c.below > $3)
               AND EXISTS (SELECT 1 FROM tenant_keys k
                 WHERE k.tenant_id = deposit_keys.tenant_id AND k.version = $3 AND k.state = 'CURRENT')",
        )
        .bind(id.to_string())
        .bind(i64::from(from))
        .bind(i64::from(to))
        .bind(wrapped.as_bytes())
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(changed == 1)
    }
}
