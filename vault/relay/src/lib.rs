//! Use case: second-factor challenges. The worker opens one under its live lease, the investor's front end answers
//! with bytes sealed to that worker, and the relay hands them over once.
//!
//! Everything is in memory only: no answer, sealed or not, is ever written, logged or traced. If the node dies, its
//! challenges are gone, and that is right. The relay cannot read an answer: it is sealed under a key that the worker
//! signed with its own identity.

mod board;
mod challenge;
mod error;
mod guard;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use board::{Ended, Shown};
pub use challenge::Awaited;
pub use error::Error;

use board::{Board, Challenge};
use cofre_ledger::entry::Leaf;
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryId, EntryKind};
use cofre_model::id::TenantId;
use cofre_model::reason::Reason;
use cofre_model::time::Clock;
use cofre_model::wording::Outcome;
use cofre_store::{Change, Lockdown, Records};
use tokio::sync::broadcast;

/// Where the use case takes its random entry ids from; handed in by the server, since this crate holds no cipher.
pub type EntryIds = Arc<dyn Fn() -> Option<EntryId> + Send + Sync>;

/// The relay.
pub struct Relay {
    records: Records,
    clock: Arc<dyn Clock>,
    ids: EntryIds,
    board: Mutex<Board>,
    opened: broadcast::Sender<Shown>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay with no challenge open.
    #[must_use]
    pub fn new(records: Records, clock: Arc<dyn Clock>, ids: EntryIds) -> Self {
        Self { records, clock, ids, board: Mutex::default(), opened: broadcast::channel(256).0 }
    }

    /// Follows the changes of the records and cancels what lost its ground: a consent that ended, a stop button, a
    /// lease that is over. Runs until the records close.
    pub async fn follow(&self, mut changes: broadcast::Receiver<Change>) {
        loop {
            match changes.recv().await {
                Ok(Change::Entry { at, kind: EntryKind::Reported, credential: Some(credential), .. }) => {
                    let got_in = self.got_in(at.index).await;
                    self.board().reported(&credential, at.index, got_in, self.clock.now());
                }
                Ok(change) => self.cancel_by(&change),
                // What was missed might have been a stop: end everything rather than one thing too few.
                Err(broadcast::error::RecvError::Lagged(_)) => self.end_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Ends what is past its time and wipes what it held. To be called each second: a challenge that nobody waits for
    /// any more would otherwise stay.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.board().tidy(now);
    }

    /// Whether the report at this index says that the login got in. Where that cannot be read, wrong answers stay
    /// counted: the next success forgives them.
    async fn got_in(&self, index: u64) -> bool {
        let reported = match self.records.entry(index).await {
            Ok(Some(row)) => Leaf::parse(&row.bytes).and_then(|leaf| leaf.entry()),
            Ok(None) => return false,
            Err(error) => {
                tracing::warn!(error = %error, index, "a report could not be read; wrong answers stay counted");
                return false;
            }
        };
        reported.is_ok_and(|entry| entry.outcome == Some(Outcome::Ok))
    }

    fn end_all(&self) {
        let now = self.clock.now();
        self.board().end_where(Ended::Cancelled, now, |_| true);
    }

    fn cancel_by(&self, change: &Change) {
        let now = self.clock.now();
        let end = |which: &dyn Fn(&Challenge) -> bool| self.board().end_where(Ended::Cancelled, now, which);
        match change {
            Change::LeaseEnded { credential, job, .. } => {
                end(&|c| c.shown.credential == *credential && c.job == *job);
            }
            Change::ConsentEnded { credential, .. } | Change::Lockdown(Lockdown::Credential(credential)) => {
                end(&|c| c.shown.credential == *credential);
            }
            Change::ErasureAccepted { credentials, .. } => end(&|c| credentials.contains(&c.shown.credential)),
            Change::WorkerQuarantined { worker } => end(&|c| c.worker == *worker),
            Change::Lockdown(Lockdown::Tenant(tenant)) => end(&|c| c.shown.tenant == *tenant),
            // An institution is not known per challenge: the wider stop is the safe one.
            Change::Lockdown(Lockdown::Platform | Lockdown::Institution(_)) => self.end_all(),
            Change::Entry { .. } => {}
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // A panic while the board was held left it whole: each change to it is one assignment.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tenant(&self, caller: &Caller) -> Result<TenantId, Error> {
        let slug = caller.identity().tenant().ok_or(Error::Refused(Reason::NotFound))?;
        let tenant = self.records.tenant_by_slug(slug).await?.ok_or(Error::Refused(Reason::NotFound))?;
        Ok(tenant.tenant.id)
    }

    fn entry(&self, kind: EntryKind, caller: &Caller, method: &'static str) -> Result<Entry, Error> {
        let id = (self.ids)().ok_or(Error::Refused(Reason::Internal))?;
        let mut entry = Entry::new(kind, id).by(caller);
        entry.method = Some(method.into());
        Ok(entry)
    }
}
