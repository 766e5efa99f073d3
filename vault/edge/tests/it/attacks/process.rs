//! A vault in a process of its own, so that its memory can be read: the counter and its services as a node has them,
//! and two methods that answer something of known size. Told by its environment which one limit to do without.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use cofre_client::connect::connect;
use cofre_client::identity::ServerIdentity;
use cofre_edge::acceptor::Door;
use cofre_edge::counter::CounterLayer;
use cofre_edge::departure::{Departure, Fate};
use cofre_edge::gate::Listener;
use cofre_edge::limits::{CALL_BURST, CALLS_PER_SECOND, DoorLimits, Limits, Rates};
use cofre_edge::revocation::Standing;
use cofre_edge::services::Services;
use cofre_edge::tls::Material;
use cofre_model::permit::SendBy;
use cofre_model::time::{Clock, Monotonic, Span, Timestamp};
use cofre_testkit::ca::{Issued, Options, TestCa};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

use super::frames::Wire;
use crate::support::{NODE, Reached, ReachedLayer, Register, TRUST_DOMAIN, identity};
use crate::vault::Vault;

/// Answers 60 KiB here.
pub(super) const LARGE: &str = "/cofre.v1.AuditService/Checkpoint";
const LARGE_BYTES: usize = 60 * 1024;
/// Answers 2 KiB here, which have to leave within 80 ms, as a grant's answer has.
pub(super) const GRANT: &str = "/cofre.v1.AuditService/Tile";
pub(super) const GRANT_BYTES: usize = 2 * 1024;

/// The folder and the changes, for the process that serves.
const FOLDER: &str = "COFRE_ATTACKED_FOLDER";
const CHANGES: &str = "COFRE_ATTACKED_CHANGES";

/// One change of the limits: a short time, so that a test need not wait for the standard one, or a limit taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    ShortCalls,
    ShortAnswers,
    ShortHandshakes,
    ShortAge,
    LongCalls,
    FewCalls,
    NoPendingResets,
    NoLocalResets,
    NoHeaderBytes,
    NoStreams,
    NoPlaces,
    NoBytes,
    NoRate,
    NoAnswerTime,
    NoSource,
    NoHandshakes,
}

use Change as C;

const CHANGES_KNOWN: [Change; 16] = [
    C::ShortCalls,
    C::ShortAnswers,
    C::ShortHandshakes,
    C::ShortAge,
    C::LongCalls,
    C::FewCalls,
    C::NoPendingResets,
    C::NoLocalResets,
    C::NoHeaderBytes,
    C::NoStreams,
    C::NoPlaces,
    C::NoBytes,
    C::NoRate,
    C::NoAnswerTime,
    C::NoSource,
    C::NoHandshakes,
];

const SHORT: Duration = Duration::from_millis(500);
const FOREVER: Duration = Duration::from_secs(3_600);
/// More than any attack here sends, less than what a setting can carry.
const NO_LIMIT: u32 = 1 << 28;

/// The limits of a vault.
struct Bounds {
    limits: Limits,
    door: DoorLimits,
    rate: (NonZeroU32, NonZeroU32),
}

impl Bounds {
    fn of(changes: &[Change]) -> Self {
        let door = DoorLimits::of(Listener::TenantsAndWorkers);
        let mut bounds = Self { limits: Limits::STANDARD, door, rate: (CALLS_PER_SECOND, CALL_BURST) };
        let Self { limits, door, rate } = &mut bounds;
        let whole = |n: u32| NonZeroU32::new(n).expect("not zero");
        for change in changes {
            match change {
                C::ShortCalls => limits.call_timeout = SHORT,
                C::ShortAnswers => limits.answer_timeout = SHORT,
                C::ShortHandshakes => door.handshake = SHORT,
                C::ShortAge => (limits.connection_age, door.age) = (SHORT, SHORT * 2),
                C::LongCalls => limits.call_timeout = FOREVER,
                C::FewCalls => *rate = (whole(20), whole(100)),
                C::NoPendingResets => limits.pending_accept_resets = Some(usize::MAX),
                C::NoLocalResets => limits.local_error_resets = None,
                C::NoHeaderBytes => limits.header_list_bytes = NO_LIMIT,
                C::NoStreams => limits.concurrent_streams = None,
                C::NoPlaces => limits.concurrent_calls = usize::MAX,
                C::NoBytes => limits.bytes_per_identity = usize::MAX,
                C::NoRate => *rate = (whole(1_000_000), whole(1_000_000)),
                C::NoAnswerTime => limits.answer_timeout = FOREVER,
                C::NoSource => door.handshakes_per_source = usize::MAX,
                C::NoHandshakes => (door.handshakes, door.handshakes_per_source) = (usize::MAX, usize::MAX),
            }
        }
        bounds
    }
}

/// The clocks of this machine.
#[derive(Debug)]
struct Wall(Instant);

impl Wall {
    #[expect(clippy::disallowed_methods, reason = "a process of its own reads its machine's clock")]
    fn start() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Wall {
    #[expect(clippy::disallowed_methods, reason = "a process of its own reads its machine's clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Timestamp::from_micros(u64::try_from(since.as_micros()).expect("a time"))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_micros(u64::try_from(self.0.elapsed().as_micros()).expect("a time"))
    }
}

// === the process that serves ===

/// The services, and before them the two methods of known size.
#[derive(Clone)]
struct Sized<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    fates: Arc<Fates>,
}

/// How many answers met which fate.
#[derive(Debug, Default)]
struct Fates {
    missed: AtomicUsize,
    unknown: AtomicUsize,
}

impl Fates {
    fn count(&self, fate: Fate) {
        let number = match fate {
            Fate::Undelivered => &self.missed,
            Fate::Unknown => &self.unknown,
        };
        number.fetch_add(1, Ordering::SeqCst);
    }
}

impl<S> Sized<S> {
    /// An answer of `bytes`.
    fn answer(bytes: usize) -> http::Response<Body> {
        let len = u32::try_from(bytes).expect("short").to_be_bytes();
        let message = [&[0], len.as_slice(), &vec![7; bytes]].concat();
        let response = http::Response::builder().header("content-type", "application/grpc");
        response.body(Body::new(http_body_util::Full::new(message.into()))).expect("a response")
    }

    fn grant(&self) -> http::Response<Body> {
        let mut response = Self::answer(GRANT_BYTES);
        let (send_by, fates) = (SendBy::from_submission(self.clock.monotonic()), Arc::clone(&self.fates));
        let departure = Departure::new(send_by, Arc::clone(&self.clock), move |fate| fates.count(fate));
        response.extensions_mut().insert(departure);
        response
    }
}

impl<S> Service<http::Request<Body>> for Sized<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            LARGE => async { Ok(Self::answer(LARGE_BYTES)) }.boxed(),
            GRANT => {
                let response = self.grant();
                async { Ok(response) }.boxed()
            }
            _ => self.inner.call(request).boxed(),
        }
    }
}

/// Serves until standard input ends; answers each line of it with what was counted.
pub(super) fn serve(folder: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let told = std::env::var(CHANGES).expect("the changes");
        let changes: Vec<Change> =
            CHANGES_KNOWN.into_iter().filter(|each| told.split(',').any(|name| name == format!("{each:?}"))).collect();
        let bounds = Bounds::of(&changes);
        let (clock, register, reached) = (Wall::start(), Arc::new(Register::default()), Arc::new(Reached::default()));
        let read = |name: &str| std::fs::read(std::path::Path::new(folder).join(name)).expect("a file");
        let (certificate, key, bundle) = (read("node.pem"), read("node.key"), read("bundle.pem"));
        let revocations = read("crl.pem");
        let material = Material { certificate: &certificate, key: &key, bundle: &bundle, revocations: &revocations };
        let standing = Standing::new(&material, TRUST_DOMAIN, Arc::clone(&clock)).expect("good material");
        let rates = Arc::new(Rates::new(bounds.rate.0, bounds.rate.1, Arc::clone(&clock)));

        let vault = Vault::open(Arc::clone(&clock)).await;
        vault.ready.set(true);
        vault.put_tenant(1, "acme").await;
        let stop = CancellationToken::new();
        let services = Services::new(vault.use_cases(), vault.node(), register.clone(), stop.clone());
        let fates = Arc::new(Fates::default());
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = tcp.local_addr().expect("an address");
        let listener = Listener::TenantsAndWorkers;
        let door = Door { listener, standing: Arc::clone(&standing), refusals: register.clone(), limits: bounds.door };
        let incoming = door.open(tcp, stop.clone());
        let counter = CounterLayer::limited(bounds.limits, listener, Arc::clone(&standing), rates, register.clone());
        let sized = {
            let fates = Arc::clone(&fates);
            tower::layer::layer_fn(move |inner| Sized { inner, clock: Arc::clone(&clock), fates: Arc::clone(&fates) })
        };
        let server = bounds.limits.builder().layer(counter).layer(ReachedLayer(Arc::clone(&reached))).layer(sized);
        let mut server = server;
        tokio::spawn(
            server
                .add_routes(services.tenants_and_workers())
                .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned()),
        );
        say(&format!("ready {address}"));
        let lines = tokio::task::spawn_blocking(move || {
            for line in std::io::stdin().lines() {
                drop(line.expect("a line"));
                let counts = Counts {
                    reached: reached.calls(),
                    refused: register.all().len(),
                    connections: standing.connections(),
                    missed: fates.missed.load(Ordering::SeqCst),
                    unknown: fates.unknown.load(Ordering::SeqCst),
                };
                say(&counts.to_line());
            }
        });
        lines.await.expect("it ends with its input");
        stop.cancel();
    });
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{line}").and_then(|()| out.flush()).expect("its output");
}

/// What a line of ours starts with, the test harness's own apart.
const MARK: &str = "vault: ";

/// What the process counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Calls that got past the counter.
    pub(super) reached: usize,
    /// Refusals of the counter and of the door.
    pub(super) refused: usize,
    /// Open connections.
    pub(super) connections: usize,
    /// Answers that were recorded as not delivered.
    pub(super) missed: usize,
    /// Answers of which nobody knows.
    pub(super) unknown: usize,
}

impl Counts {
    fn to_line(self) -> String {
        format!("{} {} {} {} {}", self.reached, self.refused, self.connections, self.missed, self.unknown)
    }

    fn from_line(line: &str) -> Self {
        let numbers: Vec<usize> = line.split(' ').map(|each| each.parse().expect("a number")).collect();
        let [reached, refused, connections, missed, unknown] = *numbers.as_slice() else {
            panic!("five numbers: {line}")
        };
        Self { reached, refused, connections, missed, unknown }
    }
}

// === the side that attacks ===

/// A vault under attack.
pub(super) struct Attacked {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
    ca: TestCa,
    clock: Arc<dyn Clock>,
    _folder: TempDir,
}

impl Attacked {
    /// Serves in a process of its own, with `changes` to the standard limits.
    pub(super) fn start(changes: &[Change]) -> Self {
        let (clock, folder) = (Wall::start(), TempDir::new().expect("a folder"));
        let ca = TestCa::new(TRUST_DOMAIN, clock.now()).expect("an authority");
        let node = ca.issue(NODE, &Options::default()).expect("a node");
        node.write(folder.path(), "node").expect("written");
        let lists = ca.revocations(&[], clock.now().minus(Span::hours(1)), clock.now().plus(Span::days(7)));
        std::fs::write(folder.path().join("bundle.pem"), ca.bundle_pem()).expect("written");
        std::fs::write(folder.path().join("crl.pem"), lists.expect("lists")).expect("written");
        let names: Vec<String> = changes.iter().map(|each| format!("{each:?}")).collect();
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["attacks::a_vault_serves_in_a_process_of_its_own", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(CHANGES, names.join(","))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut vault = Self { child, input, output, address: unknown, ca, clock, _folder: folder };
        let ready = vault.said();
        vault.address = ready.strip_prefix("ready ").and_then(|text| text.parse().ok()).expect("an address");
        vault
    }

    fn said(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).expect("its output") > 0, "the vault ended");
            if let Some((_, said)) = line.split_once(MARK) {
                return said.trim_end().to_owned();
            }
        }
    }

    pub(super) fn counts(&mut self) -> Counts {
        self.input.write_all(b"counts\n").expect("it listens");
        Counts::from_line(&self.said())
    }

    /// Waits until the counts are as they have to become.
    pub(super) async fn until(&mut self, done: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.counts();
        // A bound for the day it does not become so, not a pause.
        for _ in 0..2_000 {
            if done(&counts) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            counts = self.counts();
        }
        panic!("it stays at {counts:?}");
    }

    /// Bytes in memory: now, and the most since [`Self::forget_peak`].
    fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a figure");
        let kib: u64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number");
        kib * 1024
    }

    pub(super) fn resident(&self) -> u64 {
        self.memory("VmRSS")
    }

    pub(super) fn peak(&self) -> u64 {
        self.memory("VmHWM")
    }

    /// Sets the peak back to what is resident (proc(5), clear_refs).
    pub(super) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("its own child's");
    }

    pub(super) fn issue(&self, uri: &str) -> Issued {
        self.ca.issue(uri, &Options::default()).expect("a good identity")
    }

    /// An honest client's channel.
    pub(super) async fn enter(&self, who: &Issued) -> Channel {
        let server = ServerIdentity::any_node(TRUST_DOMAIN);
        let identity = identity(who, &self.ca);
        connect(&self.address.to_string(), &identity, server, Arc::clone(&self.clock)).await.expect("let in")
    }

    /// TCP from a source address of the loopback network.
    pub(super) async fn knock_from(&self, source: IpAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        socket.connect(self.address).await
    }

    async fn shake(&self, who: &Issued) -> TlsStream<TcpStream> {
        self.shake_by(who, TcpSocket::new_v4().expect("a socket")).await
    }

    async fn shake_by(&self, who: &Issued, socket: TcpSocket) -> TlsStream<TcpStream> {
        let config = identity(who, &self.ca).tls(ServerIdentity::any_node(TRUST_DOMAIN), Arc::clone(&self.clock));
        let connector = TlsConnector::from(Arc::new(config.expect("good material")));
        let tcp = socket.connect(self.address).await.expect("a connection");
        tcp.set_nodelay(true).expect("set");
        connector.connect(ServerName::try_from("vault").expect("a name"), tcp).await.expect("a handshake")
    }

    /// A connection that is spoken by hand.
    pub(super) async fn wire(&self, who: &Issued, settings: &[u8]) -> Wire {
        Wire::open(self.shake(who).await, settings).await
    }

    /// The same, by a peer that reads nothing.
    pub(super) async fn unread_wire(&self, who: &Issued) -> Wire {
        Wire::unread(self.shake(who).await, &[]).await
    }

    /// The same, with hardly any room in its socket for what it does not read.
    pub(super) async fn narrow_wire(&self, who: &Issued, settings: &[u8]) -> Wire {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("set");
        Wire::unread(self.shake_by(who, socket).await, settings).await
    }

    /// Ends the process, in order.
    pub(super) fn stop(self) {
        let Self { mut child, input, mut output, .. } = self;
        drop(input);
        // What the harness says at the end; without a reader it could not end.
        std::io::copy(&mut output, &mut std::io::sink()).expect("its output");
        assert!(child.wait().expect("it ends").success(), "the vault did not end in order");
    }
}

/// The folder of the process that serves, where this is it.
pub(super) fn folder() -> Option<String> {
    std::env::var(FOLDER).ok()
}
