//! One group in the making: its transaction, its time, the entries appended so far and the changes to tell.

use cofre_model::entry::NodeRef;
use cofre_model::permit::EntryRef;
use cofre_model::time::{Span, Timestamp};

use crate::commit::change::Change;
use crate::engine::Session;
use crate::error::Error;
use crate::records::deciding::CLOCK_SLACK;
use crate::records::ledger::{self, Head};

/// A group. Dropped before its transaction was committed it never happened.
pub(crate) struct Group<'c> {
    transaction: Session<'c>,
    pub(crate) node: &'c NodeRef,
    pub(crate) id: [u8; 24],
    pub(crate) head: Head,
    at: Timestamp,
    clock_trusted: bool,
    pub(crate) appended: Vec<EntryRef>,
    pub(crate) changes: Vec<Change>,
}

impl<'c> Group<'c> {
    /// Starts a group in a transaction that holds the write lock; `now` was read after the lock was had.
    pub(crate) async fn start(
        mut transaction: Session<'c>,
        node: &'c NodeRef,
        id: [u8; 24],
        now: Timestamp,
    ) -> Result<Self, Error> {
        let head = ledger::head(&mut transaction).await?;
        let at = now.max(head.last_time.plus(Span::micros(1)));
        let clock_trusted = head.last_time.since(now) <= CLOCK_SLACK;
        Ok(Self { transaction, node, id, head, at, clock_trusted, appended: Vec::new(), changes: Vec::new() })
    }

    /// The time of this group: what every bound is compared with, and what its next entry will carry.
    pub(crate) const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether the clock is near enough to the newest entry for anything to be granted.
    pub(crate) const fn clock_trusted(&self) -> bool {
        self.clock_trusted
    }

    pub(crate) fn rows(&mut self) -> &mut Session<'c> {
        &mut self.transaction
    }

    /// Times in the ledger strictly increase, within a group too.
    pub(crate) fn advance(&mut self, to: EntryRef) {
        self.head = Head { size: to.index.saturating_add(1), last_time: to.time };
        self.at = to.time.plus(Span::micros(1));
        self.appended.push(to);
    }

    /// Leaves nothing of it.
    pub(crate) async fn roll_back(self) -> Result<(), Error> {
        self.transaction.roll_back().await
    }

    /// What is left is to make it durable. Entries are told before what else they changed.
    pub(crate) fn finish(mut self) -> (Session<'c>, Vec<EntryRef>, Vec<Change>) {
        self.changes.sort_by_key(|change| !matches!(change, Change::Entry { .. }));
        (self.transaction, self.appended, self.changes)
    }
}
