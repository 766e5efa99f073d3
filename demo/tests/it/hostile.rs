//! Bad input against the real vault process: each gets a clear answer that names the field and the way out, the
//! auditor reads the exact reason, and nothing changes. The only tests that may speak the wire by hand.

mod absent;
mod door;
mod ids;
mod methods;
mod releases;
mod sealed;
mod starts;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use cofre_client::connect::connect;
use cofre_client::front_end::CredentialStanding;
use cofre_client::{Deployment, Refused, ServerIdentity, Worker};
use cofre_demo::world::{NAME, Wishes, World};
use cofre_model::credential::FieldRequest;
use cofre_model::entry::EntryKind;
use cofre_model::request::{Page, SearchQuery};
use cofre_model::wording::Form;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::Value;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::crowd::{self, Deposited};

/// A call under way.
type Sent = Pin<Box<dyn Future<Output = Result<(), Status>>>>;

/// A refusal as it has to be: status code, public reason, exact reason.
#[derive(Debug, Clone, Copy)]
struct No(Code, &'static str, &'static str);

const BAD: No = No(Code::InvalidArgument, "BAD_REQUEST", "BAD_REQUEST");
const ABSENT: No = No(Code::NotFound, "NOT_FOUND", "NOT_FOUND");
const STATE: No = No(Code::FailedPrecondition, "WRONG_STATE", "WRONG_STATE");
const METHOD: No = No(Code::PermissionDenied, "NOT_PERMITTED", "METHOD_NOT_ALLOWED");

/// A refusal that stands in the ledger, to be compared with what the auditor reads.
#[derive(Debug)]
struct Expected {
    what: String,
    exact: &'static str,
    method: Option<&'static str>,
}

/// A world with logins that bad input must not touch.
struct Yard {
    world: World,
    crowd: Vec<Deposited>,
    before: Vec<CredentialStanding>,
    expected: RefCell<BTreeMap<u64, Expected>>,
}

impl Yard {
    /// A world in `folder` where `logins` logins rest under consents.
    async fn new(folder: &std::path::Path, logins: usize) -> Self {
        let wishes = Wishes { workers: 6, ..crate::usual(folder) };
        let world = World::start(&wishes).await.expect("a world");
        let crowd = crowd::deposit(&world, logins).await.expect("deposits");
        crowd::consent(&world, &crowd).await.expect("consents");
        let mut yard = Self { world, crowd, before: Vec::new(), expected: RefCell::default() };
        yard.before = yard.standings().await;
        assert_eq!(yard.before.len(), logins);
        yard
    }

    /// A channel with the identity of this file name.
    async fn channel(&self, door: &Deployment, file: &str) -> Channel {
        let identity = self.world.identities.load(file).expect("an identity");
        let server = ServerIdentity::any_node(NAME);
        connect(&door.address, &identity, server, Arc::clone(&self.world.clock)).await.expect("a connection")
    }

    /// The front end of a tenant.
    async fn front_end(&self, slug: &str) -> Channel {
        self.channel(&self.world.door, &format!("frontend-{slug}")).await
    }

    async fn worker_channel(&self, name: &str) -> Channel {
        self.channel(&self.world.door, &format!("worker-{name}")).await
    }

    async fn worker(&self, name: &str) -> Worker {
        let identity = self.world.identities.load(&format!("worker-{name}")).expect("an identity");
        Worker::connect(&self.world.door, identity, Arc::clone(&self.world.clock)).await.expect("a worker")
    }

    /// The login at an institution.
    fn login_at(&self, institution: &str) -> &Deposited {
        self.crowd.iter().find(|each| each.login.institution() == institution).expect("a login there")
    }

    /// Asserts what a caller was told and remembers what the auditor has to find.
    fn refused<T, E: Into<cofre_client::Error>>(
        &self,
        what: &str,
        answer: Result<T, E>,
        no: No,
        field: Option<&str>,
    ) -> Refused {
        self.refused_at(what, None, answer, no, field)
    }

    /// The same, with the method that the entry has to name.
    fn refused_at<T, E: Into<cofre_client::Error>>(
        &self,
        what: &str,
        method: Option<&'static str>,
        answer: Result<T, E>,
        no: No,
        field: Option<&str>,
    ) -> Refused {
        let error: cofre_client::Error = answer.err().unwrap_or_else(|| panic!("{what}: was taken")).into();
        let refused = error.refused().unwrap_or_else(|| panic!("{what}: {error:?}")).clone();
        let No(code, public, exact) = no;
        let fields: Vec<&str> = refused.fields.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!((refused.code, refused.public_reason()), (code, public), "{what}: {refused:?}");
        assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{what}: {refused:?}");
        // Nothing of the exact reason and nothing of what was sent comes back; a field comes with its way out.
        assert!(exact == public || !refused.message.contains(exact), "{what}: {refused:?}");
        assert!((1..200).contains(&refused.message.len()), "{what}: {refused:?}");
        assert!(refused.fields.iter().all(|problem| !problem.way_out.is_empty()), "{what}: {refused:?}");
        let entry = refused.entry.unwrap_or_else(|| panic!("{what}: no entry in {refused:?}"));
        let expected = Expected { what: what.to_owned(), exact, method };
        assert!(self.expected.borrow_mut().insert(entry, expected).is_none(), "{what}: entry {entry} given twice");
        refused
    }

    /// Compares every refusal since the last time with the register; says how many.
    async fn settle(&self) -> usize {
        let expected = self.expected.take();
        let (Some(first), Some(last)) = (expected.keys().next(), expected.keys().last()) else { return 0 };
        let mut query = SearchQuery {
            credential: None,
            tenant: None,
            kind: Some(EntryKind::Denied),
            reason: None,
            caller: None,
            page: Page { from: *first, to: last + 1, limit: 500 },
        };
        let mut read = BTreeMap::new();
        loop {
            let (entries, next) = self.world.auditor.search(&query).await.expect("a search");
            for each in entries {
                let json: Value = serde_json::from_str(&each.json).expect("JSON");
                read.insert(each.entry.index, json);
            }
            let Some(next) = next else { break };
            query.page.from = next;
        }
        for (index, Expected { what, exact, method }) in &expected {
            let entry = read.get(index).unwrap_or_else(|| panic!("{what}: entry {index} is no refusal"));
            assert_eq!(entry["reason"], *exact, "{what}: {entry}");
            assert_eq!(entry["verdict"], "DENIED", "{what}: {entry}");
            assert!(entry["caller"]["identity"].is_string(), "{what}: {entry}");
            if let Some(method) = method {
                assert_eq!(entry["method"], format!("cofre.v1.{method}"), "{what}");
            }
        }
        expected.len()
    }

    async fn standings(&self) -> Vec<CredentialStanding> {
        let front_end = self.world.north.front_end().expect("connected");
        let mut standings = Vec::new();
        for each in &self.crowd {
            standings.push(front_end.credential_state(&each.credential).await.expect("a login"));
        }
        standings
    }

    /// Every login stands where it stood, and what was deposited is what is released.
    async fn untouched(&self, after: &str) {
        assert_eq!(self.standings().await, self.before, "after {after}");
        let right = crowd::release(&self.world, &self.crowd).await.unwrap_or_else(|e| panic!("after {after}: {e:?}"));
        assert_eq!(right, self.crowd.len(), "after {after}");
    }
}

/// Every field of a login, whole.
fn fields_of(each: &Deposited) -> Vec<FieldRequest> {
    let whole = |key: &str| FieldRequest { key: key.try_into().expect("a key"), form: Form::Full, positions: vec![] };
    each.login.fields().map(|(key, _)| whole(key)).collect()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}

/// One gRPC message in its frame.
fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("short");
    [&[0], len.to_be_bytes().as_slice(), message].concat()
}

/// A request whose body is exactly `body`, and the status it ends with.
async fn raw(channel: &Channel, path: &str, body: Vec<u8>) -> Status {
    let mut channel = channel.clone();
    poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx)).await.expect("a channel");
    let request = http::Request::post(path)
        .version(http::Version::HTTP_2)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Body::new(Full::<Bytes>::from(body)))
        .expect("a request");
    let answer = GrpcService::call(&mut channel, request).await.expect("an answer");
    let (head, body) = answer.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return status;
    }
    let body = body.collect().await.expect("a whole answer");
    body.trailers().and_then(Status::from_header_map).expect("a status")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_name_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let yard = Yard::new(&folder.path().join("world"), 6).await;
    ids::malformed(&yard).await;
    yard.untouched("malformed ids").await;
    methods::refused(&yard).await;
    methods::broken_messages(&yard).await;
    absent::like_foreign(&yard).await;
    yard.untouched("foreign ids").await;
    sealed::wrongly(&yard).await;
    yard.untouched("wrongly sealed secrets").await;
    releases::refused(&yard).await;
    yard.untouched("refused releases").await;
    door::closed(&yard).await;
    releases::stopped(&yard).await;
    assert_eq!(yard.standings().await, yard.before);
    yard.world.stop().expect("it stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_set_up_wrongly_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    starts::refused(folder.path()).await;
}
