//! A deployment small enough for one test: one tenant, investors whose logins really rest, and a second tenant.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofre_custody::{CustodianId, Signer as _};
use cofre_envelope::context::{SecretContext, WrapData, WrapSubject};
use cofre_envelope::{Backing, Dek, Plain, Room, Slab, SubjectKey, TenantKey};
use cofre_ledger::entry::Leaf;
use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState, FieldKey};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{
    ConsentId, CredentialId, DepositKeyId, EnrolmentId, InstitutionId, RecipientId, Slug, SubjectId, TenantId,
};
use cofre_model::permit::{GroupSigner, Mint};
use cofre_model::registry::{Institution, InstitutionState, Recipient, Template, TemplateField, Tenant, TenantState};
use cofre_model::sealed::SealedSecret;
use cofre_model::time::{Clock, Monotonic, Span, Timestamp};
use cofre_model::wording::{Class, Form, Locale, Purpose, Scope};
use cofre_privacy::{Erasures, Known};
use cofre_store::{
    CommitConfig, DepositIntent, Operation, StoredDataKey, StoredSubjectKey, Stores, Subject, SubjectKind, SubjectState,
};
use cofre_testkit::custody::Signs;
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
pub(crate) const SIGNER: &str = "test-vault/signer";

/// Time stands still.
#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_micros(1)
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

/// An investor whose one login rests, with copies of its rows as an old backup would hold them.
pub(crate) struct Investor {
    pub(crate) subject: SubjectId,
    pub(crate) reference: String,
    pub(crate) credential: CredentialId,
    pub(crate) subject_key: StoredSubjectKey,
    pub(crate) data_key: StoredDataKey,
    pub(crate) sealed: Vec<(FieldKey, SealedSecret)>,
}

/// One node on one folder.
pub(crate) struct Node {
    folder: TempDir,
    pub(crate) stores: Stores,
    pub(crate) token: Arc<Signs>,
    slab: Arc<Slab>,
    tenant_key: TenantKey,
    tenant: TenantId,
    serial: AtomicU64,
    /// One set for one life of the node.
    known: Known,
}

pub(crate) async fn node() -> Node {
    let folder = TempDir::new().expect("a folder");
    let stores = open(folder.path()).await;
    let slab = Slab::with_room(Backing::Mlock, Room { small: 64, large: 16 }).expect("locked memory");
    let tenant_key = TenantKey::generate(&slab).expect("a key");
    let tenant = TenantId::from_parts(NOW.millis(), [1; 10]);
    let serial = AtomicU64::new(0);
    let token = Signs::new(CustodianId::try_from("hsm-1").expect("a name"), &[7; 32]);
    let node = Node { folder, stores, token, slab, tenant_key, tenant, serial, known: Known::default() };
    node.put_tenant(tenant, "aisp-one").await;
    node.put_tenant(TenantId::from_parts(NOW.millis(), [2; 10]), "aisp-two").await;
    node.put_institution().await;
    node
}

#[expect(clippy::disallowed_methods, reason = "a test is its own server")]
async fn open(folder: &Path) -> Stores {
    let config = cofre_testkit::stores::config(folder).await.expect("stores can be had");
    let commit = CommitConfig {
        origin: "test-vault/ledger".to_owned(),
        node: "spiffe://cofre.test/node/eu-nl/n1".to_owned(),
        incarnation: [1; 16],
        mint: Mint::assemble(),
        clock: Arc::new(StoppedClock),
        signer: Arc::new(NodeKey(SigningKey::from_bytes(&[9; 32]))),
    };
    Stores::open(config, commit).await.expect("stores")
}

fn institution() -> InstitutionId {
    InstitutionId::try_from("ins_banco-abierto").expect("an id")
}

fn password() -> FieldKey {
    FieldKey::try_from("password").expect("a key")
}

impl Node {
    pub(crate) fn erasures(&self) -> Erasures {
        Erasures {
            records: self.stores.records.clone(),
            ciphertexts: self.stores.ciphertexts.clone(),
            keyring: self.stores.keyring.clone(),
            signer: self.token.clone(),
            signer_name: SIGNER.to_owned(),
            deployment: "test-vault".to_owned(),
            clock: Arc::new(StoppedClock),
            known: self.known.clone(),
        }
    }

    /// Has a checkpoint signed over all there is, as the integrator does.
    pub(crate) async fn publish(&self) {
        let records = &self.stores.records;
        let size = self.size().await;
        let hashes = records.leaf_hashes(0, size).await.expect("hashes");
        let mut tree = cofre_ledger::tree::Frontier::empty();
        for hash in &hashes {
            let _ = tree.append(*hash);
        }
        let origin = cofre_ledger::checkpoint::origin("test-vault");
        let key = cofre_ledger::note::NoteKey::new(&origin, self.verifying_key()).expect("a key");
        let checkpoint = cofre_ledger::checkpoint::Checkpoint { origin, size, root: tree.root() };
        let signature = self.token.sign(checkpoint.body().as_bytes()).await.expect("signed");
        let note = checkpoint.sign(&key, |_| Ok::<_, std::convert::Infallible>(signature.to_vec())).expect("a note");
        // Fewer than 256 entries are one tile.
        let width = u16::try_from(size).expect("a small ledger");
        let tile = cofre_store::Tile { level: 0, n: 0, width, hashes: hashes.concat() };
        let signed = cofre_store::Checkpoint { size, note: note.to_string() };
        records.integrate(vec![tile], signed).await.expect("integrated");
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Ends the process and starts it anew; `between` may do to the stores what a person could.
    pub(crate) async fn restart(self, between: impl AsyncFnOnce(&Path)) -> Self {
        let Self { folder, stores, token, slab, tenant_key, tenant, serial, known: _ } = self;
        stores.close().await;
        between(folder.path()).await;
        let stores = open(folder.path()).await;
        Self { folder, stores, token, slab, tenant_key, tenant, serial, known: Known::default() }
    }

    pub(crate) fn entry(&self, kind: EntryKind) -> Entry {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        Entry::new(kind, id)
    }

    fn next(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn ten(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes
    }

    pub(crate) async fn apply(&self, entry: Entry, operation: Operation) -> u64 {
        self.stores.records.apply(entry, operation).await.expect("committed").index
    }

    async fn put_tenant(&self, id: TenantId, slug: &str) {
        let tenant = Tenant {
            id,
            slug: Slug::try_from(slug).expect("a slug"),
            legal_name: "A Test Tenant".to_owned(),
            state: TenantState::Active,
            home_region: Slug::try_from("eu-nl").expect("a region"),
            tenant_key_id: self.tenant_key.id().expect("an id"),
        };
        let put = Operation::PutTenant {
            tenant,
            key_version: 1,
            custody_set: None,
            warm_for: Span::secs(300),
            signing_keys: Vec::new(),
            recipients: Vec::new(),
        };
        self.apply(self.entry(EntryKind::TenantPut), put).await;
    }

    async fn put_institution(&self) {
        let bank = Institution {
            id: institution(),
            name: "Banco Abierto".to_owned(),
            country: "ES".to_owned(),
            state: InstitutionState::Enabled,
            lockout_threshold: 3,
            unattended_from: 0,
            unattended_to: 1440,
        };
        self.apply(self.entry(EntryKind::InstitutionPut), Operation::PutInstitution(bank)).await;
        let field = TemplateField {
            key: password(),
            pattern: ".+".to_owned(),
            required: true,
            secret: true,
            signing_factor: false,
            identifies: false,
            release_form: Form::Full,
        };
        let template = Template { institution: institution(), version: 1, fields: vec![field] };
        self.apply(self.entry(EntryKind::TemplatePut), Operation::PutTemplate(template)).await;
    }

    /// An investor with one login that rests in all three stores.
    pub(crate) async fn investor(&self, reference: &str) -> Investor {
        let subject = SubjectId::from_parts(NOW.millis(), self.ten());
        let credential = Credential {
            id: CredentialId::from_parts(NOW.millis(), self.ten()),
            tenant: self.tenant,
            institution: institution(),
            template_version: 1,
            owner: subject,
            state: CredentialState::Enrolling,
            secret_version: 0,
            not_before: Timestamp::default(),
            dedupe_tag: Vec::new(),
        };
        let enrolment = EnrolmentId::from_parts(NOW.millis(), self.ten());
        let person = Subject {
            id: subject,
            tenant: self.tenant,
            kind: SubjectKind::Natural,
            external_ref: Some(reference.to_owned()),
            state: SubjectState::Active,
        };
        let expires_at = NOW.plus(Span::hours(1));
        let open = Operation::OpenEnrolment {
            subject: Some(person),
            credential: credential.clone(),
            tag: Some([0; 32]),
            enrolment,
            expires_at,
        };
        self.apply(self.entry(EntryKind::EnrolmentOpened), open).await;
        let intent = DepositIntent {
            tenant: self.tenant,
            enrolment,
            class: Class::Login,
            deposit_key: DepositKeyId::from_parts(NOW.millis(), self.ten()),
            entry: self.entry(EntryKind::DepositIntended),
        };
        let permit = self.stores.records.intend_deposit(intent).await.expect("intended");
        let secret = SecretContext::from(&permit.entry().warrant);
        let follows = permit.entry().at.index;
        drop(permit);
        let (subject_key, data_key, sealed) = self.seal(secret, reference);
        self.stores.keyring.put_subject_key(&subject_key).await.expect("stored");
        self.stores.keyring.put_data_key(&data_key).await.expect("stored");
        self.stores.ciphertexts.put(&credential.id, Class::Login, secret.version, &sealed).await.expect("stored");
        let mut entry = self.entry(EntryKind::Deposited);
        entry.follows = Some(follows);
        let rests = Credential { state: CredentialState::Active, secret_version: secret.version, ..credential };
        let id = rests.id;
        let complete = Operation::CompleteDeposit { enrolment, credential: rests, tag: [0; 32] };
        self.apply(entry, complete).await;
        Investor { subject, reference: reference.to_owned(), credential: id, subject_key, data_key, sealed }
    }

    /// A consent that awaits this investor's yes.
    pub(crate) async fn consent(&self, investor: &Investor) -> ConsentId {
        let recipient = Recipient {
            id: RecipientId::from_parts(NOW.millis(), self.ten()),
            tenant: self.tenant,
            name: "R".to_owned(),
        };
        let consent = Consent {
            id: ConsentId::from_parts(NOW.millis(), self.ten()),
            tenant: self.tenant,
            subject: investor.subject,
            credential: investor.credential,
            recipient: recipient.id,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions].into_iter().collect(),
            valid_from: NOW,
            valid_until: NOW.plus(Span::days(90)),
            history_from: NOW.minus(Span::days(90)),
            unattended_per_day: 1,
            state: ConsentState::AwaitingAuthorisation,
        };
        self.apply(self.entry(EntryKind::TenantPut), Operation::PutRecipient(recipient)).await;
        let id = consent.id;
        let request = Operation::RequestConsent {
            consent,
            tag: [0; 32],
            lapses_at: NOW.plus(Span::hours(1)),
            notice_digest: [4; 32],
            locale: Locale::ALL[0],
        };
        self.apply(self.entry(EntryKind::ConsentRequested), request).await;
        id
    }

    fn subject_context(&self, owner: SubjectId) -> WrapSubject {
        WrapSubject {
            tenant: self.tenant,
            owner,
            subject_key_version: 1,
            tenant_key_id: self.tenant_key.id().expect("an id"),
            tenant_key_version: 1,
        }
    }

    fn seal(
        &self,
        secret: SecretContext,
        value: &str,
    ) -> (StoredSubjectKey, StoredDataKey, Vec<(FieldKey, SealedSecret)>) {
        let subject_key = SubjectKey::generate(&self.slab).expect("a key");
        let dek = Dek::generate(&self.slab).expect("a key");
        let plain = Plain::copy_of(&self.slab, value.as_bytes()).expect("room");
        let sealed = dek.seal_field(&secret, &password(), plain).expect("sealed");
        let wrapped_data = subject_key.wrap_data(&dek, &WrapData { secret, subject_key_version: 1 }).expect("wrapped");
        let wrapped_subject =
            self.tenant_key.wrap_subject(&subject_key, &self.subject_context(secret.owner)).expect("wrapped");
        let stored = StoredSubjectKey {
            owner: secret.owner,
            version: 1,
            tenant: self.tenant,
            tenant_key_version: 1,
            wrapped: wrapped_subject,
        };
        let data = StoredDataKey {
            credential: secret.credential,
            class: secret.class,
            version: secret.version,
            owner: secret.owner,
            subject_key_version: 1,
            wrapped: wrapped_data,
        };
        (stored, data, vec![(password(), sealed)])
    }

    /// Opens a login from what the stores hold now: the tenant's key, the keyring and the ciphertexts together.
    pub(crate) async fn opens(&self, investor: &Investor) -> Option<String> {
        let subject_row = self.stores.keyring.subject_key(&investor.subject).await.expect("keyring")?;
        let data_row = self.stores.keyring.data_key(&investor.credential, Class::Login, 1).await.expect("keyring")?;
        let rows = self.stores.ciphertexts.of(&investor.credential, Class::Login, 1).await.expect("ciphertexts");
        let secret = SecretContext {
            tenant: self.tenant,
            owner: investor.subject,
            credential: investor.credential,
            class: Class::Login,
            version: 1,
        };
        let subject_key =
            self.tenant_key.unwrap_subject(&subject_row.wrapped, &self.subject_context(investor.subject)).ok()?;
        let dek = subject_key.unwrap_data(&data_row.wrapped, &WrapData { secret, subject_key_version: 1 }).ok()?;
        let (key, sealed) = rows.first()?;
        let plain = dek.open_field(&secret, key, sealed).ok()?;
        plain.with_bytes(|bytes| String::from_utf8(bytes.to_vec()).ok())
    }

    /// What the token's signatures are verified with.
    pub(crate) fn verifying_key(&self) -> cofre_ledger::signed::VerifyingKey {
        let public = self.token.public_key().as_bytes().try_into().expect("Ed25519");
        cofre_ledger::signed::VerifyingKey::ed25519(public).expect("a key")
    }

    /// The kinds of the entries from `from` on.
    pub(crate) async fn kinds(&self, from: u64) -> Vec<EntryKind> {
        let rows = self.stores.records.entries(from, u64::MAX).await.expect("records");
        rows.iter().map(|row| Leaf::parse(&row.bytes).expect("a leaf").entry().expect("a body").kind).collect()
    }

    pub(crate) async fn size(&self) -> u64 {
        self.stores.records.head().await.expect("records").size
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is its own counter")]
fn caller(path: &str) -> Caller {
    let identity = SpiffeId::parse(&format!("spiffe://cofre.test/{path}"), "cofre.test").expect("an identity");
    Caller::from_verified_chain(identity, [3; 32])
}

pub(crate) fn front_end() -> Caller {
    caller("tenant/aisp-one/frontend/web")
}

pub(crate) fn other_front_end() -> Caller {
    caller("tenant/aisp-two/frontend/web")
}

pub(crate) fn officer() -> Caller {
    caller("person/privacy/pia")
}

pub(crate) fn auditor() -> Caller {
    caller("person/auditor/ana")
}

pub(crate) fn worker() -> Caller {
    caller("worker/pool-a/w1")
}
