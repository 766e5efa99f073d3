//! Rate, errors and duration of every call, by method and the caller's role. Outside the counter, so that what it
//! refuses is seen too; inside the span of the call.
//!
//! The duration ends with the head of the answer: a stream that ends badly later is counted by what refused it.

use std::sync::Arc;
use std::task::{Context, Poll};

use cofre_edge::gate;
use cofre_edge::revocation::Peer;
use cofre_model::time::Monotonic;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};
use tracing::Span;

use super::meters::{Meters, bare, role};

/// Counts calls.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Arc<Meters>);

impl Calls {
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        Self(meters)
    }
}

impl<S> Layer<S> for Calls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { meters: Arc::clone(&self.0), inner }
    }
}

/// Services whose calls are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    meters: Arc<Meters>,
    inner: S,
}

/// One call under way; dropped without an answer where its caller hung up or its time was over.
struct Call {
    meters: Arc<Meters>,
    method: &'static str,
    role: &'static str,
    outcome: &'static str,
    since: Monotonic,
    span: Span,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.span.record("role", self.role).record("outcome", self.outcome);
        self.meters.call(self.method, self.role, self.outcome, self.since);
    }
}

impl<S, B, A> Service<http::Request<B>> for Counted<S>
where
    S: Service<http::Request<B>, Response = http::Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let call = Call {
            // An unlisted path is the peer's own text and labels nothing.
            method: gate::listed(request.uri().path()).map_or("unlisted", bare),
            role: request.extensions().get::<Arc<Peer>>().map_or("none", |peer| role(peer.caller().identity().role())),
            outcome: "given_up",
            since: self.meters.clock.monotonic(),
            meters: Arc::clone(&self.meters),
            span: Span::none(),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            // Whole, so that its end is the end of this future.
            let mut call = call;
            // The transport enters the call's span where it polls, not before.
            call.span = Span::current();
            let answer = answer.await;
            call.outcome = answer.as_ref().map_or("failed", outcome);
            answer
        })
    }
}

/// The status of a refusal stands in the head of its answer; one without goes on to its trailers and has been served.
fn outcome<A>(answer: &http::Response<A>) -> &'static str {
    match answer.headers().get("grpc-status").map(http::HeaderValue::as_bytes) {
        None | Some(b"0") => "ok",
        Some(b"1") => "cancelled",
        Some(b"3") => "invalid_argument",
        Some(b"4") => "deadline_exceeded",
        Some(b"5") => "not_found",
        Some(b"6") => "already_exists",
        Some(b"7") => "permission_denied",
        Some(b"8") => "resource_exhausted",
        Some(b"9") => "failed_precondition",
        Some(b"10") => "aborted",
        Some(b"12") => "unimplemented",
        Some(b"13") => "internal",
        Some(b"14") => "unavailable",
        Some(b"16") => "unauthenticated",
        Some(_) => "other",
    }
}
