//! The door: accepts TCP, shakes hands, and hands over connections whose caller is known. One peer's slowness,
//! garbage or bad certificate is that peer's affair: the loop goes on, whatever happens to one of them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cofre_model::permit::TooLate;
use cofre_model::reason::Reason;
use futures_util::FutureExt;
use rustls::NamedGroup;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Interval, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::counter::{Refusal, Refusals};
use crate::gate::Listener;
use crate::handshakes::{Handshake, Handshakes};
use crate::limits::DoorLimits;
use crate::peer::PeerError;
use crate::revocation::{Admission, Peer, Standing};
use crate::tls;

/// Pause after an accept error, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Finished connections that wait for the transport to take them.
const FINISHED: usize = 16;

/// One listener before it is opened.
#[derive(Debug)]
pub struct Door {
    /// Which of the two it is.
    pub listener: Listener,
    /// Trust, shared by all doors of the node.
    pub standing: Arc<Standing>,
    /// Where peers that were not let in are counted.
    pub refusals: Arc<dyn Refusals>,
    /// What bounds connections.
    pub limits: DoorLimits,
}

impl Door {
    /// Starts accepting. The stream yields connections whose handshake is over and whose caller is known, never an
    /// error, and ends after `stop`.
    pub fn open(self, tcp: TcpListener, stop: CancellationToken) -> Incoming {
        let (finished, incoming) = mpsc::channel(FINISHED);
        tokio::spawn(welcome(Arc::new(self), tcp, finished, stop));
        Incoming(ReceiverStream::new(incoming))
    }

    async fn admit(&self, tcp: TcpStream, address: SocketAddr) -> Result<(TlsStream<TcpStream>, Admission), NotLetIn> {
        tcp.set_nodelay(true)?;
        let stream = TlsAcceptor::from(self.standing.config()).accept(tcp).await?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(tls::ALPN) {
            return Err(NotLetIn::Protocol);
        }
        let group = session.negotiated_key_exchange_group().map_or(NamedGroup::Unknown(0), |group| group.name());
        let chain = session.peer_certificates().ok_or(PeerError::NoCertificate)?;
        let chain = chain.iter().map(|each| each.clone().into_owned()).collect();
        let admission = self.standing.admit(chain, address, group, self.limits.connections_per_identity)?;
        Ok((stream, admission))
    }
}

/// Why a connection came to nothing. For the log.
#[derive(Debug, thiserror::Error)]
enum NotLetIn {
    #[error("handshake: {0}")]
    Handshake(#[from] io::Error),
    #[error("the peer does not speak HTTP/2")]
    Protocol,
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("handshake took too long")]
    TooSlow,
    #[error("its source has too many handshakes")]
    Crowded,
    #[error("gave way to newer handshakes")]
    GaveWay,
    #[error("every connection is taken")]
    Full,
}

impl NotLetIn {
    /// One of the few words that metrics know.
    fn cause(&self) -> &'static str {
        match self {
            Self::Handshake(cause) => tls::cause(cause),
            Self::Protocol => "protocol",
            Self::Peer(PeerError::Untrusted) => "untrusted",
            Self::Peer(PeerError::Expired) => "expired",
            Self::Peer(PeerError::RevocationsStale) => "revocations_stale",
            Self::Peer(PeerError::TooManyConnections) => "too_many_connections",
            Self::Peer(PeerError::Identity(_)) => "identity",
            Self::Peer(_) => "certificate",
            Self::TooSlow => "too_slow",
            Self::Crowded => "crowded",
            Self::GaveWay => "gave_way",
            Self::Full => "full",
        }
    }
}

async fn welcome(
    door: Arc<Door>,
    tcp: TcpListener,
    finished: mpsc::Sender<Result<Connection, Infallible>>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(door.limits.connections));
    let handshakes = Handshakes::new(door.limits.handshakes, door.limits.handshakes_per_source);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = tcp.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let handshake = handshakes.enter(address.ip());
                let (door, finished, stop) = (Arc::clone(&door), finished.clone(), stop.clone());
                let places = Arc::clone(&places);
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = greet(&door, (stream, address), handshake, places, &finished) => {}
                    }
                });
            }
            Err(cause) => {
                // SECURITY: an accept error must never end the loop; one peer could shut the door for all.
                tracing::warn!(listener = door.listener.name(), %cause, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn greet(
    door: &Door,
    (tcp, address): (TcpStream, SocketAddr),
    handshake: Option<Handshake>,
    places: Arc<Semaphore>,
    finished: &mpsc::Sender<Result<Connection, Infallible>>,
) {
    let admitted = match &handshake {
        Some(handshake) => tokio::select! {
            admitted = tokio::time::timeout(door.limits.handshake, door.admit(tcp, address)) => {
                admitted.unwrap_or(Err(NotLetIn::TooSlow))
            }
            () = handshake.gave_way() => Err(NotLetIn::GaveWay),
        },
        None => Err(NotLetIn::Crowded),
    };
    // A connection has its own place, taken last: whoever has shown no good certificate takes none.
    let admitted =
        admitted.and_then(|admitted| Ok((admitted, places.try_acquire_owned().map_err(|_| NotLetIn::Full)?)));
    drop(handshake);
    match admitted {
        Ok(((stream, admission), place)) => {
            let left = door.standing.time_left(admission.peer.not_after()).min(door.limits.age);
            let connection = Connection {
                stream,
                cut: Box::pin(admission.peer.cut().cancelled_owned()),
                over: Box::pin(tokio::time::sleep(left)),
                look: tokio::time::interval_at(tokio::time::Instant::now() + door.limits.look, door.limits.look),
                admission,
                _place: place,
            };
            // A closed channel means that the transport has stopped; the connection is dropped with it.
            drop(finished.send(Ok(connection)).await);
        }
        Err(cause) => {
            // Not louder: anybody can cause this as often as he likes. The register counts it.
            tracing::debug!(listener = door.listener.name(), %address, %cause, "peer was not let in");
            door.refusals.not_let_in(door.listener, cause.cause());
            let refusal =
                Refusal { listener: door.listener, caller: None, method: None, reason: Reason::PeerUntrusted };
            door.refusals.refused(refusal).await;
        }
    }
}

/// Finished connections, for the transport to serve.
#[derive(Debug)]
pub struct Incoming(ReceiverStream<Result<Connection, Infallible>>);

impl Stream for Incoming {
    type Item = Result<Connection, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

/// A connection with a known caller. Reading and writing fail from the moment its peer loses its standing, its
/// certificate ends or it is too old, and once a grant's answer that the transport has is past its time.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    admission: Admission,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    over: Pin<Box<Sleep>>,
    look: Interval,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// An error once the connection may not live on. Leaves a waker with each cause otherwise.
    fn ended(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.cut.poll_unpin(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, PeerError::Untrusted));
        }
        if self.over.poll_unpin(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, PeerError::Expired));
        }
        // SECURITY: a stream makes no call at which it would be asked; lists that went stale end it here.
        while self.look.poll_tick(cx).is_ready() {
            if let Err(cause) = self.admission.check() {
                self.admission.peer.cut().cancel();
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, cause));
            }
        }
        Ok(())
    }
}

impl Connection {
    /// An error also once an answer is overdue: the socket takes no byte after it.
    fn may_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.ended(cx)?;
        if self.admission.peer.departures().any_overdue() {
            self.admission.peer.cut().cancel();
            return Err(io::Error::new(io::ErrorKind::TimedOut, TooLate));
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SECURITY: nothing that was still on its way may pass for delivered.
        self.admission.peer.departures().abandon();
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.admission.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The session writes what it holds, last, where what it reads is no good record.
        self.may_write(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.may_write(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.may_write(cx)?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // The transport flushes only what it has written whole, and the session is empty after it. A write proves less:
        // the session takes what the socket does not.
        if matches!(flushed, Poll::Ready(Ok(()))) && !self.stream.get_ref().1.wants_write() {
            self.admission.peer.departures().flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It writes what the session still holds.
        self.may_write(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.may_write(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
