//! Pipes to the two doors: what comes out of one end is served as if it had come out of a handshake.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cofre_edge::counter::CounterLayer;
use cofre_edge::gate::Listener;
use cofre_edge::limits::{self, Rates};
use cofre_edge::revocation::Peer;
use cofre_edge::services::Services;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

use super::calls::{self, Answer};
use super::people::{People, Person};
use super::world::World;

/// Bytes a pipe holds before it pushes back.
const PIPE: usize = 64 * 1024;
/// Nothing here waits for anything but itself, so an answer that takes this long never comes.
const SOON: Duration = Duration::from_secs(10);
/// How long raw bytes may be chewed on.
const CHEW: Duration = Duration::from_millis(40);

/// The server's end of a pipe.
struct Wire {
    stream: DuplexStream,
    peer: Arc<Peer>,
}

impl Connected for Wire {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

type Inlet = mpsc::UnboundedSender<Result<Wire, Infallible>>;

/// Both doors of one run.
pub(super) struct Doors {
    tenants_and_workers: Inlet,
    people: Inlet,
    served: Vec<JoinHandle<()>>,
    services: Services,
}

impl Doors {
    pub(super) fn open(world: &World, people: &People, stop: CancellationToken) -> Self {
        let services = world.services(stop.clone());
        let rates = Arc::new(Rates::standard(world.clock()));
        let mut served = Vec::new();
        let mut inlets = Listener::ALL.map(|listener| {
            let (inlet, outlet) = mpsc::unbounded_channel();
            let standing = Arc::clone(&people.standing);
            let counter = CounterLayer::new(listener, standing, Arc::clone(&rates), world.register());
            let routes = match listener {
                Listener::TenantsAndWorkers => services.tenants_and_workers(),
                Listener::People => services.people(),
            };
            let server = limits::server_builder().layer(counter).add_routes(routes);
            let served_until = stop.clone().cancelled_owned();
            let serve = server.serve_with_incoming_shutdown(UnboundedReceiverStream::new(outlet), served_until);
            served.push(tokio::spawn(async move { serve.await.expect("a door that was never broken") }));
            inlet
        });
        let people = inlets[1].clone();
        Self { tenants_and_workers: std::mem::replace(&mut inlets[0], people.clone()), people, served, services }
    }

    fn pipe(&self, who: &Person) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let inlet = match who.door() {
            Listener::TenantsAndWorkers => &self.tenants_and_workers,
            Listener::People => &self.people,
        };
        // A door that is closed drops the pipe, and the caller sees its end.
        drop(inlet.send(Ok(Wire { stream: theirs, peer: Arc::clone(&who.peer) })));
        ours
    }

    /// One call over a pipe of its own.
    pub(super) async fn call(&self, who: &Person, path: &str, frame: Vec<u8>) -> Answer {
        let pipe = std::sync::Mutex::new(Some(TokioIo::new(self.pipe(who))));
        let connector = tower::service_fn(move |_: http::Uri| {
            let pipe = pipe.lock().ok().and_then(|mut pipe| pipe.take());
            async move { pipe.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        let channel: Channel = Endpoint::from_static("http://cofre.invalid").connect_with_connector_lazy(connector);
        timeout(SOON, calls::ask(channel, path, frame)).await.unwrap_or_else(|_| panic!("{path}: no answer in time"))
    }

    /// Any bytes at all, after the preface or without it. What comes back is read to the end and judged by nobody.
    pub(super) async fn raw(&self, who: &Person, preface: bool, bytes: &[u8]) {
        let mut pipe = self.pipe(who);
        let mut sent = if preface { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec() } else { Vec::new() };
        sent.extend_from_slice(bytes);
        let (mut back, mut forth) = tokio::io::split(&mut pipe);
        let chew = async {
            // Either way may be cut by the other side; that is its right.
            let write = async {
                let _ = forth.write_all(&sent).await;
                let _ = forth.flush().await;
            };
            let mut drain = Vec::new();
            let (_, _) = tokio::join!(write, back.read_to_end(&mut drain));
        };
        let _ = timeout(CHEW, chew).await;
    }

    /// Waits until nothing is at work any more.
    pub(super) async fn close(self) {
        drop((self.tenants_and_workers, self.people));
        for served in self.served {
            timeout(SOON, served).await.expect("a door that closes").expect("a door that did not panic");
        }
        timeout(SOON, self.services.idle()).await.expect("work that ends");
    }
}
