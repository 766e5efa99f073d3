//! What every call passes before a handler sees it, in this order: caller, rate, standing, places of its connection,
//! recording of refusals, method gate, form of the request. Tracing and the deadline lie outside, in [`crate::limits::server_builder`].
//!
//! Not checked here: whose data a call names (the use case), and what its message says (`proto`).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use cofre_model::caller::Caller;
use cofre_model::reason::Reason;
use futures_util::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::answer;
use crate::gate::{self, Listener};
use crate::limits::{Limits, Rates};
use crate::load::{Load, Loads, Weighed};
use crate::revocation::{Peer, Standing};
use crate::status::{self, Refused};
use crate::unreadable;

/// Something refused at the counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The door it happened at.
    pub listener: Listener,
    /// Who asked; none where nobody was let in.
    pub caller: Option<Caller>,
    /// The listed method; none for an unlisted one, whose text is the peer's own, or where no call was made.
    pub method: Option<&'static str>,
    /// Why.
    pub reason: Reason,
}

impl Refusal {
    /// Whether it is counted with its like, by listener, reason and identity, rather than recorded on its own: what
    /// peers without standing do, or callers beyond their rate, must not fill the disk.
    #[must_use]
    pub fn is_aggregated(&self) -> bool {
        self.caller.is_none() || matches!(self.reason, Reason::PeerUntrusted | Reason::RateLimited)
    }
}

/// Where refusals of the counter are recorded.
///
/// A refusal gets a ledger entry of its own, and its index, unless it [is aggregated](Refusal::is_aggregated); for
/// those, and where recording failed, there is no index. The call is refused in any case.
pub trait Refusals: fmt::Debug + Send + Sync + 'static {
    /// Records `refusal`; resolves when that is durable.
    fn refused(&self, refusal: Refusal) -> BoxFuture<'static, Option<u64>>;

    /// Counts a peer that was not let in, by one of the few words for why. The register has it by listener alone.
    fn not_let_in(&self, _listener: Listener, _cause: &'static str) {}
}

/// The caller of a request that came through the counter.
///
/// # Errors
/// UNAUTHENTICATED where there is none, which means that the service was not mounted behind a [`CounterLayer`].
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| status::status(Reason::PeerUntrusted))
}

/// The listed method of a request that came through the counter, as refusals of it are recorded.
#[must_use]
pub fn method<T>(request: &tonic::Request<T>) -> Option<&'static str> {
    request.extensions().get::<Method>().map(|method| method.0)
}

/// The method called, in the gate's own spelling.
#[derive(Debug, Clone, Copy)]
struct Method(&'static str);

/// Puts a [`Counter`] before the services of one listener.
#[derive(Debug, Clone)]
pub struct CounterLayer(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    listener: Listener,
    standing: Arc<Standing>,
    rates: Arc<Rates>,
    refusals: Arc<dyn Refusals>,
    loads: Arc<Loads>,
    limits: Limits,
}

impl CounterLayer {
    /// For the services of `listener`. Standing and rates are those of the node, shared by its listeners.
    #[must_use]
    pub fn new(listener: Listener, standing: Arc<Standing>, rates: Arc<Rates>, refusals: Arc<dyn Refusals>) -> Self {
        Self::limited(Limits::STANDARD, listener, standing, rates, refusals)
    }

    /// The same with other limits than the standard ones.
    #[must_use]
    pub fn limited(
        limits: Limits,
        listener: Listener,
        standing: Arc<Standing>,
        rates: Arc<Rates>,
        refusals: Arc<dyn Refusals>,
    ) -> Self {
        // An identity comes in by one listener only, so that its load need not be shared between them.
        let loads = Loads::new(limits.bytes_per_identity);
        Self(Arc::new(Rules { listener, standing, rates, refusals, loads, limits }))
    }
}

impl<S> Layer<S> for CounterLayer {
    type Service = Counter<S>;

    fn layer(&self, inner: S) -> Counter<S> {
        Counter { rules: Arc::clone(&self.0), inner }
    }
}

/// The services of one listener behind the counter.
#[derive(Debug, Clone)]
pub struct Counter<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Counter<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // SECURITY: judged here and not in the future, so that a stream reset at once has paid its token.
        let Admitted { peer, load } = match self.rules.judge(&request) {
            Ok(admitted) => admitted,
            Err(no) => {
                let rules = Arc::clone(&self.rules);
                return Box::pin(async move { Ok(rules.refuse(no).await.into_http()) });
            }
        };
        let (caller, method) = (peer.caller().clone(), gate::listed(request.uri().path()));
        if let Some(method) = method {
            request.extensions_mut().insert(Method(method));
        }
        request.extensions_mut().insert(caller.clone());
        let weighed = request.map(|body| Weighed::body(body, Arc::clone(&load)));
        let (answer, rules) = (self.inner.call(weighed), Arc::clone(&self.rules));
        Box::pin(async move {
            let response = answer.await?;
            let no = |reason, status| {
                Box::new(No {
                    refusal: Refusal { listener: rules.listener, caller: Some(caller), method, reason },
                    status,
                })
            };
            if load.was_refused() {
                let no = no(Reason::RateLimited, Refused::new(Reason::RateLimited));
                return Ok(rules.refuse(no).await.into_http());
            }
            if let Some((field, advice)) = unreadable::problem(&response) {
                let no = no(Reason::BadRequest, Refused::new(Reason::BadRequest).field(field, advice));
                return Ok(rules.refuse(no).await.into_http());
            }
            Ok(answer::watched(response, load, &peer, rules.limits.answer_timeout))
        })
    }
}

/// A call that may go on to its handler.
struct Admitted {
    peer: Arc<Peer>,
    load: Arc<Load>,
}

/// A refusal with the words for its status.
struct No {
    refusal: Refusal,
    status: Refused,
}

impl Rules {
    fn judge(&self, request: &http::Request<Body>) -> Result<Admitted, Box<No>> {
        let path = request.uri().path();
        let method = gate::listed(path);
        let no = |caller: Option<&Caller>, reason| {
            let refusal = Refusal { listener: self.listener, caller: caller.cloned(), method, reason };
            Box::new(No { refusal, status: Refused::new(reason) })
        };
        let peer = request.extensions().get::<Arc<Peer>>().ok_or_else(|| no(None, Reason::PeerUntrusted))?;
        let caller = peer.caller();
        if !self.rates.take(caller.identity()) {
            return Err(no(Some(caller), Reason::RateLimited));
        }
        if let Err(cause) = self.standing.check(peer) {
            tracing::info!(%cause, identity = %caller.identity(), "caller has lost its standing");
            return Err(no(Some(caller), Reason::PeerUntrusted));
        }
        let places = peer.places();
        let Some(load) = self.loads.call(caller.identity(), places, self.limits.concurrent_calls) else {
            return Err(no(Some(caller), Reason::RateLimited));
        };
        if !gate::permits(self.listener, path, caller.identity().role()) {
            return Err(no(Some(caller), Reason::MethodNotAllowed));
        }
        if let Some((field, advice)) = misshapen(request) {
            let mut no = no(Some(caller), Reason::BadRequest);
            no.status = no.status.field(field, advice);
            return Err(no);
        }
        Ok(Admitted { peer: Arc::clone(peer), load })
    }

    async fn refuse(&self, no: Box<No>) -> Status {
        let entry = self.refusals.refused(no.refusal).await;
        no.status.entry(entry).into_status()
    }
}

/// What of a request's head is not as gRPC over HTTP/2 has it, and the way out.
fn misshapen(request: &http::Request<Body>) -> Option<(&'static str, &'static str)> {
    if encoded(request) {
        return Some(("grpc-encoding", "send messages uncompressed"));
    }
    if request.method() != http::Method::POST {
        return Some((":method", "must be POST"));
    }
    let mut types = request.headers().get_all(http::header::CONTENT_TYPE).iter();
    let proto = |value: &http::HeaderValue| value == "application/grpc" || value == "application/grpc+proto";
    if types.next().is_some_and(proto) && types.next().is_none() {
        return None;
    }
    Some(("content-type", "must be application/grpc"))
}

/// Whether the messages of a request are encoded. Compression beside secrets is off, and a bomb is not unpacked to
/// see what it holds.
fn encoded(request: &http::Request<Body>) -> bool {
    ["grpc-encoding", "content-encoding"]
        .iter()
        .flat_map(|name| request.headers().get_all(*name))
        .any(|value| value != "identity")
}
