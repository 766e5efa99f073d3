//! Keeps the fold beside the reads: each read of rows that decide is taken in one snapshot with the entries that are
//! new in it, and is held against the ledger as it stood there. Nothing here trusts what the rows say of themselves,
//! nor a column beside the bytes of an entry. Where the ledger turns out not to be the one that was folded or signed,
//! nothing stands any more until a start finds it whole again; ending things goes on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofre_ledger::Hash;
use cofre_ledger::entry::{self, Leaf};
use cofre_ledger::tree::Frontier;
use cofre_model::entry::Entry;
use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::keys::KeyJob;
use cofre_model::reason::Reason;

use crate::engine::Session;
use crate::error::{CommitError, Error};
use crate::keyring::integrator::IntegratorState;
use crate::records::deciding::CLOCK_SLACK;
use crate::records::{Records, ledger};
use crate::row::{Cells, column};
use crate::standing::Standing;
use crate::statement::statement;

/// Entries read at once. A look that has more before it lets them be folded in first, in looks of their own.
const BATCH: u64 = 1_000;
/// How often a read is taken again where it does not stand because a younger one was folded in first.
const ATTEMPTS: u32 = 3;
/// Roots remembered, newest last, to be held against what the integrator commits itself to.
const ROOTS: usize = 16_384;

/// The fold and the tree over what was folded.
#[derive(Debug)]
struct Folded {
    standing: Standing,
    frontier: Frontier,
    /// The leaf hash of the newest entry folded in.
    last: Option<Hash>,
    roots: VecDeque<(u64, Hash)>,
    /// What the integrator committed itself to beyond what is folded in: compared when that is reached.
    awaited: Option<IntegratorState>,
}

/// The fold, shared by all reads of a node.
#[derive(Debug)]
pub(crate) struct Register(Mutex<Folded>);

impl Default for Register {
    fn default() -> Self {
        let standing = Standing::default();
        let (frontier, roots) = (Frontier::empty(), VecDeque::new());
        Self(Mutex::new(Folded { standing, frontier, last: None, roots, awaited: None }))
    }
}

/// An entry as its bytes say.
struct Read {
    index: u64,
    hash: Hash,
    entry: Option<Entry>,
}

impl Folded {
    /// Folds in what was read; the first of it is the newest that was folded in before, and has to be that still.
    fn take(&mut self, read: Vec<Read>) {
        for Read { index, hash, entry } in read {
            if index.checked_add(1) == Some(self.standing.next()) && self.last != Some(hash) {
                tracing::error!(index, "incident: an entry of the ledger was exchanged: nothing stands any more");
                self.standing.distrust();
            }
            let unreadable = entry.is_none();
            if self.standing.fold(index, entry.as_ref()) {
                if unreadable {
                    tracing::error!(index, "incident: the ledger holds what no node writes: nothing stands any more");
                }
                self.frontier.append(hash);
                self.last = Some(hash);
                self.grown();
            }
        }
    }

    /// Remembers the root, and holds it against what was awaited.
    fn grown(&mut self) {
        let at = (self.frontier.size(), self.frontier.root());
        self.roots.push_back(at);
        if self.roots.len() > ROOTS {
            self.roots.pop_front();
        }
        if let Some(state) = self.awaited.take_if(|state| state.size <= at.0) {
            self.hold_against(&state);
        }
    }

    fn hold_against(&mut self, state: &IntegratorState) {
        let root = self.roots.iter().rev().find(|(size, _)| *size == state.size).map(|(_, root)| *root);
        if root.is_some_and(|root| root != state.root) {
            tracing::error!(size = state.size, "incident: the ledger is not the one that was signed: nothing stands");
            self.standing.distrust();
        }
    }
}

impl Register {
    /// Nothing awaits while this is held.
    fn folded(&self) -> MutexGuard<'_, Folded> {
        // Each fold is whole before the guard is let go: what a panic elsewhere left behind is true.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.folded().standing.next()
    }

    /// Folds in what is in this snapshot and was not folded in yet, one batch of it. Gives the size of the ledger there.
    async fn catch_up(&self, snapshot: &mut Session<'_>) -> Result<u64, Error> {
        let size = ledger::head(snapshot).await?.size;
        let next = self.next();
        // The newest one that was folded in is read again, so that a tail cut off and written anew is noticed.
        let read = read(snapshot, next.saturating_sub(1), size).await?;
        let missing = read.last().is_none_or(|last| last.index < next) && next < size;
        self.folded().take(read);
        if missing {
            return Err(Error::corrupt("ledger_head", "size"));
        }
        Ok(size)
    }
}

/// The next entries, at most a batch. One whose bytes are not what its leaf hash says, or no entry, comes as nothing.
async fn read(snapshot: &mut Session<'_>, from: u64, until: u64) -> Result<Vec<Read>, Error> {
    let rows = statement(
        r#"SELECT "index", bytes, leaf_hash FROM ledger_entries WHERE "index" >= $1 AND "index" < $2 ORDER BY "index""#,
    )
    .bind(column(from))
    .bind(column(until.min(from.saturating_add(BATCH))))
    .fetch_all(snapshot)
    .await?;
    rows.iter()
        .map(|row| {
            let cells = Cells::of("ledger_entries", row);
            let (index, bytes) = (cells.int("index")?, cells.blob("bytes")?);
            let hash = entry::leaf_hash(bytes);
            let leaf = Leaf::parse(bytes).ok().filter(|leaf| leaf.index == index);
            let kept = cells.bytes("leaf_hash").is_ok_and(|kept: Hash| kept == hash);
            Ok(Read { index, hash, entry: leaf.filter(|_| kept).and_then(|leaf| leaf.entry().ok()) })
        })
        .collect()
}

impl Records {
    /// Folds in the ledger, batch by batch, each in a snapshot of its own: however long it is, none takes long.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        loop {
            let mut snapshot = self.engine().snapshot().await?;
            let size = self.register().catch_up(&mut snapshot).await?;
            snapshot.roll_back().await?;
            if self.register().next() >= size {
                return Ok(());
            }
        }
    }

    /// Refuses where the whole deployment or this tenant is stopped, whatever the table of stop buttons says.
    pub(crate) async fn not_stopped(&self, tenant: &TenantId) -> Result<(), CommitError> {
        self.catch_up().await?;
        if self.register().folded().standing.lockdown(tenant, None, None).is_none() {
            return Ok(());
        }
        // In the order in which the commit refuses.
        let behind = self.head().await?.last_time.since(self.submissions().now()) > CLOCK_SLACK;
        let reason = match self.tenant(tenant).await? {
            _ if behind => Reason::ClockUntrusted,
            None => Reason::NotFound,
            Some(_) => Reason::Lockdown,
        };
        Err(CommitError::Refused(reason))
    }

    /// Whether a job over keys is the newest of its kind that was ordered, was ordered as its row says, and has not
    /// ended. The ledger says so; a row of a job carries no MAC.
    ///
    /// # Errors
    /// The store's.
    pub async fn key_job_stands(&self, job: &KeyJob) -> Result<bool, Error> {
        self.catch_up().await?;
        Ok(self.register().folded().standing.key_job(job))
    }

    /// Whether this tenant is there, or ever was by what the ledger says. A key of one that never was is of nobody: its
    /// registration was broken off.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_known(&self, tenant: &TenantId) -> Result<bool, Error> {
        self.catch_up().await?;
        let put = self.register().folded().standing.tenant_put(tenant);
        Ok(put || self.tenant(tenant).await?.is_some())
    }

    /// Refuses where the job of this id runs no more, whatever its row says. To be asked after [`Self::not_stopped`],
    /// which reads the ledger.
    pub(crate) fn key_job_runs(&self, job: &KeyJobId) -> Result<(), CommitError> {
        if self.register().folded().standing.key_job_runs(job) {
            Ok(())
        } else {
            Err(CommitError::Refused(Reason::WrongState))
        }
    }

    /// Folds in the whole ledger and holds it against what the integrator last committed itself to, in another failure
    /// domain. A ledger that was cut, set back or rewritten below that point vouches for nothing: the node starts, and
    /// no row stands.
    pub(crate) async fn fold_ledger(&self, committed: Option<IntegratorState>) -> Result<(), Error> {
        self.hold_against(committed);
        self.catch_up().await?;
        let mut folded = self.register().folded();
        if let Some(IntegratorState { size, .. }) = folded.awaited {
            tracing::error!(size, "incident: the ledger ends before what was signed: nothing stands any more");
            folded.standing.distrust();
        }
        Ok(())
    }

    /// Holds what was folded in against what the integrator committed itself to, now or once the fold gets there. To
    /// be asked again and again while a node runs: what was folded in long ago was asked about then.
    pub fn hold_against(&self, committed: Option<IntegratorState>) {
        let Some(state) = committed.filter(|state| state.size > 0) else { return };
        let mut folded = self.register().folded();
        if state.size > folded.frontier.size() {
            folded.awaited = Some(state);
        } else {
            folded.hold_against(&state);
        }
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
        self.before = self.records.register().next();
        self.taken += 1;
        self.records.engine().snapshot().await
    }

    /// Ends the look. Says whether what was read is to be kept; if not, it is to be read again.
    pub(crate) async fn keeps(&mut self, mut snapshot: Session<'_>, rows: &mut impl Held) -> Result<bool, Error> {
        let register = self.records.register();
        let size = register.catch_up(&mut snapshot).await?;
        snapshot.roll_back().await?;
        if size < self.before {
            // SECURITY: what was folded in from an earlier snapshot is gone: the ledger was cut or set back.
            register.folded().standing.distrust();
            tracing::error!(size, folded = self.before, "incident: the ledger became shorter: nothing stands any more");
        } else if register.next() < size {
            // Other nodes were busy. What is left is folded in outside this look, which is then taken anew.
            self.records.catch_up().await?;
            self.taken -= 1;
            return Ok(false);
        }
        let standing = &register.folded().standing;
        Ok(rows.held_against(standing) || standing.next() == size || self.taken >= ATTEMPTS)
    }
}
