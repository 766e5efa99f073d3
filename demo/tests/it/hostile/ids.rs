//! Every field that names something, in every spelling but the right one.

use cofre_model::id::{ChallengeId, DepositKeyId, EnrolmentId, ErasureId, JobId, RequestId, SigningKeyId};
use cofre_proto::v1;
use cofre_proto::v1::consent_service_client::ConsentServiceClient;
use cofre_proto::v1::deposit_service_client::DepositServiceClient;
use cofre_proto::v1::privacy_service_client::PrivacyServiceClient;
use cofre_proto::v1::relay_service_client::RelayServiceClient;
use cofre_proto::v1::release_service_client::ReleaseServiceClient;
use tonic::Code;

use super::{BAD, Sent, Yard, random};

/// One field of one method.
struct Row {
    method: &'static str,
    field: &'static str,
    spellings: Vec<String>,
    send: Box<dyn Fn(String) -> Sent>,
}

/// Spellings of an identifier that fold, trim, decode or cut to `good` somewhere else.
fn of_id(good: &str) -> Vec<String> {
    let lower = good.to_lowercase();
    let (prefix, rest) = good.split_once('_').expect("a prefix");
    let other_prefix = if prefix == "crd" { "cns" } else { "crd" };
    let mut spellings = vec![
        if lower == good { good.to_uppercase() } else { lower },
        format!("{}_{rest}", prefix.to_uppercase()),
        format!("{other_prefix}_{rest}"),
        rest.to_owned(),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}\0"),
        format!("{good}\u{200b}"),
        format!("{prefix}_\u{200b}{rest}"),
        format!("{good}/.."),
        format!("{prefix}_.."),
        "..".to_owned(),
        "%2e%2e".to_owned(),
        format!("{prefix}%5f{rest}"),
        format!("{good}' OR '1'='1"),
        "*".to_owned(),
        String::new(),
        format!("{prefix}_{}", "A".repeat(10_240)),
    ];
    if prefix != "ins" {
        // 27 characters, 25, a letter Crockford's alphabet lacks, more than 128 bits, and no UUIDv7.
        let shorter = good.get(..29).expect("30 characters");
        spellings.extend([format!("{good}0"), shorter.to_owned(), format!("{shorter}U")]);
        let tail = good.get(5..).expect("30 characters");
        spellings.extend([format!("{prefix}_8{tail}"), format!("{prefix}_{}", "0".repeat(26))]);
    }
    spellings
}

/// Texts that are no token.
fn of_token() -> Vec<String> {
    let short = ["", " a", "a ", "a b", "a\u{200b}", "%2e%2e", "a/b", "é", "a\n", "a\0"].map(str::to_owned);
    short.into_iter().chain(["a".repeat(65), "a".repeat(10_240)]).collect()
}

/// Texts that are no field key.
fn of_key() -> Vec<String> {
    let short = ["", "Pin", "pin ", " pin", "pin\u{200b}", "..", "%2e", "1pin", "p-in", "p\u{131}n"].map(str::to_owned);
    short.into_iter().chain(["p".repeat(33), "p".repeat(10_240)]).collect()
}

macro_rules! rows {
    ($($client:ident . $call:ident $method:literal $field:literal $spellings:expr, |$text:ident| $message:expr;)*) => {
        vec![$({
            let client = $client.clone();
            Row {
                method: $method,
                field: $field,
                spellings: $spellings,
                send: Box::new(move |$text: String| {
                    let (mut client, message) = (client.clone(), $message);
                    Box::pin(async move { client.$call(message).await.map(drop) })
                }),
            }
        }),*]
    };
}

/// Good ids of every kind; those of the login and its consent are real ones.
#[derive(Clone, Copy)]
struct Ids {
    credential: cofre_model::id::CredentialId,
    subject: cofre_model::id::SubjectId,
    recipient: cofre_model::id::RecipientId,
    consent: cofre_model::id::ConsentId,
    enrolment: EnrolmentId,
    key: DepositKeyId,
    job: JobId,
    signing: SigningKeyId,
    request: RequestId,
    challenge: ChallengeId,
    erasure: ErasureId,
    now: u64,
}

impl Ids {
    fn of(yard: &Yard) -> Self {
        let login = yard.login_at("banco-abierto");
        let ms = yard.world.clock.now().millis();
        Self {
            credential: login.credential,
            subject: login.owner,
            recipient: yard.world.north.recipient,
            consent: cofre_model::id::ConsentId::from_parts(ms, random()),
            enrolment: EnrolmentId::from_parts(ms, random()),
            key: DepositKeyId::from_parts(ms, random()),
            job: JobId::from_parts(ms, random()),
            signing: SigningKeyId::from_parts(ms, random()),
            request: RequestId::from_parts(ms, random()),
            challenge: ChallengeId::from_parts(ms, random()),
            erasure: ErasureId::from_parts(ms, random()),
            now: yard.world.clock.now().micros(),
        }
    }

    fn new_login(self) -> v1::NewLogin {
        v1::NewLogin { institution_id: "ins_banco-abierto".to_owned(), subject_ref: "hostile".to_owned() }
    }

    fn deposit(self) -> v1::DepositRequest {
        v1::DepositRequest {
            enrolment_id: self.enrolment.to_string(),
            deposit_key_id: self.key.to_string(),
            encapsulated_key: vec![1; 32],
            fields: vec![v1::SealedField { key: "pin".to_owned(), sealed: vec![1; 80] }],
        }
    }

    fn notice(self) -> v1::NoticeRequest {
        v1::NoticeRequest {
            credential_id: self.credential.to_string(),
            recipient_id: self.recipient.to_string(),
            purpose: 1,
            scopes: vec![1],
            valid_until_us: self.now + 3_600_000_000,
            history_from_us: self.now,
            unattended_per_day: 0,
            locale: 1,
        }
    }

    fn grant(self) -> v1::GrantRequest {
        v1::GrantRequest {
            consent_id: self.consent.to_string(),
            notice_sha256: vec![1; 32],
            authn_method: "passkey".to_owned(),
            session_id: "session".to_owned(),
        }
    }

    fn statement(self) -> v1::SignedStatement {
        v1::SignedStatement { key_id: self.signing.to_string(), statement: vec![1; 40], signature: vec![1; 64] }
    }

    fn release(self) -> v1::ReleaseRequest {
        v1::ReleaseRequest {
            request_id: self.request.to_string(),
            credential_id: self.credential.to_string(),
            job: Some(self.statement()),
            attendance: Some(self.statement()),
            class: 1,
            fields: vec![v1::FieldRequest { key: "pin".to_owned(), form: 1, positions: vec![] }],
            suite: 2,
            seal_key: vec![9; 32],
        }
    }

    fn outcome(self) -> v1::ReportOutcomeRequest {
        let (credential_id, job_id) = (self.credential.to_string(), self.job.to_string());
        v1::ReportOutcomeRequest { credential_id, job_id, outcome: 1, locked_until_us: 0 }
    }

    fn watch(self) -> v1::WatchLeaseRequest {
        v1::WatchLeaseRequest { credential_id: self.credential.to_string(), job_id: self.job.to_string() }
    }

    fn challenge(self) -> v1::OpenRequest {
        v1::OpenRequest {
            credential_id: self.credential.to_string(),
            job_id: self.job.to_string(),
            kind: 1,
            code_length: 6,
            attempt: 1,
            expires_us: self.now + 60_000_000,
            intent: "LOGIN".to_owned(),
            text: "Type the code we sent you".to_owned(),
            challenge_id: self.challenge.to_string(),
            key: Some(v1::ChallengeKey {
                suite: 2,
                public_key: vec![9; 32],
                certificate_chain: vec![vec![1]],
                signature: vec![1; 64],
            }),
        }
    }
}

/// Each is refused as a bad request that names its field, and recorded under its method.
pub(super) async fn malformed(yard: &Yard) {
    let (front, worker) = (yard.front_end("gestora-norte").await, yard.worker_channel("w02").await);
    let deposits = DepositServiceClient::new(front.clone());
    let consents = ConsentServiceClient::new(front.clone());
    let privacy = PrivacyServiceClient::new(front.clone());
    let (answers, releases) = (RelayServiceClient::new(front), ReleaseServiceClient::new(worker.clone()));
    let relay = RelayServiceClient::new(worker);
    let i = Ids::of(yard);
    let id = |good: &dyn ToString| of_id(&good.to_string());
    use v1::erase_request::Person;
    use v1::open_enrolment_request::Login;
    let rows = rows! {
        deposits.open_enrolment "DepositService/OpenEnrolment" "new_login.institution_id" id(&"ins_banco-abierto"), |text|
            v1::OpenEnrolmentRequest { login: Some(Login::NewLogin(v1::NewLogin { institution_id: text, ..i.new_login() })) };
        deposits.open_enrolment "DepositService/OpenEnrolment" "new_login.subject_ref" of_token(), |text|
            v1::OpenEnrolmentRequest { login: Some(Login::NewLogin(v1::NewLogin { subject_ref: text, ..i.new_login() })) };
        deposits.open_enrolment "DepositService/OpenEnrolment" "credential_id" id(&i.credential), |text|
            v1::OpenEnrolmentRequest { login: Some(Login::CredentialId(text)) };
        deposits.deposit "DepositService/Deposit" "enrolment_id" id(&i.enrolment), |text|
            v1::DepositRequest { enrolment_id: text, ..i.deposit() };
        deposits.deposit "DepositService/Deposit" "deposit_key_id" id(&i.key), |text|
            v1::DepositRequest { deposit_key_id: text, ..i.deposit() };
        deposits.deposit "DepositService/Deposit" "fields[0].key" of_key(), |text|
            v1::DepositRequest { fields: vec![v1::SealedField { key: text, sealed: vec![1; 80] }], ..i.deposit() };
        deposits.cancel_enrolment "DepositService/CancelEnrolment" "enrolment_id" id(&i.enrolment), |text|
            v1::CancelEnrolmentRequest { enrolment_id: text };
        deposits.credential_state "DepositService/CredentialState" "credential_id" id(&i.credential), |text|
            v1::CredentialStateRequest { credential_id: text };
        consents.notice "ConsentService/Notice" "credential_id" id(&i.credential), |text|
            v1::NoticeRequest { credential_id: text, ..i.notice() };
        consents.notice "ConsentService/Notice" "recipient_id" id(&i.recipient), |text|
            v1::NoticeRequest { recipient_id: text, ..i.notice() };
        consents.grant "ConsentService/Grant" "consent_id" id(&i.consent), |text|
            v1::GrantRequest { consent_id: text, ..i.grant() };
        consents.grant "ConsentService/Grant" "authn_method" of_token(), |text|
            v1::GrantRequest { authn_method: text, ..i.grant() };
        consents.grant "ConsentService/Grant" "session_id" of_token(), |text|
            v1::GrantRequest { session_id: text, ..i.grant() };
        consents.revoke "ConsentService/Revoke" "consent_id" id(&i.consent), |text| v1::RevokeRequest { consent_id: text };
        consents.receipt "ConsentService/Receipt" "consent_id" id(&i.consent), |text| v1::ReceiptRequest { consent_id: text };
        releases.release "ReleaseService/Release" "request_id" id(&i.request), |text|
            v1::ReleaseRequest { request_id: text, ..i.release() };
        releases.release "ReleaseService/Release" "credential_id" id(&i.credential), |text|
            v1::ReleaseRequest { credential_id: text, ..i.release() };
        releases.release "ReleaseService/Release" "job.key_id" id(&i.signing), |text|
            v1::ReleaseRequest { job: Some(v1::SignedStatement { key_id: text, ..i.statement() }), ..i.release() };
        releases.release "ReleaseService/Release" "attendance.key_id" id(&i.signing), |text|
            v1::ReleaseRequest { attendance: Some(v1::SignedStatement { key_id: text, ..i.statement() }), ..i.release() };
        releases.release "ReleaseService/Release" "fields[0].key" of_key(), |text|
            v1::ReleaseRequest { fields: vec![v1::FieldRequest { key: text, form: 1, positions: vec![] }], ..i.release() };
        releases.report_outcome "ReleaseService/ReportOutcome" "credential_id" id(&i.credential), |text|
            v1::ReportOutcomeRequest { credential_id: text, ..i.outcome() };
        releases.report_outcome "ReleaseService/ReportOutcome" "job_id" id(&i.job), |text|
            v1::ReportOutcomeRequest { job_id: text, ..i.outcome() };
        releases.watch_lease "ReleaseService/WatchLease" "credential_id" id(&i.credential), |text|
            v1::WatchLeaseRequest { credential_id: text, ..i.watch() };
        releases.watch_lease "ReleaseService/WatchLease" "job_id" id(&i.job), |text|
            v1::WatchLeaseRequest { job_id: text, ..i.watch() };
        relay.open "RelayService/Open" "credential_id" id(&i.credential), |text|
            v1::OpenRequest { credential_id: text, ..i.challenge() };
        relay.open "RelayService/Open" "job_id" id(&i.job), |text| v1::OpenRequest { job_id: text, ..i.challenge() };
        relay.open "RelayService/Open" "challenge_id" id(&i.challenge), |text|
            v1::OpenRequest { challenge_id: text, ..i.challenge() };
        relay.await_answer "RelayService/AwaitAnswer" "challenge_id" id(&i.challenge), |text|
            v1::AwaitAnswerRequest { challenge_id: text };
        relay.conclude "RelayService/Conclude" "challenge_id" id(&i.challenge), |text|
            v1::ConcludeRequest { challenge_id: text, succeeded: true };
        answers.answer "RelayService/Answer" "challenge_id" id(&i.challenge), |text|
            v1::AnswerRequest { challenge_id: text, encapsulated_key: vec![1; 32], ciphertext: vec![1; 80] };
        answers.cancel "RelayService/Cancel" "challenge_id" id(&i.challenge), |text| v1::CancelRequest { challenge_id: text };
        privacy.erase "PrivacyService/Erase" "subject_id" id(&i.subject), |text|
            v1::EraseRequest { person: Some(Person::SubjectId(text)) };
        privacy.erase "PrivacyService/Erase" "subject_ref" of_token(), |text|
            v1::EraseRequest { person: Some(Person::SubjectRef(text)) };
        privacy.certificate "PrivacyService/Certificate" "erasure_id" id(&i.erasure), |text|
            v1::CertificateRequest { erasure_id: text };
        // What is not there at all.
        deposits.open_enrolment "DepositService/OpenEnrolment" "login" vec![String::new()], |_text|
            v1::OpenEnrolmentRequest { login: None };
        releases.release "ReleaseService/Release" "job" vec![String::new()], |_text|
            v1::ReleaseRequest { job: None, ..i.release() };
        relay.open "RelayService/Open" "key" vec![String::new()], |_text| v1::OpenRequest { key: None, ..i.challenge() };
        privacy.erase "PrivacyService/Erase" "person" vec![String::new()], |_text| v1::EraseRequest { person: None };
    };
    let mut sent = 0;
    for row in &rows {
        for text in &row.spellings {
            let shown: String = text.chars().take(40).collect();
            let what = format!("{} {} {shown:?}", row.method, row.field);
            let refused =
                yard.refused_at(&what, Some(row.method), (row.send)(text.clone()).await, BAD, Some(row.field));
            assert_eq!(refused.code, Code::InvalidArgument);
            sent += 1;
        }
    }
    assert_eq!(yard.settle().await, sent);
    assert!(sent > 600, "only {sent} spellings were sent");
}
