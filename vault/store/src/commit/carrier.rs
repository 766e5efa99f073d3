//! What carries a group out: the one thing in which the engines differ. The queue, the doubts, the promise and the
//! minting are the writer's, whatever the engine.

use cofre_model::entry::NodeRef;
use cofre_model::permit::{DepositWarrant, EntryRef, MoveWarrant, ReleaseWarrant, RewrapWarrant, SendBy, WarmWarrant};
use cofre_model::reason::Reason;
use cofre_model::time::{Clock, Timestamp};

use crate::commit::change::Change;
use crate::commit::submit::Work;
use crate::commit::{postgres, sqlite};
use crate::error::{CommitError, Error};

/// Incarnation of the node ‖ number of the group in that life.
pub(crate) type GroupId = [u8; 24];

/// What a request came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Granted(ReleaseWarrant),
    Denied(Reason, Option<Timestamp>),
    Moved,
    Warm(WarmWarrant),
    Rewrap(RewrapWarrant),
    Move(MoveWarrant),
    Intended(DepositWarrant),
    Written,
    Done,
}

/// A group to carry out.
#[derive(Debug)]
pub(crate) struct Errand<'w> {
    pub(crate) id: GroupId,
    pub(crate) node: &'w NodeRef,
    pub(crate) clock: &'w dyn Clock,
    pub(crate) work: Work,
    pub(crate) send_by: SendBy,
}

/// A group that stands.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) outcome: Outcome,
    pub(crate) appended: Vec<EntryRef>,
    /// Entries first, then what else they changed.
    pub(crate) changes: Vec<Change>,
}

/// What a group changed, as far as somebody has to be told of it or to answer for it.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    /// The index of the grant it holds, if it is one.
    pub(crate) grant: Option<u64>,
    pub(crate) changes: Vec<Change>,
}

/// A group that may stand.
#[derive(Debug)]
pub(crate) struct Doubt {
    pub(crate) id: GroupId,
    /// What it changed; where only the database knows that, it is read back with the answer whether it stands.
    pub(crate) traces: Option<Traces>,
}

/// Groups whose commit was begun and not answered.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    open: Vec<Doubt>,
    /// Commits from here on that go through without an answer.
    #[cfg(test)]
    pub(crate) lost_answers: u32,
}

impl Doubts {
    /// Noted before the commit: whoever loses patience during it leaves this behind.
    pub(crate) fn begun(&mut self, doubt: Doubt) {
        self.open.push(doubt);
    }

    /// The answer has come.
    #[cfg_attr(not(test), expect(clippy::unused_async, reason = "a test makes the answer not come"))]
    pub(crate) async fn answered(&mut self) {
        #[cfg(test)]
        if let Some(left) = self.lost_answers.checked_sub(1) {
            self.lost_answers = left;
            std::future::pending::<()>().await;
        }
    }

    /// It is known whether this group stands.
    pub(crate) fn over(&mut self, id: &GroupId) {
        self.open.retain(|doubt| doubt.id != *id);
    }

    pub(crate) fn first(&self) -> Option<&Doubt> {
        self.open.first()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// One of the engines.
#[derive(Debug)]
pub(crate) enum Carrier {
    Sqlite(sqlite::Carrier),
    Postgres(postgres::Carrier),
}

impl Carrier {
    /// Carries a group out, all of it or nothing. A doubt is left exactly where the group may stand and nobody said so.
    pub(crate) async fn carry(&mut self, errand: Errand<'_>, doubts: &mut Doubts) -> Result<Carried, CommitError> {
        match self {
            Self::Sqlite(carrier) => carrier.carry(errand, doubts).await,
            Self::Postgres(carrier) => carrier.carry(errand, doubts).await,
        }
    }

    /// Whether a group stands, and what it changed. It is asked under the lock, because that is had only once whatever
    /// hung is over; a group that does not stand by then never will. `id` is for the asking itself.
    pub(crate) async fn stood(
        &mut self,
        doubt: &Doubt,
        id: GroupId,
        node: &NodeRef,
        clock: &dyn Clock,
    ) -> Result<Option<Traces>, Error> {
        match self {
            Self::Sqlite(carrier) => carrier.stood(doubt).await,
            Self::Postgres(carrier) => carrier.stood(doubt, id, node, clock).await,
        }
    }
}
