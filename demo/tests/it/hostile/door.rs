//! Certificates that do not open the door, and good ones at methods of others.

use std::sync::Arc;
use std::time::Duration;

use cofre_client::connect::{Cause, ConnectError, connect};
use cofre_client::{Identity, ServerIdentity};
use cofre_demo::world::NAME;
use cofre_model::entry::EntryKind;
use cofre_model::reason::Reason;
use cofre_model::request::{Page, SearchQuery};
use cofre_model::time::Span;
use cofre_proto::v1;
use cofre_proto::v1::deposit_service_client::DepositServiceClient;
use cofre_testkit::ca::{Issued, Name, Options, TestCa};
use serde_json::Value;
use tonic::transport::Channel;

use super::{ABSENT, Yard};

const NORTH: &str = "spiffe://cofre.dev/tenant/gestora-norte/frontend/web";

async fn knock(yard: &Yard, issued: &Issued) -> Result<Channel, ConnectError> {
    let bundle = std::fs::read(yard.world.identities.folder.join("bundle.pem")).expect("the bundle");
    let pem = (issued.chain_pem().as_bytes(), issued.key_pem());
    let identity = Identity::from_pem(pem.0, pem.1.as_bytes(), &bundle).expect("material");
    let server = ServerIdentity::any_node(NAME);
    connect(&yard.world.door.address, &identity, server, Arc::clone(&yard.world.clock)).await
}

/// How many peers the register says were not let in, without a name.
async fn counted(yard: &Yard) -> u64 {
    let query = SearchQuery {
        credential: None,
        tenant: None,
        kind: Some(EntryKind::Refusals),
        reason: Some(Reason::PeerUntrusted),
        caller: None,
        page: Page { from: 0, to: u64::MAX, limit: 500 },
    };
    let (entries, next) = yard.world.auditor.search(&query).await.expect("a search");
    assert!(next.is_none());
    let count = |json: &str| serde_json::from_str::<Value>(json).expect("JSON")["count"].as_u64().expect("a count");
    entries.iter().map(|entry| count(&entry.json)).sum()
}

pub(super) async fn closed(yard: &Yard) {
    let now = yard.world.clock.now();
    let authority = yard.world.identities.folder.join("authority");
    let ours = TestCa::open(&authority, NAME, now).expect("the authority");
    let other = TestCa::new(NAME, now).expect("another authority");
    let ended = Options { not_after: Some(now.minus(Span::minutes(1))), ..Options::default() };
    let early = Options { not_before: Some(now.plus(Span::hours(1))), ..Options::default() };
    let alone = Options { self_signed: true, ..Options::default() };
    let as_authority = Options { authority: true, ..Options::default() };
    let usual = Options::default();
    let uri = |text: &str| Name::Uri(text.to_owned());
    let host = Name::Dns("frontend.example".to_owned());
    let refused = [
        ("expired", ours.issue(NORTH, &ended)),
        ("not valid yet", ours.issue(NORTH, &early)),
        ("of another authority", other.issue(NORTH, &usual)),
        ("signed by itself", ours.issue(NORTH, &alone)),
        ("an authority's", ours.issue(NORTH, &as_authority)),
        ("of another trust domain", ours.issue("spiffe://other.dev/tenant/gestora-norte/frontend/web", &usual)),
        ("of no role", ours.issue("spiffe://cofre.dev/robot/r2", &usual)),
        ("of a tenant in capitals", ours.issue("spiffe://cofre.dev/tenant/GESTORA-NORTE/frontend/web", &usual)),
        ("with dots in its path", ours.issue("spiffe://cofre.dev/tenant/../frontend/web", &usual)),
        ("with an encoded path", ours.issue("spiffe://cofre.dev/tenant/gestora%2Dnorte/frontend/web", &usual)),
        ("of two names", ours.issue_named(&[uri(NORTH), uri("spiffe://cofre.dev/worker/pool-a/w01")], &usual)),
        ("of a host", ours.issue_named(std::slice::from_ref(&host), &usual)),
    ];
    let peers = u64::try_from(refused.len()).expect("few");
    let already = counted(yard).await;
    for (what, issued) in refused {
        let answer = knock(yard, &issued.expect("issued")).await;
        assert!(matches!(answer, Err(ConnectError::Connection(Cause::NotAdmitted))), "{what}: {answer:?}");
    }
    // Let in by its certificate, and nobody's front end: for it there is nothing.
    let stray = ours.issue("spiffe://cofre.dev/tenant/gestora-nadie/frontend/web", &usual).expect("issued");
    let mut deposits = DepositServiceClient::new(knock(yard, &stray).await.expect("a connection"));
    let credential_id = yard.crowd[0].credential.to_string();
    let state = deposits.credential_state(v1::CredentialStateRequest { credential_id }).await;
    yard.refused("a tenant that is not registered", state, ABSENT, None);
    let key = deposits.deposit_key(v1::DepositKeyRequest {}).await;
    yard.refused("a tenant that is not registered", key, ABSENT, None);
    assert_eq!(yard.settle().await, 2);

    // Peers without a name are counted, not listed; the count reaches the register within seconds.
    for _ in 0..60 {
        if counted(yard).await >= already + peers {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(counted(yard).await, already + peers);
}
