//! The use case over real stores, beside a custodian that wraps and never unwraps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofre_admin::Admin;
use cofre_custody::{
    Cause, Custodian, CustodianId, Custodians, CustodySet, Description, Fault, Journal, JournalError, Mechanism,
    Operation, Pending, RequestId, TenantKeys, TenantRef, Unwrapped, WarmOutcome, Wiring, Wrapped, WrappedShare,
    WrappedTenantKey,
};
use cofre_envelope::{Backing, BoundShare, Room, Slab};
use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::id::Slug;
use cofre_model::permit::{Evidence, GroupSigner, Mint, Permit, Warm, WarmWarrant};
use cofre_model::request::PutTenant;
use cofre_model::sealed::WrappedKey;
use cofre_model::time::{Clock, Span};
use cofre_store::{CommitConfig, Stores};
use cofre_testkit::clock::TestClock;
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;

#[derive(Debug)]
struct Wraps {
    id: CustodianId,
    count: AtomicUsize,
}

impl Custodian for Wraps {
    fn id(&self) -> &CustodianId {
        &self.id
    }
    fn describe(&self) -> Description {
        Description {
            custodian: self.id.clone(),
            manufacturer: String::new(),
            model: String::new(),
            serial: String::new(),
            token_label: String::new(),
            key_label: String::new(),
            mechanism: Mechanism::AesGcm,
            sessions: 1,
            signer: None,
        }
    }
    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async { Ok(()) })
    }
    fn wrap(&self, _: Vec<u8>, _: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async {
            self.count.fetch_add(1, Ordering::SeqCst);
            Ok(Wrapped {
                bytes: WrappedKey::from_bytes(vec![1; 48]),
                mechanism: Mechanism::AesGcm,
                custodian_key: "test".into(),
                request: RequestId::new("wrap".into()),
            })
        })
    }
    fn unwrap<'a>(&'a self, _: &'a Permit<Warm>, _: Vec<u8>, _: &'a WrappedShare) -> Pending<'a, Unwrapped, Fault> {
        let custodian = self.id.clone();
        let (operation, cause) = (Operation::Unwrap, Cause::TokenAbsent);
        Box::pin(async move { Err(Fault { custodian, operation, cause, detail: None, request: None }) })
    }
}

/// No key is ever warmed here.
#[derive(Debug)]
struct NoKeys;

impl Journal for NoKeys {
    fn warm<'a>(&'a self, _: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(async { Err(JournalError::NoSuchKey) })
    }
    fn warmed(&self, _: Evidence<WarmWarrant>, _: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(async { Err(JournalError::Unavailable) })
    }
}

#[derive(Debug)]
struct NodeKey(SigningKey);

impl GroupSigner for NodeKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
    fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

pub(crate) struct Bench {
    pub(crate) admin: Admin,
    custodian: Arc<Wraps>,
    _folder: TempDir,
}

fn slug(text: &str) -> Slug {
    Slug::try_from(text).expect("a slug")
}

#[expect(clippy::disallowed_methods, reason = "a test stands for the edge")]
pub(crate) fn operator() -> Caller {
    let identity = SpiffeId::parse("spiffe://cofre.test/person/operator/olga", "cofre.test").expect("an identity");
    Caller::from_verified_chain(identity, [3; 32])
}

pub(crate) fn put(name: &str, legal_name: &str, region: &str) -> PutTenant {
    PutTenant {
        slug: slug(name),
        legal_name: legal_name.to_owned(),
        home_region: slug(region),
        signing_keys: Vec::new(),
        recipients: Vec::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is its own server")]
async fn stores(folder: &TempDir, clock: Arc<dyn Clock>) -> Stores {
    let config = cofre_testkit::stores::config(folder.path()).await.expect("stores can be had");
    let commit = CommitConfig {
        origin: "cofre.test/ledger".into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        mint: Mint::assemble(),
        clock,
        signer: Arc::new(NodeKey(SigningKey::from_bytes(&[7; 32]))),
    };
    Stores::open(config, commit).await.expect("stores")
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let stores = stores(&folder, Arc::clone(&clock)).await;
        let id = CustodianId::try_from("hsm-1").expect("a name");
        let custodian = Arc::new(Wraps { id: id.clone(), count: AtomicUsize::new(0) });
        let slab = Slab::with_room(Backing::Mlock, Room { small: 64, large: 8 }).expect("locked memory");
        let drivers = [Arc::clone(&custodian) as Arc<dyn Custodian>];
        let (wrapping, unwrapping) = Custodians::new(drivers).expect("one").split();
        let journal = Arc::new(NoKeys);
        let wiring = Wiring { wrapping, unwrapping, journal, clock: Arc::clone(&clock), slab: Arc::clone(&slab) };
        let keys = TenantKeys::new(wiring);
        let admin = Admin {
            records: stores.records,
            keyring: stores.keyring,
            wrapping: keys.for_wrapping(),
            keys,
            slab,
            custody: CustodySet::any_of(vec![id]).expect("a set"),
            warm_for: Span::minutes(5),
            deployment: "cofre.test".to_owned(),
            region: slug("eu-nl"),
            mode: "dev",
            clock,
        };
        Self { admin, custodian, _folder: folder }
    }

    /// Shares that the custodian wrapped.
    pub(crate) fn wraps(&self) -> usize {
        self.custodian.count.load(Ordering::SeqCst)
    }
}
