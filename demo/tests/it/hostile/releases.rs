//! Release requests that are used up, stale, repeated with another key or malformed; and stop buttons.

use cofre_client::worker::Errand;
use cofre_demo::world::seed::Wanted;
use cofre_envelope::{Suite, WorkerKeyPair};
use cofre_model::credential::FieldRequest;
use cofre_model::id::{RequestId, SigningKeyId};
use cofre_model::job::SignedStatement;
use cofre_model::registry::LockdownScope;
use cofre_model::request::{Lockdown, Login, SubjectRef};
use cofre_model::time::{Span, Timestamp};
use cofre_proto::v1;
use cofre_proto::v1::release_service_client::ReleaseServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{ABSENT, BAD, No, Yard, fields_of, random};
use crate::crowd::Deposited;

const PRESENCE: No = No(Code::PermissionDenied, "ATTENDANCE_REQUIRED", "ATTENDANCE_INVALID");
const REPLAY: No = No(Code::AlreadyExists, "REPLAY", "REPLAY");
const JOB: No = No(Code::PermissionDenied, "JOB_INVALID", "JOB_INVALID");
const FIELD: No = No(Code::PermissionDenied, "NOT_PERMITTED", "FIELD_NOT_RELEASABLE");
const LOCKED: No = No(Code::Unavailable, "UNAVAILABLE", "LOCKDOWN");
const QUARANTINED: No = No(Code::PermissionDenied, "WORKER_QUARANTINED", "WORKER_QUARANTINED");

/// A worker that speaks the wire by hand.
struct Hand<'a> {
    yard: &'a Yard,
    client: ReleaseServiceClient<Channel>,
}

fn wire(signed: &SignedStatement) -> v1::SignedStatement {
    v1::SignedStatement {
        key_id: signed.key_id.to_string(),
        statement: signed.statement.clone(),
        signature: signed.signature.to_vec(),
    }
}

fn seal_key() -> Vec<u8> {
    WorkerKeyPair::generate(Suite::X25519).expect("a pair").public().as_bytes().to_vec()
}

impl Hand<'_> {
    fn id_at(at: Timestamp) -> String {
        RequestId::from_parts(at.millis(), random()).to_string()
    }

    /// A request that would be granted, with the job it is for.
    fn good(&self, login: &Deposited) -> (v1::ReleaseRequest, String) {
        let (world, clock) = (&self.yard.world, &*self.yard.world.clock);
        let (job, signed) = world.north.job(clock, login.credential, &Wanted::by("w03")).expect("a job");
        let presence = world.north.attendance(clock, login.credential, login.owner).expect("a statement");
        let fields = fields_of(login).into_iter().map(|FieldRequest { key, form, .. }| v1::FieldRequest {
            key: key.to_string(),
            form: form.number(),
            positions: vec![],
        });
        let request = v1::ReleaseRequest {
            request_id: Self::id_at(clock.now()),
            credential_id: login.credential.to_string(),
            job: Some(wire(&signed)),
            attendance: Some(wire(&presence)),
            class: 1,
            fields: fields.collect(),
            suite: 2,
            seal_key: seal_key(),
        };
        (request, job.id.to_string())
    }

    async fn send(&self, request: v1::ReleaseRequest) -> Result<v1::ReleaseResponse, Status> {
        self.client.clone().release(request).await.map(tonic::Response::into_inner)
    }

    async fn refused(&self, what: &str, request: v1::ReleaseRequest, no: No, field: Option<&str>) {
        let answer = self.send(request).await;
        self.yard.refused_at(what, Some("ReleaseService/Release"), answer, no, field);
    }

    /// A good request with one thing changed.
    async fn changed(&self, what: &str, change: impl FnOnce(&mut v1::ReleaseRequest), no: No, field: Option<&str>) {
        let (mut request, _) = self.good(&self.yard.crowd[0]);
        change(&mut request);
        self.refused(what, request, no, field).await;
    }

    async fn report(&self, login: &Deposited, job_id: String) {
        let credential_id = login.credential.to_string();
        let report = v1::ReportOutcomeRequest { credential_id, job_id, outcome: 1, locked_until_us: 0 };
        self.client.clone().report_outcome(report).await.expect("its own lease");
    }
}

pub(super) async fn refused(yard: &Yard) {
    let hand = Hand { yard, client: ReleaseServiceClient::new(yard.worker_channel("w03").await) };
    used_up(&hand).await;
    misdated(&hand).await;
    unsigned(&hand).await;
    out_of_bounds(&hand).await;
    not_a_key(&hand).await;
    assert_eq!(yard.settle().await, 34);
}

/// Presence counts once, and a request id belongs to one request.
async fn used_up(hand: &Hand<'_>) {
    let (login, other) = (&hand.yard.crowd[0], &hand.yard.crowd[2]);
    let (first, job) = hand.good(login);
    hand.send(first.clone()).await.expect("a login");
    let another_key = v1::ReleaseRequest { seal_key: seal_key(), ..first.clone() };
    hand.refused("the same request id for another key", another_key, REPLAY, None).await;
    let fewer = v1::ReleaseRequest { fields: first.fields[..1].to_vec(), ..first.clone() };
    hand.refused("the same request id for other fields", fewer, REPLAY, None).await;
    hand.report(login, job).await;
    let attendance = first.attendance.clone();
    hand.changed("presence used twice", |it| it.attendance = attendance, PRESENCE, None).await;
    let (elsewhere, _) = hand.good(other);
    hand.changed("presence at another login", |it| it.attendance = elsewhere.attendance, PRESENCE, None).await;
}

/// The time in a request id is the time of the request.
async fn misdated(hand: &Hand<'_>) {
    let now = hand.yard.world.clock.now();
    for (what, at) in [
        ("six minutes ago", now.minus(Span::minutes(6))),
        ("in six minutes", now.plus(Span::minutes(6))),
        ("a year ago", now.minus(Span::days(365))),
        ("1970", Timestamp::from_millis(1)),
    ] {
        hand.changed(what, |it| it.request_id = Hand::id_at(at), BAD, Some("request_id")).await;
    }
}

fn of(statement: &mut Option<v1::SignedStatement>) -> &mut v1::SignedStatement {
    statement.as_mut().expect("a statement")
}

/// Statements that nobody signed, or that were signed for something else.
async fn unsigned(hand: &Hand<'_>) {
    let nobody = SigningKeyId::from_parts(1, random()).to_string();
    let unknown = nobody.clone();
    hand.changed("a job of an unknown key", |it| of(&mut it.job).key_id = unknown, JOB, None).await;
    hand.changed("a job with one bit flipped", |it| of(&mut it.job).statement[8] ^= 1, JOB, None).await;
    hand.changed("a job's signature flipped", |it| of(&mut it.job).signature[8] ^= 1, JOB, None).await;
    hand.changed("presence for a job", |it| it.job = it.attendance.clone(), JOB, None).await;
    let other = hand.yard.crowd[2].credential.to_string();
    hand.changed("a job for another login", |it| it.credential_id = other, JOB, None).await;
    hand.changed("presence of an unknown key", |it| of(&mut it.attendance).key_id = nobody, PRESENCE, None).await;
    hand.changed("presence flipped", |it| of(&mut it.attendance).statement[8] ^= 1, PRESENCE, None).await;
    hand.changed("a job for presence", |it| it.attendance = it.job.clone(), PRESENCE, None).await;
    let short = |it: &mut v1::ReleaseRequest| of(&mut it.job).signature.truncate(63);
    hand.changed("a signature cut short", short, BAD, Some("job.signature")).await;
    let short = |it: &mut v1::ReleaseRequest| of(&mut it.attendance).statement.clear();
    hand.changed("an empty statement", short, BAD, Some("attendance.statement")).await;
    let long = |it: &mut v1::ReleaseRequest| of(&mut it.job).statement = vec![1; 1_025];
    hand.changed("a statement beyond 1 KiB", long, BAD, Some("job.statement")).await;
}

async fn out_of_bounds(hand: &Hand<'_>) {
    hand.changed("no class", |it| it.class = 0, BAD, Some("class")).await;
    hand.changed("an unknown class", |it| it.class = 99, BAD, Some("class")).await;
    hand.changed("no suite", |it| it.suite = 0, BAD, Some("suite")).await;
    hand.changed("no field", |it| it.fields.clear(), BAD, Some("fields")).await;
    let many = |it: &mut v1::ReleaseRequest| it.fields = vec![it.fields[0].clone(); 17];
    hand.changed("seventeen fields", many, BAD, Some("fields")).await;
    let twice = |it: &mut v1::ReleaseRequest| it.fields = vec![it.fields[0].clone(); 2];
    hand.changed("a field twice", twice, BAD, Some("fields[1].key")).await;
    hand.changed("an unknown form", |it| it.fields[1].form = 9, BAD, Some("fields[1].form")).await;
    let at = |it: &mut v1::ReleaseRequest| it.fields[0].positions = vec![1];
    hand.changed("positions of a whole value", at, BAD, Some("fields[0].positions")).await;
    let strange = |it: &mut v1::ReleaseRequest| it.fields[0].key = "iban".to_owned();
    hand.changed("a field of no form", strange, FIELD, None).await;
    let (mut request, _) = hand.good(hand.yard.login_at("caja-colegiados"));
    request.fields[0].key = "signature_key".to_owned();
    hand.refused("a signing factor", request, FIELD, None).await;
}

/// What cannot be sealed to is refused before anything is granted.
async fn not_a_key(hand: &Hand<'_>) {
    hand.changed("an empty seal key", |it| it.seal_key.clear(), BAD, Some("seal_key")).await;
    hand.changed("a seal key cut short", |it| it.seal_key.truncate(31), BAD, Some("seal_key")).await;
    hand.changed("a seal key of the other suite", |it| it.suite = 1, BAD, Some("seal_key")).await;
    let small = |it: &mut v1::ReleaseRequest| it.seal_key = vec![0; 32];
    hand.changed("a seal key of small order", small, BAD, Some("seal_key")).await;
    let unreduced = |it: &mut v1::ReleaseRequest| (it.suite, it.seal_key) = (1, vec![0xff; 1_216]);
    hand.changed("an ML-KEM key that is not reduced", unreduced, BAD, Some("seal_key")).await;
    // Nothing was granted, so nobody holds the login: another worker gets it at once.
    let (login, world) = (&hand.yard.crowd[0], &hand.yard.world);
    let (_, job) = world.north.job(&*world.clock, login.credential, &Wanted::by("w04")).expect("a job");
    let presence = world.north.attendance(&*world.clock, login.credential, login.owner).expect("a statement");
    let worker = hand.yard.worker("w04").await;
    let errand = Errand { job, attendance: Some(presence), fields: fields_of(login) };
    let lease = worker.release(errand).await.expect("a login").lease;
    worker.report(&lease, cofre_model::wording::Outcome::Ok, None).await.expect("its own lease");
}

/// Quarantine of one worker, then lockdown of everything.
pub(super) async fn stopped(yard: &Yard) {
    let security = &yard.world.security;
    let strange = security.quarantine_worker("spiffe://other.dev/worker/pool-a/w03").await;
    yard.refused("a worker of another trust domain", strange, BAD, Some("spiffe_id"));
    let person = security.quarantine_worker("spiffe://cofre.dev/person/auditor/ada").await;
    yard.refused("no worker", person, BAD, Some("spiffe_id"));
    let nobody = security.quarantine_worker("spiffe://cofre.dev/worker/pool-a/nobody").await;
    yard.refused("an unknown worker", nobody, ABSENT, Some("spiffe_id"));
    let nowhere = Lockdown { scope: LockdownScope::Institution, target: "ins_NOWHERE".to_owned() };
    yard.refused("a malformed institution", security.lockdown(&nowhere).await, BAD, Some("institution_id"));
    // A mistyped stop button must not look pressed.
    let nowhere = Lockdown { scope: LockdownScope::Institution, target: "ins_nowhere".to_owned() };
    yard.refused("an institution that is not there", security.lockdown(&nowhere).await, ABSENT, Some("scope"));

    let hand = Hand { yard, client: ReleaseServiceClient::new(yard.worker_channel("w03").await) };
    let (login, (ready, _)) = (&yard.crowd[0], hand.good(&yard.crowd[0]));
    security.quarantine_worker("spiffe://cofre.dev/worker/pool-a/w03").await.expect("quarantined");
    hand.refused("a quarantined worker", ready, QUARANTINED, None).await;
    let hand = Hand { yard, client: ReleaseServiceClient::new(yard.worker_channel("w05").await) };
    let (of_another, _) = hand.good(login);
    hand.refused("its job in another's hands", of_another, JOB, None).await;

    security.lockdown(&Lockdown { scope: LockdownScope::Platform, target: String::new() }).await.expect("locked");
    let worker = yard.worker("w05").await;
    let (_, job) = yard.world.north.job(&*yard.world.clock, login.credential, &Wanted::by("w05")).expect("a job");
    let errand = Errand { job, attendance: None, fields: fields_of(login) };
    let told = yard.refused("a locked platform", worker.release(errand).await, LOCKED, None);
    assert!(told.retry_after.is_some(), "{told:?}");
    // Consents can still be withdrawn and logins looked at; secrets neither leave nor enter.
    let front_end = yard.world.north.front_end().expect("connected");
    front_end.credential_state(&login.credential).await.expect("still told");
    let new = Login::New {
        institution: "ins_banco-abierto".try_into().expect("an id"),
        subject: SubjectRef::try_from("hostile-locked").expect("a token"),
    };
    let enrolment = front_end.open_enrolment(&new).await.expect("a session");
    let key = front_end.deposit_key().await.expect("a key");
    let typed = yard.login_at("banco-abierto").login.fields();
    let secrets = typed
        .map(|(name, value)| (name.try_into().expect("a key"), cofre_client::ClientSecret::copy_of(value)))
        .collect();
    let sealed = cofre_client::sealing::seal(&enrolment, &key, secrets).expect("sealed");
    yard.refused("a deposit into a locked platform", front_end.deposit(sealed).await, LOCKED, None);
    assert_eq!(yard.settle().await, 9);
}
