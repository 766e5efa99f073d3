//! What an honest deployment would know: ids, keys, secrets. Composes good messages for every method, learns from
//! answers, and judges each login that left.

use std::sync::{Arc, LazyLock};

use cofre_edge::services::UseCases;
use cofre_envelope::context::{DepositContext, ReleaseContext};
use cofre_envelope::{ClientSecret, PublicKey, Suite, WorkerKeyPair, open_released, seal_deposit};
use cofre_ledger::signed::{encode_attendance, encode_job, signing_input};
use cofre_model::credential::FieldKey;
use cofre_model::entry::EntryKind;
use cofre_model::id::{
    AttendanceId, ChallengeId, CredentialId, InstitutionId, JobId, RecipientId, RequestId, Slug, SubjectId, TenantId,
};
use cofre_model::job::{AttendanceStatement, Job, SigningKey as Registered, StatementKind};
use cofre_model::registry::{Institution, InstitutionState, Template, TemplateField};
use cofre_model::request::{
    GrantRequest, Login, NoticeRequest, OpenEnrolment, PutTenant, PutWorker, SealedDeposit, SubjectRef, Token,
};
use cofre_model::sealed::Released;
use cofre_model::time::{Clock, Span};
use cofre_model::wording::{Form, Locale, Purpose, Scope};
use cofre_proto::v1;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message;

use super::people::{FRONT_END, OPERATOR, People, Person, WORKER};
use super::world::{ORIGIN, World};
use crate::input::Input;

const BANK: &str = "ins_banco-abierto";
const SUBJECT: &str = "inv-1";
/// What was deposited, field by field.
const SECRETS: [(&str, &str); 2] = [("user", "user-1"), ("password", "contraseña")];

static PAIR: LazyLock<WorkerKeyPair> = LazyLock::new(|| WorkerKeyPair::generate(Suite::X25519).expect("a pair"));

/// Whether a method answers with a stream.
pub(super) fn is_stream(method: &str) -> bool {
    ["/WatchLease", "/AwaitAnswer", "/Watch", "/Export"].iter().any(|name| method.ends_with(name))
}

/// Ids and keys of the template, and what was learnt since.
#[derive(Clone)]
pub(super) struct Known {
    tenant: TenantId,
    owner: SubjectId,
    credential: CredentialId,
    recipient: RecipientId,
    keys: Arc<Vec<Registered>>,
    /// The consent in force, or the last that was.
    consent: String,
    /// A notice that waits to be granted: its consent and digest.
    offered: (String, Vec<u8>),
    enrolment: String,
    deposit_key: Option<(String, Vec<u8>)>,
    erasure: String,
    serial: u8,
    /// The consent was withdrawn and no other given since.
    revoked: bool,
    /// Somebody pressed a stop button that nobody can lift, or the person was erased.
    stopped: bool,
    /// Another secret may rest by now.
    renewed: bool,
}

fn scheduler(kind: StatementKind) -> SigningKey {
    SigningKey::from_bytes(&[if kind == StatementKind::Job { 21 } else { 22 }; 32])
}

fn slug(text: &str) -> Slug {
    Slug::try_from(text).expect("a slug")
}

impl Known {
    /// Furnishes empty stores through the use cases, as the people of a deployment do.
    pub(super) async fn furnish(uses: &UseCases, people: &People, clock: &dyn Clock) -> Self {
        let (operator, front_end) = (people.named(OPERATOR).caller(), people.named(FRONT_END).caller());
        let until = clock.now().plus(Span::days(90));
        let signing_keys = [StatementKind::Job, StatementKind::Attendance]
            .map(|kind| (kind, scheduler(kind).verifying_key().to_bytes(), until))
            .to_vec();
        let acme = PutTenant {
            slug: slug("acme"),
            legal_name: "Acme Patrimonios".to_owned(),
            home_region: slug("eu-nl"),
            signing_keys,
            recipients: vec!["Acme Informes".to_owned()],
        };
        let tenant = uses.admin.put_tenant(operator, acme).await.expect("a tenant");
        uses.admin.put_institution(operator, bank()).await.expect("a bank");
        uses.admin.put_template(operator, template()).await.expect("a template");
        let id = people.named(WORKER).caller().identity().clone();
        let worker = PutWorker { id, scopes: vec![(tenant.id, bank().id)] };
        uses.admin.put_worker(operator, worker).await.expect("a worker");

        let subject = SubjectRef::try_from(SUBJECT).expect("a name");
        let login = Login::New { institution: bank().id, subject };
        let session = uses.deposits.open(front_end, &OpenEnrolment { login }).await.expect("a session");
        let key = uses.deposits.deposit_key(front_end).await.expect("a deposit key");
        let to = PublicKey::try_from(&key.key).expect("a key");
        let context = DepositContext {
            tenant: tenant.id,
            key: key.id,
            enrolment: session.enrolment,
            owner: session.owner,
            credential: session.credential,
            template_version: session.template.version,
        };
        let sealed = seal_deposit(&to, &context, secrets()).expect("sealed");
        let deposit = SealedDeposit {
            enrolment: session.enrolment,
            deposit_key: key.id,
            encapsulated_key: sealed.encapsulated_key,
            fields: sealed.fields.into_iter().map(|field| (field.key, field.sealed)).collect(),
        };
        uses.deposits.deposit(front_end, deposit).await.expect("a login at rest");
        let recipient = tenant.recipients[0].id;
        let notice = NoticeRequest {
            credential: session.credential,
            recipient,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Accounts, Scope::Positions].into_iter().collect(),
            valid_until: clock.now().plus(Span::days(60)),
            history_from: clock.now().minus(Span::days(700)),
            unattended_per_day: 4,
            locale: Locale::Es,
        };
        let offer = uses.consents.notice(front_end, &notice).await.expect("a notice");
        let grant = GrantRequest {
            consent: offer.consent,
            notice_sha256: offer.notice.sha256,
            authn_method: Token::try_from("passkey").expect("a token"),
            session: Token::try_from("s-1").expect("a token"),
        };
        uses.consents.grant(front_end, &grant).await.expect("a consent");
        Self {
            tenant: tenant.id,
            owner: session.owner,
            credential: session.credential,
            recipient,
            keys: Arc::new(tenant.signing_keys),
            consent: offer.consent.to_string(),
            offered: (offer.consent.to_string(), offer.notice.sha256.to_vec()),
            enrolment: session.enrolment.to_string(),
            deposit_key: Some((key.id.to_string(), key.key.bytes)),
            erasure: String::new(),
            serial: 0,
            revoked: false,
            stopped: false,
            renewed: false,
        }
    }

    fn signed(&self, kind: StatementKind, statement: Vec<u8>) -> Option<v1::SignedStatement> {
        let key = self.keys.iter().find(|key| key.kind == kind)?;
        let signature = scheduler(kind).sign(&signing_input(kind, &statement)).to_bytes().to_vec();
        Some(v1::SignedStatement { key_id: key.id.to_string(), statement, signature })
    }

    fn job(&self, clock: &dyn Clock) -> (JobId, Option<v1::SignedStatement>) {
        let id = JobId::from_parts(clock.now().millis(), [3; 10]);
        let job = Job {
            id,
            tenant: self.tenant,
            credential: self.credential,
            worker: WORKER.to_owned(),
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions].into_iter().collect(),
            recipient: self.recipient,
            history_from: clock.now().minus(Span::days(30)),
            deadline: clock.now().plus(Span::minutes(10)),
        };
        (id, self.signed(StatementKind::Job, encode_job(&job)))
    }

    fn attendance(&self, clock: &dyn Clock) -> Option<v1::SignedStatement> {
        let statement = AttendanceStatement {
            id: AttendanceId::from_parts(clock.now().millis(), [self.serial; 10]),
            tenant: self.tenant,
            owner: self.owner,
            credential: self.credential,
            issued_at: clock.now(),
        };
        self.signed(StatementKind::Attendance, encode_attendance(&statement))
    }

    /// A good message of `method`, with some choice in it.
    pub(super) fn message(&mut self, method: &str, world: &World, input: &mut Input<'_>) -> Vec<u8> {
        let clock = world.clock();
        let credential_id = self.credential.to_string();
        let choice = input.byte();
        if choice & 1 == 0 {
            self.serial = self.serial.wrapping_add(1);
        }
        let job_id = self.job(&*clock).0.to_string();
        let challenge_id = ChallengeId::from_parts(clock.now().millis(), [choice >> 6; 10]).to_string();
        match method.rsplit_once('.').map_or(method, |(_, name)| name) {
            "ReleaseService/Release" => self.release(&*clock, choice).encode_to_vec(),
            "ReleaseService/ReportOutcome" => {
                let outcome = 1 + i32::from(choice >> 4) % 11;
                let locked_until_us = if outcome == 4 { clock.now().plus(Span::hours(1)).micros() } else { 0 };
                v1::ReportOutcomeRequest { credential_id, job_id, outcome, locked_until_us }.encode_to_vec()
            }
            "ReleaseService/WatchLease" => v1::WatchLeaseRequest { credential_id, job_id }.encode_to_vec(),
            "RelayService/Open" => v1::OpenRequest {
                credential_id,
                job_id,
                kind: 4,
                code_length: 6,
                attempt: 1,
                expires_us: clock.now().plus(Span::minutes(3)).micros(),
                intent: "LOGIN".to_owned(),
                text: "Enter the code of your app".to_owned(),
                challenge_id,
                key: Some(v1::ChallengeKey {
                    suite: 2,
                    public_key: PAIR.public().as_bytes().to_vec(),
                    certificate_chain: vec![vec![1; 64]],
                    signature: vec![2; 64],
                }),
            }
            .encode_to_vec(),
            "RelayService/Answer" => {
                v1::AnswerRequest { challenge_id, encapsulated_key: vec![4; 32], ciphertext: vec![5; 80] }
                    .encode_to_vec()
            }
            "RelayService/AwaitAnswer" => v1::AwaitAnswerRequest { challenge_id }.encode_to_vec(),
            "RelayService/Conclude" => v1::ConcludeRequest { challenge_id, succeeded: choice & 2 == 0 }.encode_to_vec(),
            "RelayService/Cancel" => v1::CancelRequest { challenge_id }.encode_to_vec(),
            "ConsentService/Notice" => v1::NoticeRequest {
                credential_id,
                recipient_id: self.recipient.to_string(),
                purpose: 1,
                scopes: vec![2, 7],
                valid_until_us: clock.now().plus(Span::days(60)).micros(),
                history_from_us: clock.now().minus(Span::days(700)).micros(),
                unattended_per_day: u32::from(choice & 7),
                locale: 1 + i32::from(choice >> 6),
            }
            .encode_to_vec(),
            "ConsentService/Grant" => v1::GrantRequest {
                consent_id: self.offered.0.clone(),
                notice_sha256: self.offered.1.clone(),
                authn_method: "passkey".to_owned(),
                session_id: "s-2".to_owned(),
            }
            .encode_to_vec(),
            "ConsentService/Revoke" => v1::RevokeRequest { consent_id: self.consent.clone() }.encode_to_vec(),
            "ConsentService/Receipt" => v1::ReceiptRequest { consent_id: self.consent.clone() }.encode_to_vec(),
            "PrivacyService/Certificate" => v1::CertificateRequest { erasure_id: self.erasure.clone() }.encode_to_vec(),
            "PrivacyService/Erase" => {
                let person = match choice & 2 {
                    0 => v1::erase_request::Person::SubjectId(self.owner.to_string()),
                    _ => v1::erase_request::Person::SubjectRef(SUBJECT.to_owned()),
                };
                v1::EraseRequest { person: Some(person) }.encode_to_vec()
            }
            "SecurityService/Lockdown" => {
                use v1::lockdown_request::Scope as Wire;
                let scope = match choice >> 6 {
                    0 => Wire::Platform(true),
                    1 => Wire::TenantId(self.tenant.to_string()),
                    2 => Wire::InstitutionId(BANK.to_owned()),
                    _ => Wire::CredentialId(credential_id),
                };
                v1::LockdownRequest { scope: Some(scope) }.encode_to_vec()
            }
            "SecurityService/QuarantineWorker" => {
                v1::QuarantineWorkerRequest { spiffe_id: WORKER.to_owned() }.encode_to_vec()
            }
            "OperatorService/RotateDepositKey" => {
                v1::RotateDepositKeyRequest { tenant_id: self.tenant.to_string() }.encode_to_vec()
            }
            "OperatorService/RewrapKeys" => v1::RewrapKeysRequest {
                custody_set: "any_of(hsm-1)".to_owned(),
                from_key: if choice & 2 == 0 { String::new() } else { "memory".to_owned() },
                rate: u32::from(choice >> 6),
                dry_run: choice & 4 == 4,
            }
            .encode_to_vec(),
            "OperatorService/RetireKeys" => {
                v1::RetireKeysRequest { custodian: "hsm-1".to_owned(), key: String::new() }.encode_to_vec()
            }
            other => self.enrolled(other, choice),
        }
    }

    /// Enrolment, registries and the register.
    fn enrolled(&self, name: &str, choice: u8) -> Vec<u8> {
        let number = u64::from(choice >> 2);
        match name {
            "DepositService/OpenEnrolment" => {
                use v1::open_enrolment_request::Login as Wire;
                let new = v1::NewLogin { institution_id: BANK.to_owned(), subject_ref: format!("inv-{}", choice >> 6) };
                let anew = Wire::CredentialId(self.credential.to_string());
                let login = if choice & 2 == 0 { Wire::NewLogin(new) } else { anew };
                v1::OpenEnrolmentRequest { login: Some(login) }.encode_to_vec()
            }
            "DepositService/Deposit" => self.deposit().encode_to_vec(),
            "DepositService/CancelEnrolment" => {
                v1::CancelEnrolmentRequest { enrolment_id: self.enrolment.clone() }.encode_to_vec()
            }
            "DepositService/CredentialState" => {
                v1::CredentialStateRequest { credential_id: self.credential.to_string() }.encode_to_vec()
            }
            "AuditService/Tile" => v1::TileRequest { path: format!("tile/0/000.p/{number}") }.encode_to_vec(),
            "AuditService/Prove" => v1::ProveRequest { index: number }.encode_to_vec(),
            "AuditService/Entry" => v1::EntryRequest { index: number }.encode_to_vec(),
            "AuditService/Search" => v1::SearchRequest {
                credential_id: self.credential.to_string(),
                from_index: number,
                limit: 9,
                ..v1::SearchRequest::default()
            }
            .encode_to_vec(),
            "AdminService/PutTenant" => v1::PutTenantRequest {
                slug: if choice & 2 == 0 { "rival" } else { "acme" }.to_owned(),
                legal_name: "Rival".to_owned(),
                home_region: "eu-nl".to_owned(),
                signing_keys: Vec::new(),
                recipients: Vec::new(),
            }
            .encode_to_vec(),
            "AdminService/PutTemplate" => v1::PutTemplateRequest {
                institution_id: BANK.to_owned(),
                version: 1 + u32::from(choice >> 6),
                fields: template().fields.iter().map(cofre_proto::convert::template_field).collect(),
            }
            .encode_to_vec(),
            "AdminService/PutInstitution" => v1::PutInstitutionRequest {
                institution_id: BANK.to_owned(),
                name: "Banco Abierto".to_owned(),
                country: "ES".to_owned(),
                lockout_threshold: 3,
                unattended_from: 0,
                unattended_to: 1_440,
                suspended: choice & 2 == 2,
            }
            .encode_to_vec(),
            "AdminService/PutWorker" => {
                let scope = v1::WorkerScope { tenant_id: self.tenant.to_string(), institution_id: BANK.to_owned() };
                v1::PutWorkerRequest { spiffe_id: WORKER.to_owned(), scopes: vec![scope] }.encode_to_vec()
            }
            _ => Vec::new(),
        }
    }

    fn release(&self, clock: &dyn Clock, choice: u8) -> v1::ReleaseRequest {
        let mut fields: Vec<v1::FieldRequest> = SECRETS
            .iter()
            .map(|(key, _)| v1::FieldRequest { key: (*key).to_owned(), form: 1, positions: Vec::new() })
            .collect();
        if choice & 4 == 4 {
            fields[1] = v1::FieldRequest { key: "password".to_owned(), form: 2, positions: vec![1, 8] };
        }
        v1::ReleaseRequest {
            request_id: RequestId::from_parts(clock.now().millis(), [self.serial; 10]).to_string(),
            credential_id: self.credential.to_string(),
            job: self.job(clock).1,
            attendance: if choice & 2 == 0 { self.attendance(clock) } else { None },
            class: 1,
            fields,
            suite: 2,
            seal_key: PAIR.public().as_bytes().to_vec(),
        }
    }

    fn deposit(&self) -> v1::DepositRequest {
        let (deposit_key_id, key) = self.deposit_key.clone().unwrap_or_default();
        let suite = if key.len() == 32 { Suite::X25519 } else { Suite::MlKem768X25519 };
        // The true context is not known to this client for every enrolment: most deposits are sealed for another one.
        let context = DepositContext {
            tenant: self.tenant,
            key: deposit_key_id
                .as_str()
                .try_into()
                .unwrap_or_else(|_| cofre_model::id::DepositKeyId::from_parts(1, [1; 10])),
            enrolment: self
                .enrolment
                .as_str()
                .try_into()
                .unwrap_or_else(|_| cofre_model::id::EnrolmentId::from_parts(1, [1; 10])),
            owner: self.owner,
            credential: self.credential,
            template_version: 1,
        };
        let sealed = PublicKey::new(suite, &key).and_then(|to| seal_deposit(&to, &context, secrets()));
        let (encapsulated_key, fields) =
            sealed.map_or_else(|_| (vec![1; 32], Vec::new()), |sealed| (sealed.encapsulated_key, sealed.fields));
        let fields =
            fields.into_iter().map(|field| v1::SealedField { key: field.key.to_string(), sealed: field.sealed });
        v1::DepositRequest {
            enrolment_id: self.enrolment.clone(),
            deposit_key_id,
            encapsulated_key,
            fields: fields.collect(),
        }
    }

    /// Learns from an answer; judges it where a login left.
    pub(super) async fn learn(&mut self, method: &str, asked: &[u8], answer: &[u8], world: &World, who: &Person) {
        match method.rsplit_once('.').map_or(method, |(_, name)| name) {
            "ReleaseService/Release" => self.left(asked, answer, world, who).await,
            "ConsentService/Notice" => {
                let offer = v1::NoticeResponse::decode(answer).expect("an answer");
                self.offered = (offer.consent_id, offer.notice_sha256);
            }
            "ConsentService/Grant" => {
                self.consent = v1::GrantRequest::decode(asked).expect("was read").consent_id;
                self.revoked = false;
            }
            "ConsentService/Revoke" => {
                let ended = v1::RevokeRequest::decode(asked).expect("was read").consent_id;
                self.revoked |= ended == self.consent;
            }
            "PrivacyService/Erase" => {
                use v1::erase_request::Person as Wire;
                let person = v1::EraseRequest::decode(asked).expect("was read").person;
                let own = match person {
                    Some(Wire::SubjectId(id)) => id == self.owner.to_string(),
                    Some(Wire::SubjectRef(name)) => name == SUBJECT,
                    None => false,
                };
                self.stopped |= own;
                self.erasure = v1::EraseResponse::decode(answer).expect("an answer").erasure_id;
            }
            "SecurityService/Lockdown" => {
                use v1::lockdown_request::Scope as Wire;
                self.stopped |= match v1::LockdownRequest::decode(asked).expect("was read").scope {
                    Some(Wire::Platform(all)) => all,
                    Some(Wire::TenantId(id)) => id == self.tenant.to_string(),
                    Some(Wire::InstitutionId(id)) => id == BANK,
                    Some(Wire::CredentialId(id)) => id == self.credential.to_string(),
                    None => false,
                };
            }
            "SecurityService/QuarantineWorker" => {
                let named = v1::QuarantineWorkerRequest::decode(asked).expect("was read").spiffe_id;
                self.stopped |= named == WORKER;
            }
            "DepositService/DepositKey" => {
                let key = v1::DepositKeyResponse::decode(answer).expect("an answer");
                self.deposit_key = Some((key.key_id, key.public_key));
            }
            "DepositService/OpenEnrolment" => {
                self.enrolment = v1::OpenEnrolmentResponse::decode(answer).expect("an answer").enrolment_id;
            }
            "DepositService/Deposit" => self.renewed = true,
            _ => {}
        }
    }

    /// A login left: to its worker, under an entry that says so, as it was deposited, and with nothing that forbade it.
    async fn left(&self, asked: &[u8], answer: &[u8], world: &World, who: &Person) {
        assert!(!self.revoked, "a login left after its consent was withdrawn");
        assert!(!self.stopped, "a login left after somebody pressed stop");
        let asked = v1::ReleaseRequest::decode(asked).expect("was read");
        let answer = v1::ReleaseResponse::decode(answer).expect("an answer");
        let told = answer.entry.expect("an entry");
        let (leaf, hash) = world.entry(told.index).await.expect("a release has an entry");
        assert_eq!(hash.as_slice(), told.leaf_hash, "the entry is another one");
        let entry = leaf.entry().expect("an entry that reads");
        assert!(matches!(entry.kind, EntryKind::Granted | EntryKind::Redelivered), "{:?}", entry.kind);
        let name = who.caller().identity().to_string();
        assert_eq!(entry.caller.as_ref().map(|caller| caller.identity.as_str()), Some(name.as_str()));
        assert_eq!(entry.credential, Some(self.credential));
        assert_eq!(entry.request_digest.map(|digest| digest.to_vec()), Some(answer.request_digest.clone()));
        let context = ReleaseContext {
            origin: ORIGIN,
            index: told.index,
            entry_hash: hash,
            request_digest: entry.request_digest.expect("a digest"),
            worker: WORKER,
        };
        if asked.seal_key != PAIR.public().as_bytes() {
            return;
        }
        let released = Released { encapsulated_key: answer.encapsulated_key, ciphertext: answer.ciphertext };
        let fields = open_released(&PAIR, &context, &released).expect("the worker opens what it got");
        assert_eq!(fields.len(), asked.fields.len(), "more or fewer fields than asked for");
        for (field, asked) in fields.iter().zip(&asked.fields) {
            assert_eq!((field.key.as_str(), field.form.number()), (asked.key.as_str(), asked.form));
            let secret = SECRETS.iter().find(|(key, _)| *key == asked.key).map_or("", |(_, secret)| *secret);
            let picked = || asked.positions.iter().filter_map(|at| secret.chars().nth(*at as usize - 1)).collect();
            let expected: String = if field.form == Form::Full { secret.to_owned() } else { picked() };
            let same = field.value.with_bytes(|value| value == expected.as_bytes());
            assert!(same || self.renewed, "another secret left than was deposited");
        }
    }
}

fn secrets() -> Vec<(FieldKey, ClientSecret)> {
    let field = |(key, value): &(&str, &str)| {
        (FieldKey::try_from(*key).expect("a field key"), ClientSecret::copy_of(value.as_bytes()))
    };
    SECRETS.iter().map(field).collect()
}

fn bank() -> Institution {
    Institution {
        id: InstitutionId::try_from(BANK).expect("an id"),
        name: "Banco Abierto".to_owned(),
        country: "ES".to_owned(),
        state: InstitutionState::Enabled,
        lockout_threshold: 3,
        unattended_from: 0,
        unattended_to: 1_440,
    }
}

fn template() -> Template {
    let field = |(key, _): &(&str, &str)| TemplateField {
        key: FieldKey::try_from(*key).expect("a field key"),
        pattern: ".+".to_owned(),
        required: true,
        secret: true,
        signing_factor: false,
        identifies: *key == "user",
        release_form: Form::Full,
    };
    Template { institution: bank().id, version: 1, fields: SECRETS.iter().map(field).collect() }
}
