//! What a call costs while it is here: one of its connection's places, and the bytes of its request and its answer,
//! counted for its identity until the socket took them. Whoever goes beyond is refused, never queued.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cofre_model::caller::SpiffeId;
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::body::Body;

/// Calls at work on one connection.
#[derive(Debug, Default)]
pub(crate) struct Places(AtomicUsize);

impl Places {
    fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok().then(|| Place(Arc::clone(self)))
    }
}

/// One place of a connection, given back when dropped.
#[derive(Debug)]
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The bytes of every identity that calls.
#[derive(Debug)]
pub(crate) struct Loads {
    most: usize,
    bytes: Mutex<BTreeMap<SpiffeId, usize>>,
}

impl Loads {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, bytes: Mutex::default() })
    }

    /// The load of a new call, or none where its connection has `calls` at work already.
    pub(crate) fn call(self: &Arc<Self>, identity: &SpiffeId, on: &Arc<Places>, calls: usize) -> Option<Arc<Load>> {
        let place = on.take(calls)?;
        let gone = CancellationToken::new();
        Some(Arc::new(Load {
            loads: Arc::clone(self),
            identity: identity.clone(),
            bytes: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            place: Mutex::new(Some(place)),
            gone: gone.clone(),
            _guard: gone.drop_guard(),
        }))
    }

    fn add(&self, identity: &SpiffeId, bytes: usize) -> bool {
        let mut all = self.bytes();
        let held = all.get(identity).copied().unwrap_or_default();
        let fits = held.saturating_add(bytes) <= self.most;
        if fits {
            all.insert(identity.clone(), held + bytes);
        }
        fits
    }

    fn subtract(&self, identity: &SpiffeId, bytes: usize) {
        let mut all = self.bytes();
        let left = all.get(identity).copied().unwrap_or_default().saturating_sub(bytes);
        if left == 0 {
            all.remove(identity);
        } else {
            all.insert(identity.clone(), left);
        }
    }

    fn bytes(&self) -> MutexGuard<'_, BTreeMap<SpiffeId, usize>> {
        // Each change is one insert or remove, which a panic elsewhere cannot leave half done.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one call costs, until nobody holds it: not its request, not its handler, not the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Load {
    loads: Arc<Loads>,
    identity: SpiffeId,
    bytes: AtomicUsize,
    refused: AtomicBool,
    place: Mutex<Option<Place>>,
    gone: CancellationToken,
    _guard: DropGuard,
}

impl Load {
    /// Counts `bytes` more; false where the identity has too many here.
    pub(crate) fn add(&self, bytes: usize) -> bool {
        let fits = self.loads.add(&self.identity, bytes);
        if fits {
            self.bytes.fetch_add(bytes, Ordering::AcqRel);
        } else {
            self.refused.store(true, Ordering::Release);
        }
        fits
    }

    /// Counts `bytes` less.
    pub(crate) fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.loads.subtract(&self.identity, bytes);
    }

    /// Whether [`Self::add`] ever said no.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Gives the connection's place back: an open stream is bounded by its own limits.
    pub(crate) fn leave_place(&self) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Cancelled once nobody holds the load.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Acquire);
        if bytes > 0 {
            self.loads.subtract(&self.identity, bytes);
        }
    }
}

/// A request's body, counted as it comes in.
#[derive(Debug)]
pub(crate) struct Weighed {
    inner: Body,
    load: Arc<Load>,
}

impl Weighed {
    pub(crate) fn body(inner: Body, load: Arc<Load>) -> Body {
        Body::new(Self { inner, load })
    }
}

impl http_body::Body for Weighed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !self.load.add(data.len())
        {
            // The counter makes a refusal of it, on record and in public words.
            return Poll::Ready(Some(Err(Status::resource_exhausted("too much at once"))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://cofre.test/worker/pool-a/{name}"), "cofre.test").expect("an identity")
    }

    #[test]
    fn an_identity_has_its_bytes_over_all_its_connections_and_gets_them_back() {
        let loads = Loads::new(100);
        let call = |name| loads.call(&who(name), &Arc::default(), 1).expect("a place");
        let (one, other) = (call("w1"), call("w1"));
        assert!(one.add(60) && !other.add(41) && other.add(40));
        assert!(other.was_refused() && !one.was_refused());
        assert!(call("w2").add(100), "another identity has its own");
        one.subtract(20);
        assert!(other.add(20) && !other.add(1));
        drop(one);
        assert!(other.add(40));
        drop(other);
        assert!(loads.bytes().is_empty());
    }

    #[test]
    fn a_connection_has_its_places() {
        let (loads, places) = (Loads::new(1), Arc::default());
        let call = || loads.call(&who("w1"), &places, 2);
        let (one, other) = (call().expect("a place"), call().expect("a place"));
        assert!(call().is_none());
        other.leave_place();
        let third = call().expect("the place of a stream");
        assert!(call().is_none());
        let gone = one.gone();
        drop(one);
        assert!(gone.is_cancelled() && call().is_some());
        drop((other, third));
        assert_eq!(places.0.load(Ordering::Acquire), 0, "no place is given back twice");
    }
}
