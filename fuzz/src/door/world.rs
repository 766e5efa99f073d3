//! Stores in files of their own and every use case over them. One template is furnished at the start (a tenant, a bank,
//! a worker, a login at rest under a consent); each run works on a copy.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use cofre_admin::{Admin, KeyJobs};
use cofre_audit::Register;
use cofre_consent::Consents;
use cofre_custody::{Custodian, CustodianId, Custodians, CustodySet, Signer, TenantKeys, Wiring};
use cofre_deposit::Deposits;
use cofre_edge::counter::{Refusal, Refusals};
use cofre_edge::services::{Node, NodeProof, Readiness, Services, UseCases};
use cofre_envelope::{Backing, Room, Slab};
use cofre_ledger::entry::Leaf;
use cofre_model::id::Slug;
use cofre_model::permit::{GroupSigner, Mint};
use cofre_model::time::{Clock, Span};
use cofre_policy::Rules;
use cofre_privacy::Erasures;
use cofre_relay::Relay;
use cofre_release::Releases;
use cofre_store::{CommitConfig, Mode, Place, Records, StoreConfig, Stores};
use cofre_testkit::clock::TestClock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::custody::{Memory, NodeKey, Warmed};
use super::known::{Known, is_stream};
use super::people::{NODE, People, TRUST_DOMAIN};

pub(super) const ORIGIN: &str = "cofre.test/ledger";

static SLAB: LazyLock<Arc<Slab>> =
    LazyLock::new(|| Slab::with_room(Backing::Mlock, Room { small: 512, large: 64 }).expect("384 KiB can be locked"));
static CUSTODIAN: LazyLock<Arc<Memory>> = LazyLock::new(|| Memory::new(&SLAB));
static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let files = [
        ("schema.cedarschema", include_str!("../../../policies/schema.cedarschema")),
        ("release.cedar", include_str!("../../../policies/default/release.cedar")),
    ];
    Arc::new(Rules::from_files(&files).expect("the shipped policies"))
});

/// Stores nobody has open, and what is known of them.
pub(super) struct Template {
    folder: TempDir,
    pub(super) known: Known,
}

impl Template {
    pub(super) async fn furnish(people: &People) -> Self {
        let world = World::open(folder()).await;
        let known = Known::furnish(&world.use_cases, people, &*world.clock).await;
        Self { folder: world.close().await, known }
    }
}

/// A folder in memory where there is one: nothing here has to survive.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder")
}

/// What one run works on.
pub(super) struct World {
    folder: TempDir,
    stores: Stores,
    use_cases: UseCases,
    clock: Arc<TestClock>,
    register: Arc<Counted>,
}

impl World {
    pub(super) async fn copy_of(template: &Template) -> Self {
        let folder = folder();
        for file in std::fs::read_dir(template.folder.path()).expect("a folder") {
            let file = file.expect("a file");
            std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("copied");
        }
        Self::open(folder).await
    }

    async fn open(folder: TempDir) -> Self {
        let clock = Arc::new(TestClock::default());
        let stores = stores(folder.path(), clock.clone()).await;
        let use_cases = use_cases(&stores, &(clock.clone() as Arc<dyn Clock>));
        Self { folder, stores, use_cases, clock, register: Arc::default() }
    }

    pub(super) async fn close(self) -> TempDir {
        drop(self.use_cases);
        self.stores.close().await;
        self.folder
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.clock.advance(Span::secs(seconds));
    }

    pub(super) fn register(&self) -> Arc<dyn Refusals> {
        self.register.clone()
    }

    /// How many refusals were counted.
    pub(super) fn refusals(&self) -> usize {
        self.register.0.load(Ordering::SeqCst)
    }

    /// The leaf at `index` with its hash.
    pub(super) async fn entry(&self, index: u64) -> Option<(Leaf, [u8; 32])> {
        let row = self.stores.records.entry(index).await.expect("records answer")?;
        Some((Leaf::parse(&row.bytes).expect("a leaf"), row.leaf_hash))
    }

    pub(super) fn services(&self, stop: CancellationToken) -> Services {
        let node = Node {
            proof: NodeProof { key: NodeKey.public_key(), statement: vec![1], signature: vec![2] },
            signer_key: format!("{ORIGIN}+key"),
            trust_domain: TRUST_DOMAIN.to_owned(),
            readiness: Arc::new(Ready),
            clock: self.clock(),
        };
        Services::new(self.use_cases.clone(), node, self.register(), stop)
    }
}

/// Counts refusals of calls that are read to their end; none of them gets an entry of its own here. A stream, of which
/// only the head is read, may be refused at any later time, in the midst of another call.
#[derive(Debug, Default)]
struct Counted(AtomicUsize);

impl Refusals for Counted {
    fn refused(&self, refusal: Refusal) -> BoxFuture<'static, Option<u64>> {
        if !refusal.method.is_some_and(is_stream) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        async { None }.boxed()
    }
}

#[derive(Debug)]
struct Ready;

impl Readiness for Ready {
    fn ready(&self) -> BoxFuture<'static, bool> {
        async { true }.boxed()
    }
}

async fn stores(folder: &Path, clock: Arc<TestClock>) -> Stores {
    let at = |name: &str| Place::Sqlite(folder.join(name));
    let config = StoreConfig {
        records: at("records.db"),
        ciphertexts: at("ciphertexts.db"),
        keyring: at("keyring.db"),
        mode: Mode::Dev,
        ceiling: None,
    };
    let commit = CommitConfig {
        origin: ORIGIN.to_owned(),
        node: NODE.to_owned(),
        incarnation: [1; 16],
        mint: Mint::assemble(),
        clock,
        signer: Arc::new(NodeKey),
    };
    Stores::open(config, commit).await.expect("stores")
}

fn keys(records: &Records, stores: &Stores, clock: &Arc<dyn Clock>, set: &CustodySet) -> TenantKeys {
    let drivers = [CUSTODIAN.clone() as Arc<dyn Custodian>];
    let (wrapping, unwrapping) = Custodians::new(drivers).expect("one").split();
    let journal = Arc::new(Warmed { records: records.clone(), keyring: stores.keyring.clone(), set: set.clone() });
    TenantKeys::new(Wiring { wrapping, unwrapping, journal, clock: Arc::clone(clock), slab: Arc::clone(&SLAB) })
}

fn use_cases(stores: &Stores, clock: &Arc<dyn Clock>) -> UseCases {
    let Stores { records, ciphertexts, keyring } = stores;
    let custody = CustodySet::any_of(vec![CustodianId::try_from("hsm-1").expect("a name")]).expect("a set");
    let keys = keys(records, stores, clock, &custody);
    let (signer, clock): (Arc<dyn Signer>, _) = (CUSTODIAN.clone(), || Arc::clone(clock));
    let region = Slug::try_from("eu-nl").expect("a slug");
    UseCases {
        deposits: Arc::new(Deposits {
            records: records.clone(),
            ciphertexts: ciphertexts.clone(),
            keyring: keyring.clone(),
            keys: keys.for_deposit(),
            wrapping: keys.for_wrapping(),
            signer: Arc::clone(&signer),
            clock: clock(),
        }),
        consents: Arc::new(Consents {
            records: records.clone(),
            keys: keys.for_rows(),
            signer: Arc::clone(&signer),
            signer_name: ORIGIN.to_owned(),
            aisp: "Cofre".to_owned(),
            clock: clock(),
        }),
        releases: Arc::new(Releases::new(cofre_release::Wiring {
            rules: Arc::clone(&RULES),
            records: records.clone(),
            ciphertexts: ciphertexts.clone(),
            keyring: keyring.clone(),
            keys: keys.for_release(),
            clock: clock(),
            region: region.clone(),
            origin: ORIGIN.to_owned(),
        })),
        relay: Arc::new(Relay::new(records.clone(), clock(), Arc::new(|| cofre_envelope::random::array().ok()))),
        erasures: Arc::new(Erasures {
            records: records.clone(),
            ciphertexts: ciphertexts.clone(),
            keyring: keyring.clone(),
            signer: Arc::clone(&signer),
            signer_name: ORIGIN.to_owned(),
            deployment: TRUST_DOMAIN.to_owned(),
            clock: clock(),
            known: cofre_privacy::Known::default(),
        }),
        register: Arc::new(Register {
            records: records.clone(),
            key: cofre_audit::note_key(ORIGIN, &*signer).expect("a key"),
        }),
        key_jobs: Arc::new(KeyJobs {
            records: records.clone(),
            keyring: keyring.clone(),
            rewrapping: keys.for_rewrapping(),
            rotating: keys.for_rotating(),
            keys: keys.clone(),
            signer,
            deployment: TRUST_DOMAIN.to_owned(),
            floor: custody.clone(),
            holder: [1; 16],
            clock: clock(),
        }),
        admin: Arc::new(Admin {
            records: records.clone(),
            keyring: keyring.clone(),
            wrapping: keys.for_wrapping(),
            keys,
            slab: Arc::clone(&SLAB),
            custody,
            warm_for: Span::minutes(5),
            deployment: TRUST_DOMAIN.to_owned(),
            region,
            mode: "dev",
            clock: clock(),
        }),
    }
}
