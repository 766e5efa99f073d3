//! Who may come in. Each person shakes hands once, truly, at the start; what the door then knows of them is what every
//! later pipe carries.

use std::fmt;
use std::sync::Arc;

use cofre_client::identity::{Identity, ServerIdentity};
use cofre_edge::acceptor::Door;
use cofre_edge::counter::{Refusal, Refusals};
use cofre_edge::gate::{self, Listener};
use cofre_edge::limits::DoorLimits;
use cofre_edge::revocation::{Peer, Standing};
use cofre_edge::tls::Material;
use cofre_model::caller::{Caller, Role};
use cofre_model::time::{Clock, Span};
use cofre_testkit::ca::{Options, TestCa};
use cofre_testkit::clock::TestClock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::input::Input;

pub(super) const TRUST_DOMAIN: &str = "cofre.test";
pub(super) const NODE: &str = "spiffe://cofre.test/node/eu-nl/n1";
pub(super) const WORKER: &str = "spiffe://cofre.test/worker/pool-a/w1";
pub(super) const FRONT_END: &str = "spiffe://cofre.test/tenant/acme/frontend/web-1";
pub(super) const OPERATOR: &str = "spiffe://cofre.test/person/operator/otto";

/// Those who may do most stand first; the rest may do the same and own nothing, or may do little.
const NAMES: [&str; 11] = [
    FRONT_END,
    WORKER,
    OPERATOR,
    "spiffe://cofre.test/tenant/acme/admin/ana",
    "spiffe://cofre.test/person/security/sol",
    "spiffe://cofre.test/person/auditor/ada",
    "spiffe://cofre.test/person/privacy/pia",
    "spiffe://cofre.test/person/custodian/carl",
    "spiffe://cofre.test/node/eu-nl/n2",
    "spiffe://cofre.test/tenant/rival/frontend/web-1",
    "spiffe://cofre.test/worker/pool-b/w2",
];

/// One who shook hands.
pub(super) struct Person {
    pub(super) peer: Arc<Peer>,
}

impl Person {
    pub(super) fn role(&self) -> Role {
        self.peer.caller().identity().role()
    }

    pub(super) fn door(&self) -> Listener {
        Listener::of(self.role())
    }

    pub(super) fn caller(&self) -> &Caller {
        self.peer.caller()
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer.caller().identity())
    }
}

/// Everybody, and the trust they came in by.
pub(super) struct People {
    all: Vec<Person>,
    pub(super) standing: Arc<Standing>,
}

impl People {
    pub(super) async fn introduce() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let now = clock.now();
        let ca = TestCa::new(TRUST_DOMAIN, now).expect("an authority");
        let node = ca.issue(NODE, &Options::default()).expect("a node");
        let lists = ca.revocations(&[], now.minus(Span::hours(1)), now.plus(Span::days(300))).expect("lists");
        let (bundle, key) = (ca.bundle_pem(), node.key_pem());
        let material = Material {
            certificate: node.chain_pem().as_bytes(),
            key: key.as_bytes(),
            bundle: bundle.as_bytes(),
            revocations: lists.as_bytes(),
        };
        let standing = Standing::new(&material, TRUST_DOMAIN, Arc::clone(&clock)).expect("good material");
        let mut all = Vec::new();
        for name in NAMES {
            let leaf = ca.issue(name, &Options::default()).expect("an identity");
            let own = Identity::from_pem(leaf.chain_pem().as_bytes(), leaf.key_pem().as_bytes(), bundle.as_bytes());
            let own = own.expect("good material");
            all.push(Person { peer: shake(&standing, &own, Arc::clone(&clock)).await });
        }
        Self { all, standing }
    }

    pub(super) fn named(&self, name: &str) -> &Person {
        self.all.iter().find(|person| person.caller().identity().to_string() == name).expect("somebody of that name")
    }

    pub(super) fn pick(&self, input: &mut Input<'_>) -> &Person {
        input.pick(&self.all)
    }

    /// Somebody who may call `method`; mostly the first of them.
    pub(super) fn one_for(&self, method: &str, place: usize) -> &Person {
        let may: Vec<&Person> =
            self.all.iter().filter(|person| gate::permits(person.door(), method, person.role())).collect();
        let place = if place < 8 { 0 } else { place - 8 };
        may.get(place).or(may.first()).copied().unwrap_or(&self.all[0])
    }
}

/// One true handshake, for the peer it gives.
async fn shake(standing: &Arc<Standing>, own: &Identity, clock: Arc<dyn Clock>) -> Arc<Peer> {
    let listener = Listener::TenantsAndWorkers;
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let door =
        Door { listener, standing: Arc::clone(standing), refusals: Arc::new(Nobody), limits: DoorLimits::of(listener) };
    let mut incoming = door.open(tcp, stop.clone());
    let config = own.tls(ServerIdentity::any_node(TRUST_DOMAIN), clock).expect("good material");
    let name = ServerName::try_from("cofre.invalid").expect("a name");
    let shaken = async {
        let tcp = TcpStream::connect(address).await.expect("connects");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("is let in")
    };
    let (connection, _client) = tokio::join!(incoming.next(), shaken);
    let peer = connection.expect("a connection").expect("never an error").connect_info();
    stop.cancel();
    peer
}

/// Nobody is refused while shaking hands.
#[derive(Debug)]
struct Nobody;

impl Refusals for Nobody {
    fn refused(&self, refusal: Refusal) -> BoxFuture<'static, Option<u64>> {
        async move { panic!("refused at the start: {refusal:?}") }.boxed()
    }
}
