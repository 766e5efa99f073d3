//! The writer: the only task that changes records. It takes one request after the other (groups of one today),
//! carries it out in one immediate transaction, makes that durable, and only then mints what was permitted.

use std::time::Duration;

use cofre_ledger::promise::promise_group;
use cofre_model::entry::NodeRef;
use cofre_model::permit::{DepositWarrant, EntryRef, ReleaseWarrant, SendBy, WarmWarrant};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_policy::decision::Decision;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::sync::broadcast;

use crate::commit::change::Change;
use crate::commit::group::Group;
use crate::commit::submit::{Answer, Queues, Request, Work};
use crate::commit::{CommitConfig, Committed, INTEGRATE_WITHIN, Promise, apply, permits, registry, release};
use crate::error::{CommitError, Error};
use crate::sqlite::{Database, Hold};

/// Pages that only narrowing actions may use once the file has reached its ceiling: 1 MiB.
const RESERVE: u32 = 256;
/// A transaction that hangs is given up after this long, before its asker loses patience.
const HANGS: Duration = Duration::from_millis(1_800);

/// What a request came to, before it is durable.
#[derive(Debug)]
pub(crate) enum Outcome {
    Granted(ReleaseWarrant),
    Denied(Reason, Option<Timestamp>),
    Moved,
    Warm(WarmWarrant),
    Intended(DepositWarrant),
    Written,
    Integrated,
}

/// The writer and what it holds.
#[derive(Debug)]
pub(crate) struct Writer {
    database: Database,
    connection: Option<SqliteConnection>,
    config: CommitConfig,
    node: NodeRef,
    ceiling: Option<u32>,
    changes: broadcast::Sender<Change>,
    groups: u64,
    _hold: Hold,
}

/// Runs the writer, and ends the process if it panics: a writer that died half-way must not leave a node that looks
/// alive.
pub(crate) fn start(writer: Writer, queues: Queues) {
    let running = tokio::spawn(writer.run(queues));
    tokio::spawn(async move {
        if running.await.is_err_and(|ended| ended.is_panic()) {
            tracing::error!("the writer panicked: ending the process");
            std::process::abort();
        }
    });
}

impl Writer {
    pub(crate) fn new(
        database: Database,
        config: CommitConfig,
        ceiling: Option<u32>,
        changes: broadcast::Sender<Change>,
        hold: Hold,
    ) -> Self {
        let node = NodeRef { identity: config.node.clone(), incarnation: config.incarnation };
        Self { database, connection: None, config, node, ceiling, changes, groups: 0, _hold: hold }
    }

    /// Serves until nobody can ask any more, or until told to stop.
    async fn run(mut self, mut queues: Queues) {
        while let Some(Request { work, send_by, answer }) = queues.next().await {
            if matches!(work, Work::Stop) {
                // Nobody may be left to hear it.
                let _ = answer.send(Ok(Answer::Done));
                return;
            }
            // Whoever stopped waiting takes the request for failed, so it must not happen.
            if answer.is_closed() {
                continue;
            }
            let done = match tokio::time::timeout(HANGS, self.serve(work, send_by)).await {
                Ok(done) => done,
                Err(_) => Err(Error::Unanswered.into()),
            };
            if answer.send(done).is_err() {
                tracing::warn!("a committed request was no longer waited for");
            }
        }
    }

    async fn serve(&mut self, work: Work, send_by: SendBy) -> Result<Answer, CommitError> {
        let narrows = matches!(&work, Work::Apply(_, operation) if operation.narrows());
        let id = self.group_id();
        // Taken out, so that a connection on which anything failed or hung is closed, and the next group has a new one.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect().await?,
        };
        self.limit(&mut connection, narrows).await?;
        let done = self.transact(&mut connection, id, work).await;
        if matches!(done, Ok(_) | Err(CommitError::Refused(_))) {
            self.connection = Some(connection);
        }
        let (outcome, appended, changes) = done?;
        for change in changes {
            // Without a listener there is nobody to tell.
            let _ = self.changes.send(change);
        }
        self.answer(outcome, &appended, send_by)
    }

    /// One group: all of it, or nothing.
    async fn transact(
        &self,
        connection: &mut SqliteConnection,
        id: [u8; 24],
        work: Work,
    ) -> Result<(Outcome, Vec<EntryRef>, Vec<Change>), CommitError> {
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut group = Group::start(transaction, &self.node, id, self.config.clock.now()).await?;
        let outcome = match perform(&mut group, work).await {
            Ok(outcome) => outcome,
            Err(refused) => {
                group.roll_back().await?;
                return Err(refused);
            }
        };
        let (committed, appended, changes) = group.commit().await;
        if let Err(cause) = committed {
            // The answer to the commit may be lost while the group stands: what the ledger says is what holds.
            if appended.is_empty() || !self.stands(&id).await? {
                return Err(cause.into());
            }
        }
        Ok((outcome, appended, changes))
    }

    /// Whether a group is in the ledger.
    async fn stands(&self, id: &[u8; 24]) -> Result<bool, Error> {
        let row = sqlx::query("SELECT 1 FROM ledger_entries WHERE group_id = ? LIMIT 1")
            .bind(id.to_vec())
            .fetch_optional(&self.database.read)
            .await?;
        Ok(row.is_some())
    }

    /// Keeps the file below its ceiling; narrowing actions may use the reserve above it.
    async fn limit(&self, connection: &mut SqliteConnection, narrows: bool) -> Result<(), Error> {
        if let Some(ceiling) = self.ceiling {
            let pages = if narrows { ceiling.saturating_add(RESERVE) } else { ceiling };
            // A pragma takes no bound parameter; this one is a number of ours.
            sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(connection).await?;
        }
        Ok(())
    }

    /// The group is durable: only now is anything minted.
    fn answer(&self, outcome: Outcome, appended: &[EntryRef], send_by: SendBy) -> Result<Answer, CommitError> {
        let mint = &self.config.mint;
        Ok(match (outcome, appended.last().copied()) {
            (Outcome::Granted(warrant), Some(at)) => Answer::Decided(Committed::Granted {
                promise: Box::new(self.promise(&at)?),
                permit: mint.permit(at, send_by, warrant),
            }),
            (Outcome::Denied(reason, retry_at), Some(at)) => {
                Answer::Decided(Committed::Denied { at, reason, retry_at })
            }
            (Outcome::Moved, _) => Answer::Decided(Committed::Moved),
            (Outcome::Warm(warrant), Some(at)) => Answer::Warm(mint.permit(at, send_by, warrant)),
            (Outcome::Intended(warrant), Some(at)) => Answer::Deposit(mint.permit(at, send_by, warrant)),
            (Outcome::Written, Some(at)) => Answer::Written(at),
            (Outcome::Integrated, _) => Answer::Done,
            // INVARIANT: each of these outcomes comes with the entry appended for it.
            (_, None) => return Err(Error::Unanswered.into()),
        })
    }

    fn promise(&self, at: &EntryRef) -> Result<Promise, Error> {
        let by = at.time.plus(INTEGRATE_WITHIN);
        let signer = self.config.signer.as_ref();
        promise_group(&self.config.origin, at.index, &[at.leaf_hash], at.time, by, signer)
            .map_err(|cause| Error::Entry(cause.to_string()))?
            .pop()
            .ok_or(Error::Unanswered)
    }

    fn group_id(&mut self) -> [u8; 24] {
        self.groups = self.groups.saturating_add(1);
        let mut id = [0; 24];
        let (life, count) = id.split_at_mut(16);
        life.copy_from_slice(&self.node.incarnation);
        count.copy_from_slice(&self.groups.to_be_bytes());
        id
    }
}

async fn perform(group: &mut Group<'_>, work: Work) -> Result<Outcome, CommitError> {
    match work {
        Work::Decide(decision) => match *decision {
            Decision::Permit(grant) => release::grant(group, grant.into_terms()).await,
            Decision::Deny(denial) => release::deny(group, denial).await,
        },
        Work::Warm(request) => permits::warm(group, request).await,
        Work::Intend(intent) => permits::intend(group, intent).await,
        Work::Apply(entry, operation) => apply::apply(group, entry, operation).await,
        Work::Integrate(tiles, checkpoint) => registry::integrate(group, tiles, checkpoint).await,
        Work::Stop => Ok(Outcome::Integrated),
    }
}
