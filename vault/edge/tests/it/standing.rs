//! Standing is lost while a connection is open: by revocation, by expiry, by a list gone stale.

use std::time::Duration;

use cofre_edge::gate::Listener;
use cofre_edge::limits::DoorLimits;
use cofre_edge::revocation::Standing;
use cofre_edge::tls::TlsError;
use cofre_model::reason::Reason;
use cofre_model::time::{Clock, Span};
use cofre_testkit::ca::{Options, TestCa};
use tokio::io::AsyncReadExt;
use tonic::Code;

use crate::support::{
    CHECK, NODE, Plan, TRUST_DOMAIN, WORKER, by_hand, call, identity, not_admitted, revocations, with_material, within,
};

const OTHER: &str = "spiffe://cofre.test/worker/pool-a/w2";

#[tokio::test]
async fn revocation_cuts_the_open_connection_and_shuts_the_door() {
    let house = Plan::new().open().await;
    let (worker, other) = (house.issue(WORKER), house.issue(OTHER));
    let channel = house.enter(&worker).await.expect("let in");
    let untouched = house.enter(&other).await.expect("let in");
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);

    assert_eq!(house.revoke(&[&worker.serial()]).cut, 1);

    let after = call(&channel, CHECK).await;
    assert!(after.is_err() || after.is_ok_and(|status| status.code() != Code::Ok));
    assert_eq!(house.reached(), 1, "no handler ran after the revocation");
    assert!(not_admitted(&house.enter(&worker).await));
    assert_eq!(call(&untouched, CHECK).await.expect("a status").code(), Code::Ok);
    assert_eq!(house.standing.connections(), 1);
}

#[tokio::test]
async fn revocation_cuts_a_connection_that_says_nothing() {
    let house = Plan::new().open().await;
    let worker = house.issue(WORKER);
    let mut stream = by_hand(&house, &identity(&worker, &house.ca)).await.expect("let in");
    stream.read_exact(&mut [0; 9]).await.expect("the server's settings");
    house.revoke(&[&worker.serial()]);
    // Ends only because it is cut: neither side has anything to say.
    within(stream.read_to_end(&mut Vec::new())).await.ok();
    assert!(not_admitted(&house.enter(&worker).await));
}

#[tokio::test]
async fn revoking_the_intermediate_ends_all_it_issued() {
    let house = Plan::new().through_intermediate().open().await;
    let worker = house.issue(WORKER);
    let channel = house.enter(&worker).await.expect("let in");
    let serial = house.ca.intermediate_serial().expect("an intermediate").to_vec();

    // The node's own certificate hangs on it too: such lists are refused as a whole, and nothing changes.
    let lists = revocations(&house.ca, &[&serial], house.clock.now());
    let refused =
        with_material(&house.node, &house.ca.bundle_pem(), &lists, |material| house.standing.reload(material));
    assert!(matches!(refused, Err(TlsError::OwnCertificate(_))), "{refused:?}");
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
}

#[tokio::test]
async fn the_same_serial_of_another_issuer_stands() {
    let house = Plan::new().open().await;
    let worker = house.issue(WORKER);
    let channel = house.enter(&worker).await.expect("let in");
    let stranger = TestCa::new(TRUST_DOMAIN, house.clock.now()).expect("another root");
    let lists = revocations(&house.ca, &[], house.clock.now())
        + &revocations(&stranger, &[&worker.serial()], house.clock.now());
    let bundle = house.ca.bundle_pem() + &stranger.bundle_pem();
    let reloaded = with_material(&house.node, &bundle, &lists, |material| house.standing.reload(material));
    assert_eq!(reloaded.expect("good material").cut, 0);
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
}

#[tokio::test]
async fn an_authority_taken_away_takes_its_callers_along() {
    let house = Plan::new().open().await;
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in");
    let successor = TestCa::new(TRUST_DOMAIN, house.clock.now()).expect("another root");
    let node = successor.issue(NODE, &Options::default()).expect("a node");
    let lists = revocations(&successor, &[], house.clock.now());
    let reloaded = with_material(&node, &successor.bundle_pem(), &lists, |material| house.standing.reload(material));
    assert_eq!(reloaded.expect("good material").cut, 1);
    let after = call(&channel, CHECK).await;
    assert!(after.is_err() || after.is_ok_and(|status| status.code() != Code::Ok));
    assert_eq!(house.reached(), 0);
}

#[tokio::test]
async fn a_certificate_that_ends_is_refused_at_the_next_call() {
    let house = Plan::new().open().await;
    let end = house.clock.now().plus(Span::minutes(5));
    let short = house.ca.issue(WORKER, &Options { not_after: Some(end), ..Options::default() }).expect("issued");
    let channel = house.enter(&short).await.expect("let in");
    house.clock.advance(Span::minutes(5));
    let status = call(&channel, CHECK).await.expect("a status");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert_eq!(house.reached(), 0);
    let refusal = house.register.last();
    assert_eq!(refusal.reason, Reason::PeerUntrusted);
    assert_eq!(refusal.caller.map(|caller| caller.identity().to_string()).as_deref(), Some(WORKER));
}

#[tokio::test]
async fn a_stale_list_admits_nobody_until_a_fresh_one_comes() {
    let house = Plan::new().open().await;
    let worker = house.issue(WORKER);
    let channel = house.enter(&worker).await.expect("let in");
    house.clock.advance(Span::days(7));
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Unauthenticated);
    assert!(not_admitted(&house.enter(&worker).await));
    assert_eq!(house.reached(), 0);

    assert_eq!(house.revoke(&[]).cut, 0);
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
}

#[tokio::test]
async fn a_list_that_goes_stale_cuts_connections_that_make_no_call() {
    let look = Duration::from_millis(50);
    let limits = DoorLimits { look, ..DoorLimits::of(Listener::TenantsAndWorkers) };
    assert!(DoorLimits::of(Listener::TenantsAndWorkers).look <= Duration::from_secs(60));
    let house = Plan { limits: Some(limits), ..Plan::new() }.open().await;
    let worker = house.issue(WORKER);
    let mut stream = by_hand(&house, &identity(&worker, &house.ca)).await.expect("let in");
    stream.read_exact(&mut [0; 9]).await.expect("the server's settings");
    assert_eq!(house.standing.connections(), 1);
    house.clock.advance(Span::days(7));
    // Ends only because it is cut: neither side has anything to say, and no list is exchanged.
    within(stream.read_to_end(&mut Vec::new())).await.ok();
    assert_eq!(house.reached(), 0);
}

#[test]
fn material_that_would_not_work_is_refused_by_its_field() {
    let plan = Plan::new();
    let (ca, now) = (&plan.ca, plan.clock.now());
    let node = ca.issue(NODE, &Options::default()).expect("a node");
    let worker = ca.issue(WORKER, &Options::default()).expect("a worker");
    let (bundle, lists) = (ca.bundle_pem(), revocations(ca, &[], now));
    let stranger = TestCa::new(TRUST_DOMAIN, now).expect("another root");
    let stale = ca.revocations(&[], now.minus(Span::days(8)), now.minus(Span::days(1))).expect("lists");
    let garbled = lists.replace("\n", "\nAAAA");
    let load = |node, bundle: &str, lists: &str| {
        with_material(node, bundle, lists, |material| Standing::new(material, TRUST_DOMAIN, plan.clock.clone()))
            .map(|_| ())
    };
    assert!(load(&node, &bundle, &lists).is_ok());
    assert!(matches!(load(&node, "", &lists), Err(TlsError::Bundle)));
    assert!(matches!(load(&node, &bundle, ""), Err(TlsError::Revocations)));
    assert!(load(&node, &bundle, &garbled).is_err());
    assert!(matches!(load(&node, &bundle, &stale), Err(TlsError::RevocationsStale(_))));
    assert!(matches!(load(&worker, &bundle, &lists), Err(TlsError::NotANode)));
    let revoked = revocations(ca, &[&node.serial()], now);
    assert!(matches!(load(&node, &bundle, &revoked), Err(TlsError::OwnCertificate(_))));
    let of_stranger = revocations(&stranger, &[], now);
    assert!(matches!(load(&node, &stranger.bundle_pem(), &of_stranger), Err(TlsError::OwnCertificate(_))));
    assert!(matches!(load(&node, &bundle, &of_stranger), Err(TlsError::OwnCertificate(_))), "list of nobody's");
}
