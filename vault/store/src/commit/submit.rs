//! The queue before the writer. Narrowing actions have their own, which is always emptied first. Whoever asks waits
//! two seconds at most; a request whose asker has gone is not carried out.

use std::sync::Arc;
use std::time::Duration;

use cofre_model::entry::Entry;
use cofre_model::permit::{Deposit, EntryRef, Move, Permit, Rewrap, SendBy, Warm};
use cofre_model::time::{Clock, Timestamp};
use cofre_policy::decision::Decision;
use tokio::sync::{mpsc, oneshot};

use crate::commit::Committed;
use crate::commit::operation::Operation;
use crate::commit::registry::TILES;
use crate::commit::request::{DepositIntent, MoveRequest, RewrapRequest, WarmRequest};
use crate::error::{CommitError, Error};
use crate::records::Records;
use crate::records::ledger::{Checkpoint, Tile};

/// How long an asker waits.
const PATIENCE: Duration = Duration::from_millis(1_900);
/// Requests that may wait in each queue.
const WAITING: usize = 1_024;

/// What the writer is asked.
#[derive(Debug)]
pub(crate) enum Work {
    Decide(Box<Decision>),
    Warm(WarmRequest),
    Rewrap(RewrapRequest),
    Move(MoveRequest),
    Intend(DepositIntent),
    Apply(Entry, Operation),
    Integrate(Vec<Tile>, Option<Checkpoint>),
    /// The writer's own: grants, by index, that nobody will ever deliver.
    Undelivered(Vec<u64>),
    Stop,
}

impl Work {
    /// Whether it only takes something away: it goes first, and may use the room kept for it.
    pub(crate) fn narrows(&self) -> bool {
        match self {
            Self::Apply(_, operation) => operation.narrows(),
            Self::Undelivered(_) => true,
            Self::Decide(_)
            | Self::Warm(_)
            | Self::Rewrap(_)
            | Self::Move(_)
            | Self::Intend(_)
            | Self::Integrate(..)
            | Self::Stop => false,
        }
    }
}

/// What the writer answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Decided(Committed),
    Warm(Permit<Warm>),
    Rewrap(Permit<Rewrap>),
    Move(Permit<Move>),
    Deposit(Permit<Deposit>),
    Written(EntryRef),
    Done,
}

/// A request with the way back.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) send_by: SendBy,
    pub(crate) answer: oneshot::Sender<Result<Answer, CommitError>>,
}

/// The asking ends of the queues.
#[derive(Debug)]
pub(crate) struct Submissions {
    narrowing: mpsc::Sender<Request>,
    others: mpsc::Sender<Request>,
    clock: Arc<dyn Clock>,
}

/// The writer's ends.
#[derive(Debug)]
pub(crate) struct Queues {
    narrowing: mpsc::Receiver<Request>,
    others: mpsc::Receiver<Request>,
}

impl Queues {
    /// The next request, narrowing ones first; nothing once nobody can ask any more.
    pub(crate) async fn next(&mut self) -> Option<Request> {
        tokio::select! {
            biased;
            Some(request) = self.narrowing.recv() => Some(request),
            Some(request) = self.others.recv() => Some(request),
            else => None,
        }
    }
}

impl Submissions {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> (Self, Queues) {
        let (narrowing, narrowing_end) = mpsc::channel(WAITING);
        let (others, others_end) = mpsc::channel(WAITING);
        (Self { narrowing, others, clock }, Queues { narrowing: narrowing_end, others: others_end })
    }

    /// Requests that wait now: narrowing ones, and all others.
    fn waiting(&self) -> (usize, usize) {
        let waiting = |queue: &mpsc::Sender<Request>| queue.max_capacity().saturating_sub(queue.capacity());
        (waiting(&self.narrowing), waiting(&self.others))
    }

    #[tracing::instrument(name = "commit", skip_all, fields(outcome))]
    async fn submit(&self, work: Work) -> Result<Answer, CommitError> {
        let done = self.round_trip(work).await;
        let outcome = match &done {
            Ok(_) => "written",
            Err(CommitError::Refused(_)) => "refused",
            Err(CommitError::Store(_)) => "failed",
        };
        tracing::Span::current().record("outcome", outcome);
        done
    }

    async fn round_trip(&self, work: Work) -> Result<Answer, CommitError> {
        let queue = match &work {
            work if work.narrows() => &self.narrowing,
            _ => &self.others,
        };
        // Counted from here, so that time spent waiting is time spent.
        let send_by = SendBy::from_submission(self.clock.monotonic());
        let (answer, mut reply) = oneshot::channel();
        let round_trip = async {
            queue.send(Request { work, send_by, answer }).await.map_err(|_| Error::Unanswered)?;
            (&mut reply).await.map_err(|_| Error::Unanswered)?
        };
        if let Ok(done) = tokio::time::timeout(PATIENCE, round_trip).await {
            return done;
        }
        // What was answered at the last moment is taken; whatever comes after this the writer sees nobody take.
        reply.close();
        reply.try_recv().map_err(|_| Error::Unanswered)?
    }

    /// The time of this node.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    #[cfg(test)]
    pub(crate) async fn push(&self, request: Request) {
        assert!(self.narrowing.send(request).await.is_ok(), "a writer");
    }

    /// Ends the writer after what is queued before this.
    pub(crate) async fn stop(&self) {
        if let Err(cause) = self.submit(Work::Stop).await {
            tracing::warn!(%cause, "the writer did not end in time");
        }
    }
}

impl Records {
    /// Requests that wait for the writer now: those that narrow, and all others.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.submissions().waiting()
    }

    /// Commits a decision, be it a grant or a denial. A grant is checked again against the rows as they stand; what
    /// no longer holds becomes a recorded denial.
    ///
    /// # Errors
    /// The store's: nothing was granted.
    pub async fn commit(&self, decision: Decision) -> Result<Committed, Error> {
        match self.submissions().submit(Work::Decide(Box::new(decision))).await {
            Ok(Answer::Decided(committed)) => Ok(committed),
            Ok(_) | Err(CommitError::Refused(_)) => Err(Error::Unanswered),
            Err(CommitError::Store(cause)) => Err(cause),
        }
    }

    /// Records that a custodian is about to be asked for a tenant key, and permits it.
    ///
    /// # Errors
    /// Refused as NOT_FOUND, LOCKDOWN, INTEGRITY_FAILURE (another key id or version than recorded) or
    /// CLOCK_UNTRUSTED; else the store's.
    pub async fn warm(&self, request: WarmRequest) -> Result<Permit<Warm>, CommitError> {
        self.not_stopped(&request.tenant).await?;
        match self.submissions().submit(Work::Warm(request)).await? {
            Answer::Warm(permit) => Ok(permit),
            _ => Err(Error::Unanswered.into()),
        }
    }

    /// Records that custodians are about to be asked for a tenant key to wrap it anew, and permits it.
    ///
    /// # Errors
    /// Refused as NOT_FOUND, LOCKDOWN, INTEGRITY_FAILURE (another key id or version than recorded), WRONG_STATE (the job
    /// is not running, or moves keys elsewhere) or CLOCK_UNTRUSTED; else the store's.
    pub async fn rewrap(&self, mut request: RewrapRequest) -> Result<Permit<Rewrap>, CommitError> {
        request.entry.reference = Some(format!("{} {}", request.job, request.target));
        self.not_stopped(&request.tenant).await?;
        self.key_job_runs(&request.job)?;
        match self.submissions().submit(Work::Rewrap(request)).await? {
            Answer::Rewrap(permit) => Ok(permit),
            _ => Err(Error::Unanswered.into()),
        }
    }

    /// Records that keys under a closed version of a tenant's key are about to be opened, to wrap them under the one in
    /// force, and permits it.
    ///
    /// # Errors
    /// Refused as NOT_FOUND, LOCKDOWN, INTEGRITY_FAILURE (no such closed version, or another one in force), BAD_REQUEST
    /// (no key at all), WRONG_STATE (no such rotation is running) or CLOCK_UNTRUSTED; else the store's.
    pub async fn move_keys(&self, mut request: MoveRequest) -> Result<Permit<Move>, CommitError> {
        let entry = &mut request.entry;
        (entry.tenant, entry.tenant_key) = (Some(request.tenant), Some((request.to_id, request.to_version)));
        entry.reference = Some(format!("{} {}", request.job, request.from_version));
        entry.count = Some(request.count.into());
        self.not_stopped(&request.tenant).await?;
        self.key_job_runs(&request.job)?;
        match self.submissions().submit(Work::Move(request)).await? {
            Answer::Move(permit) => Ok(permit),
            _ => Err(Error::Unanswered.into()),
        }
    }

    /// Records that a deposit is about to be sealed, and permits it. Each intent has a version of its own, so a
    /// malformed deposit may be tried again while its enrolment is open.
    ///
    /// # Errors
    /// Refused as NOT_FOUND, WRONG_STATE, LOCKDOWN or CLOCK_UNTRUSTED; else the store's.
    pub async fn intend_deposit(&self, intent: DepositIntent) -> Result<Permit<Deposit>, CommitError> {
        self.not_stopped(&intent.tenant).await?;
        match self.submissions().submit(Work::Intend(intent)).await? {
            Answer::Deposit(permit) => Ok(permit),
            _ => Err(Error::Unanswered.into()),
        }
    }

    /// Carries out an operation and records it with `entry`, in one transaction. Index and time are put on by the
    /// commit, as is the node; `follows` too, where the operation knows what it follows up and the entry does not.
    ///
    /// # Errors
    /// Refused as NOT_FOUND, WRONG_STATE or DUPLICATE_LOGIN where the rows do not allow it, and a change of versions of a
    /// tenant's key as LOCKDOWN or CLOCK_UNTRUSTED too; [`Error::Unfit`] where the entry is of another kind, or names
    /// another key; else the store's.
    pub async fn apply(&self, entry: Entry, operation: Operation) -> Result<EntryRef, CommitError> {
        if !operation.fits(entry.kind) {
            return Err(Error::Unfit { kind: entry.kind }.into());
        }
        let entry = self.key_named_in(operation.named_in(entry), &operation).await?;
        match self.submissions().submit(Work::Apply(entry, operation)).await? {
            Answer::Written(at) => Ok(at),
            _ => Err(Error::Unanswered.into()),
        }
    }

    /// Keeps what the integrator made: tiles and the checkpoint over them. Tiles only ever grow.
    ///
    /// # Errors
    /// Refused as WRONG_STATE where the checkpoint covers more than the ledger holds or is no note, and where a tile is
    /// none; else the store's. What was kept of the tiles until then stays: it is of the same tree.
    pub async fn integrate(&self, mut tiles: Vec<Tile>, checkpoint: Checkpoint) -> Result<(), CommitError> {
        // The checkpoint comes with the last of them: readers find under it all that it covers.
        while tiles.len() > TILES {
            let rest = tiles.split_off(TILES);
            self.submissions().submit(Work::Integrate(std::mem::replace(&mut tiles, rest), None)).await?;
        }
        self.submissions().submit(Work::Integrate(tiles, Some(checkpoint))).await.map(|_| ())
    }
}
