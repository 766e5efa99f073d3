//! What belongs to another tenant, or to another worker, answers exactly like what does not exist.

use cofre_client::challenge::Question;
use cofre_client::worker::Errand;
use cofre_demo::world::seed::Wanted;
use cofre_model::id::{
    ChallengeId, ConsentId, CredentialId, DepositKeyId, EnrolmentId, ErasureId, JobId, RecipientId, SubjectId,
};
use cofre_model::request::{Login, NoticeRequest, Person, SubjectRef};
use cofre_model::time::Span;
use cofre_model::wording::{Locale, Outcome, Purpose, ScaKind, Scope};
use cofre_proto::v1;
use cofre_proto::v1::consent_service_client::ConsentServiceClient;
use cofre_proto::v1::deposit_service_client::DepositServiceClient;
use cofre_proto::v1::privacy_service_client::PrivacyServiceClient;
use cofre_proto::v1::relay_service_client::RelayServiceClient;
use cofre_proto::v1::release_service_client::ReleaseServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use super::{ABSENT, No, Sent, Yard, fields_of, random};

/// Sends a foreign id and an absent one and compares the two answers to the byte, the entry's index apart.
async fn twins(
    yard: &Yard,
    method: &'static str,
    field: Option<&str>,
    ids: (String, String),
    send: impl Fn(String) -> Sent,
) {
    for _ in 0..3 {
        let mut told = Vec::new();
        for (which, id) in [("foreign", &ids.0), ("absent", &ids.1)] {
            let status = send(id.clone()).await.err().unwrap_or_else(|| panic!("{method}: {which} was taken"));
            let what = format!("{method}, {which}");
            let refused = yard.refused_at(&what, Some(method), Err::<(), _>(status.clone()), ABSENT, field);
            let entry = refused.entry.expect("an entry").to_string();
            told.push((status, entry));
        }
        let [(foreign, one), (absent, other)] = told.as_slice() else { panic!("two answers") };
        // The index is part of the details: only numbers of one length leave the rest comparable.
        if one.len() != other.len() {
            continue;
        }
        assert_eq!(bytes(foreign, one), bytes(absent, other), "{method}: {foreign:?} and {absent:?}");
        return;
    }
    panic!("{method}: the register grew by a digit three times");
}

/// Code, message and details with the entry's index blanked.
fn bytes(status: &Status, entry: &str) -> (tonic::Code, String, Vec<u8>) {
    let (details, entry) = (status.details(), entry.as_bytes());
    let at = details.windows(entry.len()).position(|part| part == entry).expect("the index is in the details");
    let blank = vec![b'#'; entry.len()];
    let masked = [&details[..at], blank.as_slice(), &details[at + entry.len()..]].concat();
    (status.code(), status.message().to_owned(), masked)
}

macro_rules! send {
    ($client:expr, $call:ident, |$text:ident| $message:expr) => {{
        let client = $client.clone();
        move |$text: String| -> Sent {
            let (mut client, message) = (client.clone(), $message);
            Box::pin(async move { client.$call(message).await.map(drop) })
        }
    }};
}

/// South's front end names what is north's; one worker names another's.
pub(super) async fn like_foreign(yard: &Yard) {
    let south = yard.front_end("gestora-sur").await;
    credentials(yard, &south).await;
    enrolments(yard, &south).await;
    consents(yard, &south).await;
    persons(yard, &south).await;
    releases(yard).await;
    challenges(yard, &south).await;
    assert!(yard.settle().await >= 34);
}

fn ms(yard: &Yard) -> u64 {
    yard.world.clock.now().millis()
}

async fn credentials(yard: &Yard, south: &Channel) {
    let deposits = DepositServiceClient::new(south.clone());
    let consents = ConsentServiceClient::new(south.clone());
    let ids = || (yard.crowd[0].credential.to_string(), CredentialId::from_parts(ms(yard), random()).to_string());
    let state = send!(deposits, credential_state, |text| v1::CredentialStateRequest { credential_id: text });
    twins(yard, "DepositService/CredentialState", None, ids(), state).await;
    let open = send!(deposits, open_enrolment, |text| v1::OpenEnrolmentRequest {
        login: Some(v1::open_enrolment_request::Login::CredentialId(text))
    });
    twins(yard, "DepositService/OpenEnrolment", None, ids(), open).await;
    let base = notice(yard, yard.crowd[0].credential, yard.world.south.recipient);
    let ask = send!(consents, notice, |text| v1::NoticeRequest { credential_id: text, ..base.clone() });
    twins(yard, "ConsentService/Notice", None, ids(), ask).await;
}

fn notice(yard: &Yard, credential: CredentialId, recipient: RecipientId) -> v1::NoticeRequest {
    let now = yard.world.clock.now();
    v1::NoticeRequest {
        credential_id: credential.to_string(),
        recipient_id: recipient.to_string(),
        purpose: 1,
        scopes: vec![1],
        valid_until_us: now.plus(Span::days(1)).micros(),
        history_from_us: now.micros(),
        unattended_per_day: 0,
        locale: 2,
    }
}

async fn enrolments(yard: &Yard, south: &Channel) {
    let deposits = DepositServiceClient::new(south.clone());
    let (north_end, south_end) =
        (yard.world.north.front_end().expect("connected"), yard.world.south.front_end().expect("connected"));
    let again = north_end.open_enrolment(&Login::Existing(yard.crowd[0].credential)).await.expect("a session");
    let ids = || (again.id.to_string(), EnrolmentId::from_parts(ms(yard), random()).to_string());
    let cancel = send!(deposits, cancel_enrolment, |text| v1::CancelEnrolmentRequest { enrolment_id: text });
    twins(yard, "DepositService/CancelEnrolment", None, ids(), cancel).await;

    let new = Login::New {
        institution: "ins_banco-abierto".try_into().expect("an id"),
        subject: SubjectRef::try_from("hostile-south").expect("a token"),
    };
    let own = south_end.open_enrolment(&new).await.expect("a session");
    let south_key = south_end.deposit_key().await.expect("a key").signed().id;
    let north_key = north_end.deposit_key().await.expect("a key").signed().id;
    let fields = ["document_type", "document_number", "pin"];
    let base = v1::DepositRequest {
        enrolment_id: own.id.to_string(),
        deposit_key_id: south_key.to_string(),
        encapsulated_key: vec![1; 1_120],
        fields: fields.map(|key| v1::SealedField { key: key.to_owned(), sealed: vec![1; 80] }).to_vec(),
    };
    let into = base.clone();
    let deposit = send!(deposits, deposit, |text| v1::DepositRequest { enrolment_id: text, ..into.clone() });
    twins(yard, "DepositService/Deposit", Some("enrolment_id"), ids(), deposit).await;
    let ids = (north_key.to_string(), DepositKeyId::from_parts(ms(yard), random()).to_string());
    let deposit = send!(deposits, deposit, |text| v1::DepositRequest { deposit_key_id: text, ..base.clone() });
    twins(yard, "DepositService/Deposit", Some("deposit_key_id"), ids, deposit).await;

    // North's recipient in a notice about south's own login.
    let consents = ConsentServiceClient::new(south.clone());
    let base = notice(yard, own.credential, yard.world.south.recipient);
    let ids = (yard.world.north.recipient.to_string(), RecipientId::from_parts(ms(yard), random()).to_string());
    let ask = send!(consents, notice, |text| v1::NoticeRequest { recipient_id: text, ..base.clone() });
    twins(yard, "ConsentService/Notice", Some("recipient_id"), ids, ask).await;
    // The session was north's to end all along.
    north_end.cancel_enrolment(&again.id).await.expect("still open");
    south_end.cancel_enrolment(&own.id).await.expect("still open");
}

async fn consents(yard: &Yard, south: &Channel) {
    let consents = ConsentServiceClient::new(south.clone());
    let north_end = yard.world.north.front_end().expect("connected");
    let now = yard.world.clock.now();
    let offered = north_end
        .notice(&NoticeRequest {
            credential: yard.crowd[5].credential,
            recipient: yard.world.north.recipient,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Accounts].into_iter().collect(),
            valid_until: now.plus(Span::days(1)),
            history_from: now,
            unattended_per_day: 0,
            locale: Locale::En,
        })
        .await
        .expect("a notice");
    let ids = || (offered.consent.to_string(), ConsentId::from_parts(ms(yard), random()).to_string());
    let base = v1::GrantRequest {
        consent_id: String::new(),
        notice_sha256: offered.sha256.to_vec(),
        authn_method: "passkey".to_owned(),
        session_id: "session".to_owned(),
    };
    let grant = send!(consents, grant, |text| v1::GrantRequest { consent_id: text, ..base.clone() });
    twins(yard, "ConsentService/Grant", None, ids(), grant).await;
    let revoke = send!(consents, revoke, |text| v1::RevokeRequest { consent_id: text });
    twins(yard, "ConsentService/Revoke", None, ids(), revoke).await;
    let receipt = send!(consents, receipt, |text| v1::ReceiptRequest { consent_id: text });
    twins(yard, "ConsentService/Receipt", None, ids(), receipt).await;
    let (state, papers) = north_end.receipts(&offered.consent).await.expect("north's own");
    assert_eq!((state.as_str(), papers.len()), ("AWAITING_AUTHORISATION", 0));
}

async fn persons(yard: &Yard, south: &Channel) {
    let privacy = PrivacyServiceClient::new(south.clone());
    use v1::erase_request::Person as Wire;
    let ids = (yard.crowd[0].owner.to_string(), SubjectId::from_parts(ms(yard), random()).to_string());
    let erase = send!(privacy, erase, |text| v1::EraseRequest { person: Some(Wire::SubjectId(text)) });
    twins(yard, "PrivacyService/Erase", None, ids, erase).await;
    // `crowd-0` is a pseudonym of north's; in south nobody has it.
    let ids = ("crowd-0".to_owned(), "nobody".to_owned());
    let erase = send!(privacy, erase, |text| v1::EraseRequest { person: Some(Wire::SubjectRef(text)) });
    twins(yard, "PrivacyService/Erase", None, ids, erase).await;

    let north_end = yard.world.north.front_end().expect("connected");
    let short = Login::New {
        institution: "ins_banco-abierto".try_into().expect("an id"),
        subject: SubjectRef::try_from("hostile-erased").expect("a token"),
    };
    let enrolment = north_end.open_enrolment(&short).await.expect("a session");
    let erased = north_end.erase(&Person::Id(enrolment.owner)).await.expect("erased");
    let ids = (erased.id.to_string(), ErasureId::from_parts(ms(yard), random()).to_string());
    let certificate = send!(privacy, certificate, |text| v1::CertificateRequest { erasure_id: text });
    twins(yard, "PrivacyService/Certificate", None, ids, certificate).await;
}

/// South's own job, well signed, on north's login and on none.
async fn releases(yard: &Yard) {
    let worker = yard.worker("w02").await;
    let clock = &*yard.world.clock;
    let mut told = Vec::new();
    for (what, credential) in
        [("foreign", yard.crowd[0].credential), ("absent", CredentialId::from_parts(ms(yard), random()))]
    {
        let (_, job) = yard.world.south.job(clock, credential, &Wanted::by("w02")).expect("a job");
        let attendance = yard.world.south.attendance(clock, credential, yard.crowd[0].owner).expect("a statement");
        let errand = Errand { job, attendance: Some(attendance), fields: fields_of(&yard.crowd[0]) };
        let not_found = No(ABSENT.0, ABSENT.1, "CREDENTIAL_NOT_FOUND");
        let mut refused = yard.refused(what, worker.release(errand).await, not_found, None);
        refused.entry = None;
        told.push(refused);
    }
    assert_eq!(told[0], told[1]);
}

/// A lease and a challenge of worker 1, named by worker 2 and by south's front end.
async fn challenges(yard: &Yard, south: &Channel) {
    let owner = yard.worker("w01").await;
    let stranger = yard.worker_channel("w02").await;
    let login = &yard.crowd[0];
    let clock = &*yard.world.clock;
    let (_, job) = yard.world.north.job(clock, login.credential, &Wanted::by("w01")).expect("a job");
    let attendance = yard.world.north.attendance(clock, login.credential, login.owner).expect("a statement");
    let errand = Errand { job, attendance: Some(attendance), fields: fields_of(login) };
    let lease = owner.release(errand).await.expect("a login").lease;

    let releases = ReleaseServiceClient::new(stranger.clone());
    let ids = || (lease.job.to_string(), JobId::from_parts(ms(yard), random()).to_string());
    let credential = login.credential.to_string();
    let report = send!(releases, report_outcome, |text| v1::ReportOutcomeRequest {
        credential_id: credential.clone(),
        job_id: text,
        outcome: 3,
        locked_until_us: 0,
    });
    twins(yard, "ReleaseService/ReportOutcome", None, ids(), report).await;
    let credential = login.credential.to_string();
    let watch =
        send!(releases, watch_lease, |text| v1::WatchLeaseRequest { credential_id: credential.clone(), job_id: text });
    twins(yard, "ReleaseService/WatchLease", None, ids(), watch).await;

    let question = Question {
        kind: ScaKind::SmsOtp,
        code_length: 6,
        attempt: 1,
        expires: yard.world.clock.now().plus(Span::minutes(2)),
        text: "Type the code we sent to your phone".to_owned(),
    };
    let challenge = owner.open_challenge(&lease, question).await.expect("a challenge");
    let ids = || (challenge.id.to_string(), ChallengeId::from_parts(ms(yard), random()).to_string());
    for (caller, channel) in [("worker", stranger), ("front end", south.clone())] {
        let relay = RelayServiceClient::new(channel);
        let cancel = send!(relay, cancel, |text| v1::CancelRequest { challenge_id: text });
        twins(yard, "RelayService/Cancel", None, ids(), cancel).await;
        if caller == "front end" {
            let answer = send!(relay, answer, |text| v1::AnswerRequest {
                challenge_id: text,
                encapsulated_key: vec![1; 1_120],
                ciphertext: vec![1; 80],
            });
            twins(yard, "RelayService/Answer", None, ids(), answer).await;
            continue;
        }
        let conclude = send!(relay, conclude, |text| v1::ConcludeRequest { challenge_id: text, succeeded: true });
        twins(yard, "RelayService/Conclude", None, ids(), conclude).await;
        // The head of a stream goes out at once: the refusal is its end.
        let wait = move |text: String| -> Sent {
            let mut relay = relay.clone();
            Box::pin(async move {
                let request = v1::AwaitAnswerRequest { challenge_id: text };
                relay.await_answer(request).await?.into_inner().message().await.map(drop)
            })
        };
        twins(yard, "RelayService/AwaitAnswer", None, ids(), wait).await;
    }
    // It was worker 1's to cancel all along.
    owner.cancel_challenge(challenge).await.expect("still open");
    owner.report(&lease, Outcome::Cancelled, None).await.expect("its own lease");
}
