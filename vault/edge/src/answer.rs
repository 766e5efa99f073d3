//! An answer on its way through the transport: counted until the socket has it, cut off where its reader does not
//! take it, and of a grant never later than its `send_by`.
//!
//! The transport asks for the next frame before it knows whether there is room for it. A grant's answer is therefore
//! given in two: first the five bytes that announce a message (gRPC over HTTP/2, "Length-Prefixed-Message"), which
//! a peer with a closed window holds up, then the message, which so long is still here and can be dropped. Its end is
//! given only after the transport has written the message, which is how a reset in between is found.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cofre_model::reason::Reason;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

use crate::departure::{Departure, Overdue};
use crate::load::Load;
use crate::revocation::Peer;
use crate::status;

/// Bytes that announce a message.
const PREFIX: usize = 5;
/// Beyond the instant itself, since the last one at which an answer may leave is still in time.
const JUST_AFTER: Duration = Duration::from_millis(1);

/// Marks a response whose body goes on for as long as its stream is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed;

/// What is still here of an answer; nothing once its time is over.
type Rest = Arc<Mutex<Option<Here>>>;

struct Here {
    body: Body,
    /// A grant's message whose announcement is with the transport.
    message: Option<Bytes>,
    /// Whether a grant's message is with the transport.
    handed: bool,
}

/// Puts the body of `response` under watch.
pub(crate) fn watched(
    mut response: http::Response<Body>,
    load: Arc<Load>,
    peer: &Arc<Peer>,
    within: Duration,
) -> http::Response<Body> {
    let departure = response.extensions_mut().remove::<Arc<Departure>>();
    if response.extensions().get::<Streamed>().is_some() {
        load.leave_place();
    } else if !response.body().is_end_stream() {
        tokio::spawn(taken_within(within, Arc::downgrade(&load), Arc::clone(peer)));
    }
    response.map(|body| {
        let rest = Arc::new(Mutex::new(Some(Here { body, message: None, handed: false })));
        if let Some(departure) = &departure {
            tokio::spawn(gone_by(Arc::clone(departure), Arc::downgrade(&rest), Arc::clone(peer)));
        }
        Body::new(Watched { rest, load, peer: Arc::clone(peer), departure, begun: false, over: false })
    })
}

/// Cuts the connection of a peer that does not take its answer.
async fn taken_within(within: Duration, load: Weak<Load>, peer: Arc<Peer>) {
    let Some(gone) = load.upgrade().map(|load| load.gone()) else { return };
    tokio::select! {
        () = gone.cancelled() => {}
        () = tokio::time::sleep(within) => {
            tracing::info!(identity = %peer.caller().identity(), "an answer was not taken; its connection is cut");
            peer.cut().cancel();
        }
    }
}

/// Drops an answer whose time is over, or cuts its connection where the transport has it.
async fn gone_by(departure: Arc<Departure>, rest: Weak<Mutex<Option<Here>>>, peer: Arc<Peer>) {
    while departure.in_time() && !departure.is_over() {
        tokio::time::sleep(departure.left_for().to_std() + JUST_AFTER).await;
    }
    match departure.overdue() {
        Overdue::No => {}
        Overdue::Held => {
            if let Some(rest) = rest.upgrade() {
                rest.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
        }
        Overdue::Handed => peer.cut().cancel(),
    }
}

/// A body under watch.
struct Watched {
    rest: Rest,
    load: Arc<Load>,
    peer: Arc<Peer>,
    departure: Option<Arc<Departure>>,
    /// Whether anything but the head was given.
    begun: bool,
    /// Whether it came to its end.
    over: bool,
}

impl Watched {
    /// The end of an answer that is too late: a status that says so, where nothing of it has left, and a reset
    /// otherwise, since what the peer has is no whole message.
    fn too_late(&self) -> Result<Frame<Bytes>, Status> {
        let status = status::status(Reason::NotDelivered);
        let mut trailers = http::HeaderMap::new();
        if self.begun || status.add_header(&mut trailers).is_err() {
            return Err(status);
        }
        Ok(Frame::trailers(trailers))
    }

    /// `bytes` as the transport gets them, or nothing where the identity has too many here.
    fn cargo(&self, bytes: Bytes, departure: Option<Arc<Departure>>) -> Option<Bytes> {
        let cargo = Cargo { counted: self.load.add(bytes.len()), bytes, load: Arc::clone(&self.load), departure };
        cargo.counted.then(|| Bytes::from_owner(cargo))
    }

    fn next(&self, here: &mut Here, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let (Some(message), Some(departure)) = (here.message.take(), &self.departure) {
            // Counted first: what was handed over cannot be refused any more.
            let frame = self.frame(message, Some(Arc::clone(departure)));
            if frame.is_err() {
                return Poll::Ready(Some(frame));
            }
            if !departure.hand_over() {
                return Poll::Ready(Some(Err(status::status(Reason::NotDelivered))));
            }
            here.handed = true;
            self.peer.departures().watch(departure);
            return Poll::Ready(Some(frame));
        }
        if let (true, Some(departure)) = (here.handed, &self.departure) {
            ready!(departure.poll_whole(cx));
        }
        let frame = match ready!(Pin::new(&mut here.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        if let Some(departure) = &self.departure
            && data.len() > PREFIX
        {
            if departure.too_late() {
                return Poll::Ready(Some(self.too_late()));
            }
            here.message = Some(data.split_off(PREFIX));
        }
        Poll::Ready(Some(self.frame(data, None)))
    }

    fn frame(&self, bytes: Bytes, departure: Option<Arc<Departure>>) -> Result<Frame<Bytes>, Status> {
        let cargo = self.cargo(bytes, departure).ok_or_else(|| status::status(Reason::RateLimited))?;
        Ok(Frame::data(cargo))
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    /// An error resets the stream.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let shared = Arc::clone(&self.rest);
        let mut rest = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(here) = rest.as_mut() else {
            return Poll::Ready(if self.over { None } else { Some(self.too_late()) });
        };
        let frame = ready!(self.next(here, cx));
        // Whatever is no data is the end.
        if !frame.as_ref().is_some_and(|frame| frame.as_ref().is_ok_and(Frame::is_data)) {
            rest.take();
            self.over = matches!(frame, None | Some(Ok(_)));
        }
        self.begun = true;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        self.over
            || rest.as_ref().is_some_and(|here| here.message.is_none() && !here.handed && here.body.is_end_stream())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(departure) = &self.departure {
            departure.abandon();
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("departure", &self.departure).finish_non_exhaustive()
    }
}

/// Bytes with the transport. It lets go of them when it has written them, or when their stream was reset.
struct Cargo {
    bytes: Bytes,
    counted: bool,
    load: Arc<Load>,
    departure: Option<Arc<Departure>>,
}

impl AsRef<[u8]> for Cargo {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Cargo {
    fn drop(&mut self) {
        if self.counted {
            self.load.subtract(self.bytes.len());
        }
        if let Some(departure) = &self.departure {
            departure.let_go();
        }
    }
}

#[cfg(test)]
mod tests;
