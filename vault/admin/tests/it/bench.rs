//! The use case over real stores, beside custodians in memory and a register that warms no key.

use std::sync::Arc;

use cofre_admin::Admin;
use cofre_custody::{Custodian, CustodianId, Custodians, CustodySet, TenantKeys, Wiring};
use cofre_envelope::{Backing, Room, Slab};
use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::id::Slug;
use cofre_model::permit::{GroupSigner, Mint};
use cofre_model::request::PutTenant;
use cofre_model::time::{Clock, Span};
use cofre_store::{CommitConfig, Stores};
use cofre_testkit::clock::TestClock;
use cofre_testkit::custody::{Memory, NoKeys};
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;

#[derive(Debug)]
pub(crate) struct NodeKey(pub(crate) SigningKey);

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
    custodian: Arc<Memory>,
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
        custody_set: None,
        warm_for: None,
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
        let slab = Slab::with_room(Backing::Mlock, Room { small: 64, large: 8 }).expect("locked memory");
        let custodian = Memory::new(id.clone(), Arc::clone(&slab));
        let second = Memory::new(CustodianId::try_from("hsm-2").expect("a name"), Arc::clone(&slab));
        let drivers = [Arc::clone(&custodian) as Arc<dyn Custodian>, second];
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

    /// Shares that the first custodian wrapped.
    pub(crate) fn wraps(&self) -> usize {
        self.custodian.wraps()
    }
}
