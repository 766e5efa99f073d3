//! The end of a grant's way: its answer leaves before its `send_by`, whole, or it is recorded that it did not, or that
//! nobody knows.
//!
//! "Leaves" means accepted by the socket. Between the handler and the socket lie the transport's own buffers and the
//! TLS session's, where an answer may wait for a peer that takes nothing; it must not wait there beyond its time. What
//! is still here when its time is over has not left. Of what the transport was given any part may have, so nothing is
//! claimed about it. Nothing here knows what is in an answer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use cofre_model::permit::SendBy;
use cofre_model::time::{Clock, Span};

/// What an answer must have left of its time to be given to the transport. One handed over later would often cost its
/// connection, with all that others have on it.
pub(crate) const HAND_OVER_WITHIN: Span = Span::millis(5);

/// What became of an answer that is not known to have left whole and in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// No byte of it left, and none will.
    Undelivered,
    /// The transport was given it: all of it may have left, or a part, or nothing.
    Unknown,
}

/// What records a fate.
type Record = Box<dyn FnOnce(Fate) + Send>;

/// One answer on its way out, carried beside it as an extension of the response. Dropped before the answer was handed
/// to the transport, it records that it was not delivered; dropped later, that nobody knows.
pub struct Departure {
    send_by: SendBy,
    clock: Arc<dyn Clock>,
    stage: Mutex<Stage>,
}

enum Stage {
    /// Nothing of it is with the transport.
    Held(Record),
    /// The transport has it; whoever waits for its end.
    Handed(Record, Option<Waker>),
    /// The transport let go of it: it was written to the TLS session, is about to be, or its stream was reset.
    LetGo {
        record: Record,
        /// Whether its body was told once, so that a reset would have been seen since.
        told: bool,
        /// Whether its stream was not reset.
        whole: bool,
        /// Whether the socket has what the transport was given.
        flushed: bool,
    },
    /// The socket has it, whole.
    Left,
    /// Recorded, as what it was found.
    Recorded(Overdue),
}

/// Where an answer is when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It left, its time is not over, or it was found overdue before.
    No,
    /// Here: dropping it is enough.
    Held,
    /// With the transport, which gives nothing back: the connection has to go.
    Handed,
}

impl Departure {
    /// For an answer that may leave until `send_by`; `record` records what became of one that did not, or not for
    /// sure, once, and must not block.
    pub fn new(send_by: SendBy, clock: Arc<dyn Clock>, record: impl FnOnce(Fate) + Send + 'static) -> Arc<Self> {
        Arc::new(Self { send_by, clock, stage: Mutex::new(Stage::Held(Box::new(record))) })
    }

    /// Takes back the duty to record, where the answer is still held: the caller of this records.
    pub fn disarm(&self) -> bool {
        let mut stage = self.stage();
        let held = matches!(*stage, Stage::Held(_));
        if held {
            *stage = Stage::Recorded(Overdue::No);
        }
        held
    }

    /// Whether the answer may leave now.
    #[must_use]
    pub fn in_time(&self) -> bool {
        self.send_by.check(self.clock.monotonic()).is_ok()
    }

    /// How long it may still leave; zero where it may not.
    pub(crate) fn left_for(&self) -> Span {
        self.send_by.left(self.clock.monotonic()).unwrap_or_default()
    }

    /// Whether it is too late to hand the answer over, which is recorded then.
    pub(crate) fn too_late(&self) -> bool {
        let late = self.left_for() < HAND_OVER_WITHIN;
        if late {
            self.abandon();
        }
        late
    }

    /// Hands the answer to the transport; false where it is too late for that, which is recorded then.
    pub(crate) fn hand_over(&self) -> bool {
        if self.too_late() {
            return false;
        }
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Left) {
            Stage::Held(record) => {
                *stage = Stage::Handed(record, None);
                true
            }
            other => {
                *stage = other;
                false
            }
        }
    }

    /// Its stream or its connection is gone: records what that means for it, where it is not known to have left.
    pub(crate) fn abandon(&self) {
        self.settle(false);
    }

    /// The transport let go of the answer.
    pub(crate) fn let_go(&self) {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Left) {
            Stage::Handed(record, waker) => {
                *stage = Stage::LetGo { record, told: false, whole: false, flushed: false };
                drop(stage);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            other => *stage = other,
        }
    }

    /// All that the transport had let go of is with the socket now.
    fn flushed(&self) {
        let mut stage = self.stage();
        let left = match &mut *stage {
            Stage::LetGo { flushed, whole, .. } => {
                *flushed = true;
                *whole
            }
            _ => false,
        };
        if left {
            *stage = Stage::Left;
        }
    }

    /// Waits until the transport let go of the answer because it wrote it. Asked by the body on behalf of its stream.
    ///
    /// SECURITY: the transport lets go of an answer also when the peer resets its stream. It asks a body for more only
    /// after it has looked for a reset, so being asked once more after it let go proves that it wrote.
    pub(crate) fn poll_whole(&self, cx: &Context<'_>) -> Poll<()> {
        let mut stage = self.stage();
        let left = match &mut *stage {
            Stage::Handed(_, waker) => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Stage::LetGo { told, .. } if !*told => {
                *told = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Stage::LetGo { whole, flushed, .. } => {
                *whole = true;
                *flushed
            }
            Stage::Held(_) | Stage::Left | Stage::Recorded(_) => false,
        };
        if left {
            *stage = Stage::Left;
        }
        Poll::Ready(())
    }

    /// Looks whether the time is over, and records what it means where it is.
    pub(crate) fn overdue(&self) -> Overdue {
        if self.in_time() { Overdue::No } else { self.settle(true) }
    }

    /// Ends what is not over and records it: because its time is, which is told then, or because its way ended.
    fn settle(&self, late: bool) -> Overdue {
        let mut stage = self.stage();
        let (record, fate, found) = match std::mem::replace(&mut *stage, Stage::Left) {
            Stage::Held(record) => (record, Fate::Undelivered, Overdue::Held),
            // Nothing more of it can leave; whether it left whole is for its body to say.
            Stage::LetGo { record, flushed: true, .. } if !late => (record, Fate::Unknown, Overdue::No),
            Stage::Handed(record, _) | Stage::LetGo { record, flushed: false, .. } => {
                (record, Fate::Unknown, Overdue::Handed)
            }
            other => {
                *stage = other;
                return Overdue::No;
            }
        };
        let found = if late { found } else { Overdue::No };
        *stage = Stage::Recorded(found);
        drop(stage);
        record(fate);
        found
    }

    /// Whether it is overdue while the transport has it, be it found now or before: its connection may write nothing.
    fn forbids(&self) -> bool {
        self.overdue() == Overdue::Handed || matches!(*self.stage(), Stage::Recorded(Overdue::Handed))
    }

    /// Whether nothing can become of it any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.stage(), Stage::Left | Stage::Recorded(_))
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        // A panic between taking a stage out and putting the next in is not possible: nothing there can fail.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure").field("send_by", &self.send_by).finish_non_exhaustive()
    }
}

/// The answers of one connection that its transport was given.
#[derive(Debug, Default)]
pub(crate) struct Departures(Mutex<Vec<Arc<Departure>>>);

impl Departures {
    /// Watches one more.
    pub(crate) fn watch(&self, departure: &Arc<Departure>) {
        self.all().push(Arc::clone(departure));
    }

    /// Whether one of them is overdue, so that not one byte more may be written. Once it is so it stays so, whoever
    /// found it first.
    pub(crate) fn any_overdue(&self) -> bool {
        let mut all = self.all();
        let mut overdue = false;
        all.retain(|departure| {
            let forbids = departure.forbids();
            overdue |= forbids;
            forbids || !departure.is_over()
        });
        overdue
    }

    /// The socket has all that the transport wrote so far.
    pub(crate) fn flushed(&self) {
        for departure in self.all().iter() {
            departure.flushed();
        }
    }

    /// The connection is gone, and with it whatever of them was on the way.
    pub(crate) fn abandon(&self) {
        let all = std::mem::take(&mut *self.all());
        for departure in all {
            departure.abandon();
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Departure>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
