//! The end of a grant's way: its answer leaves before its `send_by`, whole, or is recorded as not delivered.
//!
//! "Leaves" means accepted by the socket. Between the handler and the socket lie the transport's own buffers, where an
//! answer may wait for a peer that takes nothing; it must not wait there beyond its time. Nothing here knows what is
//! in an answer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cofre_model::permit::SendBy;
use cofre_model::time::{Clock, Span};

/// What records that an answer was not delivered.
type Missed = Box<dyn FnOnce() + Send>;

/// One answer on its way out, carried beside it as an extension of the response. Dropped before the answer was handed
/// to the transport, it records that it was not delivered.
pub struct Departure {
    send_by: SendBy,
    clock: Arc<dyn Clock>,
    stage: Mutex<Stage>,
}

enum Stage {
    /// Nothing of it is with the transport.
    Held(Missed),
    /// The transport has it and has not given it to the socket, not all of it.
    Handed(Missed),
    /// The socket has it, or its reader went away with what it had got.
    Left,
    /// Recorded as not delivered.
    Missed,
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
    /// For an answer that may leave until `send_by`; `missed` records that it did not, once, and must not block.
    pub fn new(send_by: SendBy, clock: Arc<dyn Clock>, missed: impl FnOnce() + Send + 'static) -> Arc<Self> {
        Arc::new(Self { send_by, clock, stage: Mutex::new(Stage::Held(Box::new(missed))) })
    }

    /// Takes back the duty to record, where the answer is still held: the caller of this records.
    pub fn disarm(&self) -> bool {
        let mut stage = self.stage();
        let held = matches!(*stage, Stage::Held(_));
        if held {
            *stage = Stage::Missed;
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

    /// Hands the answer to the transport; false where it is too late, which is recorded then.
    pub(crate) fn hand_over(&self) -> bool {
        if self.overdue() != Overdue::No {
            return false;
        }
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Missed) {
            Stage::Held(missed) => {
                *stage = Stage::Handed(missed);
                true
            }
            other => {
                *stage = other;
                false
            }
        }
    }

    /// Its stream is gone: records it, where nothing of the answer is with the transport.
    pub(crate) fn abandon(&self) {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Missed) {
            Stage::Held(missed) => {
                drop(stage);
                missed();
            }
            other => *stage = other,
        }
    }

    /// The transport let go of the answer.
    pub(crate) fn let_go(&self) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Handed(_)) {
            *stage = Stage::Left;
        }
    }

    /// Looks whether the time is over, and records it where it is.
    pub(crate) fn overdue(&self) -> Overdue {
        if self.in_time() {
            return Overdue::No;
        }
        let mut stage = self.stage();
        let (missed, found) = match std::mem::replace(&mut *stage, Stage::Missed) {
            Stage::Held(missed) => (missed, Overdue::Held),
            Stage::Handed(missed) => (missed, Overdue::Handed),
            other => {
                *stage = other;
                return Overdue::No;
            }
        };
        drop(stage);
        missed();
        found
    }

    /// Whether nothing can become of it any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.stage(), Stage::Left | Stage::Missed)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        // Each change is one assignment, which a panic elsewhere cannot leave half done.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let stage = self.stage.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Held(missed) = std::mem::replace(stage, Stage::Missed) {
            missed();
        }
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure").field("send_by", &self.send_by).finish_non_exhaustive()
    }
}

/// The answers of one connection that the transport has.
#[derive(Debug, Default)]
pub(crate) struct Departures(Mutex<Vec<Weak<Departure>>>);

impl Departures {
    /// Watches one more.
    pub(crate) fn watch(&self, departure: &Arc<Departure>) {
        self.all().push(Arc::downgrade(departure));
    }

    /// Whether one of them is overdue, so that not one byte more may be written.
    pub(crate) fn any_overdue(&self) -> bool {
        let mut all = self.all();
        let mut overdue = false;
        all.retain(|each| match each.upgrade() {
            Some(departure) => {
                overdue |= departure.overdue() == Overdue::Handed;
                !departure.is_over()
            }
            None => false,
        });
        overdue
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Departure>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cofre_model::permit::SEND_WITHIN;
    use cofre_testkit::clock::TestClock;

    use super::*;

    fn leaving() -> (Arc<TestClock>, Arc<AtomicUsize>, Arc<Departure>) {
        let (clock, missed) = (Arc::new(TestClock::default()), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&missed);
        let record = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        let departure = Departure::new(SendBy::from_submission(clock.monotonic()), clock.clone(), record);
        (clock, missed, departure)
    }

    #[test]
    fn what_left_in_time_is_not_recorded() {
        let (clock, missed, departure) = leaving();
        let watched = Departures::default();
        clock.advance(SEND_WITHIN);
        assert!(departure.hand_over());
        watched.watch(&departure);
        assert!(!watched.any_overdue());
        departure.let_go();
        clock.advance(Span::secs(1));
        assert!(!watched.any_overdue() && departure.is_over());
        drop(departure);
        assert_eq!(missed.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_never_left_is_recorded_once_wherever_it_is_found() {
        let (clock, missed, departure) = leaving();
        clock.advance(Span::millis(81));
        assert!(!departure.hand_over() && !departure.hand_over());
        assert_eq!(departure.overdue(), Overdue::No);
        drop(departure);
        assert_eq!(missed.load(Ordering::SeqCst), 1);

        let (_, missed, departure) = leaving();
        drop(departure);
        assert_eq!(missed.load(Ordering::SeqCst), 1, "dropped on its way to the transport");
    }

    #[test]
    fn what_the_transport_keeps_too_long_costs_the_connection_once() {
        let (clock, missed, departure) = leaving();
        let watched = Departures::default();
        assert!(departure.hand_over());
        watched.watch(&departure);
        clock.advance(Span::millis(81));
        assert!(watched.any_overdue());
        assert!(!watched.any_overdue());
        departure.let_go();
        assert_eq!((departure.is_over(), missed.load(Ordering::SeqCst)), (true, 1));
    }

    #[test]
    fn who_takes_the_duty_records_alone() {
        let (clock, missed, departure) = leaving();
        assert!(departure.disarm() && !departure.disarm());
        clock.advance(Span::secs(1));
        assert_eq!(departure.overdue(), Overdue::No);
        drop(departure);
        assert_eq!(missed.load(Ordering::SeqCst), 0);
    }
}
