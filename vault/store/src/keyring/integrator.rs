//! The integrator's row: what was last signed, in another failure domain than the ledger itself, so that a ledger
//! set back in time cannot be signed over.

use crate::error::Error;
use crate::keyring::Keyring;
use crate::row::{Cells, column};
use crate::statement::statement;

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
        let row = statement("SELECT * FROM integrator").fetch_optional(&mut self.engine.read().await?).await?;
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
        let mut transaction = self.engine.begin("integrator").await?;
        let swap = match expected {
            None => statement("INSERT INTO integrator VALUES (1, $1, $2, $3) ON CONFLICT DO NOTHING"),
            Some(_) => statement(
                "UPDATE integrator SET generation = $1, size = $2, root = $3 WHERE generation = $4 AND size = $5 AND root = $6",
            ),
        };
        let mut swap = swap.bind(column(next.generation)).bind(column(next.size)).bind(next.root.to_vec());
        if let Some(expected) = expected {
            swap = swap.bind(column(expected.generation)).bind(column(expected.size)).bind(expected.root.to_vec());
        }
        let swapped = swap.execute(&mut transaction).await? == 1;
        transaction.commit().await?;
        Ok(swapped)
    }
}
