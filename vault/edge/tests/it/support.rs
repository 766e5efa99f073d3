//! A house with both doors open, its authority, and a register that remembers what was refused.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use cofre_client::connect::{Cause, ConnectError, connect};
use cofre_client::identity::{Identity, ServerIdentity};
use cofre_edge::acceptor::Door;
use cofre_edge::counter::{CounterLayer, Refusal, Refusals};
use cofre_edge::gate::Listener;
use cofre_edge::limits::{self, DoorLimits, Rates};
use cofre_edge::revocation::{Peer, Standing};
use cofre_edge::services::Services;
use cofre_edge::tls::Material;
use cofre_model::time::{Clock, Monotonic, Span, Timestamp};
use cofre_testkit::ca::{Issued, Options, TestCa};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::NamedGroup;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tower::{Layer, Service, ServiceExt};

pub(crate) const TRUST_DOMAIN: &str = "cofre.test";
pub(crate) const NODE: &str = "spiffe://cofre.test/node/eu-nl/n1";
pub(crate) const WORKER: &str = "spiffe://cofre.test/worker/pool-a/w1";
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A clock that stands still unless moved.
#[derive(Debug)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn advance(&self, span: Span) {
        self.0.fetch_add(span.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Remembers refusals; authenticated ones get an index, as the ledger would give.
#[derive(Debug, Default)]
pub(crate) struct Register {
    refusals: Mutex<Vec<Refusal>>,
    added: Notify,
}

impl Register {
    /// Waits until `count` refusals are recorded: a peer learns of its own before the register does.
    pub(crate) async fn has(&self, count: usize) {
        loop {
            let added = self.added.notified();
            if self.all().len() >= count {
                return;
            }
            added.await;
        }
    }

    pub(crate) fn all(&self) -> Vec<Refusal> {
        self.refusals.lock().expect("whole").clone()
    }

    pub(crate) fn last(&self) -> Refusal {
        self.all().last().cloned().expect("a refusal was recorded")
    }
}

impl Refusals for Register {
    fn refused(&self, refusal: Refusal) -> BoxFuture<'static, Option<u64>> {
        let mut all = self.refusals.lock().expect("whole");
        let own_entry = !refusal.is_aggregated();
        all.push(refusal);
        self.added.notify_waiters();
        let index = own_entry.then_some(all.len() as u64);
        async move { index }.boxed()
    }
}

/// What got past the counter.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    calls: AtomicUsize,
    groups: Mutex<Vec<NamedGroup>>,
}

impl Reached {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ReachedLayer(pub(crate) Arc<Reached>);

impl<S> Layer<S> for ReachedLayer {
    type Service = Inside<S>;

    fn layer(&self, inner: S) -> Inside<S> {
        Inside { reached: Arc::clone(&self.0), inner }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Inside<S> {
    reached: Arc<Reached>,
    inner: S,
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Inside<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        self.reached.calls.fetch_add(1, Ordering::SeqCst);
        let peer = request.extensions().get::<Arc<Peer>>().expect("a peer behind the counter");
        self.reached.groups.lock().expect("whole").push(peer.group());
        self.inner.call(request)
    }
}

/// What a test may turn.
pub(crate) struct Plan {
    pub(crate) ca: TestCa,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) limits: Option<DoorLimits>,
    pub(crate) rates: Option<(u32, u32)>,
    pub(crate) services: Option<Furnish>,
}

/// Makes the services of a house from its register and the token that stops it.
pub(crate) type Furnish = Box<dyn FnOnce(Arc<Register>, CancellationToken) -> Services>;

impl Plan {
    pub(crate) fn new() -> Self {
        let now = Timestamp::parse_rfc3339("2026-05-04T09:12:33Z").expect("a time");
        Self {
            ca: TestCa::new(TRUST_DOMAIN, now).expect("an authority"),
            clock: Arc::new(HandClock(AtomicU64::new(now.micros()))),
            limits: None,
            rates: None,
            services: None,
        }
    }

    pub(crate) fn through_intermediate(mut self) -> Self {
        self.ca = self.ca.with_intermediate().expect("an intermediate");
        self
    }

    pub(crate) async fn open(self) -> House {
        let node = self.ca.issue(NODE, &Options::default()).expect("a node");
        let clock: Arc<dyn Clock> = self.clock.clone();
        let revocations = revocations(&self.ca, &[], clock.now());
        let standing = with_material(&node, &self.ca.bundle_pem(), &revocations, |material| {
            Standing::new(material, TRUST_DOMAIN, Arc::clone(&clock)).expect("good material")
        });
        let rates = match self.rates {
            Some((per_second, burst)) => {
                let whole = |n: u32| n.try_into().expect("not zero");
                Rates::new(whole(per_second), whole(burst), Arc::clone(&clock))
            }
            None => Rates::standard(Arc::clone(&clock)),
        };
        let (register, reached, rates) = (Arc::new(Register::default()), Arc::default(), Arc::new(rates));
        let stop = CancellationToken::new();
        let services = self.services.map(|furnish| furnish(register.clone(), stop.clone()));
        let mut addresses = Vec::new();
        for listener in Listener::ALL {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            addresses.push(tcp.local_addr().expect("an address"));
            let door = Door {
                listener,
                standing: Arc::clone(&standing),
                refusals: register.clone(),
                limits: self.limits.unwrap_or_else(|| DoorLimits::of(listener)),
            };
            let incoming = door.open(tcp, stop.clone());
            let counter = CounterLayer::new(listener, Arc::clone(&standing), Arc::clone(&rates), register.clone());
            let routes = match (&services, listener) {
                (Some(services), Listener::TenantsAndWorkers) => services.tenants_and_workers(),
                (Some(services), Listener::People) => services.people(),
                (None, _) => Routes::new(tonic_health::server::health_reporter().1),
            };
            let server = limits::server_builder()
                .layer(counter)
                .layer(ReachedLayer(Arc::clone(&reached)))
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
            tokio::spawn(server);
        }
        House {
            ca: self.ca,
            clock: self.clock,
            node,
            standing,
            register,
            reached,
            addresses,
            services,
            _stop: stop.drop_guard(),
        }
    }
}

pub(crate) struct House {
    pub(crate) ca: TestCa,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) node: Issued,
    pub(crate) standing: Arc<Standing>,
    pub(crate) register: Arc<Register>,
    reached: Arc<Reached>,
    addresses: Vec<SocketAddr>,
    pub(crate) services: Option<Services>,
    _stop: DropGuard,
}

impl House {
    pub(crate) fn address(&self, listener: Listener) -> SocketAddr {
        self.addresses[usize::from(listener == Listener::People)]
    }

    /// Calls that got past the counter.
    pub(crate) fn reached(&self) -> usize {
        self.reached.calls()
    }

    pub(crate) fn last_group(&self) -> Option<NamedGroup> {
        self.reached.groups.lock().expect("whole").last().copied()
    }

    pub(crate) fn issue(&self, uri: &str) -> Issued {
        self.ca.issue(uri, &Options::default()).expect("a good identity")
    }

    /// Connects as `who` at the door of tenants and workers.
    pub(crate) async fn enter(&self, who: &Issued) -> Result<Channel, ConnectError> {
        self.enter_by(Listener::TenantsAndWorkers, who).await
    }

    pub(crate) async fn enter_by(&self, listener: Listener, who: &Issued) -> Result<Channel, ConnectError> {
        let identity = identity(who, &self.ca);
        let server = ServerIdentity::any_node(TRUST_DOMAIN);
        connect(&self.address(listener).to_string(), &identity, server, self.clock.clone()).await
    }

    /// Exchanges the revocation lists for ones that name `revoked`.
    pub(crate) fn revoke(&self, revoked: &[&[u8]]) -> cofre_edge::revocation::Reloaded {
        let revocations = revocations(&self.ca, revoked, self.clock.now());
        with_material(&self.node, &self.ca.bundle_pem(), &revocations, |material| {
            self.standing.reload(material).expect("good material")
        })
    }
}

pub(crate) fn identity(who: &Issued, ca: &TestCa) -> Identity {
    Identity::from_pem(who.chain_pem().as_bytes(), who.key_pem().as_bytes(), ca.bundle_pem().as_bytes())
        .expect("good material")
}

/// Lists of a week.
pub(crate) fn revocations(ca: &TestCa, revoked: &[&[u8]], now: Timestamp) -> String {
    ca.revocations(revoked, now.minus(Span::hours(1)), now.plus(Span::days(7))).expect("lists")
}

pub(crate) fn with_material<T>(
    node: &Issued,
    bundle: &str,
    revocations: &str,
    then: impl FnOnce(&Material<'_>) -> T,
) -> T {
    then(&Material {
        certificate: node.chain_pem().as_bytes(),
        key: node.key_pem().as_bytes(),
        bundle: bundle.as_bytes(),
        revocations: revocations.as_bytes(),
    })
}

pub(crate) fn not_admitted(outcome: &Result<Channel, ConnectError>) -> bool {
    matches!(outcome, Err(ConnectError::Connection(Cause::NotAdmitted)))
}

/// One empty unary message to `path`; the status comes from the head or, where a handler answered, from the end.
pub(crate) async fn call(channel: &Channel, path: &str) -> Result<Status, tonic::transport::Error> {
    call_with(channel, path, &[]).await
}

pub(crate) async fn call_with(
    channel: &Channel,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Status, tonic::transport::Error> {
    let mut request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Body::new(http_body_util::Full::new(vec![0_u8; 5].into()));
    let request = request.body(body).expect("a request");
    let response = channel.clone().ready_oneshot().await?.call(request).await?;
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Ok(status);
    }
    if !response.status().is_success() {
        return Ok(Status::unknown(format!("HTTP {}", response.status())));
    }
    let end = http_body_util::BodyExt::collect(response.into_body()).await;
    let status = end.map(|body| body.trailers().and_then(Status::from_header_map));
    Ok(status.unwrap_or_else(Some).unwrap_or_else(|| Status::unknown("no status")))
}

pub(crate) async fn knock(house: &House) -> TcpStream {
    TcpStream::connect(house.address(Listener::TenantsAndWorkers)).await.expect("a connection")
}

/// A handshake without the client's care: what the server sends afterwards is for the test to read.
pub(crate) async fn shake(house: &House, config: rustls::ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("vault").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, knock(house).await).await
}

pub(crate) async fn by_hand(house: &House, who: &Identity) -> io::Result<TlsStream<TcpStream>> {
    shake(house, who.tls(ServerIdentity::any_node(TRUST_DOMAIN), house.clock.clone()).expect("good material")).await
}

/// Presents `who` as it is, as a peer would that does not check its own certificate first; true where the server
/// said anything at all.
pub(crate) async fn is_spoken_to(house: &House, who: &Issued) -> bool {
    let chain = CertificateDer::pem_slice_iter(who.chain_pem().as_bytes()).map(|each| each.expect("PEM")).collect();
    presents(house, chain, &PrivateKeyDer::from_pem_slice(who.key_pem().as_bytes()).expect("PEM")).await
}

/// The same with any chain and key.
pub(crate) async fn presents(house: &House, chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> bool {
    let honest = identity(&house.issue(WORKER), &house.ca);
    let mut config = honest.tls(ServerIdentity::any_node(TRUST_DOMAIN), house.clock.clone()).expect("good material");
    let key = aws_lc_rs::sign::any_supported_type(key).expect("a key");
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    match shake(house, config).await {
        Ok(mut stream) => matches!(stream.read(&mut [0; 1]).await, Ok(1)),
        Err(_) => false,
    }
}

/// What must end by itself; a bound for the day it does not, not a pause.
pub(crate) async fn within<T>(ending: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), ending).await.expect("it never ended")
}
