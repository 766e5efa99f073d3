//! A small deployment to test against: one tenant, one institution, one worker, and logins as they are wanted.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use cofre_model::caller::SpiffeId;
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState, FieldKey, FieldRequest};
use cofre_model::entry::{CallerRef, Entry, EntryKind};
use cofre_model::id::*;
use cofre_model::job::{AttendanceStatement, Job, SigningKey, StatementKind};
use cofre_model::permit::{EntryRef, GroupSigner, Mint};
use cofre_model::registry::*;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_model::wording::*;
use cofre_policy::facts::{AttendanceFacts, Facts, RequestFacts};
use cofre_policy::rules::Rules;
use cofre_store::*;
use cofre_testkit::clock::TestClock;
use cofre_testkit::stores;
use ed25519_dalek::{Signer as _, SigningKey as NodeSigningKey};
use tempfile::TempDir;

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

/// One release request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Who asks, as SPIFFE id text.
    pub(crate) worker: String,
    pub(crate) credential: CredentialId,
    pub(crate) request: RequestId,
    pub(crate) job: JobId,
    pub(crate) seal_key_digest: [u8; 32],
    pub(crate) digest: [u8; 32],
    pub(crate) attendance: Option<AttendanceStatement>,
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

    pub(crate) fn subject(&self) -> Subject {
        let id = SubjectId::from_parts(self.ms(), self.bytes());
        Subject {
            id,
            tenant: self.tenant.id,
            kind: SubjectKind::Natural,
            external_ref: Some(format!("client-{id}")),
            state: SubjectState::Active,
        }
    }

    pub(crate) fn blank(&self, owner: SubjectId) -> Credential {
        Credential {
            id: CredentialId::from_parts(self.ms(), self.bytes()),
            tenant: self.tenant.id,
            institution: self.institution.clone(),
            template_version: 1,
            owner,
            state: CredentialState::Enrolling,
            secret_version: 0,
            not_before: Timestamp::default(),
            dedupe_tag: Vec::new(),
        }
    }

    pub(crate) async fn enrol(
        &self,
        subject: Option<Subject>,
        credential: &Credential,
    ) -> Result<EnrolmentId, CommitError> {
        let enrolment = EnrolmentId::from_parts(self.ms(), self.bytes());
        let expires_at = self.clock.now().plus(Span::minutes(30));
        let entry = self.entry(EntryKind::EnrolmentOpened);
        let new = credential.state == CredentialState::Enrolling;
        let tag = new.then(|| credential_tag(credential, &entry));
        let open = Operation::OpenEnrolment { subject, credential: credential.clone(), tag, enrolment, expires_at };
        self.records().apply(entry, open).await.map(|_| enrolment)
    }

    pub(crate) async fn intend(&self, enrolment: EnrolmentId) -> Result<u32, CommitError> {
        let intent = DepositIntent {
            tenant: self.tenant.id,
            enrolment,
            class: Class::Login,
            deposit_key: DepositKeyId::from_parts(self.ms(), [4; 10]),
            entry: self.entry(EntryKind::DepositIntended),
        };
        self.records().intend_deposit(intent).await.map(|permit| permit.entry().warrant.secret_version)
    }

    pub(crate) async fn complete(
        &self,
        enrolment: EnrolmentId,
        blank: &Credential,
        version: u32,
        dedupe_tag: Vec<u8>,
    ) -> Result<Credential, CommitError> {
        let credential =
            Credential { state: CredentialState::Active, secret_version: version, dedupe_tag, ..blank.clone() };
        let entry = self.entry(EntryKind::Deposited);
        let tag = credential_tag(&credential, &entry);
        let complete = Operation::CompleteDeposit { enrolment, credential: credential.clone(), tag };
        self.records().apply(entry, complete).await.map(|_| credential)
    }

    /// A login that rests, of a new subject.
    pub(crate) async fn login(&self) -> Credential {
        let subject = self.subject();
        let blank = self.blank(subject.id);
        let enrolment = self.enrol(Some(subject), &blank).await.expect("enrolment");
        let version = self.intend(enrolment).await.expect("intent");
        self.complete(enrolment, &blank, version, blank.id.to_bytes().to_vec()).await.expect("deposit")
    }

    pub(crate) async fn request_consent(&self, credential: &Credential, per_day: u8) -> Result<Consent, CommitError> {
        let now = self.clock.now();
        let consent = Consent {
            id: ConsentId::from_parts(self.ms(), self.bytes()),
            tenant: self.tenant.id,
            subject: credential.owner,
            credential: credential.id,
            recipient: self.recipient,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions, Scope::Accounts].into_iter().collect(),
            valid_from: now,
            valid_until: now.plus(Span::days(180)),
            history_from: now.minus(Span::days(90)),
            unattended_per_day: per_day,
            state: ConsentState::AwaitingAuthorisation,
        };
        let entry = self.entry(EntryKind::ConsentRequested);
        let lapses_at = now.plus(Span::hours(1));
        let shown = columns::Shown { lapses_at, notice_digest: [6; 32], locale: Locale::Es };
        let request = Operation::RequestConsent {
            tag: consent_tag(&consent, &shown, &entry),
            consent: consent.clone(),
            lapses_at,
            notice_digest: shown.notice_digest,
            locale: shown.locale,
        };
        self.records().apply(entry, request).await.map(|_| consent)
    }

    pub(crate) async fn grant_consent(&self, awaited: &Consent) -> Result<Consent, CommitError> {
        let consent = Consent { state: ConsentState::Active, ..awaited.clone() };
        let entry = self.entry(EntryKind::ConsentGranted);
        let row = self.records().consent(&awaited.tenant, &awaited.id).await.expect("read").expect("there");
        let grant = Operation::GrantConsent {
            tag: consent_tag(&consent, &row.shown(), &entry),
            consent: consent.clone(),
            evidence: b"signed in the front end".to_vec(),
            receipt: (ReceiptId::from_parts(self.ms(), self.bytes()), "e30.e30.c2ln".into()),
        };
        self.records().apply(entry, grant).await.map(|_| consent)
    }

    /// A login that rests under a consent in force.
    pub(crate) async fn releasable(&self, per_day: u8) -> (Credential, Consent) {
        let credential = self.login().await;
        let awaited = self.request_consent(&credential, per_day).await.expect("request");
        let consent = self.grant_consent(&awaited).await.expect("grant");
        (credential, consent)
    }

    pub(crate) async fn revoke(&self, consent: &Consent) -> Result<EntryRef, CommitError> {
        let end = Operation::EndConsent { tenant: consent.tenant, consent: consent.id, to: ConsentState::Revoked };
        self.apply(EntryKind::ConsentRevoked, end).await
    }

    pub(crate) fn ask(&self, credential: CredentialId) -> Ask {
        let request = RequestId::from_parts(self.ms(), self.bytes());
        let job = JobId::from_parts(self.ms(), self.bytes());
        Ask {
            worker: WORKER.into(),
            credential,
            request,
            job,
            seal_key_digest: self.bytes(),
            digest: self.bytes(),
            attendance: None,
        }
    }

    pub(crate) fn attended(&self, credential: &Credential) -> Ask {
        let statement = AttendanceStatement {
            id: AttendanceId::from_parts(self.ms(), self.bytes()),
            tenant: self.tenant.id,
            owner: credential.owner,
            credential: credential.id,
            issued_at: self.clock.now(),
        };
        Ask { attendance: Some(statement), ..self.ask(credential.id) }
    }

    pub(crate) async fn facts(&self, ask: &Ask) -> Facts {
        self.try_facts(ask).await.expect("rows")
    }

    /// The facts, where the rows can be read at all.
    pub(crate) async fn try_facts(&self, ask: &Ask) -> Result<Facts, Error> {
        let now = self.clock.now();
        let query = ReleaseQuery {
            worker: &ask.worker,
            tenant: self.tenant.id,
            credential: ask.credential,
            request: ask.request,
            job_key: self.job_key,
            attendance: ask.attendance.as_ref().map(|statement| (self.job_key, statement.id)),
            now,
        };
        let rows = self.records().release_rows(&query).await?;
        let attendance = match &ask.attendance {
            Some(statement) => AttendanceFacts::Attended { statement: statement.clone(), used: rows.attendance_used },
            None => AttendanceFacts::Unattended {
                granted_last_day: rows.unattended_last_day,
                last_at: rows.unattended_last_at,
            },
        };
        let repeat = rows.repeat(&ask.digest, &ask.seal_key_digest);
        let key = |key| FieldKey::try_from(key).expect("key");
        let fields = ["user", "password"]
            .map(|name| FieldRequest { key: key(name), form: Form::Full, positions: Vec::new() })
            .to_vec();
        Ok(Facts {
            now,
            clock_trusted: rows.clock_trusted(now),
            region: Slug::try_from(REGION).expect("slug"),
            epochs: rows.epochs,
            entry_id: self.bytes(),
            caller: CallerRef { identity: ask.worker.clone(), fingerprint: [1; 32] },
            request: RequestFacts {
                id: ask.request,
                digest: ask.digest,
                seal_key_digest: ask.seal_key_digest,
                class: Class::Login,
                fields,
                repeat,
            },
            worker: rows.worker,
            lockdown: rows.lockdown,
            tenant: rows.tenant,
            tenant_key_version: rows.tenant_key_version,
            tenant_warm_for: rows.tenant_warm_for,
            statements_until: rows.job_key.map(|key| key.not_after).unwrap_or_default(),
            job: Ok(self.job(ask)),
            credential: rows.credential.verify(true_mac),
            institution: rows.institution,
            template: rows.template,
            consent: rows.consent.verify(true_mac),
            attendance,
            releases_last_hour: rows.releases_last_hour,
            lease: rows.lease,
        })
    }

    fn job(&self, ask: &Ask) -> Job {
        Job {
            id: ask.job,
            tenant: self.tenant.id,
            credential: ask.credential,
            worker: ask.worker.clone(),
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions].into_iter().collect(),
            recipient: self.recipient,
            history_from: self.clock.now().minus(Span::days(1)),
            deadline: self.clock.now().plus(Span::minutes(20)),
        }
    }

    /// Facts, decision, commit: once.
    pub(crate) async fn once(&self, ask: &Ask) -> Committed {
        let decision = RULES.decide(&self.facts(ask).await);
        self.records().commit(decision).await.expect("commit")
    }

    pub(crate) fn decide(&self, facts: &Facts) -> cofre_policy::decision::Decision {
        RULES.decide(facts)
    }

    /// The institution locked the login: its row with the new end of the lock.
    pub(crate) async fn lock(&self, ask: &Ask, row: &Credential) -> Result<EntryRef, CommitError> {
        let entry = self.entry(EntryKind::Reported);
        let report = Operation::ReportOutcome {
            credential: ask.credential,
            job: ask.job,
            worker: ask.worker.clone(),
            outcome: Outcome::Locked,
            lock: Some((row.clone(), credential_tag(row, &entry))),
        };
        self.records().apply(entry, report).await
    }

    pub(crate) async fn report(&self, ask: &Ask, outcome: Outcome) -> Result<EntryRef, CommitError> {
        let report = Operation::ReportOutcome {
            credential: ask.credential,
            job: ask.job,
            worker: ask.worker.clone(),
            outcome,
            lock: None,
        };
        let mut entry = self.entry(EntryKind::Reported);
        let grant = self.records().grant(&ask.credential, &ask.job).await.expect("read");
        entry.secret_version = grant.map(|grant| grant.secret_version);
        self.records().apply(entry, report).await
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
