//! Ciphertexts: the sealed fields of logins, immutable per version. What stands here opens nothing by itself, and
//! nothing here is ever joined with a key.

use cofre_model::credential::FieldKey;
use cofre_model::id::CredentialId;
use cofre_model::sealed::SealedSecret;
use cofre_model::wording::Class;

use crate::engine::Engine;
use crate::error::Error;
use crate::row::Cells;
use crate::statement::statement;

/// The ciphertexts store. Clones share it.
#[derive(Debug, Clone)]
pub struct Ciphertexts {
    engine: Engine,
}

impl Ciphertexts {
    pub(crate) const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stores the sealed fields of one version.
    ///
    /// # Errors
    /// [`Error::Exists`] where this version is stored already: it never changes.
    pub async fn put(
        &self,
        credential: &CredentialId,
        class: Class,
        version: u32,
        fields: &[(FieldKey, SealedSecret)],
    ) -> Result<(), Error> {
        let mut transaction = self.engine.begin(&credential.to_string()).await?;
        let there = statement("SELECT 1 FROM sealed_fields WHERE credential_id = $1 AND class = $2 AND version = $3")
            .bind(credential.to_string())
            .bind(class.as_str())
            .bind(i64::from(version))
            .fetch_optional(&mut transaction)
            .await?;
        if there.is_some() {
            return Err(Error::Exists);
        }
        for (place, (key, sealed)) in (0_i64..).zip(fields) {
            statement("INSERT INTO sealed_fields VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(credential.to_string())
                .bind(class.as_str())
                .bind(i64::from(version))
                .bind(key.as_str())
                .bind(place)
                .bind(sealed.as_bytes())
                .execute(&mut transaction)
                .await?;
        }
        transaction.commit().await
    }

    /// The sealed fields of one version, in the order they were put; none where there is no such version.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(
        &self,
        credential: &CredentialId,
        class: Class,
        version: u32,
    ) -> Result<Vec<(FieldKey, SealedSecret)>, Error> {
        let rows = statement(
            "SELECT field_key, sealed FROM sealed_fields WHERE credential_id = $1 AND class = $2 AND version = $3 ORDER BY place",
        )
        .bind(credential.to_string())
        .bind(class.as_str())
        .bind(i64::from(version))
        .fetch_all(&mut self.engine.read().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("sealed_fields", row);
                Ok((cells.id("field_key")?, SealedSecret::from_bytes(cells.blob("sealed")?.to_vec())))
            })
            .collect()
    }

    /// Removes every version of a login; gives the number of fields removed.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, credential: &CredentialId) -> Result<u64, Error> {
        let mut transaction = self.engine.begin(&credential.to_string()).await?;
        let gone = statement("DELETE FROM sealed_fields WHERE credential_id = $1")
            .bind(credential.to_string())
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        self.engine.forget_deleted().await?;
        Ok(gone)
    }

    /// Removes the versions of a class older than `keep`; gives the number of fields removed.
    ///
    /// # Errors
    /// The store's.
    pub async fn prune(&self, credential: &CredentialId, class: Class, keep: u32) -> Result<u64, Error> {
        let mut transaction = self.engine.begin(&credential.to_string()).await?;
        let gone = statement("DELETE FROM sealed_fields WHERE credential_id = $1 AND class = $2 AND version < $3")
            .bind(credential.to_string())
            .bind(class.as_str())
            .bind(i64::from(keep))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        self.engine.forget_deleted().await?;
        Ok(gone)
    }
}
