//! The worker against a small vault in this process: what it repeats, what it believes and what it refuses.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::samples::{NOW, ORIGIN, Standing, ed25519, signer};
use cofre_envelope::context::SecretContext;
use cofre_envelope::{Backing, Dek, Plain, Room, Slab, open, seal_to};
use cofre_ledger::promise::{NodeCertificate, NodeStatement, promise_group};
use cofre_model::credential::FieldKey;
use cofre_model::id::{RecipientId, SigningKeyId, SubjectId};
use cofre_model::job::Job;
use cofre_model::permit::GroupSigner;
use cofre_model::time::Span;
use cofre_model::wording::{Form, Purpose};
use cofre_proto::convert;
use cofre_testkit::ca::{Options, TestCa};
use ed25519_dalek::Signer as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const WORKER: &str = "spiffe://cofre.test/worker/pool-a/w1";

#[derive(Debug)]
struct Node;

impl GroupSigner for Node {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        ed25519(5).sign(message).to_bytes()
    }
    fn public_key(&self) -> [u8; 32] {
        ed25519(5).verifying_key().to_bytes()
    }
}

type Spoil = fn(&mut v1::ReleaseResponse);

/// A vault that refuses some times, then answers truly save for what `spoil` does.
struct Vault {
    refusals: usize,
    reason: &'static str,
    spoil: Spoil,
    asked: Arc<Mutex<Vec<v1::ReleaseRequest>>>,
}

/// Instead of a reason: what a transport says by itself when a stream dies under a call.
const BROKEN: &str = "(broken)";

fn refusal(reason: &str) -> Status {
    if reason == BROKEN {
        return Status::unavailable("connection closed");
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "cofre", HashMap::from([("entry".to_owned(), "7".to_owned())]));
    Status::with_error_details(Code::Aborted, "what to do", details)
}

fn answer(wire: v1::ReleaseRequest) -> v1::ReleaseResponse {
    let request = convert::release_request(wire).expect("a well-formed request");
    let slab = Slab::with_room(Backing::Mlock, Room { small: 64, large: 16 }).expect("memory");
    let context = SecretContext {
        tenant: TenantId::from_parts(1, [1; 10]),
        owner: SubjectId::from_parts(1, [2; 10]),
        credential: request.credential,
        class: Class::Login,
        version: 1,
    };
    let dek = Dek::generate(&slab).expect("a key");
    let key = FieldKey::try_from("password").expect("a key");
    let plain = Plain::copy_of(&slab, "contraseña".as_bytes()).expect("room");
    let sealed = vec![(key.clone(), dek.seal_field(&context, &key, plain).expect("sealed"))];
    let narrowed = open(dek, &sealed, &context).and_then(|opened| opened.narrow(&request.fields)).expect("opened");
    let entry = EntryRef { index: 12, leaf_hash: [4; 32], time: NOW };
    let promise = promise_group(ORIGIN, 12, &[entry.leaf_hash], NOW, NOW.plus(Span::secs(2)), &Node).expect("short");
    let digest = sha256(&request.digest_input());
    let context =
        ReleaseContext { origin: ORIGIN, index: 12, entry_hash: [4; 32], request_digest: digest, worker: WORKER };
    let public = PublicKey::try_from(&request.worker_key).expect("a key");
    let released = seal_to(&public, narrowed, &context).expect("sealed");
    v1::ReleaseResponse {
        entry: Some(convert::entry_ref(&entry)),
        encapsulated_key: released.encapsulated_key,
        ciphertext: released.ciphertext,
        lease_until_us: NOW.plus(Span::minutes(5)).micros(),
        promise: promise.first().map(wire_promise),
        // Not the true one, on purpose: nobody may look at it.
        request_digest: vec![0; 32],
    }
}

fn wire_promise(promise: &cofre_ledger::promise::Promise) -> v1::Promise {
    let statement = NodeStatement {
        origin: ORIGIN.into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        public_key: Node.public_key(),
        time: NOW.minus(Span::hours(1)),
    };
    let statement = statement.to_bytes().expect("short");
    let certificate = NodeCertificate { signature: ed25519(1).sign(&statement).to_bytes().to_vec(), statement };
    v1::Promise {
        origin: promise.head.origin.clone(),
        first_index: promise.head.first_index,
        count: promise.head.count,
        group_root: promise.head.group_root.to_vec(),
        path: promise.path.iter().map(|hash| hash.to_vec()).collect(),
        time_us: promise.head.time.micros(),
        integrate_by_us: promise.head.integrate_by.micros(),
        signature: promise.signature.to_vec(),
        node_key: Node.public_key().to_vec(),
        node_statement: certificate.statement,
        node_signature: certificate.signature,
    }
}

#[tonic::async_trait]
impl v1::release_service_server::ReleaseService for Vault {
    type WatchLeaseStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::WatchLeaseResponse, Status>>>;

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let request = request.into_inner();
        let before = {
            let mut asked = self.asked.lock().expect("not poisoned");
            asked.push(request.clone());
            asked.len() - 1
        };
        if before < self.refusals {
            return Err(refusal(self.reason));
        }
        let mut answer = answer(request);
        (self.spoil)(&mut answer);
        Ok(Response::new(answer))
    }

    async fn report_outcome(
        &self,
        request: Request<v1::ReportOutcomeRequest>,
    ) -> Result<Response<v1::ReportOutcomeResponse>, Status> {
        assert_eq!(request.into_inner().outcome, Outcome::Ok.number());
        let entry = EntryRef { index: 13, leaf_hash: [5; 32], time: NOW };
        Ok(Response::new(v1::ReportOutcomeResponse { entry: Some(convert::entry_ref(&entry)) }))
    }

    async fn watch_lease(&self, _: Request<v1::WatchLeaseRequest>) -> Result<Response<Self::WatchLeaseStream>, Status> {
        let events = [Event::Live, Event::Revoked].map(|event| Ok(v1::WatchLeaseResponse { event: event.into() }));
        Ok(Response::new(tokio_stream::iter(events.to_vec())))
    }
}

async fn worker(refusals: usize, reason: &'static str, spoil: Spoil) -> (Worker, Arc<Mutex<Vec<v1::ReleaseRequest>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let vault = Vault { refusals, reason, spoil, asked: Arc::clone(&asked) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let service = v1::release_service_server::ReleaseServiceServer::new(vault);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    let ca = TestCa::new("cofre.test", NOW).expect("a CA");
    let issued = ca.issue(WORKER, &Options::default()).expect("issued");
    let identity =
        Identity::from_pem(issued.chain_pem().as_bytes(), issued.key_pem().as_bytes(), ca.bundle_pem().as_bytes());
    let identity = identity.expect("an identity");
    let worker = Worker {
        channel: Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy(),
        id: identity.spiffe_id("cofre.test").expect("an identity"),
        identity: Arc::new(identity),
        signer: signer(1),
        clock: Arc::new(Standing),
    };
    (worker, asked)
}

fn errand() -> Errand {
    let job = Job {
        id: JobId::from_parts(1, [1; 10]),
        tenant: TenantId::from_parts(1, [1; 10]),
        credential: CredentialId::from_parts(1, [3; 10]),
        worker: WORKER.into(),
        purpose: Purpose::WealthAggregation,
        scopes: cofre_model::wording::ScopeSet::default(),
        recipient: RecipientId::from_parts(1, [4; 10]),
        history_from: NOW.minus(Span::days(30)),
        deadline: NOW.plus(Span::minutes(10)),
    };
    let key = SigningKeyId::from_parts(1, [5; 10]);
    let fields = vec![FieldRequest {
        key: FieldKey::try_from("password").expect("a key"),
        form: Form::Full,
        positions: Vec::new(),
    }];
    Errand { job: crate::statements::sign_job(&job, key, |_| [6; 64]), attendance: None, fields }
}

fn why(result: Result<Login, Error>) -> Error {
    result.err().expect("no login")
}

#[tokio::test]
async fn a_try_again_is_repeated_with_the_same_request_and_opens_once_answered() {
    let (worker, asked) = worker(2, "TRY_AGAIN", |_| ()).await;
    let login = worker.release(errand()).await.unwrap_or_else(|error| panic!("{error}"));
    let password = login.field("password").expect("asked for");
    assert!(password.with_bytes(|bytes| bytes == "contraseña".as_bytes()));
    assert!(login.field("user").is_none());
    assert_eq!((login.entry.index, login.promise.entry.index), (12, 12));
    assert_eq!(login.promise.node, "spiffe://cofre.test/node/eu-nl/n1");
    assert_eq!(login.lease.job, JobId::from_parts(1, [1; 10]));
    let asked = asked.lock().expect("not poisoned").clone();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| *request == asked[0]));
    let id = RequestId::try_from(asked[0].request_id.as_str()).expect("an id");
    assert_eq!(id.unix_ms(), NOW.millis());
}

#[tokio::test]
async fn two_repeats_are_all_and_other_refusals_are_final() {
    for (reason, expected) in [("TRY_AGAIN", 3), ("CONSENT_REQUIRED", 1), ("LEASE_HELD", 1)] {
        let (worker, asked) = worker(usize::MAX, reason, |_| ()).await;
        let error = why(worker.release(errand()).await);
        let refused = error.refused().expect("a refusal");
        assert_eq!((refused.public_reason(), refused.entry), (reason, Some(7)));
        assert_eq!(asked.lock().expect("not poisoned").len(), expected, "{reason}");
    }
}

#[tokio::test]
async fn a_call_that_broke_off_is_repeated_with_the_same_request() {
    let (worker, asked) = worker(2, BROKEN, |_| ()).await;
    worker.release(errand()).await.unwrap_or_else(|error| panic!("{error}"));
    let asked = asked.lock().expect("not poisoned").clone();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| *request == asked[0]));
}

#[tokio::test]
async fn each_job_has_a_key_and_a_request_of_its_own() {
    let (worker, asked) = worker(0, "", |_| ()).await;
    drop(worker.release(errand()).await.unwrap_or_else(|error| panic!("{error}")));
    drop(worker.release(errand()).await.unwrap_or_else(|error| panic!("{error}")));
    let asked = asked.lock().expect("not poisoned").clone();
    assert_ne!(asked[0].seal_key, asked[1].seal_key);
    assert_ne!(asked[0].request_id, asked[1].request_id);
}

#[tokio::test]
async fn an_answer_that_does_not_hold_gives_no_login() {
    let cases: [(Spoil, NotVerified); 5] = [
        (|answer| answer.promise.as_mut().expect("there").signature[0] ^= 1, NotVerified::Promise),
        (|answer| answer.promise.as_mut().expect("there").node_signature[0] ^= 1, NotVerified::Promise),
        (|answer| answer.promise.as_mut().expect("there").node_key[0] ^= 1, NotVerified::Promise),
        (|answer| answer.entry.as_mut().expect("there").leaf_hash[0] ^= 1, NotVerified::Promise),
        (|answer| answer.ciphertext[0] ^= 1, NotVerified::Answer),
    ];
    for (spoil, expected) in cases {
        let (worker, _) = worker(0, "", spoil).await;
        match why(worker.release(errand()).await) {
            Error::NotVerified(found) => assert_eq!(found, expected),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_lease_is_watched_and_reported() {
    let (worker, _) = worker(0, "", |_| ()).await;
    let lease = lease_of(&errand().job).expect("a job");
    let mut watch = worker.watch_lease(&lease).await.expect("watched");
    assert_eq!(watch.next().await.expect("an event"), Some(LeaseEvent::Live));
    assert_eq!(watch.next().await.expect("an event"), Some(LeaseEvent::Revoked));
    assert_eq!(watch.next().await.expect("the end"), None);
    assert_eq!(worker.report(&lease, Outcome::Ok, None).await.expect("reported").index, 13);
}

#[tokio::test]
async fn a_vault_that_goes_away_is_no_refusal() {
    let (mut worker, _) = worker(0, "", |_| ()).await;
    worker.channel = Endpoint::from_static("http://127.0.0.1:1").connect_timeout(Duration::from_secs(1)).connect_lazy();
    assert!(matches!(why(worker.release(errand()).await), Error::BrokenOff));
}
