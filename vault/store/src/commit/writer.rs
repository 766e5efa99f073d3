//! The writer: the only task that changes records. It takes one request after the other (groups of one today),
//! carries it out in one immediate transaction, makes that durable, and only then mints what was permitted. What
//! became of a commit that was not answered, and grants that nobody waits for any more, it settles before it goes on.

mod settle;
#[cfg(test)]
mod tests;

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
use crate::commit::writer::settle::Doubt;
use crate::commit::{
    CommitConfig, Committed, INTEGRATE_WITHIN, Promise, apply, permits, registry, release, undelivered,
};
use crate::engine::Session;
use crate::error::{CommitError, Error};
use crate::sqlite::{self, Database, Hold};

/// Pages that only narrowing actions may use once the file has reached its ceiling: 1 MiB.
const RESERVE: u32 = 256;
/// A transaction that hangs is given up after this long, before its asker loses patience.
const HANGS: Duration = Duration::from_millis(1_800);
/// What could not be settled is tried again after this long, be there requests or not.
const AGAIN: Duration = Duration::from_millis(100);

/// What a request came to, before it is durable.
#[derive(Debug)]
pub(crate) enum Outcome {
    Granted(ReleaseWarrant),
    Denied(Reason, Option<Timestamp>),
    Moved,
    Warm(WarmWarrant),
    Intended(DepositWarrant),
    Written,
    Done,
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
    /// Groups whose commit was begun and not answered.
    doubts: Vec<Doubt>,
    /// Grants that stand, by index, and that nobody waited for.
    unheard: Vec<u64>,
    /// Commits from here on that go through without an answer.
    #[cfg(test)]
    lost_answers: u32,
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
        Self {
            database,
            connection: None,
            config,
            node,
            ceiling,
            changes,
            groups: 0,
            doubts: Vec::new(),
            unheard: Vec::new(),
            #[cfg(test)]
            lost_answers: 0,
            _hold: hold,
        }
    }

    /// Serves until nobody can ask any more, or until told to stop.
    async fn run(mut self, mut queues: Queues) {
        while let Some(Request { work, send_by, answer }) = self.next(&mut queues).await {
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
            if let Err(unheard) = answer.send(done) {
                tracing::warn!("an answer was no longer waited for");
                if let Ok(Answer::Decided(Committed::Granted { permit, .. })) = unheard {
                    self.unheard.push(permit.entry().at.index);
                }
            }
            if self.owes() {
                self.settle().await;
            }
        }
    }

    /// The next request. While something is owed, that is tried again in between.
    async fn next(&mut self, queues: &mut Queues) -> Option<Request> {
        while self.owes() {
            match tokio::time::timeout(AGAIN, queues.next()).await {
                Ok(request) => return request,
                Err(_) => self.settle().await,
            }
        }
        queues.next().await
    }

    async fn serve(&mut self, work: Work, send_by: SendBy) -> Result<Answer, CommitError> {
        let narrows = work.narrows();
        let id = self.group_id();
        // Taken out, so that a connection on which anything failed or hung is closed, and the next group has a new one.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect().await?,
        };
        self.limit(&mut connection, narrows).await?;
        let done = self.transact(&mut connection, id, work, send_by).await;
        if matches!(done, Ok(_) | Err(CommitError::Refused(_))) {
            self.connection = Some(connection);
        }
        let (outcome, appended, changes) = done?;
        self.tell(changes);
        self.answer(outcome, &appended, send_by)
    }

    fn tell(&self, changes: Vec<Change>) {
        for change in changes {
            // Without a listener there is nobody to tell.
            let _ = self.changes.send(change);
        }
    }

    /// One group: all of it, or nothing.
    async fn transact(
        &mut self,
        connection: &mut SqliteConnection,
        id: [u8; 24],
        work: Work,
        send_by: SendBy,
    ) -> Result<(Outcome, Vec<EntryRef>, Vec<Change>), CommitError> {
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let transaction = Session::Sqlite(sqlite::Session::Transaction(transaction));
        let mut group = Group::start(transaction, &self.node, id, self.config.clock.now()).await?;
        // Judged under the write lock, so that time spent waiting for it is time spent.
        let late = send_by.check(self.config.clock.monotonic()).is_err();
        let outcome = match perform(&mut group, work, late).await {
            Ok(outcome) => outcome,
            Err(refused) => {
                group.roll_back().await?;
                return Err(refused);
            }
        };
        let (transaction, appended, changes) = group.finish();
        // Noted before the commit: whoever loses patience during it leaves this behind.
        let grant = if let Outcome::Granted(_) = &outcome { appended.first().map(|at| at.index) } else { None };
        self.doubts.push(Doubt { id, grant, changes: changes.clone() });
        let committed = transaction.commit().await;
        #[cfg(test)]
        self.lose_answer().await;
        if let Err(cause) = committed {
            // The answer to the commit may be lost while the group stands: what the ledger says is what holds.
            let stands = !appended.is_empty() && self.stands(&id).await?;
            if !stands {
                self.doubts.pop();
                return Err(cause.into());
            }
        }
        self.doubts.pop();
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
    fn answer(&mut self, outcome: Outcome, appended: &[EntryRef], send_by: SendBy) -> Result<Answer, CommitError> {
        let mint = &self.config.mint;
        Ok(match (outcome, appended.first().copied()) {
            (Outcome::Granted(warrant), Some(at)) => match self.promise(&at) {
                Ok(promise) => Answer::Decided(Committed::Granted {
                    promise: Box::new(promise),
                    permit: mint.permit(at, send_by, warrant),
                }),
                Err(cause) => {
                    self.unheard.push(at.index);
                    return Err(cause.into());
                }
            },
            (Outcome::Denied(reason, retry_at), Some(at)) => {
                Answer::Decided(Committed::Denied { at, reason, retry_at })
            }
            (Outcome::Moved, _) => Answer::Decided(Committed::Moved),
            (Outcome::Warm(warrant), Some(at)) => Answer::Warm(mint.permit(at, send_by, warrant)),
            (Outcome::Intended(warrant), Some(at)) => Answer::Deposit(mint.permit(at, send_by, warrant)),
            (Outcome::Written, Some(at)) => Answer::Written(at),
            (Outcome::Done, _) => Answer::Done,
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

async fn perform(group: &mut Group<'_>, work: Work, late: bool) -> Result<Outcome, CommitError> {
    match work {
        Work::Decide(decision) => match *decision {
            Decision::Permit(grant) => release::grant(group, grant.into_terms(), late).await,
            Decision::Deny(denial) => release::deny(group, denial).await,
        },
        Work::Warm(request) => permits::warm(group, request).await,
        Work::Intend(intent) => permits::intend(group, intent).await,
        Work::Apply(entry, operation) => apply::apply(group, entry, operation).await,
        Work::Integrate(tiles, checkpoint) => registry::integrate(group, tiles, checkpoint).await,
        Work::Undelivered(grants) => {
            for grant in grants {
                undelivered::record(group, grant).await?;
            }
            Ok(Outcome::Done)
        }
        Work::Stop => Ok(Outcome::Done),
    }
}
