//! The writer: the only task of a node that changes records. It takes one request after the other (groups of one
//! today), has it carried out and made durable, and only then mints what was permitted. What became of a commit that
//! was not answered, and grants that nobody waits for any more, it settles before it goes on.

mod settle;
#[cfg(test)]
mod tests;

use std::time::Duration;

use cofre_ledger::promise::promise_group;
use cofre_model::entry::NodeRef;
use cofre_model::permit::{EntryRef, SendBy};
use tokio::sync::broadcast;

use crate::commit::carrier::{Carried, Carrier, Doubts, Errand, GroupId, Outcome};
use crate::commit::change::Change;
use crate::commit::submit::{Answer, Queues, Request, Work};
use crate::commit::{CommitConfig, Committed, INTEGRATE_WITHIN, Promise};
use crate::error::{CommitError, Error};

/// A group that hangs is given up after this long, before its asker loses patience.
const HANGS: Duration = Duration::from_millis(1_800);
/// What could not be settled is tried again after this long, be there requests or not.
const AGAIN: Duration = Duration::from_millis(100);

/// The writer and what it holds.
#[derive(Debug)]
pub(crate) struct Writer {
    carrier: Carrier,
    config: CommitConfig,
    node: NodeRef,
    changes: broadcast::Sender<Change>,
    groups: u64,
    pub(super) doubts: Doubts,
    /// Grants that stand, by index, and that nobody waited for.
    unheard: Vec<u64>,
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
    pub(crate) fn new(carrier: Carrier, config: CommitConfig, changes: broadcast::Sender<Change>) -> Self {
        let node = NodeRef { identity: config.node.clone(), incarnation: config.incarnation };
        Self { carrier, config, node, changes, groups: 0, doubts: Doubts::default(), unheard: Vec::new() }
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

    pub(super) async fn serve(&mut self, work: Work, send_by: SendBy) -> Result<Answer, CommitError> {
        let id = self.group_id();
        let clock = self.config.clock.clone();
        let errand = Errand { id, node: &self.node, clock: clock.as_ref(), work, send_by };
        let Carried { outcome, appended, changes } = self.carrier.carry(errand, &mut self.doubts).await?;
        self.tell(changes);
        self.answer(outcome, &appended, send_by)
    }

    fn tell(&self, changes: Vec<Change>) {
        for change in changes {
            // Without a listener there is nobody to tell.
            let _ = self.changes.send(change);
        }
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
            (Outcome::Rewrap(warrant), Some(at)) => Answer::Rewrap(mint.permit(at, send_by, warrant)),
            (Outcome::Move(warrant), Some(at)) => Answer::Move(mint.permit(at, send_by, warrant)),
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

    fn group_id(&mut self) -> GroupId {
        self.groups = self.groups.saturating_add(1);
        let mut id = [0; 24];
        let (life, count) = id.split_at_mut(16);
        life.copy_from_slice(&self.node.incarnation);
        count.copy_from_slice(&self.groups.to_be_bytes());
        id
    }
}
