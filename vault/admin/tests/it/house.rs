//! A deployment whose tenants' keys are moved: real stores, custodians in memory that outlive a node, and the register
//! as a node has it.

use std::sync::Arc;

use cofre_admin::{KeyJobs, RewrapOrder, carried, not_had, stored, wrapped};
use cofre_custody::{
    Custodian, CustodianId, Custodians, CustodySet, Journal, JournalError, Pending, TenantKeys, TenantRef, WarmOutcome,
    Warmed, Wiring, WrappedTenantKey,
};
use cofre_envelope::{Backing, Room, Slab, random};
use cofre_ledger::entry::Leaf;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{Slug, TenantId};
use cofre_model::keys::KeyJob;
use cofre_model::permit::{Evidence, Mint, Permit, Warm, WarmWarrant};
use cofre_model::reason::Reason;
use cofre_model::registry::{Tenant, TenantState};
use cofre_model::time::{Clock, Span};
use cofre_store::{CommitConfig, CommitError, KeyVersion, Operation, Stores, WarmRequest};
use cofre_testkit::clock::TestClock;
use cofre_testkit::custody::{Memory, Signs};
use cofre_testkit::postgres::Cluster;
use cofre_testkit::seed::{Order, Seeded, seed};
use cofre_testkit::stores::{self, Engine, Store};
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

use crate::bench::{NodeKey, operator};

/// The register of a node, over its stores.
#[derive(Debug)]
struct Register(Stores);

fn unavailable(cause: impl std::fmt::Display) -> JournalError {
    println!("not journalled: {cause}");
    JournalError::Unavailable
}

fn of_store(cause: cofre_store::Error) -> JournalError {
    println!("not had: {cause}");
    not_had(&cause)
}

impl Register {
    async fn begin(&self, tenant: &TenantRef) -> Result<(Permit<Warm>, WrappedTenantKey), JournalError> {
        let rows = self.0.keyring.tenant_key(&tenant.tenant, tenant.key_version).await.map_err(of_store)?;
        let mut keys = wrapped(rows).ok_or(JournalError::NoSuchKey)?;
        let beside = self.0.keyring.carried_keys(&tenant.tenant, tenant.key_version).await.map_err(of_store)?;
        keys.carried = carried(beside);
        let mut entry = Entry::new(EntryKind::Warm, random::array().map_err(unavailable)?);
        entry.tenant = Some(tenant.tenant);
        let (tenant_key_version, tenant_key_id) = (tenant.key_version, tenant.key_id);
        let request = WarmRequest { tenant: tenant.tenant, tenant_key_version, tenant_key_id, entry };
        match self.0.records.warm(request).await {
            Ok(permit) => Ok((permit, keys)),
            Err(CommitError::Refused(reason)) => Err(JournalError::Refused(reason)),
            Err(CommitError::Store(cause)) => Err(of_store(cause)),
        }
    }

    async fn end(&self, warm: Evidence<WarmWarrant>) -> Result<(), JournalError> {
        let mut entry = Entry::new(EntryKind::WarmOutcome, random::array().map_err(unavailable)?);
        entry.follows = Some(warm.at.index);
        self.0.records.apply(entry, Operation::Note).await.map(|_| ()).map_err(unavailable)
    }
}

impl Journal for Register {
    fn warm<'a>(&'a self, tenant: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(self.begin(tenant))
    }
    fn warmed(&self, entry: Evidence<WarmWarrant>, _: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(self.end(entry))
    }
}

/// The same stores, for somebody else in this process.
pub(crate) fn hands_on(stores: &Stores) -> Stores {
    let Stores { records, ciphertexts, keyring } = stores;
    Stores { records: records.clone(), ciphertexts: ciphertexts.clone(), keyring: keyring.clone() }
}

/// One life of a node.
pub(crate) struct Node {
    pub(crate) stores: Stores,
    pub(crate) keys: TenantKeys,
    pub(crate) jobs: KeyJobs,
}

/// What outlives nodes.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) custodians: Vec<Arc<Memory>>,
    pub(crate) signer: Arc<Signs>,
    /// What nodes are configured with.
    pub(crate) floor: CustodySet,
    slab: Arc<Slab>,
    lives: u8,
    pub(crate) tenants: Vec<Tenant>,
}

pub(crate) fn custodian(name: &str) -> CustodianId {
    CustodianId::try_from(name).expect("a name")
}

pub(crate) fn set(text: &str) -> CustodySet {
    text.parse().expect("a set")
}

/// A rewrap to `target`, as fast as it goes.
pub(crate) fn order(target: &str) -> RewrapOrder {
    RewrapOrder { target: set(target), from_key: None, rate: None }
}

/// Nobody tells the node to stop.
pub(crate) fn never() -> bool {
    false
}

impl House {
    pub(crate) fn new(custodians: &[&str]) -> Self {
        let slab = Slab::with_room(Backing::Mlock, Room { small: 1024, large: 8 }).expect("locked memory");
        let memory = |name: &&str| Memory::new(custodian(name), Arc::clone(&slab));
        Self {
            folder: TempDir::new().expect("a folder"),
            clock: Arc::new(TestClock::default()),
            custodians: custodians.iter().map(memory).collect(),
            signer: Signs::new(custodian("signer"), &[7; 32]),
            // None is looser.
            floor: set("any_of(f1,f2,f3,f4,f5,f6,f7,f8)"),
            slab,
            lives: 0,
            tenants: Vec::new(),
        }
    }

    pub(crate) fn custodian(&self, name: &str) -> &Memory {
        self.custodians.iter().find(|memory| memory.id().as_str() == name).expect("a custodian of this house")
    }

    /// How often custodians were asked to unwrap and to wrap, all of them together.
    pub(crate) fn calls(&self) -> (u64, usize) {
        let unwraps = self.custodians.iter().map(|memory| memory.unwraps()).sum();
        (unwraps, self.custodians.iter().map(|memory| memory.wraps()).sum())
    }

    /// A new life of a node. On SQLite the one before has to have ended.
    #[expect(clippy::disallowed_methods, reason = "a test is its own server")]
    pub(crate) async fn node(&mut self) -> Node {
        self.lives += 1;
        let config = stores::config(self.folder.path()).await.expect("stores can be had");
        let clock: Arc<dyn Clock> = self.clock.clone();
        let commit = CommitConfig {
            origin: "cofre.test/ledger".into(),
            node: format!("spiffe://cofre.test/node/eu-nl/n{}", self.lives),
            incarnation: [self.lives; 16],
            mint: Mint::assemble(),
            clock,
            signer: Arc::new(NodeKey(SigningKey::from_bytes(&[7; 32]))),
        };
        let stores = Stores::open(config, commit).await.expect("stores");
        self.on(stores)
    }

    /// A further node on stores that are open.
    pub(crate) fn on(&mut self, stores: Stores) -> Node {
        self.lives += 1;
        let clock: Arc<dyn Clock> = self.clock.clone();
        let drivers = self.custodians.iter().map(|memory| Arc::clone(memory) as Arc<dyn Custodian>);
        let (wrapping, unwrapping) = Custodians::new(drivers).expect("names differ").split();
        let journal = Arc::new(Register(hands_on(&stores)));
        let slab = Arc::clone(&self.slab);
        let keys = TenantKeys::new(Wiring { wrapping, unwrapping, journal, clock: Arc::clone(&clock), slab });
        let jobs = KeyJobs {
            records: stores.records.clone(),
            keyring: stores.keyring.clone(),
            rewrapping: keys.for_rewrapping(),
            rotating: keys.for_rotating(),
            keys: keys.clone(),
            signer: self.signer.clone(),
            deployment: "cofre.test".into(),
            floor: self.floor.clone(),
            holder: [self.lives; 16],
            clock,
        };
        Node { stores, keys, jobs }
    }

    /// Registers tenants whose keys this set holds.
    pub(crate) async fn tenants(&mut self, node: &Node, count: u8, custody: &str) {
        for _ in 0..count {
            let number = u8::try_from(self.tenants.len()).expect("few");
            let id = TenantId::from_parts(self.clock.now().millis(), [number; 10]);
            let wrapping = node.keys.for_wrapping();
            let made = wrapping.new_tenant_key("eu-nl", id, &set(custody)).await.expect("wrapped");
            let rows = stored(KeyVersion { tenant: id, version: 1 }, made.wrapped);
            node.stores.keyring.put_tenant_key(&rows, &[], self.clock.now()).await.expect("put");
            let slug = |text: &str| Slug::try_from(text).expect("a slug");
            let tenant = Tenant {
                id,
                slug: slug(&format!("tenant-{number}")),
                legal_name: "A tenant".into(),
                state: TenantState::Active,
                home_region: slug("eu-nl"),
                tenant_key_id: made.key_id,
            };
            let put = Operation::PutTenant {
                tenant: tenant.clone(),
                key_version: 1,
                custody_set: Some(custody.to_owned()),
                warm_for: Span::minutes(5),
                signing_keys: Vec::new(),
                recipients: Vec::new(),
            };
            let entry = Entry::new(EntryKind::TenantPut, random::array().expect("random"));
            node.stores.records.apply(entry, put).await.expect("registered");
            self.tenants.push(tenant);
        }
        // Whatever is wrapped later has a later time.
        self.clock.advance(Span::secs(1));
    }

    /// Fills the stores with logins, while no node has them open.
    pub(crate) async fn seed(&mut self, by: &str, tenants: u16, credentials: u64) -> Vec<Seeded> {
        let cluster = Self::shared().then(|| Cluster::here().expect("a cluster"));
        let region = Slug::try_from("eu-nl").expect("a slug");
        let order = Order { tenants, credentials, region, at: self.clock.now() };
        let made = seed(self.folder.path(), cluster.as_ref(), self.custodian(by), &self.slab, &order).await;
        let made = made.expect("seeded");
        self.clock.advance(Span::secs(1));
        made
    }

    /// Every version of every tenant's key opens on this node, and is the one it always was.
    pub(crate) async fn all_open(&self, node: &Node) {
        for tenant in &self.tenants {
            for version in node.stores.records.tenant_key_versions(&tenant.id).await.expect("read") {
                let key = TenantRef { key_id: version.key_id, ..TenantRef::of(tenant, version.version) };
                // One that was retired has no share in force.
                if !node.stores.keyring.tenant_key(&tenant.id, version.version).await.expect("read").is_empty() {
                    node.keys.for_release().warm(&key, Warmed::default()).await.expect("opens");
                }
            }
        }
    }

    /// Every row of a table of the keyring is touched by these statements, behind the vault's back.
    pub(crate) async fn edit(&self, statements: &[&str]) {
        let touched = stores::edit(self.folder.path(), Store::Keyring, statements).await.expect("edited");
        assert!(touched > 0, "the edit touched nothing");
    }

    /// The same of records.
    pub(crate) async fn edit_records(&self, statements: &[&str]) {
        let touched = stores::edit(self.folder.path(), Store::Records, statements).await.expect("edited");
        assert!(touched > 0, "the edit touched nothing");
    }

    /// Whether several processes may serve from these stores at once.
    pub(crate) fn shared() -> bool {
        Engine::of_this_run().expect("an engine") == Engine::Postgres
    }
}

impl Node {
    pub(crate) async fn open(&self, target: &str) -> KeyJob {
        self.jobs.open(&operator(), order(target)).await.expect("opened").0
    }

    /// The entries of this kind, in order.
    pub(crate) async fn entries(&self, kind: EntryKind) -> Vec<Entry> {
        let size = self.stores.records.head().await.expect("head").size;
        let mut rows = Vec::new();
        while (rows.len() as u64) < size {
            rows.extend(self.stores.records.entries(rows.len() as u64, size).await.expect("entries"));
        }
        let entries = rows.iter().map(|row| Leaf::parse(&row.bytes).expect("a leaf").entry().expect("an entry"));
        entries.filter(|entry| entry.kind == kind).collect()
    }

    /// No key was opened that a job over tenant keys has no business with.
    pub(crate) fn opened_no_data_key(&self) {
        assert_eq!(self.keys.counters().data_keys, 0, "a data key was opened");
    }
}

/// The exact reason of a refusal.
pub(crate) fn refusal<T>(result: Result<T, cofre_admin::Error>) -> Reason {
    result.map(drop).expect_err("refused").reason()
}
