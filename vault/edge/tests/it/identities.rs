//! Good identities of every role get in, by the hybrid key exchange, each at its own door.

use cofre_edge::gate::Listener;
use cofre_edge::limits;
use rustls::NamedGroup;
use tonic::Code;

use crate::support::{CHECK, Plan, WORKER, call, not_admitted};

pub(crate) const ONE_OF_EACH: [(&str, Listener); 9] = [
    ("spiffe://cofre.test/tenant/acme/frontend/web-1", Listener::TenantsAndWorkers),
    (WORKER, Listener::TenantsAndWorkers),
    ("spiffe://cofre.test/tenant/acme/admin/ana", Listener::TenantsAndWorkers),
    ("spiffe://cofre.test/person/security/sol", Listener::People),
    ("spiffe://cofre.test/person/auditor/ada", Listener::People),
    ("spiffe://cofre.test/person/operator/otto", Listener::People),
    ("spiffe://cofre.test/person/privacy/pia", Listener::People),
    ("spiffe://cofre.test/person/custodian/carl", Listener::People),
    ("spiffe://cofre.test/node/eu-nl/n2", Listener::TenantsAndWorkers),
];

#[tokio::test]
async fn every_role_gets_in_by_the_hybrid_key_exchange() {
    let house = Plan::new().open().await;
    for (count, (uri, listener)) in ONE_OF_EACH.into_iter().enumerate() {
        let channel = house.enter_by(listener, &house.issue(uri)).await.expect(uri);
        let status = call(&channel, CHECK).await.expect(uri);
        assert_eq!(status.code(), Code::Ok, "{uri}: {status}");
        assert_eq!(house.reached(), count + 1, "{uri}");
        assert_eq!(house.last_group(), Some(NamedGroup::X25519MLKEM768), "{uri}");
    }
    assert!(house.register.all().is_empty(), "{:?}", house.register.all());
}

#[tokio::test]
async fn an_intermediate_may_stand_between() {
    let house = Plan::new().through_intermediate().open().await;
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in");
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
}

#[tokio::test]
async fn one_person_cannot_keep_the_others_out() {
    let house = Plan::new().open().await;
    let people = limits::PEOPLE_CONNECTIONS_PER_IDENTITY;
    let person = house.issue("spiffe://cofre.test/person/operator/mallory");
    let mut held = Vec::new();
    for _ in 0..people {
        held.push(house.enter_by(Listener::People, &person).await.expect("let in"));
    }
    assert!(not_admitted(&house.enter_by(Listener::People, &person).await));
    let other = house.issue("spiffe://cofre.test/person/security/sol");
    house.enter_by(Listener::People, &other).await.expect("another person is let in");
    assert!(people * 8 <= limits::PEOPLE_CONNECTIONS);
    const { assert!(limits::CONNECTIONS_PER_IDENTITY * 4 <= limits::TENANT_AND_WORKER_CONNECTIONS) };
}

#[tokio::test]
async fn one_identity_cannot_take_every_place() {
    let house = Plan::new().open().await;
    let worker = house.issue(WORKER);
    let mut held = Vec::new();
    for _ in 0..limits::CONNECTIONS_PER_IDENTITY {
        held.push(house.enter(&worker).await.expect("let in"));
    }
    assert!(not_admitted(&house.enter(&worker).await));
    let other = house.issue("spiffe://cofre.test/worker/pool-a/w2");
    let channel = house.enter(&other).await.expect("another identity is let in");
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
    assert_eq!(house.standing.connections(), limits::CONNECTIONS_PER_IDENTITY + 1);
}
