//! When a custodian is left alone: after several calls in a row that found it in trouble, for seconds at most, until one
//! call, tried alone, comes through. And when it has to be asked whether it serves: not where calls have told. Whoever is
//! not asked answers nothing; no answer is kept, made up or repeated here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofre_model::time::{Clock, Monotonic, Span};

use crate::custodian::CustodianId;
use crate::fault::{Cause, Detail, Fault, Operation, Says};
use crate::tally::{Tally, Usage};

/// After this many calls in a row that found it in trouble it is left alone.
pub const IN_A_ROW: u32 = 5;
/// For how long at first; after each trial that fails, twice as long.
const FIRST: Span = Span::millis(500);
/// And never longer: with a trial that takes its full five seconds, service is back within ten of the cause's end.
pub const LONGEST: Span = Span::secs(4);
/// Whoever served within this long is taken to serve still: probes cost money, and real calls tell more.
pub const FRESH: Span = Span::minutes(5);
/// Whoever did not serve is asked whether it does now only so often, however many want to know.
pub const AGAIN: Span = Span::secs(5);

/// What is known of one custodian.
#[derive(Debug)]
pub(crate) struct Breaker {
    custodian: CustodianId,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
    /// Of all calls of the custodian, those that another breaker judges too.
    tally: Arc<Mutex<Tally>>,
}

#[derive(Debug)]
struct Seen {
    state: State,
    trials: u64,
    /// When it last served; none once it did not.
    served: Option<Monotonic>,
    /// When it was last asked whether it serves, and what it said, where nothing served since.
    checked: Option<(Monotonic, Fault)>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls go through; so many in a row found trouble.
    Serves { in_a_row: u32 },
    /// Nobody asks until then; afterwards one does.
    Rests { until: Monotonic, span: Span, cause: Cause, trial: Option<u64> },
}

/// Leave for one call. Dropped without an answer, it says that nobody waited for one.
#[must_use]
pub(crate) struct Leave<'a> {
    breaker: &'a Breaker,
    trial: Option<u64>,
    ended: bool,
}

impl Breaker {
    pub(crate) fn new(custodian: CustodianId, clock: Arc<dyn Clock>) -> Self {
        // Whoever opened the custodian just saw it serve.
        let served = Some(clock.monotonic());
        let seen = Seen { state: State::Serves { in_a_row: 0 }, trials: 0, served, checked: None };
        Self { custodian, clock, seen: Mutex::new(seen), tally: Arc::new(Mutex::new(Tally::new())) }
    }

    /// For other calls of the same custodian.
    pub(crate) fn another(&self) -> Self {
        Self { tally: self.tally.clone(), ..Self::new(self.custodian.clone(), self.clock.clone()) }
    }

    /// What was asked lately, and whether nobody is let through now.
    pub(crate) fn usage(&self) -> Usage {
        let rests = matches!(self.seen().state, State::Rests { .. });
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.usage(self.clock.monotonic(), rests)
    }

    /// What is left to say where a check did not come to its end.
    pub(crate) fn stopped(&self) -> Fault {
        let (custodian, operation) = (self.custodian.clone(), Operation::Check);
        Fault { custodian, operation, cause: Cause::Stopped, detail: None, request: None }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change is a single assignment: what a panic leaves is whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to ask, or the fault of a custodian that is left alone.
    pub(crate) fn leave(&self, operation: Operation) -> Result<Leave<'_>, Fault> {
        let now = self.clock.monotonic();
        let mut seen = self.seen();
        let Seen { state, trials, .. } = &mut *seen;
        let trial = match state {
            State::Serves { .. } => None,
            State::Rests { until, trial: trial @ None, .. } if *until <= now => {
                *trials += 1;
                *trial = Some(*trials);
                *trial
            }
            State::Rests { cause, .. } => return Err(self.resting(operation, *cause)),
        };
        Ok(Leave { breaker: self, trial, ended: false })
    }

    fn resting(&self, operation: Operation, cause: Cause) -> Fault {
        let detail = Some(Detail(format!("after {cause}")));
        Fault { custodian: self.custodian.clone(), operation, cause: Cause::Resting, detail, request: None }
    }

    fn count(&self, served: bool) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.note(self.clock.monotonic(), served.then(|| self.clock.now()));
    }

    fn served(&self) {
        let now = self.clock.monotonic();
        let mut seen = self.seen();
        if matches!(seen.state, State::Rests { .. }) {
            tracing::info!(custodian = %self.custodian, "a custodian serves again");
        }
        *seen = Seen { state: State::Serves { in_a_row: 0 }, trials: seen.trials, served: Some(now), checked: None };
    }

    fn failed(&self, fault: &Fault, own: Option<u64>) {
        let mut seen = self.seen();
        match fault.says() {
            Says::Nothing => {
                // The trial did not come to pass: the next caller makes it.
                if let State::Rests { trial, .. } = &mut seen.state
                    && own.is_some()
                    && *trial == own
                {
                    *trial = None;
                }
            }
            Says::Answers => {
                seen.state = State::Serves { in_a_row: 0 };
                if fault.cause != Cause::Integrity {
                    seen.served = None;
                }
            }
            Says::Trouble => {
                seen.served = None;
                let state = self.after_trouble(seen.state, fault.cause, own);
                seen.state = state;
            }
        }
    }

    fn after_trouble(&self, state: State, found: Cause, own: Option<u64>) -> State {
        let now = self.clock.monotonic();
        match state {
            State::Serves { in_a_row } if in_a_row + 1 < IN_A_ROW => State::Serves { in_a_row: in_a_row + 1 },
            State::Serves { .. } => {
                tracing::warn!(custodian = %self.custodian, cause = found.as_str(), "a custodian is left alone for a while");
                State::Rests { until: now.plus(FIRST), span: FIRST, cause: found, trial: None }
            }
            State::Rests { span, trial, .. } if own.is_some() && trial == own => {
                let span = Span::micros(span.as_micros().saturating_mul(2)).min(LONGEST);
                State::Rests { until: now.plus(span), span, cause: found, trial: None }
            }
            // Of a call from before the rest.
            rests @ State::Rests { .. } => rests,
        }
    }

    /// Nobody waited for the answer: of a trial, as good as none.
    fn given_up(&self, own: u64) {
        let now = self.clock.monotonic();
        let mut seen = self.seen();
        if let State::Rests { until, span, trial, .. } = &mut seen.state
            && *trial == Some(own)
        {
            (*until, *trial) = (now.plus(*span), None);
        }
    }

    /// Whether calls, or a check, have told lately that it serves, and nothing else since.
    pub(crate) fn fresh(&self) -> bool {
        let now = self.clock.monotonic();
        self.seen().served.is_some_and(|at| now < at.plus(FRESH))
    }

    /// Leave to ask whether it serves; else what it said a moment ago. Whoever gives up waiting leaves behind that no
    /// answer came.
    pub(crate) fn begin_check(&self) -> Result<(), Fault> {
        let now = self.clock.monotonic();
        let mut seen = self.seen();
        match &seen.checked {
            Some((at, fault)) if now < at.plus(AGAIN) => Err(fault.clone()),
            _ => {
                let (custodian, operation) = (self.custodian.clone(), Operation::Check);
                let fault = Fault { custodian, operation, cause: Cause::Timeout, detail: None, request: None };
                seen.checked = Some((now, fault));
                Ok(())
            }
        }
    }

    /// A check looks at a custodian and uses no key: one that goes well ends the rest, and the next call is the trial.
    pub(crate) fn end_check(&self, found: &Result<(), Fault>) {
        let now = self.clock.monotonic();
        let mut seen = self.seen();
        match found {
            Ok(()) => {
                (seen.served, seen.checked) = (Some(now), None);
                if let State::Rests { until, .. } = &mut seen.state {
                    *until = (*until).min(now);
                }
            }
            Err(fault) => (seen.served, seen.checked) = (None, Some((now, fault.clone()))),
        }
    }

    /// Nothing told before counts any more.
    pub(crate) fn forget(&self) {
        let mut seen = self.seen();
        (seen.served, seen.checked) = (None, None);
    }
}

impl Leave<'_> {
    /// With what the custodian answered.
    pub(crate) fn end<T>(mut self, answer: Result<T, Fault>) -> Result<T, Fault> {
        self.ended = true;
        self.breaker.count(answer.is_ok());
        match &answer {
            Ok(_) => self.breaker.served(),
            Err(fault) => self.breaker.failed(fault, self.trial),
        }
        answer
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let (false, Some(own)) = (self.ended, self.trial) {
            self.breaker.given_up(own);
        }
    }
}
