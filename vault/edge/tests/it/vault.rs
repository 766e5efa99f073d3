//! The use cases over real stores, beside a token that is away: enough for everything that needs no key.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use cofre_admin::{Admin, KeyJobs};
use cofre_audit::Register;
use cofre_consent::Consents;
use cofre_custody::{Custodian, CustodianId, Custodians, CustodySet, Signer, TenantKeys, Wiring};
use cofre_deposit::Deposits;
use cofre_edge::services::{Node, NodeProof, Readiness, UseCases};
use cofre_envelope::{Backing, Slab};
use cofre_model::credential::{Credential, CredentialState, FieldKey};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{CredentialId, EnrolmentId, InstitutionId, Slug, SubjectId, TenantId};
use cofre_model::permit::{GroupSigner, Mint};
use cofre_model::registry::{Institution, InstitutionState, Template, TemplateField, Tenant, TenantState};
use cofre_model::time::{Clock, Span, Timestamp};
use cofre_model::wording::Form;
use cofre_policy::Rules;
use cofre_privacy::Erasures;
use cofre_relay::Relay;
use cofre_release::Releases;
use cofre_store::{CommitConfig, Operation, Records, Stores, Subject, SubjectKind, SubjectState};
use cofre_testkit::custody::{Memory, NoKeys, Signs};
use ed25519_dalek::{Signer as _, SigningKey};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use crate::support::{NODE, TRUST_DOMAIN};

const ORIGIN: &str = "cofre.test/ledger";

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

/// Ready or not, as the test says.
#[derive(Debug, Default)]
pub(crate) struct Switch(AtomicBool);

impl Switch {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }
}

impl Readiness for Switch {
    fn ready(&self) -> BoxFuture<'static, bool> {
        let ready = self.0.load(Ordering::SeqCst);
        async move { ready }.boxed()
    }
}

/// What a node is made of.
pub(crate) struct Vault {
    pub(crate) records: Records,
    pub(crate) ready: Arc<Switch>,
    use_cases: UseCases,
    clock: Arc<dyn Clock>,
    entries: AtomicU8,
    _folder: TempDir,
}

impl Vault {
    pub(crate) async fn open(clock: Arc<dyn Clock>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let stores = stores(folder.path(), Arc::clone(&clock)).await;
        let records = stores.records.clone();
        let use_cases = use_cases(stores, &clock);
        Self { records, ready: Arc::default(), use_cases, clock, entries: AtomicU8::new(0), _folder: folder }
    }

    pub(crate) fn use_cases(&self) -> UseCases {
        self.use_cases.clone()
    }

    pub(crate) fn node(&self) -> Node {
        Node {
            proof: NodeProof { key: [0; 32], statement: vec![1], signature: vec![2] },
            signer_key: "cofre.test/ledger+key".to_owned(),
            trust_domain: TRUST_DOMAIN.to_owned(),
            readiness: self.ready.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    fn entry(&self, kind: EntryKind) -> Entry {
        Entry::new(kind, [self.entries.fetch_add(1, Ordering::SeqCst); 16])
    }

    pub(crate) async fn put_tenant(&self, number: u8, slug: &str) {
        let tenant = Tenant {
            id: TenantId::from_parts(1, [number; 10]),
            slug: Slug::try_from(slug).expect("a slug"),
            legal_name: slug.to_owned(),
            state: TenantState::Active,
            home_region: Slug::try_from("eu-nl").expect("a slug"),
            tenant_key_id: [number; 16],
        };
        let operation = Operation::PutTenant {
            tenant,
            key_version: 1,
            custody_set: None,
            warm_for: Span::minutes(5),
            signing_keys: Vec::new(),
            recipients: Vec::new(),
        };
        self.records.apply(self.entry(EntryKind::TenantPut), operation).await.expect("a tenant");
    }

    pub(crate) async fn put_institution(&self, id: &str) {
        let id = InstitutionId::try_from(id).expect("an id");
        let institution = Institution {
            id: id.clone(),
            name: "Caja de Prueba".to_owned(),
            country: "ES".to_owned(),
            state: InstitutionState::Enabled,
            lockout_threshold: 3,
            unattended_from: 0,
            unattended_to: 1_440,
        };
        let put = Operation::PutInstitution(institution);
        self.records.apply(self.entry(EntryKind::InstitutionPut), put).await.expect("an institution");
        let user = TemplateField {
            key: FieldKey::try_from("user").expect("a key"),
            pattern: "[0-9]{8}".to_owned(),
            required: true,
            secret: true,
            signing_factor: false,
            identifies: true,
            release_form: Form::Full,
        };
        let put = Operation::PutTemplate(Template { institution: id, version: 1, fields: vec![user] });
        self.records.apply(self.entry(EntryKind::TemplatePut), put).await.expect("a template");
    }

    /// An open session for a new login of a tenant, as the use case would commit it. This vault has no custodian, so
    /// the row's tag is true for nobody; what is asked here never gets that far.
    pub(crate) async fn put_enrolment(&self, tenant: u8, bank: &str) -> (CredentialId, EnrolmentId) {
        let tenant = TenantId::from_parts(1, [tenant; 10]);
        let owner = SubjectId::from_parts(2, [1; 10]);
        let (credential, enrolment) = (CredentialId::from_parts(2, [2; 10]), EnrolmentId::from_parts(2, [3; 10]));
        let operation = Operation::OpenEnrolment {
            subject: Some(Subject {
                id: owner,
                tenant,
                kind: SubjectKind::Natural,
                external_ref: Some("inv-1".to_owned()),
                state: SubjectState::Active,
            }),
            credential: Credential {
                id: credential,
                tenant,
                institution: InstitutionId::try_from(bank).expect("an id"),
                template_version: 1,
                owner,
                state: CredentialState::Enrolling,
                secret_version: 0,
                not_before: Timestamp::default(),
                dedupe_tag: Vec::new(),
            },
            tag: Some([7; 32]),
            enrolment,
            expires_at: self.clock.now().plus(Span::minutes(30)),
        };
        self.records.apply(self.entry(EntryKind::EnrolmentOpened), operation).await.expect("an enrolment");
        (credential, enrolment)
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is its own server")]
async fn stores(folder: &Path, clock: Arc<dyn Clock>) -> Stores {
    let config = cofre_testkit::stores::config(folder).await.expect("stores can be had");
    let commit = CommitConfig {
        origin: ORIGIN.to_owned(),
        node: NODE.to_owned(),
        incarnation: [1; 16],
        mint: Mint::assemble(),
        clock,
        signer: Arc::new(NodeKey(SigningKey::from_bytes(&[9; 32]))),
    };
    Stores::open(config, commit).await.expect("stores")
}

fn use_cases(stores: Stores, clock: &Arc<dyn Clock>) -> UseCases {
    let id = CustodianId::try_from("hsm-1").expect("a name");
    let token = Signs::new(id.clone(), &[7; 32]);
    token.take_away();
    let slab = Slab::new(Backing::MemfdSecret).or_else(|_| Slab::new(Backing::Mlock)).expect("locked memory");
    let custodian = Memory::new(id.clone(), Arc::clone(&slab));
    custodian.take_away();
    let (wrapping, unwrapping) = Custodians::new([custodian as Arc<dyn Custodian>]).expect("one").split();
    let (journal, clock) = (Arc::new(NoKeys), Arc::clone(clock));
    let wiring = Wiring { wrapping, unwrapping, journal, clock: Arc::clone(&clock), slab: Arc::clone(&slab) };
    let (keys, signer): (_, Arc<dyn Signer>) = (TenantKeys::new(wiring), token);
    let rules = Rules::from_files(&[
        ("schema.cedarschema", include_str!("../../../../policies/schema.cedarschema")),
        ("release.cedar", include_str!("../../../../policies/default/release.cedar")),
    ]);
    let region = Slug::try_from("eu-nl").expect("a slug");
    let ids = AtomicU8::new(0);
    let ids: cofre_relay::EntryIds = Arc::new(move || Some([ids.fetch_add(1, Ordering::SeqCst) | 0x80; 16]));
    let Stores { records, ciphertexts, keyring } = stores;
    UseCases {
        deposits: Arc::new(Deposits {
            records: records.clone(),
            ciphertexts: ciphertexts.clone(),
            keyring: keyring.clone(),
            keys: keys.for_deposit(),
            wrapping: keys.for_wrapping(),
            signer: Arc::clone(&signer),
            clock: Arc::clone(&clock),
        }),
        consents: Arc::new(Consents {
            records: records.clone(),
            keys: keys.for_rows(),
            signer: Arc::clone(&signer),
            signer_name: ORIGIN.to_owned(),
            aisp: "Cofre".to_owned(),
            clock: Arc::clone(&clock),
        }),
        releases: Arc::new(Releases::new(cofre_release::Wiring {
            rules: Arc::new(rules.expect("the shipped policies")),
            records: records.clone(),
            ciphertexts: ciphertexts.clone(),
            keyring: keyring.clone(),
            keys: keys.for_release(),
            clock: Arc::clone(&clock),
            region: region.clone(),
            origin: ORIGIN.to_owned(),
        })),
        relay: Arc::new(Relay::new(records.clone(), Arc::clone(&clock), ids)),
        erasures: Arc::new(Erasures {
            records: records.clone(),
            ciphertexts,
            keyring: keyring.clone(),
            signer: Arc::clone(&signer),
            signer_name: ORIGIN.to_owned(),
            deployment: "cofre.test".to_owned(),
            clock: Arc::clone(&clock),
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
            signer: Arc::clone(&signer),
            deployment: "cofre.test".to_owned(),
            floor: CustodySet::any_of(vec![id.clone()]).expect("a set"),
            holder: [1; 16],
            clock: Arc::clone(&clock),
        }),
        admin: Arc::new(Admin {
            records,
            keyring,
            wrapping: keys.for_wrapping(),
            keys,
            slab,
            custody: CustodySet::any_of(vec![id]).expect("a set"),
            warm_for: Span::minutes(5),
            deployment: "cofre.test".to_owned(),
            region,
            mode: "dev",
            clock,
        }),
    }
}
