//! Asking a service: within a time limit, a limited number of times, a limited number of callers at once. Every call has
//! an id, the service's own where it gives one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofre_envelope::random;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::Patience;
use crate::custodian::{CustodianId, RequestId};
use crate::fault::{Cause, Detail, Fault, Operation};

/// Tries of one call.
const TRIES: u32 = 3;
/// The pause before the second try; the next is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// What a try gave, with the service's id for it.
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) request: Option<RequestId>,
}

/// A try that failed.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    detail: Option<Detail>,
    request: Option<RequestId>,
}

impl Trouble {
    pub(crate) const fn of(cause: Cause) -> Self {
        Self { cause, detail: None, request: None }
    }

    /// With what the service said, by its published names: no caller's data.
    pub(crate) fn said(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(Detail(detail.into())), ..self }
    }

    /// Of this request.
    pub(crate) fn at(self, request: &RequestId) -> Self {
        Self { request: Some(request.clone()), ..self }
    }

    /// Of the request that an answer named.
    #[cfg(feature = "transit")]
    pub(crate) fn of_answer(self, request: Option<RequestId>) -> Self {
        Self { request: request.or(self.request), ..self }
    }

    /// Of this request, where the service named it.
    #[cfg(feature = "aws")]
    pub(crate) fn of_request(self, request: Option<&str>) -> Self {
        Self { request: request.map(|text| RequestId::new(text.to_owned())).or(self.request), ..self }
    }

    /// As a fault of a custodian that has no line yet.
    #[cfg(any(feature = "gcp", feature = "transit"))]
    pub(crate) fn of_custodian(self, custodian: CustodianId, operation: Operation) -> Fault {
        let Self { cause, detail, request } = self;
        Fault { custodian, operation, cause, detail, request }
    }

    /// Whether the same try may do better at once.
    const fn worth_another_try(&self) -> bool {
        matches!(self.cause, Cause::Transient | Cause::Timeout | Cause::BadChecksum)
    }
}

impl From<cofre_envelope::Error> for Trouble {
    /// Inside a driver the envelope only lends locked memory.
    fn from(_: cofre_envelope::Error) -> Self {
        Self::of(Cause::LockedMemory)
    }
}

/// The one way to a service.
#[derive(Debug)]
pub(super) struct Line {
    id: CustodianId,
    patience: Patience,
    places: Semaphore,
    /// Names this process run in request ids, so that they never repeat.
    run: String,
    calls: AtomicU64,
    /// When it last served; none once a call failed since.
    served: Mutex<Option<Instant>>,
}

/// Whoever served within this long is taken to serve still: probes cost money, and real calls tell more.
const FRESH: Duration = Duration::from_secs(300);

impl Line {
    pub(super) fn new(id: CustodianId, patience: Patience) -> Result<Self, Fault> {
        let places = Semaphore::new(patience.at_once.clamp(1, Semaphore::MAX_PERMITS));
        match random::array::<6>() {
            Ok(run) => Ok(Self {
                id,
                patience,
                places,
                run: hex::encode(run),
                calls: AtomicU64::new(0),
                served: Mutex::default(),
            }),
            Err(_) => {
                let (operation, cause) = (Operation::Connect, Cause::LockedMemory);
                Err(Fault { custodian: id, operation, cause, detail: None, request: None })
            }
        }
    }

    pub(super) const fn id(&self) -> &CustodianId {
        &self.id
    }

    pub(super) fn at_once(&self) -> usize {
        self.patience.at_once.clamp(1, Semaphore::MAX_PERMITS)
    }

    pub(super) fn close(&self) {
        self.places.close();
    }

    /// Whether a call came through lately, and none failed after it.
    pub(super) fn served_lately(&self) -> bool {
        let served = *self.served.lock().unwrap_or_else(PoisonError::into_inner);
        !self.places.is_closed() && served.is_some_and(|at| at.elapsed() < FRESH)
    }

    fn remember(&self, served: Option<Instant>) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = served;
    }

    pub(super) fn fault(&self, operation: Operation, trouble: Trouble) -> Fault {
        let Trouble { cause, detail, request } = trouble;
        Fault { custodian: self.id.clone(), operation, cause, detail, request }
    }

    /// Asks until there is an answer, a refusal that another try would meet again, or no time left.
    #[tracing::instrument(name = "custodian", skip_all, fields(custodian = %self.id, operation = operation.as_str(), outcome))]
    pub(super) async fn ask<T, F>(&self, operation: Operation, call: impl Fn() -> F) -> Result<(T, RequestId), Fault>
    where
        F: Future<Output = Result<Answer<T>, Trouble>>,
    {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let own = RequestId::new(format!("{}/{}/{number}", self.id, self.run));
        match self.within_time(call).await {
            Ok(Answer { value, request }) => {
                tracing::Span::current().record("outcome", "ok");
                self.remember(Some(Instant::now()));
                Ok((value, request.unwrap_or(own)))
            }
            Err(mut trouble) => {
                tracing::Span::current().record("outcome", trouble.cause.as_str());
                // A row that does not open says nothing of the service, and a full queue that it is busy serving.
                if !matches!(trouble.cause, Cause::Integrity | Cause::Busy) {
                    self.remember(None);
                }
                trouble.request.get_or_insert(own);
                Err(self.fault(operation, trouble))
            }
        }
    }

    async fn within_time<T, F>(&self, call: impl Fn() -> F) -> Result<Answer<T>, Trouble>
    where
        F: Future<Output = Result<Answer<T>, Trouble>>,
    {
        let end = Instant::now() + self.patience.total;
        let _place = match timeout_at(end, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Trouble::of(Cause::Stopped)),
            Err(_) => return Err(Trouble::of(Cause::Busy)),
        };
        let mut pause = PAUSE;
        for left in (0..TRIES).rev() {
            let answer = timeout_at(end.min(Instant::now() + self.patience.attempt), call()).await;
            let trouble = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::of(Cause::Timeout),
            };
            // The pause must leave time for a try.
            if left == 0 || !trouble.worth_another_try() || Instant::now() + pause >= end {
                return Err(trouble);
            }
            tracing::debug!(custodian = %self.id, cause = trouble.cause.as_str(), left, "another try");
            sleep(pause).await;
            pause *= 2;
        }
        Err(Trouble::of(Cause::Timeout))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn line(patience: Patience) -> Line {
        Line::new(CustodianId::try_from("kms-1").expect("a slug"), patience).expect("random")
    }

    async fn tries(line: &Line, cause: Cause) -> (u32, Fault) {
        let tried = AtomicU32::new(0);
        let asked = line.ask(Operation::Wrap, || async {
            tried.fetch_add(1, Ordering::SeqCst);
            Err::<Answer<()>, _>(Trouble::of(cause))
        });
        let fault = asked.await.map(drop).expect_err("it always fails");
        (tried.load(Ordering::SeqCst), fault)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_do_better_is_tried_again() {
        let line = line(Patience::default());
        for cause in Cause::ALL {
            let again = matches!(cause, Cause::Transient | Cause::Timeout | Cause::BadChecksum);
            let (tried, fault) = tries(&line, *cause).await;
            assert_eq!((tried, fault.cause), (if again { TRIES } else { 1 }, *cause));
            assert!(fault.request.is_some_and(|request| request.as_str().starts_with("kms-1/")), "{cause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_and_all_tries_have_their_limits() {
        let patience = Patience { attempt: Duration::from_secs(2), total: Duration::from_secs(5), at_once: 1 };
        let line = line(patience);
        let begun = Instant::now();
        let never = line.ask(Operation::Unwrap, || std::future::pending::<Result<Answer<()>, _>>());
        assert_eq!(never.await.map(drop).expect_err("too long").cause, Cause::Timeout);
        // The paused clock moves by whole milliseconds.
        assert!(begun.elapsed() - patience.total < Duration::from_millis(5), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_served_lately_is_asked_for_nothing_until_a_call_fails() {
        let line = line(Patience::default());
        let serve = || line.ask(Operation::Check, || async { Ok(Answer { value: (), request: None }) });
        assert!(!line.served_lately());
        serve().await.expect("serves");
        assert!(line.served_lately());
        tries(&line, Cause::Integrity).await;
        assert!(line.served_lately(), "a row that does not open says nothing of the service");
        tries(&line, Cause::KeyDisabled).await;
        assert!(!line.served_lately());
        serve().await.expect("serves");
        tokio::time::advance(FRESH).await;
        assert!(!line.served_lately());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_in_time_is_told_so_and_nothing_is_asked_after_the_end() {
        let line = line(Patience { at_once: 1, ..Patience::default() });
        let held = line.places.acquire().await.expect("open");
        assert_eq!(
            tries(&line, Cause::Denied).await,
            (0, {
                let mut fault = line.fault(Operation::Wrap, Trouble::of(Cause::Busy));
                fault.request = Some(RequestId::new(format!("kms-1/{}/0", line.run)));
                fault
            })
        );
        drop(held);
        line.close();
        let (tried, fault) = tries(&line, Cause::Denied).await;
        assert_eq!((tried, fault.cause), (0, Cause::Stopped));
    }
}
