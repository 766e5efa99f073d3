//! Subject keys and the data keys below them. Destroying the first is how a person's logins are erased: the bytes
//! go, a tombstone stays, and nothing of that owner is ever stored again.

use cofre_model::id::{CredentialId, SubjectId, TenantId};
use cofre_model::sealed::WrappedKey;
use cofre_model::time::Timestamp;
use cofre_model::wording::Class;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::{Keyring, closing};
use crate::row::{Cells, Row, column, instant};
use crate::statement::statement;

/// A subject key, wrapped under its tenant's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubjectKey {
    /// Whose.
    pub owner: SubjectId,
    /// Its version, from 1.
    pub version: u32,
    /// The tenant.
    pub tenant: TenantId,
    /// The version of the tenant key that wraps it.
    pub tenant_key_version: u32,
    /// The wrapped key.
    pub wrapped: WrappedKey,
}

/// The data key of one version and class of a login, wrapped under its owner's subject key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDataKey {
    /// The login.
    pub credential: CredentialId,
    /// The class of secret.
    pub class: Class,
    /// The version of the secret.
    pub version: u32,
    /// The credential holder.
    pub owner: SubjectId,
    /// The version of the subject key that wraps it.
    pub subject_key_version: u32,
    /// The wrapped key.
    pub wrapped: WrappedKey,
}

/// What an erasure destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destroyed {
    /// Versions of the subject key.
    pub subject_keys: u64,
    /// Data keys.
    pub data_keys: u64,
}

/// The mark that an owner's keys were destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// When.
    pub at: Timestamp,
    /// The ledger entry that ordered it.
    pub entry_index: u64,
}

pub(crate) fn subject_key(row: &Row) -> Result<StoredSubjectKey, Error> {
    let cells = Cells::of("subject_keys", row);
    Ok(StoredSubjectKey {
        owner: cells.id("owner_id")?,
        version: cells.int("version")?,
        tenant: cells.id("tenant_id")?,
        tenant_key_version: cells.int("tenant_key_version")?,
        wrapped: WrappedKey::from_bytes(cells.blob("wrapped")?.to_vec()),
    })
}

async fn tombstone(session: &mut Session<'_>, owner: &SubjectId) -> Result<Option<Tombstone>, Error> {
    let row = statement("SELECT at, entry_index FROM destroyed WHERE kind = 'owner' AND id = $1")
        .bind(owner.to_string())
        .fetch_optional(session)
        .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("destroyed", row);
            Ok(Tombstone { at: cells.time("at")?, entry_index: cells.int("entry_index")? })
        })
        .transpose()
}

/// The put of anything of an owner starts here, in its own transaction.
async fn alive(session: &mut Session<'_>, owner: &SubjectId) -> Result<(), Error> {
    match tombstone(session, owner).await? {
        None => Ok(()),
        Some(_) => Err(Error::Destroyed),
    }
}

impl Keyring {
    /// Stores one version of a subject key.
    ///
    /// # Errors
    /// [`Error::Exists`] where the version is stored already, [`Error::Destroyed`] where the owner was erased,
    /// [`Error::Closed`] where the version of the tenant key takes no new rows.
    pub async fn put_subject_key(&self, key: &StoredSubjectKey) -> Result<(), Error> {
        let mut transaction = self.engine.begin(&key.owner.to_string()).await?;
        alive(&mut transaction, &key.owner).await?;
        closing::takes_rows(&mut transaction, &key.tenant, key.tenant_key_version).await?;
        let stored = statement("INSERT INTO subject_keys VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
            .bind(key.owner.to_string())
            .bind(i64::from(key.version))
            .bind(key.tenant.to_string())
            .bind(i64::from(key.tenant_key_version))
            .bind(key.wrapped.as_bytes())
            .execute(&mut transaction)
            .await?;
        if stored == 0 {
            return Err(Error::Exists);
        }
        transaction.commit().await
    }

    /// The newest version of an owner's subject key.
    ///
    /// # Errors
    /// The store's.
    pub async fn subject_key(&self, owner: &SubjectId) -> Result<Option<StoredSubjectKey>, Error> {
        let row = statement("SELECT * FROM subject_keys WHERE owner_id = $1 ORDER BY version DESC LIMIT 1")
            .bind(owner.to_string())
            .fetch_optional(&mut self.engine.read().await?)
            .await?;
        row.as_ref().map(subject_key).transpose()
    }

    /// One version of an owner's subject key.
    ///
    /// # Errors
    /// The store's.
    pub async fn subject_key_version(
        &self,
        owner: &SubjectId,
        version: u32,
    ) -> Result<Option<StoredSubjectKey>, Error> {
        let row = statement("SELECT * FROM subject_keys WHERE owner_id = $1 AND version = $2")
            .bind(owner.to_string())
            .bind(i64::from(version))
            .fetch_optional(&mut self.engine.read().await?)
            .await?;
        row.as_ref().map(subject_key).transpose()
    }

    /// Stores the data key of one version of a login.
    ///
    /// # Errors
    /// [`Error::Exists`] where the version has one already, [`Error::Destroyed`] where the owner was erased.
    pub async fn put_data_key(&self, key: &StoredDataKey) -> Result<(), Error> {
        let mut transaction = self.engine.begin(&key.owner.to_string()).await?;
        alive(&mut transaction, &key.owner).await?;
        let stored = statement("INSERT INTO data_keys VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING")
            .bind(key.credential.to_string())
            .bind(key.class.as_str())
            .bind(i64::from(key.version))
            .bind(key.owner.to_string())
            .bind(i64::from(key.subject_key_version))
            .bind(key.wrapped.as_bytes())
            .execute(&mut transaction)
            .await?;
        if stored == 0 {
            return Err(Error::Exists);
        }
        transaction.commit().await
    }

    /// The data key of one version of a login.
    ///
    /// # Errors
    /// The store's.
    pub async fn data_key(
        &self,
        credential: &CredentialId,
        class: Class,
        version: u32,
    ) -> Result<Option<StoredDataKey>, Error> {
        let row = statement("SELECT * FROM data_keys WHERE credential_id = $1 AND class = $2 AND version = $3")
            .bind(credential.to_string())
            .bind(class.as_str())
            .bind(i64::from(version))
            .fetch_optional(&mut self.engine.read().await?)
            .await?;
        row.as_ref()
            .map(|row| {
                let cells = Cells::of("data_keys", row);
                Ok(StoredDataKey {
                    credential: cells.id("credential_id")?,
                    class: cells.word("class", Class::from_text)?,
                    version: cells.int("version")?,
                    owner: cells.id("owner_id")?,
                    subject_key_version: cells.int("subject_key_version")?,
                    wrapped: WrappedKey::from_bytes(cells.blob("wrapped")?.to_vec()),
                })
            })
            .transpose()
    }

    /// Destroys every key of an owner and leaves a tombstone. Doing it again destroys nothing more and keeps the
    /// first tombstone.
    ///
    /// # Errors
    /// The store's.
    pub async fn destroy_owner(&self, owner: &SubjectId, at: Timestamp, entry_index: u64) -> Result<Destroyed, Error> {
        let mut transaction = self.engine.begin(&owner.to_string()).await?;
        let data_keys = statement("DELETE FROM data_keys WHERE owner_id = $1")
            .bind(owner.to_string())
            .execute(&mut transaction)
            .await?;
        let subject_keys = statement("DELETE FROM subject_keys WHERE owner_id = $1")
            .bind(owner.to_string())
            .execute(&mut transaction)
            .await?;
        statement("INSERT INTO destroyed VALUES ('owner', $1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(owner.to_string())
            .bind(instant(at))
            .bind(column(entry_index))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        self.engine.forget_deleted().await?;
        Ok(Destroyed { subject_keys, data_keys })
    }

    /// The tombstone of an owner, if its keys were destroyed.
    ///
    /// # Errors
    /// The store's.
    pub async fn destroyed(&self, owner: &SubjectId) -> Result<Option<Tombstone>, Error> {
        tombstone(&mut self.engine.read().await?, owner).await
    }
}
