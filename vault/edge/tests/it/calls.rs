//! Calls that a known caller may not make, and the shape of what it is told.

use cofre_edge::gate::{self, Listener};
use cofre_edge::status;
use cofre_model::caller::{Role, SpiffeId};
use cofre_model::reason::Reason;
use cofre_model::time::Span;
use tonic::Code;
use tonic_types::StatusExt;

use crate::identities::ONE_OF_EACH;
use crate::support::{CHECK, Plan, TRUST_DOMAIN, WORKER, call, call_with};

/// The table of the design, written out once more by hand: service, method, roles by their letters.
const BY_LETTER: &str = "
    DepositService DepositKey F · OpenEnrolment F · Deposit F · CancelEnrolment F · CredentialState FT
    ConsentService Notice F · Grant F · Revoke FTP · Receipt FPA
    ReleaseService Release W · ReportOutcome W · WatchLease W
    RelayService Open W · AwaitAnswer W · Conclude W · Watch F · Answer F · Cancel WF
    PrivacyService Erase FP · Certificate FPA
    AuditService Checkpoint FWTSAOPCN · Tile FWTSAOPCN · Prove WA · Entry A · Search A · Export A
    AdminService PutTenant O · PutInstitution O · PutTemplate O · PutWorker O
    SecurityService Lockdown S · QuarantineWorker S
    OperatorService Status OA · RotateDepositKey O · KeyStatus OA · RewrapKeys O · RotateKeys O · StopKeyJob O · RetireKeys O · RetireTenantKeys O";

fn letter(role: Role) -> char {
    match role {
        Role::FrontEnd => 'F',
        Role::Worker => 'W',
        Role::TenantAdmin => 'T',
        Role::Security => 'S',
        Role::Auditor => 'A',
        Role::Operator => 'O',
        Role::Privacy => 'P',
        Role::Custodian => 'C',
        Role::Node => 'N',
    }
}

fn expected() -> Vec<(String, String)> {
    let mut rows = vec![(CHECK.to_owned(), "FWTSAOPCN".to_owned())];
    for line in BY_LETTER.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (service, methods) = line.split_once(' ').expect("a service");
        for method in methods.split('·') {
            let (method, roles) = method.trim().split_once(' ').expect("a method and its roles");
            rows.push((format!("/cofre.v1.{service}/{method}"), roles.to_owned()));
        }
    }
    rows
}

#[tokio::test]
async fn each_role_reaches_its_methods_and_no_other() {
    let house = Plan::new().open().await;
    let table = expected();
    assert_eq!(table.len(), gate::methods().count());
    let (mut inside, mut refused) = (0, 0);
    for (uri, home) in ONE_OF_EACH {
        let role = SpiffeId::parse(uri, TRUST_DOMAIN).expect("an identity").role();
        let who = house.issue(uri);
        for listener in Listener::ALL {
            let channel = house.enter_by(listener, &who).await.expect(uri);
            for (method, roles) in &table {
                let may = listener == home && roles.contains(letter(role));
                let status = call(&channel, method).await.expect(method);
                // Nothing but health is mounted here: a call let through ends in "no such service".
                let code = match (may, method.as_str()) {
                    (true, CHECK) => Code::Ok,
                    (true, _) => Code::Unimplemented,
                    (false, _) => Code::PermissionDenied,
                };
                assert_eq!(status.code(), code, "{role:?} {method} at {listener:?}");
                if may { inside += 1 } else { refused += 1 }
            }
        }
    }
    assert_eq!((house.reached(), house.register.all().len()), (inside, refused));
    assert_eq!(inside + refused, 9 * 2 * 41);
}

#[tokio::test]
async fn an_unlisted_method_is_refused_recorded_and_explained_in_public_words() {
    let house = Plan::new().open().await;
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in");
    for path in
        ["/cofre.v1.ReleaseService/Nothing", "/grpc.health.v1.Health/Watch", "/", "/cofre.v1.ReleaseService/Release/"]
    {
        let status = call(&channel, path).await.expect("a status");
        assert_eq!(status.code(), Code::PermissionDenied, "{path}");
        let info = status.get_details_error_info().expect("ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NOT_PERMITTED", status::DOMAIN));
        let recorded = house.register.all();
        assert_eq!(info.metadata.get(status::ENTRY), Some(&recorded.len().to_string()), "{path}");
        let refusal = house.register.last();
        assert_eq!((refusal.reason, refusal.method), (Reason::MethodNotAllowed, None), "{path}");
        assert_eq!(refusal.caller.map(|caller| caller.identity().to_string()).as_deref(), Some(WORKER));
    }
    assert_eq!(house.reached(), 0);
}

#[tokio::test]
async fn encoded_messages_are_refused() {
    let house = Plan::new().open().await;
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in");
    for header in
        [("grpc-encoding", "gzip"), ("grpc-encoding", "zstd"), ("content-encoding", "gzip"), ("grpc-encoding", "")]
    {
        let status = call_with(&channel, CHECK, &[header]).await.expect("a status");
        assert_eq!(status.code(), Code::InvalidArgument, "{header:?}");
        let field = status.get_details_bad_request().expect("a violation").field_violations;
        assert_eq!(field.first().map(|each| each.field.as_str()), Some("grpc-encoding"), "{header:?}");
    }
    assert_eq!(house.reached(), 0);
    let plain = call_with(&channel, CHECK, &[("grpc-encoding", "identity")]).await.expect("a status");
    assert_eq!(plain.code(), Code::Ok);
}

#[tokio::test]
async fn oversize_headers_reach_nobody() {
    let house = Plan::new().open().await;
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in");
    let large = "x".repeat(9 * 1024);
    let outcome = call_with(&channel, CHECK, &[("x-large", &large)]).await;
    assert!(!matches!(&outcome, Ok(status) if status.code() == Code::Ok), "{outcome:?}");
    assert_eq!(house.reached(), 0);
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
}

#[tokio::test]
async fn one_identity_has_one_bucket_over_all_its_connections() {
    let house = Plan { rates: Some((1, 3)), ..Plan::new() }.open().await;
    let worker = house.issue(WORKER);
    let again = house.issue(WORKER);
    let first = house.enter(&worker).await.expect("let in");
    let second = house.enter(&again).await.expect("let in");
    for channel in [&first, &second, &first] {
        assert_eq!(call(channel, CHECK).await.expect("a status").code(), Code::Ok);
    }
    let status = call(&second, CHECK).await.expect("a status");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(house.register.last().reason, Reason::RateLimited);
    let other = house.enter(&house.issue("spiffe://cofre.test/worker/pool-a/w2")).await.expect("let in");
    assert_eq!(call(&other, CHECK).await.expect("a status").code(), Code::Ok);

    house.clock.advance(Span::secs(1));
    assert_eq!(call(&first, CHECK).await.expect("a status").code(), Code::Ok);
    assert_eq!(call(&first, CHECK).await.expect("a status").code(), Code::ResourceExhausted);
    assert_eq!(house.reached(), 5);
}
