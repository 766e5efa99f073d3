//! The door under peers that are slow, broken or speak something else; and who the door itself is.

use std::sync::Arc;
use std::time::Duration;

use cofre_client::connect::{Cause, ConnectError, connect};
use cofre_client::identity::ServerIdentity;
use cofre_edge::gate::Listener;
use cofre_edge::limits::{self, DoorLimits};
use cofre_model::time::Clock;
use cofre_testkit::ca::TestCa;
use rustls::NamedGroup;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use crate::support::{
    CHECK, NODE, Plan, TRUST_DOMAIN, WORKER, by_hand, call, identity, knock, not_admitted, shake, within,
};

fn small(connections: usize, handshakes: usize, handshake: Duration) -> Plan {
    let limits = DoorLimits {
        connections,
        handshakes,
        handshakes_per_source: handshakes,
        handshake,
        age: Duration::from_secs(60),
        ..DoorLimits::of(Listener::TenantsAndWorkers)
    };
    Plan { limits: Some(limits), ..Plan::new() }
}

#[tokio::test]
async fn half_open_handshakes_do_not_keep_an_honest_client_out() {
    let house = small(1, 8, Duration::from_secs(3600)).open().await;
    let mut silent = Vec::new();
    for _ in 0..7 {
        silent.push(knock(&house).await);
    }
    // They take no connection's place: there is one, and it is the honest client's.
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in beside them");
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
    assert!(not_admitted(&house.enter(&house.issue(WORKER)).await), "the one place is taken");
}

#[tokio::test]
async fn a_slow_handshake_loses_its_place() {
    let house = small(4, 4, Duration::from_millis(100)).open().await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(knock(&house).await);
    }
    for mut each in silent {
        assert_eq!(each.read(&mut [0; 1]).await.expect("closed in order"), 0);
    }
    house.register.has(4).await;
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in after them");
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
}

#[tokio::test]
async fn broken_and_reset_connections_do_not_end_the_loop() {
    let house = Plan::new().open().await;
    for round in 0..200_u8 {
        let mut peer = knock(&house).await;
        match round % 3 {
            0 => peer.write_all(&[round; 64]).await.expect("written"),
            1 => peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written"),
            _ => peer.set_zero_linger().expect("set"),
        }
    }
    let channel = house.enter(&house.issue(WORKER)).await.expect("let in");
    assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
}

#[tokio::test]
async fn an_old_connection_is_cut() {
    let limits = DoorLimits { age: Duration::from_millis(200), ..DoorLimits::of(Listener::TenantsAndWorkers) };
    let house = Plan { limits: Some(limits), ..Plan::new() }.open().await;
    let worker = house.issue(WORKER);
    let mut stream = by_hand(&house, &identity(&worker, &house.ca)).await.expect("let in");
    let mut settings = Vec::new();
    // Ends only because the door cuts it: this peer says nothing more.
    within(stream.read_to_end(&mut settings)).await.ok();
    assert!(!settings.is_empty(), "the server spoke first");
    assert_eq!(house.reached(), 0);
}

#[tokio::test]
async fn the_servers_settings_carry_the_limits() {
    let house = Plan::new().open().await;
    let mut stream = by_hand(&house, &identity(&house.issue(WORKER), &house.ca)).await.expect("let in");
    // RFC 9113, 4.1 and 6.5: nine bytes of head, then settings of six bytes each.
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.expect("a frame");
    assert_eq!(head[3], 4, "settings come first");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut settings).await.expect("settings");
    let value = |id: u16| {
        let found = settings.chunks_exact(6).find(|each| each[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes([found[2], found[3], found[4], found[5]]))
    };
    assert_eq!(value(3), Some(limits::CONCURRENT_STREAMS), "SETTINGS_MAX_CONCURRENT_STREAMS");
    assert_eq!(value(6), Some(limits::HEADER_LIST_BYTES), "SETTINGS_MAX_HEADER_LIST_SIZE");
}

#[tokio::test]
async fn version_1_2_is_refused() {
    let house = Plan::new().open().await;
    let mut peer = knock(&house).await;
    peer.write_all(&hello_1_2()).await.expect("written");
    let mut answer = Vec::new();
    drop(peer.read_to_end(&mut answer).await);
    // An alert record: fatal, protocol_version (RFC 8446, 6.2).
    assert_eq!(answer.first(), Some(&0x15), "{answer:02x?}");
    assert!(answer.ends_with(&[2, 70]), "{answer:02x?}");
    assert_eq!(house.reached(), 0);
}

/// A well-formed ClientHello of version 1.2: one suite, one group, one signature scheme, no supported_versions.
fn hello_1_2() -> Vec<u8> {
    let mut extensions = Vec::new();
    extensions.extend([0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x1d]); // supported_groups: x25519
    extensions.extend([0x00, 0x0b, 0, 2, 1, 0]); // ec_point_formats: uncompressed
    extensions.extend([0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03]); // signature_algorithms: ecdsa_secp256r1_sha256
    extensions.extend([0x00, 0x17, 0, 0]); // extended_master_secret
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]); // no session, ECDHE-ECDSA-AES128-GCM-SHA256, no compression
    body.extend([0, u8::try_from(extensions.len()).expect("short")]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).expect("short");
    let mut record = vec![0x16, 0x03, 0x01, 0, length + 4, 0x01, 0, 0, length];
    record.extend(body);
    record
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn no_certificate_no_entry() {
    let house = Plan::new().open().await;
    let verified = identity(&house.issue(WORKER), &house.ca);
    let mut config = verified.tls(ServerIdentity::any_node(TRUST_DOMAIN), house.clock.clone()).expect("good");
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let mut stream = shake(&house, config).await.expect("the client believes it is connected");
    assert!(stream.read(&mut [0; 1]).await.is_err(), "the server sent something");
    assert_eq!((house.reached(), house.standing.connections()), (0, 0));
}

#[tokio::test]
async fn a_client_without_http_2_is_refused() {
    let house = Plan::new().open().await;
    let mut config = identity(&house.issue(WORKER), &house.ca)
        .tls(ServerIdentity::any_node(TRUST_DOMAIN), house.clock.clone())
        .expect("good");
    config.alpn_protocols.clear();
    let mut stream = shake(&house, config).await.expect("the client believes it is connected");
    assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)), "the server sent something");
    assert_eq!(house.standing.connections(), 0);
}

#[tokio::test]
async fn no_ticket_is_ever_given() {
    let house = Plan::new().open().await;
    let mut stream = by_hand(&house, &identity(&house.issue(WORKER), &house.ca)).await.expect("let in");
    // Tickets would stand before the server's first frame.
    stream.read_exact(&mut [0; 9]).await.expect("the server's settings");
    assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    assert_eq!(
        stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name()),
        Some(NamedGroup::X25519MLKEM768)
    );
}

#[tokio::test]
async fn a_client_knows_the_vault_by_its_identity() {
    let house = Plan::new().open().await;
    let worker = identity(&house.issue(WORKER), &house.ca);
    let address = house.address(Listener::TenantsAndWorkers).to_string();
    let expecting = |uri: &str| ServerIdentity::exactly(uri, TRUST_DOMAIN).expect("a node");

    let other = connect(&address, &worker, expecting("spiffe://cofre.test/node/eu-nl/n9"), house.clock.clone()).await;
    assert!(matches!(other, Err(ConnectError::Connection(Cause::ServerNotTrusted))), "{other:?}");
    let foreign = connect(&address, &worker, ServerIdentity::any_node("other.test"), house.clock.clone()).await;
    assert!(matches!(foreign, Err(ConnectError::Connection(Cause::ServerNotTrusted))), "{foreign:?}");
    connect(&address, &worker, expecting(NODE), house.clock.clone()).await.expect("the right one");
    assert!(ServerIdentity::exactly(WORKER, TRUST_DOMAIN).is_err());

    let stranger = TestCa::new(TRUST_DOMAIN, house.clock.now()).expect("another root");
    let believer = identity(&house.issue(WORKER), &stranger);
    let unknown = connect(&address, &believer, ServerIdentity::any_node(TRUST_DOMAIN), house.clock.clone()).await;
    assert!(matches!(unknown, Err(ConnectError::Connection(Cause::ServerNotTrusted))), "{unknown:?}");
}

#[tokio::test]
async fn an_empty_address_is_unreachable_not_a_refusal() {
    let plan = Plan::new();
    let worker = identity(&plan.ca.issue(WORKER, &Default::default()).expect("issued"), &plan.ca);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let nobody = connect(&address, &worker, ServerIdentity::any_node(TRUST_DOMAIN), plan.clock.clone()).await;
    assert!(matches!(nobody, Err(ConnectError::Connection(Cause::Unreachable(_)))), "{nobody:?}");
}
