//! Keeps the fold beside the reads: each read of rows that decide is taken in one snapshot with the entries that are
//! new in it, and is held against the ledger as it stood there. Nothing here trusts what the rows say of themselves,
//! and nothing is remembered that a new snapshot does not show.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cofre_ledger::Hash;
use cofre_ledger::entry::{self, Leaf};
use cofre_ledger::tree::Frontier;

use crate::engine::Session;
use crate::error::Error;
use crate::keyring::integrator::IntegratorState;
use crate::records::{Records, ledger};
use crate::row::{Cells, column};
use crate::standing::Standing;
use crate::statement::statement;

/// Entries folded in at once.
const BATCH: u64 = 1_000;
/// How often a read is taken again where it does not stand because a younger one was folded in first.
const ATTEMPTS: u32 = 3;

/// The fold, shared by all reads of a node.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<Standing>);

impl Register {
    /// Nothing awaits while this is held.
    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        // Each fold is whole before the guard is let go: what a panic elsewhere left behind is true.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds in what is in this snapshot and was not folded in yet. Gives the size of the ledger there. `leaf` is shown
    /// each leaf hash, in order.
    async fn catch_up(&self, snapshot: &mut Session<'_>, mut leaf: impl FnMut(Hash) + Send) -> Result<u64, Error> {
        let size = ledger::head(snapshot).await?.size;
        loop {
            let from = self.standing().next();
            if from >= size {
                return Ok(size);
            }
            for (index, hash, entry) in read(snapshot, from, size).await? {
                leaf(hash);
                self.standing().fold(index, &entry);
            }
        }
    }
}

/// The next entries, each as its bytes say and not as its columns do.
async fn read(
    snapshot: &mut Session<'_>,
    from: u64,
    until: u64,
) -> Result<Vec<(u64, Hash, cofre_model::entry::Entry)>, Error> {
    let damaged = || Error::corrupt("ledger_entries", "bytes");
    let rows = statement(r#"SELECT bytes FROM ledger_entries WHERE "index" >= $1 AND "index" < $2 ORDER BY "index""#)
        .bind(column(from))
        .bind(column(until.min(from.saturating_add(BATCH))))
        .fetch_all(snapshot)
        .await?;
    if rows.is_empty() {
        return Err(damaged());
    }
    (from..)
        .zip(&rows)
        .map(|(index, row)| {
            let bytes = Cells::of("ledger_entries", row).blob("bytes")?;
            let leaf = Leaf::parse(bytes).ok().filter(|leaf| leaf.index == index).ok_or_else(damaged)?;
            Ok((index, entry::leaf_hash(bytes), leaf.entry().map_err(|_| damaged())?))
        })
        .collect()
}

impl Records {
    /// Folds in the whole ledger and holds it against what the integrator last committed itself to, in another failure
    /// domain. A ledger that was cut, set back or rewritten below that point vouches for nothing: the node starts, and
    /// no row stands.
    pub(crate) async fn fold_ledger(&self, committed: Option<IntegratorState>) -> Result<(), Error> {
        let mut snapshot = self.engine().snapshot().await?;
        let (mut frontier, mut seen) = (Frontier::empty(), committed.is_none_or(|state| state.size == 0));
        let size = self
            .register()
            .catch_up(&mut snapshot, |leaf| {
                frontier.append(leaf);
                if let Some(state) = committed.filter(|state| state.size == frontier.size()) {
                    seen = state.root == frontier.root();
                }
            })
            .await?;
        snapshot.roll_back().await?;
        if !seen {
            let committed = committed.map_or(0, |state| state.size);
            tracing::error!(
                size,
                committed,
                "incident: the ledger is not the one that was signed: nothing is released"
            );
            self.register().standing().distrust();
        }
        Ok(())
    }

    /// A look at rows that decide.
    pub(crate) const fn look(&self) -> Look<'_> {
        Look { records: self, before: 0, taken: 0 }
    }
}

/// What a read gave, to be held against the ledger. Says whether all of it stands.
pub(crate) trait Held {
    fn held_against(&mut self, standing: &Standing) -> bool;
}

impl<T: Held> Held for Option<T> {
    fn held_against(&mut self, standing: &Standing) -> bool {
        self.as_mut().is_none_or(|held| held.held_against(standing))
    }
}

impl<T: Held> Held for Vec<T> {
    fn held_against(&mut self, standing: &Standing) -> bool {
        // Each of them is held against it, also after one that does not stand.
        self.iter_mut().filter_map(|held| (!held.held_against(standing)).then_some(())).count() == 0
    }
}

/// A look at rows that decide: a snapshot, the reads in it, and the ledger as it stood there. Where rows do not stand
/// only because a younger look was folded in first, the look is taken again.
pub(crate) struct Look<'a> {
    records: &'a Records,
    before: u64,
    taken: u32,
}

impl Look<'_> {
    /// The snapshot to read in.
    pub(crate) async fn begin(&mut self) -> Result<Session<'static>, Error> {
        self.before = self.records.register().standing().next();
        self.taken += 1;
        self.records.engine().snapshot().await
    }

    /// Ends the look. Says whether what was read is to be kept; if not, it is to be read again.
    pub(crate) async fn keeps(&self, mut snapshot: Session<'_>, rows: &mut impl Held) -> Result<bool, Error> {
        let register = self.records.register();
        let size = register.catch_up(&mut snapshot, |_| ()).await?;
        snapshot.roll_back().await?;
        if size < self.before {
            // SECURITY: what was folded in from an earlier snapshot is gone: the ledger was cut or set back.
            return Err(Error::corrupt("ledger_head", "size"));
        }
        let standing = register.standing();
        Ok(rows.held_against(&standing) || standing.next() == size || self.taken >= ATTEMPTS)
    }
}
