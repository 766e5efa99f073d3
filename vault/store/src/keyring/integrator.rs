//! The integrator's row: what was last signed, in another failure domain than the ledger itself, so that a ledger
//! set back in time cannot be signed over.

use crate::error::Error;
use crate::keyring::Keyring;
use crate::open::Engine;
use crate::row::{Cells, column};

/// What the integrator last committed itself to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegratorState {
    /// Counts the swaps.
    pub generation: u64,
    /// The size of the tree.
    pub size: u64,
    /// Its root.
    pub root: [u8; 32],
}

impl Keyring {
    /// What the integrator last committed itself to; nothing before its first checkpoint.
    ///
    /// # Errors
    /// The store's.
    pub async fn integrator(&self) -> Result<Option<IntegratorState>, Error> {
        let Engine::Sqlite(database) = self.engine();
        let row = sqlx::query("SELECT * FROM integrator").fetch_optional(&database.read).await?;
        row.as_ref()
            .map(|row| {
                let cells = Cells::of("integrator", row);
                Ok(IntegratorState {
                    generation: cells.int("generation")?,
                    size: cells.int("size")?,
                    root: cells.bytes("root")?,
                })
            })
            .transpose()
    }

    /// Puts `next` where `expected` stands, and says whether it stood there.
    ///
    /// # Errors
    /// The store's.
    pub async fn swap_integrator(
        &self,
        expected: Option<IntegratorState>,
        next: IntegratorState,
    ) -> Result<bool, Error> {
        let Engine::Sqlite(database) = self.engine();
        let mut transaction = database.begin().await?;
        let swap = match expected {
            None => sqlx::query("INSERT INTO integrator VALUES (1, ?, ?, ?) ON CONFLICT DO NOTHING"),
            Some(_) => sqlx::query(
                "UPDATE integrator SET generation = ?, size = ?, root = ? WHERE generation = ? AND size = ? AND root = ?",
            ),
        };
        let mut swap = swap.bind(column(next.generation)).bind(column(next.size)).bind(next.root.to_vec());
        if let Some(expected) = expected {
            swap = swap.bind(column(expected.generation)).bind(column(expected.size)).bind(expected.root.to_vec());
        }
        let swapped = swap.execute(&mut *transaction).await?.rows_affected() == 1;
        transaction.commit().await?;
        Ok(swapped)
    }
}
