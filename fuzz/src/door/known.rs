//! What an honest deployment would know: ids, keys, secrets. Composes good messages for every method, learns from
//! answers, and judges each login that left.

mod messages;

use std::sync::{Arc, LazyLock};

use cofre_edge::services::UseCases;
use cofre_envelope::context::{DepositContext, ReleaseContext};
use cofre_envelope::{ClientSecret, PublicKey, Suite, WorkerKeyPair, open_released, seal_deposit};
use cofre_ledger::signed::{encode_attendance, encode_job, signing_input};
use cofre_model::credential::FieldKey;
use cofre_model::entry::EntryKind;
use cofre_model::id::{AttendanceId, CredentialId, InstitutionId, JobId, RecipientId, Slug, SubjectId, TenantId};
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
            custody_set: None,
            warm_for: None,
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
