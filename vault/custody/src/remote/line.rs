//! Asking a service: within a time limit, a limited number of times, a limited number of callers at once. Every call has
//! an id, the service's own where it gives one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofre_envelope::random;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::Patience;
use super::budget::Budget;
use crate::custodian::{CustodianId, RequestId};
use crate::fault::{Cause, Detail, Fault, Operation};

#[cfg(test)]
mod tests;

/// Tries of one call.
const TRIES: u32 = 3;
/// The pause before the second try; the next is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// What a try gave, with the service's id for it.
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) request: Option<RequestId>,
}

/// The id that a service gave its answer, where it is fit to be written down: whoever answers may be anybody.
#[cfg(any(feature = "aws", feature = "transit"))]
pub(crate) fn named(text: Option<&str>) -> Option<RequestId> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fit = text.filter(|text| (1..=64).contains(&text.len()) && text.bytes().all(known));
    fit.map(|text| RequestId::new(text.to_owned()))
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
        Self { request: named(request).or(self.request), ..self }
    }

    /// As a fault of a custodian that has no line yet.
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
    /// Tries that failed, whatever came of their calls.
    troubles: AtomicU64,
    budget: Budget,
}

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
                troubles: AtomicU64::new(0),
                budget: Budget::default(),
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

    /// How many tries failed so far: who notes it can tell later whether one did since.
    pub(super) fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Acquire)
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
        match self.within_time(call).await {
            Ok(served) => {
                tracing::Span::current().record("outcome", "ok");
                self.budget.served();
                Ok(served)
            }
            Err(trouble) => {
                tracing::Span::current().record("outcome", trouble.cause.as_str());
                Err(self.fault(operation, trouble))
            }
        }
    }

    /// For a try that the service gives no id, or whose answer never came.
    fn next_request(&self) -> RequestId {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        RequestId::new(format!("{}/{}/{number}", self.id, self.run))
    }

    /// What is asked may have been done although no answer came: every call can be made again, and each try has its id.
    async fn within_time<T, F>(&self, call: impl Fn() -> F) -> Result<(T, RequestId), Trouble>
    where
        F: Future<Output = Result<Answer<T>, Trouble>>,
    {
        let end = Instant::now() + self.patience.total;
        let _place = match timeout_at(end, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Trouble::of(Cause::Stopped)),
            Err(_) => return Err(Trouble::of(Cause::Busy)),
        };
        let (mut pause, mut earlier) = (PAUSE, None);
        for left in (0..TRIES).rev() {
            let own = self.next_request();
            let answer = timeout_at(end.min(Instant::now() + self.patience.attempt), call()).await;
            let mut trouble = match answer {
                Ok(Ok(Answer { value, request })) => return Ok((value, request.unwrap_or(own).after(earlier))),
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::of(Cause::Timeout),
            };
            self.troubles.fetch_add(1, Ordering::AcqRel);
            let asked = trouble.request.take().unwrap_or(own).after(earlier.take());
            // The pause must leave time for a try.
            let may = left > 0 && trouble.worth_another_try() && Instant::now() + pause < end;
            if !may || !self.budget.another_try() {
                return Err(trouble.at(&asked));
            }
            tracing::debug!(custodian = %self.id, cause = trouble.cause.as_str(), left, "another try");
            earlier = Some(asked);
            sleep(pause).await;
            pause *= 2;
        }
        Err(Trouble::of(Cause::Timeout))
    }
}
