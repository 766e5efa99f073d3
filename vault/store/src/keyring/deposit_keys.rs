//! Deposit key pairs: the public half is served, the private half rests wrapped under the tenant's key and is
//! destroyed after its time.

use cofre_model::id::{DepositKeyId, TenantId};
use cofre_model::sealed::WrappedKey;
use cofre_model::time::Timestamp;

use crate::error::Error;
use crate::keyring::{Keyring, closing};
use crate::row::{Cells, Row, column, instant};
use crate::statement::statement;

/// A deposit key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDepositKey {
    /// Its id.
    pub id: DepositKeyId,
    /// The tenant.
    pub tenant: TenantId,
    /// The version of the tenant key that wraps the private half.
    pub tenant_key_version: u32,
    /// The HPKE suite's KEM id (RFC 9180, section 7.1).
    pub suite: u16,
    /// The public half.
    pub public: Vec<u8>,
    /// The wrapped private half.
    pub wrapped_private: WrappedKey,
    /// Deposits are sealed to it from this instant on.
    pub not_before: Timestamp,
    /// Deposits are sealed to it before this instant.
    pub not_after: Timestamp,
    /// The deployment's signature over the public half and its validity.
    pub signature: Vec<u8>,
}

pub(crate) fn record(row: &Row) -> Result<StoredDepositKey, Error> {
    let cells = Cells::of("deposit_keys", row);
    Ok(StoredDepositKey {
        id: cells.id("id")?,
        tenant: cells.id("tenant_id")?,
        tenant_key_version: cells.int("tenant_key_version")?,
        suite: cells.int("suite")?,
        public: cells.blob("public")?.to_vec(),
        wrapped_private: WrappedKey::from_bytes(cells.blob("wrapped_private")?.to_vec()),
        not_before: cells.time("not_before")?,
        not_after: cells.time("not_after")?,
        signature: cells.blob("signature")?.to_vec(),
    })
}

impl Keyring {
    /// Stores a deposit key pair.
    ///
    /// # Errors
    /// [`Error::Exists`] where the id is taken, [`Error::Destroyed`] where this pair was destroyed, [`Error::Closed`] where
    /// the version of the tenant key takes no new rows.
    pub async fn put_deposit_key(&self, key: &StoredDepositKey) -> Result<(), Error> {
        let mut transaction = self.engine.begin("deposit keys").await?;
        let gone = statement("SELECT 1 FROM destroyed WHERE kind = 'deposit-key' AND id = $1")
            .bind(key.id.to_string())
            .fetch_optional(&mut transaction)
            .await?;
        if gone.is_some() {
            return Err(Error::Destroyed);
        }
        closing::takes_rows(&mut transaction, &key.tenant, key.tenant_key_version).await?;
        let stored =
            statement("INSERT INTO deposit_keys VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING")
                .bind(key.id.to_string())
                .bind(key.tenant.to_string())
                .bind(i64::from(key.tenant_key_version))
                .bind(i64::from(key.suite))
                .bind(&key.public)
                .bind(key.wrapped_private.as_bytes())
                .bind(instant(key.not_before))
                .bind(instant(key.not_after))
                .bind(&key.signature)
                .execute(&mut transaction)
                .await?;
        if stored == 0 {
            return Err(Error::Exists);
        }
        transaction.commit().await
    }

    /// The pair of this id, whatever its validity.
    ///
    /// # Errors
    /// The store's.
    pub async fn deposit_key(&self, id: &DepositKeyId) -> Result<Option<StoredDepositKey>, Error> {
        let row = statement("SELECT * FROM deposit_keys WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut self.engine.read().await?)
            .await?;
        row.as_ref().map(record).transpose()
    }

    /// The tenant's pair in force at `now`; the newest, where several are.
    ///
    /// # Errors
    /// The store's.
    pub async fn deposit_key_at(&self, tenant: &TenantId, now: Timestamp) -> Result<Option<StoredDepositKey>, Error> {
        let row = statement(
            "SELECT * FROM deposit_keys WHERE tenant_id = $1 AND not_before <= $2 AND $2 < not_after
             ORDER BY not_before DESC, id DESC LIMIT 1",
        )
        .bind(tenant.to_string())
        .bind(instant(now))
        .fetch_optional(&mut self.engine.read().await?)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// How many pairs have a validity that ended before `ended_before`.
    ///
    /// # Errors
    /// The store's.
    pub async fn deposit_keys_ended(&self, ended_before: Timestamp) -> Result<u64, Error> {
        let row = statement("SELECT COUNT(*) AS ended FROM deposit_keys WHERE not_after < $1")
            .bind(instant(ended_before))
            .fetch_one(&mut self.engine.read().await?)
            .await?;
        Cells::of("deposit_keys", &row).int("ended")
    }

    /// Destroys every pair whose validity ended before `ended_before`, leaving a tombstone for each; gives their
    /// number.
    ///
    /// # Errors
    /// The store's.
    pub async fn destroy_deposit_keys(
        &self,
        ended_before: Timestamp,
        now: Timestamp,
        entry_index: u64,
    ) -> Result<u64, Error> {
        let mut transaction = self.engine.begin("deposit keys").await?;
        statement(
            "INSERT INTO destroyed SELECT 'deposit-key', id, $1, $2 FROM deposit_keys WHERE not_after < $3
             ON CONFLICT DO NOTHING",
        )
        .bind(instant(now))
        .bind(column(entry_index))
        .bind(instant(ended_before))
        .execute(&mut transaction)
        .await?;
        let gone = statement("DELETE FROM deposit_keys WHERE not_after < $1")
            .bind(instant(ended_before))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        if gone > 0 {
            self.engine.forget_deleted().await?;
        }
        Ok(gone)
    }
}
