//! The services behind the counter, called as their callers do.

use std::sync::Arc;
use std::time::Duration;

use cofre_edge::gate::{self, Listener};
use cofre_edge::services::Services;
use cofre_edge::status::{self, ENTRY};
use cofre_model::caller::{Role, SpiffeId};
use cofre_model::id::{CredentialId, EnrolmentId, JobId, RecipientId, RequestId, SigningKeyId};
use cofre_model::reason::Reason;
use cofre_proto::v1;
use cofre_proto::v1::consent_service_client::ConsentServiceClient;
use cofre_proto::v1::deposit_service_client::DepositServiceClient;
use cofre_proto::v1::relay_service_client::RelayServiceClient;
use cofre_proto::v1::release_service_client::ReleaseServiceClient;
use cofre_proto::v1::security_service_client::SecurityServiceClient;
use cofre_store::Search;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::identities::ONE_OF_EACH;
use crate::support::{House, Plan, Register, TRUST_DOMAIN, WORKER, call};
use crate::vault::Vault;

const ACME: &str = "spiffe://cofre.test/tenant/acme/frontend/web-1";
const RIVAL: &str = "spiffe://cofre.test/tenant/rival/frontend/web-1";
const BANK: &str = "ins_caja-prueba";
const SOON: Duration = Duration::from_secs(10);

async fn house() -> (House, Vault) {
    let plan = Plan::new();
    let vault = Vault::open(plan.clock.clone()).await;
    let (use_cases, node) = (vault.use_cases(), vault.node());
    let services = move |refusals: Arc<Register>, stop| Services::new(use_cases, node, refusals, stop);
    (Plan { services: Some(Box::new(services)), ..plan }.open().await, vault)
}

async fn furnished() -> (House, Vault) {
    let (house, vault) = house().await;
    vault.put_tenant(1, "acme").await;
    vault.put_tenant(2, "rival").await;
    vault.put_institution(BANK).await;
    (house, vault)
}

async fn enter(house: &House, uri: &str) -> Channel {
    house.enter(&house.issue(uri)).await.expect("let in")
}

fn entry_of(status: &Status) -> Option<String> {
    status.get_details_error_info().and_then(|info| info.metadata.get(ENTRY).cloned())
}

/// All that a caller is told, save the number of the entry.
fn told(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("ErrorInfo");
    let keys: Vec<&String> = info.metadata.keys().collect();
    format!(
        "{:?} {} {} {} {keys:?} {:?} {:?} {}",
        status.code(),
        status.message(),
        info.reason,
        info.domain,
        details.bad_request(),
        details.retry_info(),
        status.details().len()
    )
}

fn violation(status: &Status) -> String {
    status.get_details_bad_request().expect("a violation").field_violations.remove(0).field
}

#[tokio::test]
async fn every_listed_method_is_served_and_every_refusal_recorded_once() {
    let (house, _vault) = house().await;
    let mut answered = 0;
    for (uri, home) in ONE_OF_EACH {
        let role: Role = SpiffeId::parse(uri, TRUST_DOMAIN).expect("an identity").role();
        let channel = house.enter_by(home, &house.issue(uri)).await.expect("let in");
        for method in gate::methods().filter(|method| gate::permits(home, method, role)) {
            let before = house.register.all().len();
            let status = timeout(SOON, call(&channel, method)).await.expect("in time").expect(method);
            assert!(!matches!(status.code(), Code::Unimplemented | Code::Unknown), "{role:?} {method}: {status:?}");
            let recorded = house.register.all();
            if status.code() == Code::Ok {
                assert_eq!(recorded.len(), before, "{role:?} {method}");
            } else {
                assert_eq!(recorded.len(), before + 1, "{role:?} {method}: {status:?}");
                let refusal = house.register.last();
                assert_eq!((refusal.method, refusal.listener), (Some(method), home), "{role:?} {method}");
                assert_eq!(refusal.caller.map(|caller| caller.identity().to_string()).as_deref(), Some(uri));
                assert_eq!(status.code(), status::row(refusal.reason).code, "{role:?} {method}");
                assert_eq!(entry_of(&status), Some(recorded.len().to_string()), "{role:?} {method}");
            }
            answered += 1;
        }
    }
    assert!(answered > 50, "{answered}");
}

#[tokio::test]
async fn what_is_malformed_names_its_field() {
    let (house, _vault) = furnished().await;
    let channel = enter(&house, ACME).await;
    let request = v1::CredentialStateRequest { credential_id: "crd_01".to_owned() };
    let status = DepositServiceClient::new(channel.clone()).credential_state(request).await.expect_err("malformed");
    assert_eq!((status.code(), violation(&status)), (Code::InvalidArgument, "credential_id".to_owned()));
    assert_eq!(house.register.last().reason, Reason::BadRequest);

    let new = v1::NewLogin { institution_id: BANK.to_owned(), subject_ref: "with space".to_owned() };
    let login = Some(v1::open_enrolment_request::Login::NewLogin(new));
    let request = v1::OpenEnrolmentRequest { login };
    let status = DepositServiceClient::new(channel).open_enrolment(request).await.expect_err("malformed");
    assert_eq!(violation(&status), "new_login.subject_ref");
    assert!(!status.message().contains("with space"));

    let sol = house.issue("spiffe://cofre.test/person/security/sol");
    let channel = house.enter_by(Listener::People, &sol).await.expect("let in");
    for id in ["spiffe://other.test/worker/pool-a/w1", "spiffe://cofre.test/person/security/sol", WORKER] {
        let request = v1::QuarantineWorkerRequest { spiffe_id: id.to_owned() };
        let outcome = SecurityServiceClient::new(channel.clone()).quarantine_worker(request).await;
        let status = outcome.expect_err("nobody of that name");
        // A worker that is well named and unknown is another matter than what is no worker's name.
        let code = if id == WORKER { Code::NotFound } else { Code::InvalidArgument };
        assert_eq!((status.code(), violation(&status)), (code, "spiffe_id".to_owned()), "{id}");
    }
    assert_eq!(house.register.all().len(), 5);
}

#[tokio::test]
async fn what_is_another_tenants_answers_as_if_it_were_not_there() {
    let (house, vault) = furnished().await;
    let (credential, enrolment) = vault.put_enrolment(1, BANK).await;
    let mut acme = DepositServiceClient::new(enter(&house, ACME).await);
    let own = v1::CredentialStateRequest { credential_id: credential.to_string() };
    let own = acme.credential_state(own).await.expect("its own").into_inner();
    assert_eq!((own.state(), own.institution_id.as_str()), (v1::CredentialState::Enrolling, BANK));

    let channel = enter(&house, RIVAL).await;
    let absent = (CredentialId::from_parts(1, [9; 10]).to_string(), EnrolmentId::from_parts(1, [9; 10]).to_string());
    let foreign = (credential.to_string(), enrolment.to_string());
    assert_eq!(refusals_of(&channel, &foreign).await, refusals_of(&channel, &absent).await);
    assert!(house.register.all().iter().all(|refusal| refusal.reason == Reason::NotFound));
    assert_eq!(house.register.all().len(), 8);
}

async fn refusals_of(channel: &Channel, (credential, enrolment): &(String, String)) -> Vec<String> {
    let mut deposits = DepositServiceClient::new(channel.clone());
    let state = v1::CredentialStateRequest { credential_id: credential.clone() };
    let cancel = v1::CancelEnrolmentRequest { enrolment_id: enrolment.clone() };
    let anew =
        v1::OpenEnrolmentRequest { login: Some(v1::open_enrolment_request::Login::CredentialId(credential.clone())) };
    let notice = v1::NoticeRequest {
        credential_id: credential.clone(),
        recipient_id: RecipientId::from_parts(1, [3; 10]).to_string(),
        purpose: v1::Purpose::WealthAggregation.into(),
        scopes: vec![v1::Scope::Positions.into()],
        valid_until_us: 1_780_000_000_000_000,
        history_from_us: 1_700_000_000_000_000,
        unattended_per_day: 1,
        locale: v1::Locale::Es.into(),
    };
    let statuses = [
        deposits.credential_state(state).await.expect_err("not there"),
        deposits.cancel_enrolment(cancel).await.expect_err("not there"),
        deposits.open_enrolment(anew).await.expect_err("not there"),
        ConsentServiceClient::new(channel.clone()).notice(notice).await.expect_err("not there"),
    ];
    assert!(statuses.iter().all(|status| status.code() == Code::NotFound), "{statuses:?}");
    statuses.iter().map(told).collect()
}

#[tokio::test]
async fn a_denied_release_stands_in_the_ledger_once() {
    let (house, vault) = furnished().await;
    let mut releases = ReleaseServiceClient::new(enter(&house, WORKER).await);
    let request = v1::ReleaseRequest {
        request_id: RequestId::from_parts(1, [1; 10]).to_string(),
        credential_id: CredentialId::from_parts(1, [2; 10]).to_string(),
        job: Some(v1::SignedStatement {
            key_id: SigningKeyId::from_parts(1, [3; 10]).to_string(),
            statement: vec![1; 40],
            signature: vec![2; 64],
        }),
        attendance: None,
        class: v1::Class::Login.into(),
        fields: vec![v1::FieldRequest { key: "user".to_owned(), form: v1::Form::Full.into(), positions: Vec::new() }],
        suite: v1::SealSuite::X25519.into(),
        seal_key: vec![4; 32],
    };
    let status = releases.release(request).await.expect_err("denied");
    assert_eq!(house.register.all(), [], "recorded by the path itself, and by nobody else");
    let index: u64 = entry_of(&status).expect("an entry").parse().expect("a number");
    let kind = Some(cofre_model::entry::EntryKind::Denied);
    let denied = vault.records.search(&Search { kind, limit: 10, ..Search::default() }).await.expect("a page").rows;
    let told: Vec<_> =
        denied.iter().map(|row| (row.index, row.reason.map(|reason| status::row(reason).code))).collect();
    assert_eq!(told, [(index, Some(status.code()))]);
}

#[tokio::test]
async fn a_watch_over_nothing_is_refused_and_recorded() {
    let (house, _vault) = furnished().await;
    let channel = enter(&house, WORKER).await;
    let lease = v1::WatchLeaseRequest {
        credential_id: CredentialId::from_parts(1, [2; 10]).to_string(),
        job_id: JobId::from_parts(1, [2; 10]).to_string(),
    };
    let status = ReleaseServiceClient::new(channel.clone()).watch_lease(lease).await.expect_err("no lease");
    assert_eq!((status.code(), house.register.last().reason), (Code::NotFound, Reason::NotFound));
    let challenge = cofre_model::id::ChallengeId::from_parts(1, [2; 10]).to_string();
    let request = v1::AwaitAnswerRequest { challenge_id: challenge };
    let mut stream = RelayServiceClient::new(channel).await_answer(request).await.expect("a head").into_inner();
    let status = stream.message().await.expect_err("no challenge");
    assert_eq!((status.code(), entry_of(&status).as_deref()), (Code::NotFound, Some("2")));
    assert_eq!(house.register.last().method, Some("/cofre.v1.RelayService/AwaitAnswer"));
}

#[tokio::test]
async fn an_open_watch_ends_with_the_node() {
    let (house, _vault) = furnished().await;
    let services = house.services.clone().expect("services");
    let mut relay = RelayServiceClient::new(enter(&house, ACME).await);
    let mut watch = relay.watch(v1::WatchRequest {}).await.expect("a watch").into_inner();
    assert!(timeout(Duration::from_millis(200), watch.message()).await.is_err(), "nothing is open, so it waits");
    assert!(timeout(Duration::from_millis(50), services.idle()).await.is_err(), "a stream is open");
    drop(house);
    let end = timeout(SOON, watch.message()).await.expect("the stream ends");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    timeout(SOON, services.idle()).await.expect("nothing is left open");
}

#[tokio::test]
async fn a_watch_whose_reader_left_is_given_up() {
    let (house, _vault) = furnished().await;
    let services = house.services.clone().expect("services");
    let mut relay = RelayServiceClient::new(enter(&house, ACME).await);
    let watch = relay.watch(v1::WatchRequest {}).await.expect("a watch").into_inner();
    drop(watch);
    timeout(SOON, services.idle()).await.expect("nothing is left open");
}

#[tokio::test]
async fn health_says_whether_the_node_is_ready_and_no_more() {
    let (house, vault) = house().await;
    let mut health = HealthClient::new(enter(&house, WORKER).await);
    for (ready, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        vault.ready.set(ready);
        let answer = health.check(HealthCheckRequest::default()).await.expect("an answer").into_inner();
        assert_eq!(answer.status(), expected);
    }
    let other = HealthCheckRequest { service: "cofre.v1.ReleaseService".to_owned() };
    let status = health.check(other).await.expect_err("no such name");
    assert_eq!((status.code(), violation(&status)), (Code::NotFound, "service".to_owned()));
}
