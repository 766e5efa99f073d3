//! What every service does the same way: know the caller, do the work where a hang-up cannot stop it, record a refusal
//! before it is told, and bound what one caller keeps busy.
//!
//! Nothing is decided here, and no refusal is recorded twice: one that already stands in the ledger carries its index.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::reason::Reason;
use cofre_model::time::Span;
use cofre_proto::convert::Malformed;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::answer::Streamed;
use crate::counter::{self, Refusal, Refusals};
use crate::gate::Listener;
use crate::limits::{CALLS_AT_WORK, STREAM_BUFFER, STREAMS_PER_IDENTITY};
use crate::status::Refused;

/// A streamed answer.
pub(super) type Outlet<T> = ReceiverStream<Result<T, Status>>;
/// The end of a stream that is written to.
pub(super) type Inlet<T> = mpsc::Sender<Result<T, Status>>;
/// What a method gives back.
pub(super) type Answer<T> = Result<Response<T>, Status>;

/// Why a call gets no answer, before it is recorded and told.
#[derive(Debug)]
pub(super) struct No {
    reason: Reason,
    field: Option<(String, String)>,
    retry: Option<Span>,
    /// Where it stands in the ledger already.
    recorded: Option<u64>,
}

impl No {
    pub(super) const fn field(reason: Reason, field: Option<(String, String)>) -> Self {
        Self { reason, field, retry: None, recorded: None }
    }

    /// It stands in the ledger at `index` and is not recorded again.
    pub(super) const fn recorded(mut self, index: Option<u64>) -> Self {
        self.recorded = index;
        self
    }

    /// Trying again makes sense after `span`.
    pub(super) const fn retry_after(mut self, span: Option<Span>) -> Self {
        self.retry = span;
        self
    }
}

impl From<Reason> for No {
    fn from(reason: Reason) -> Self {
        Self::field(reason, None)
    }
}

impl From<Malformed> for No {
    fn from(malformed: Malformed) -> Self {
        Self::field(Reason::BadRequest, Some((malformed.field, malformed.advice)))
    }
}

/// The desk of one node, shared by its services.
#[derive(Debug, Clone)]
pub(super) struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    refusals: Arc<dyn Refusals>,
    calls: Arc<Tally>,
    streams: Arc<Tally>,
    work: TaskTracker,
    stop: CancellationToken,
}

impl Desk {
    /// Streams end once `stop` is cancelled; calls at work go on to their end.
    pub(super) fn new(refusals: Arc<dyn Refusals>, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            refusals,
            calls: Tally::new(CALLS_AT_WORK),
            streams: Tally::new(STREAMS_PER_IDENTITY),
            work: TaskTracker::new(),
            stop,
        }))
    }

    /// Resolves when no work is left. New work is still taken: close the doors first.
    pub(super) async fn idle(&self) {
        self.0.work.close();
        self.0.work.wait().await;
    }

    /// The call that `request` makes.
    pub(super) fn call<W>(&self, request: &Request<W>) -> Result<Call, Status> {
        Ok(Call { desk: self.clone(), caller: counter::caller(request)?, method: counter::method(request) })
    }

    /// Answers a unary call with what `work` makes of it.
    pub(super) async fn answer<W, T, F>(&self, request: Request<W>, work: impl FnOnce(Caller, W) -> F) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, No>> + Send + 'static,
    {
        let call = self.call(&request)?;
        let work = work(call.caller.clone(), request.into_inner());
        call.run(work).await.map(Response::new)
    }
}

/// One authenticated call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    desk: Desk,
    caller: Caller,
    method: Option<&'static str>,
}

impl Call {
    /// Who calls.
    pub(super) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Does `work` in a task of its own, so that neither a hang-up nor the call's deadline leaves it half done or its
    /// refusal unrecorded.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, No>> + Send + 'static,
    ) -> Result<T, Status> {
        let Some(place) = self.desk.0.calls.take(self.caller.identity()) else {
            return Err(self.refuse(Reason::RateLimited.into()).await);
        };
        let call = self.clone();
        let work = async move {
            let _place = place;
            match work.await {
                Ok(answer) => Ok(answer),
                Err(no) => Err(call.refuse(no).await),
            }
        };
        // A raw spawn, because the task that tonic drives is dropped with its stream; `idle` waits for these at the end.
        match self.desk.0.work.spawn(work.in_current_span()).await {
            Ok(outcome) => outcome,
            // A panic unwound and wiped what it held. Its text is not ours to tell.
            Err(_) => Err(self.refuse(Reason::Internal.into()).await),
        }
    }

    /// Does what cannot be refused any more, in a task of its own.
    pub(super) fn finish(&self, work: impl Future<Output = ()> + Send + 'static) {
        // No runtime is left only when the process ends; then nobody could record anything.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.desk.0.work.spawn_on(work.in_current_span(), &runtime);
        }
    }

    /// Records a refusal, unless it stands in the ledger already, and makes its status.
    pub(super) async fn refuse(&self, no: No) -> Status {
        let entry = match no.recorded {
            Some(index) => Some(index),
            None => self.desk.0.refusals.refused(self.refusal(no.reason)).await,
        };
        let mut refused = Refused::new(no.reason).entry(entry);
        if let Some((field, advice)) = no.field {
            refused = refused.field(field, advice);
        }
        if let Some(span) = no.retry {
            refused = refused.retry_after(span);
        }
        refused.into_status()
    }

    fn refusal(&self, reason: Reason) -> Refusal {
        // The gate lets a role in by its own door only.
        let listener = Listener::of(self.caller.identity().role());
        Refusal { listener, caller: Some(self.caller.clone()), method: self.method, reason }
    }

    /// Opens a stream that `fill` writes to. It ends when `fill` does, when its reader goes away, or when the node
    /// stops; a reader that is too slow holds back `fill`, not the node's memory.
    pub(super) async fn stream<T, F>(&self, fill: impl FnOnce(Call, Inlet<T>) -> F) -> Answer<Outlet<T>>
    where
        T: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(place) = self.desk.0.streams.take(self.caller.identity()) else {
            return Err(self.refuse(Reason::RateLimited.into()).await);
        };
        let (inlet, outlet) = mpsc::channel(STREAM_BUFFER);
        let (watched, stop) = (inlet.clone(), self.desk.0.stop.clone());
        let fill = fill(self.clone(), inlet);
        let work = async move {
            let _place = place;
            tokio::select! {
                biased;
                () = watched.closed() => {}
                () = stop.cancelled() => {}
                () = fill => {}
            }
        };
        // A raw spawn, because the stream outlives the handler that opened it.
        self.desk.0.work.spawn(work.in_current_span());
        let mut response = Response::new(ReceiverStream::new(outlet));
        response.extensions_mut().insert(Streamed);
        Ok(response)
    }
}

/// How much each identity keeps busy.
struct Tally {
    most: usize,
    busy: Mutex<BTreeMap<SpiffeId, usize>>,
}

impl Tally {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, busy: Mutex::default() })
    }

    /// A place for `identity`, or none where all of its places are taken.
    fn take(self: &Arc<Self>, identity: &SpiffeId) -> Option<Place> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(identity.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { tally: Arc::clone(self), identity: identity.clone() })
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("most", &self.most).finish_non_exhaustive()
    }
}

/// One place of an identity, given back when dropped.
struct Place {
    tally: Arc<Tally>,
    identity: SpiffeId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.tally.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests;
