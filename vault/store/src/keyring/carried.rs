//! What a version of a tenant's key carries of an earlier one: keys for rows that go on as they are, wrapped under the
//! version that came later. They come with its shares and go with them.

use cofre_model::id::TenantId;
use cofre_model::sealed::WrappedKey;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::records::subjects::column_words;
use crate::row::Cells;
use crate::statement::statement;

column_words! {
    /// What a carried key is for.
    CarriedKind {
        /// The MACs of rows.
        Integrity = "integrity",
        /// The tags by which the same login is known again.
        Dedupe = "dedupe",
    }
}

/// A key that a version of a tenant's key carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedKey {
    /// What it is for.
    pub kind: CarriedKind,
    /// The key, wrapped under that version.
    pub wrapped: WrappedKey,
}

/// Stores what a version carries, whose shares were stored in the same transaction.
pub(crate) async fn insert(
    transaction: &mut Session<'_>,
    (tenant, version): (&TenantId, u32),
    carried: &[CarriedKey],
) -> Result<(), Error> {
    for key in carried {
        let stored = statement("INSERT INTO row_keys VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
            .bind(tenant.to_string())
            .bind(i64::from(version))
            .bind(key.kind.as_str())
            .bind(key.wrapped.as_bytes())
            .execute(transaction)
            .await?;
        if stored == 0 {
            return Err(Error::Exists);
        }
    }
    Ok(())
}

impl Keyring {
    /// What a version of a tenant's key carries, by kind; nothing where it carries none.
    ///
    /// # Errors
    /// The store's.
    pub async fn carried_keys(&self, tenant: &TenantId, version: u32) -> Result<Vec<CarriedKey>, Error> {
        let rows = statement("SELECT * FROM row_keys WHERE tenant_id = $1 AND version = $2 ORDER BY kind")
            .bind(tenant.to_string())
            .bind(i64::from(version))
            .fetch_all(&mut self.engine().read().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("row_keys", row);
                let wrapped = WrappedKey::from_bytes(cells.blob("wrapped")?.to_vec());
                Ok(CarriedKey { kind: cells.word("kind", CarriedKind::from_text)?, wrapped })
            })
            .collect()
    }
}
