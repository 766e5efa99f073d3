//! A deployment small enough for one test: real stores, one tenant whose key a custodian in memory holds, one
//! institution, one recipient, a token that signs.

use std::sync::{Arc, Mutex};

use cofre_custody::{
    Custodian, CustodianId, Custodians, CustodySet, Journal, JournalError, Pending, TenantKeys, TenantRef, WarmOutcome,
    Wiring, WrappedTenantKey,
};
use cofre_envelope::{Backing, Room, Slab, random};
use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::credential::FieldKey;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{InstitutionId, RecipientId, Slug, TenantId};
use cofre_model::permit::{Evidence, GroupSigner, Mint, Permit, Warm, WarmWarrant};
use cofre_model::registry::*;
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::Form;
use cofre_store::*;
use cofre_testkit::clock::TestClock;
use cofre_testkit::custody::{Memory, Signs};
use cofre_testkit::stores::Store;
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;

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

/// The register as custody sees it, over the real commit.
#[derive(Debug)]
struct Register {
    records: Records,
    kept: Mutex<Option<WrappedTenantKey>>,
}

impl Journal for Register {
    fn warm<'a>(&'a self, tenant: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(async move {
            let kept = self.kept.lock().expect("whole").clone().ok_or(JournalError::NoSuchKey)?;
            let request = WarmRequest {
                tenant: tenant.tenant,
                tenant_key_version: tenant.key_version,
                tenant_key_id: tenant.key_id,
                entry: Entry::new(EntryKind::Warm, random::array().expect("random")),
            };
            let permit = self.records.warm(request).await.map_err(|error| JournalError::Refused(error.reason()))?;
            Ok((permit, kept))
        })
    }
    fn warmed(&self, _entry: Evidence<WarmWarrant>, _outcome: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(async { Ok(()) })
    }
}

pub(crate) struct House {
    folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) stores: Stores,
    pub(crate) keys: TenantKeys,
    pub(crate) token: Arc<Signs>,
    pub(crate) tenant: Tenant,
    pub(crate) institution: InstitutionId,
    pub(crate) recipient: RecipientId,
}

#[expect(clippy::disallowed_methods, reason = "a test stands for the server's wiring")]
async fn stores(folder: &TempDir, clock: &Arc<TestClock>) -> Stores {
    let config = cofre_testkit::stores::config(folder.path()).await.expect("stores can be had");
    let commit = CommitConfig {
        origin: "cofre.test/ledger".into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        mint: Mint::assemble(),
        clock: clock.clone(),
        signer: Arc::new(NodeKey(SigningKey::from_bytes(&[7; 32]))),
    };
    Stores::open(config, commit).await.expect("stores")
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let clock = Arc::new(TestClock::default());
        let stores = stores(&folder, &clock).await;
        let slab = Slab::with_room(Backing::Mlock, Room { small: 256, large: 32 }).expect("locked memory");
        let id = CustodianId::try_from("memory").expect("a name");
        let memory: Arc<dyn Custodian> = Memory::new(id.clone(), slab.clone());
        let (wrapping, unwrapping) = Custodians::new(vec![memory]).expect("one").split();
        let register = Arc::new(Register { records: stores.records.clone(), kept: Mutex::default() });
        let journal = register.clone();
        let keys = TenantKeys::new(Wiring { wrapping, unwrapping, journal, clock: clock.clone(), slab });
        let tenant = TenantId::from_parts(clock.now().millis(), [1; 10]);
        let token = Signs::new(id.clone(), &[5; 32]);
        let set = CustodySet::any_of(vec![id]).expect("a set");
        let made = keys.for_wrapping().new_tenant_key("eu-nl", tenant, &set).await.expect("a key");
        *register.kept.lock().expect("whole") = Some(made.wrapped);
        let house = Self {
            tenant: Tenant {
                id: tenant,
                slug: Slug::try_from("acme").expect("slug"),
                legal_name: "Acme SGIIC".into(),
                state: TenantState::Active,
                home_region: Slug::try_from("eu-nl").expect("slug"),
                tenant_key_id: made.key_id,
            },
            institution: InstitutionId::try_from("ins_banco-abierto").expect("id"),
            recipient: RecipientId::from_parts(clock.now().millis(), [2; 10]),
            token,
            folder,
            clock,
            stores,
            keys,
        };
        house.register().await;
        house
    }

    pub(crate) async fn apply(&self, kind: EntryKind, operation: Operation) {
        let entry = Entry::new(kind, random::array().expect("random"));
        self.stores.records.apply(entry, operation).await.expect("applied");
    }

    async fn register(&self) {
        let recipient = Recipient { id: self.recipient, tenant: self.tenant.id, name: "Asesor Ejemplo EAF".into() };
        let put = Operation::PutTenant {
            tenant: self.tenant.clone(),
            key_version: 1,
            custody_set: None,
            warm_for: Span::secs(300),
            signing_keys: Vec::new(),
            recipients: vec![recipient],
        };
        self.apply(EntryKind::TenantPut, put).await;
        let institution = Institution {
            id: self.institution.clone(),
            name: "Banco Abierto".into(),
            country: "ES".into(),
            state: InstitutionState::Enabled,
            lockout_threshold: 3,
            unattended_from: 0,
            unattended_to: 1_440,
        };
        self.apply(EntryKind::InstitutionPut, Operation::PutInstitution(institution)).await;
        let field = |key: &str, identifies: bool| TemplateField {
            key: FieldKey::try_from(key).expect("key"),
            pattern: ".+".into(),
            required: true,
            secret: !identifies,
            signing_factor: false,
            identifies,
            release_form: Form::Full,
        };
        let fields = vec![field("user", true), field("password", false)];
        let template = Template { institution: self.institution.clone(), version: 1, fields };
        self.apply(EntryKind::TemplatePut, Operation::PutTemplate(template)).await;
    }

    /// The tenant's front end.
    #[expect(clippy::disallowed_methods, reason = "a test stands for the counter")]
    pub(crate) fn caller(&self) -> Caller {
        let identity = SpiffeId::parse("spiffe://cofre.test/tenant/acme/frontend/f1", "cofre.test").expect("identity");
        Caller::from_verified_chain(identity, [3; 32])
    }

    /// What an administrator of the records can do.
    pub(crate) async fn edit(&self, statement: &str) -> u64 {
        cofre_testkit::stores::edit(self.folder.path(), Store::Records, &[statement]).await.expect("edited")
    }
}
