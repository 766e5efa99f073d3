//! A small deployment to test against: one tenant, one institution, one worker, and logins as they are wanted.

mod asks;
mod logins;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use cofre_model::caller::SpiffeId;
use cofre_model::credential::FieldKey;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::*;
use cofre_model::job::{SigningKey, StatementKind};
use cofre_model::keys::KeyJobKind;
use cofre_model::permit::{EntryRef, GroupSigner, Mint};
use cofre_model::registry::*;
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::*;
use cofre_policy::rules::Rules;
use cofre_store::*;
use cofre_testkit::clock::TestClock;
use cofre_testkit::stores;
use ed25519_dalek::{Signer as _, SigningKey as NodeSigningKey};
use tempfile::TempDir;

pub(crate) use self::asks::Ask;
pub(crate) use crate::tags::{consent_tag, credential_tag, mac, true_mac};

pub(crate) const REGION: &str = "eu-nl";
pub(crate) const ORIGIN: &str = "cofre.test/ledger";
pub(crate) const WORKER: &str = "spiffe://cofre.test/worker/pool-a/w1";

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    Rules::from_files(&cofre_policy::bundle::read_dir(&folder).expect("policies")).expect("policies load")
});

#[derive(Debug)]
pub(crate) struct NodeKey(NodeSigningKey);

impl GroupSigner for NodeKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
    fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

pub(crate) fn node_key() -> NodeKey {
    NodeKey(NodeSigningKey::from_bytes(&[7; 32]))
}

/// The stores of a folder on the engine of this run.
pub(crate) async fn config(folder: &Path) -> StoreConfig {
    stores::config(folder).await.expect("stores")
}

#[expect(clippy::disallowed_methods, reason = "a test stands for the server's wiring")]
pub(crate) fn commit_config(clock: &Arc<TestClock>) -> CommitConfig {
    CommitConfig {
        origin: ORIGIN.into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        mint: Mint::assemble(),
        clock: clock.clone(),
        signer: Arc::new(node_key()),
    }
}

/// Stores in which nothing has happened.
pub(crate) struct Cellar {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) stores: Stores,
}

impl Cellar {
    /// On the engine of this run.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let config = config(folder.path()).await;
        Self::of(folder, config).await
    }

    pub(crate) async fn of(folder: TempDir, config: StoreConfig) -> Self {
        let clock = Arc::new(TestClock::default());
        let stores = Stores::open(config, commit_config(&clock)).await.expect("stores open");
        Self { folder, clock, stores }
    }
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) stores: Stores,
    pub(crate) tenant: Tenant,
    pub(crate) institution: InstitutionId,
    pub(crate) recipient: RecipientId,
    pub(crate) job_key: SigningKeyId,
    next: AtomicU64,
}

impl World {
    /// On the engine of this run.
    pub(crate) async fn new() -> Self {
        Self::in_cellar(Cellar::new().await).await
    }

    /// On SQLite whatever the engine of the run, for tests about the files.
    pub(crate) async fn on_sqlite(ceiling: Option<u32>) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let config = StoreConfig { ceiling, ..stores::sqlite(folder.path()) };
        Self::in_cellar(Cellar::of(folder, config).await).await
    }

    pub(crate) async fn in_cellar(Cellar { folder, clock, stores }: Cellar) -> Self {
        let ms = clock.now().millis();
        let tenant = Tenant {
            id: TenantId::from_parts(ms, [1; 10]),
            slug: Slug::try_from("acme").expect("slug"),
            legal_name: "Acme SGIIC".into(),
            state: TenantState::Active,
            home_region: Slug::try_from(REGION).expect("slug"),
            tenant_key_id: [5; 16],
        };
        let world = Self {
            folder,
            clock,
            stores,
            tenant,
            institution: InstitutionId::try_from("ins_banco-abierto").expect("id"),
            recipient: RecipientId::from_parts(ms, [2; 10]),
            job_key: SigningKeyId::from_parts(ms, [3; 10]),
            next: AtomicU64::new(1),
        };
        world.register().await;
        world
    }

    /// The same deployment over stores that were opened again.
    pub(crate) fn rebuilt(
        folder: TempDir,
        clock: Arc<TestClock>,
        stores: Stores,
        tenant: Tenant,
        institution: InstitutionId,
        recipient: RecipientId,
        job_key: SigningKeyId,
    ) -> Self {
        Self { folder, clock, stores, tenant, institution, recipient, job_key, next: AtomicU64::new(1_000_000) }
    }

    /// The same deployment after its node has ended and begun a new life.
    pub(crate) async fn reopened(self, open: impl Future<Output = Stores>) -> Self {
        self.stores.close().await;
        Self { stores: open.await, ..self }
    }

    pub(crate) fn records(&self) -> &Records {
        &self.stores.records
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let count = self.next.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        bytes[N - 8..].copy_from_slice(&count);
        bytes
    }

    pub(crate) fn ms(&self) -> u64 {
        self.clock.now().millis()
    }

    pub(crate) fn entry(&self, kind: EntryKind) -> Entry {
        let mut entry = Entry::new(kind, self.bytes());
        entry.tenant = Some(self.tenant.id);
        entry
    }

    pub(crate) async fn apply(&self, kind: EntryKind, operation: Operation) -> Result<EntryRef, CommitError> {
        self.records().apply(self.entry(kind), operation).await
    }

    /// A rewrap to `target`, that is to be opened.
    pub(crate) fn key_job(&self, target: &str) -> NewKeyJob {
        let id = KeyJobId::from_parts(self.ms(), self.bytes());
        NewKeyJob { id, kind: KeyJobKind::Rewrap, target: target.into(), from_key: None, rate: None }
    }

    async fn register(&self) {
        let signing_keys = vec![SigningKey {
            id: self.job_key,
            tenant: self.tenant.id,
            kind: StatementKind::Job,
            public_key: [8; 32],
            not_after: self.clock.now().plus(Span::days(365)),
        }];
        let recipients =
            vec![Recipient { id: self.recipient, tenant: self.tenant.id, name: "Asesor Ejemplo EAF".into() }];
        let put = Operation::PutTenant {
            tenant: self.tenant.clone(),
            key_version: 1,
            custody_set: None,
            warm_for: Span::secs(300),
            signing_keys,
            recipients,
        };
        self.apply(EntryKind::TenantPut, put).await.expect("tenant");
        let institution = Institution {
            id: self.institution.clone(),
            name: "Banco Abierto".into(),
            country: "ES".into(),
            state: InstitutionState::Enabled,
            lockout_threshold: 3,
            unattended_from: 0,
            unattended_to: 1_440,
        };
        self.apply(EntryKind::InstitutionPut, Operation::PutInstitution(institution)).await.expect("institution");
        self.apply(EntryKind::TemplatePut, Operation::PutTemplate(self.template(1))).await.expect("template");
        let worker = Worker {
            id: SpiffeId::parse(WORKER, "cofre.test").expect("identity"),
            state: WorkerState::Enabled,
            scopes: vec![(self.tenant.id, self.institution.clone())],
        };
        self.apply(EntryKind::WorkerPut, Operation::PutWorker(worker)).await.expect("worker");
    }

    pub(crate) fn template(&self, version: u32) -> Template {
        let field = |key: &str, secret| TemplateField {
            key: FieldKey::try_from(key).expect("key"),
            pattern: ".+".into(),
            required: true,
            secret,
            signing_factor: false,
            identifies: !secret,
            release_form: Form::Full,
        };
        Template {
            institution: self.institution.clone(),
            version,
            fields: vec![field("user", false), field("password", true)],
        }
    }
}

/// The reason of a refusal, or what else happened.
pub(crate) fn told(committed: &Committed) -> String {
    match committed {
        Committed::Granted { .. } => "GRANTED".into(),
        Committed::Denied { reason, .. } => reason.to_string(),
        Committed::Moved => "MOVED".into(),
    }
}

pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, CommitError>) -> String {
    match result {
        Err(CommitError::Refused(reason)) => reason.to_string(),
        other => format!("{other:?}"),
    }
}
