//! What leaves by telemetry: with the vault's own code at level trace, a crowd of logins and callers who put canaries
//! into everything they can send, the collector gets the spans, metrics and log lines an operator needs, and none of
//! the canaries; and a collector that hangs changes nothing for anybody.

mod arrived;
mod collector;

use std::collections::BTreeMap;
use std::time::Duration;

use cofre_demo::needles::Needles;
use cofre_demo::world::{Wishes, World};
use cofre_edge::gate;
use cofre_model::caller::Role;
use cofre_model::id::InstitutionId;
use cofre_model::request::{Login as NewLogin, SubjectRef};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::Channel;

use super::{Yard, door, framed, methods, releases, sealed};
use crate::crowd;
use collector::Collector;

/// Stands for a password, a one-time code or a name, wherever a caller can put text.
const CANARY: &str = "canary-0tp-73519-Maria.Ejemplo@banco.example";
/// Logins of the crowd.
const LOGINS: usize = 6;

/// A call with the canary in its path, its headers and its message. What is answered is other tests' business.
async fn plant(channel: &Channel, path: &str, message: &[u8]) {
    let mut channel = channel.clone();
    std::future::poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx)).await.expect("a channel");
    let request = http::Request::post(path)
        .version(http::Version::HTTP_2)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", CANARY)
        .header("authorization", format!("Bearer {CANARY}"))
        .header("x-request-id", CANARY)
        .header("traceparent", "00-63616e6172792d3074702d3733353139-63616e6172792d30-01")
        .header("tracestate", "canary=canary-0tp-73519")
        .body(Body::new(Full::<Bytes>::from(framed(message))))
        .expect("a request");
    if let Ok(answer) = GrpcService::call(&mut channel, request).await {
        // A stream that was opened all the same is read no further.
        drop(tokio::time::timeout(Duration::from_millis(200), answer.into_body().collect()).await);
    }
}

/// A message of one field, in which the canary stands as text.
fn one_field(number: u8, text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("short");
    [&[number << 3 | 2, len], text.as_bytes()].concat()
}

/// Every method, by a caller who may call it, with the canary in each field by itself and in all together.
async fn canaries_everywhere(yard: &Yard) -> usize {
    let world = &yard.world;
    let mut channels = BTreeMap::new();
    for (role, door, file) in [
        (Role::FrontEnd, &world.door, "frontend-gestora-norte"),
        (Role::Worker, &world.door, "worker-w02"),
        (Role::Operator, &world.people_door, "person-operator-olga"),
        (Role::Auditor, &world.people_door, "person-auditor-ada"),
        (Role::Security, &world.people_door, "person-security-sergi"),
        (Role::Privacy, &world.people_door, "person-privacy-pilar"),
    ] {
        channels.insert(role, yard.channel(door, file).await);
    }
    let mut planted = 0;
    for method in gate::methods() {
        let roles = gate::allowed(method).expect("a row");
        let (_, channel) = channels.iter().find(|(role, _)| roles.contains(role)).expect("a caller");
        let mut all = Vec::new();
        for field in 1..16 {
            let message = one_field(field, CANARY);
            all.extend_from_slice(&message);
            // An argument that is a message of its own, with the canary one floor down.
            let inner = one_field(1, CANARY);
            let nested = [&[field << 3 | 2, u8::try_from(inner.len()).expect("short")], inner.as_slice()].concat();
            if field < 9 {
                plant(channel, method, &message).await;
                plant(channel, method, &nested).await;
                planted += 2;
            }
        }
        plant(channel, method, &all).await;
        plant(channel, &format!("{method}/{CANARY}"), &[]).await;
        planted += 2;
    }
    planted
}

/// An enrolment whose reference to the investor is a canary, as the tenant might choose it.
async fn named_subject(world: &World) {
    let wanted = NewLogin::New {
        institution: InstitutionId::try_from("ins_banco-abierto").expect("an id"),
        subject: SubjectRef::try_from("maria-ejemplo-73519-canary").expect("a reference"),
    };
    world.north.front_end().expect("connected").open_enrolment(&wanted).await.expect("an enrolment");
}

/// What may stand in nothing that leaves.
fn forbidden(yard: &Yard) -> Needles {
    let mut needles = Needles::default();
    let mut add = |text: &[u8]| needles.add(text).expect("long");
    // Its first sixteen bytes are the trace id that callers ask for: that is not taken over either.
    add(CANARY.as_bytes());
    add(hex::encode(CANARY).as_bytes());
    add(b"maria-ejemplo-73519-canary");
    for each in &yard.crowd {
        each.login.canaries().for_each(&mut add);
        add(each.credential.to_string().as_bytes());
        add(each.owner.to_string().as_bytes());
        add(&each.credential.to_bytes());
    }
    add(yard.world.north.id.to_string().as_bytes());
    for path in
        ["/tenant/gestora-norte/frontend/web", "/person/auditor/ada", "/person/operator/olga", "/worker/pool-a/w02"]
    {
        add(path.as_bytes());
    }
    for key in ["node.key", "worker-w01.key"] {
        let pem = std::fs::read_to_string(yard.world.identities.folder.join(key)).expect("a key");
        // The first line of a PKCS#8 key is the same for all of them up to the key itself.
        let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
        add(body.as_bytes());
    }
    needles
}

/// The scrape, as text.
pub(super) async fn scrape(world: &World) -> String {
    let mut stream = tokio::net::TcpStream::connect(&world.vault.metrics).await.expect("the scrape");
    let request = "GET /metrics HTTP/1.1\r\nhost: vault\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

/// The value of one line of the scrape, by its name and labels in any order.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_gets_what_operators_need_and_no_canary() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collector, address) = Collector::start().await;
    let usual = crate::usual(&folder.path().join("world"));
    let wishes = Wishes { workers: 6, log: "debug,cofre=trace", collector: Some(format!("http://{address}")), ..usual };
    let yard = Yard::wished(&wishes, LOGINS).await;
    yard.untouched("the deposits").await;
    named_subject(&yard.world).await;
    let planted = canaries_everywhere(&yard).await;
    methods::refused(&yard).await;
    methods::broken_messages(&yard).await;
    sealed::wrongly(&yard).await;
    releases::refused(&yard).await;
    door::closed(&yard).await;
    let forbidden = forbidden(&yard);
    let text = scrape(&yard.world).await;
    let log = yard.world.vault.log.clone();
    yard.world.stop().expect("it stops in order");

    let received = collector.take();
    let bytes = folder.path().join("otlp");
    received.write(&bytes);
    std::fs::write(bytes.join("scrape"), &text).expect("a file");
    let seen = forbidden.in_folder(&bytes, &[]).expect("files");
    println!(
        "{planted} calls with canaries; {} runs looked for in {} bytes of OTLP and scrape: {} found; {} deliveries of traces, {} of metrics, {} of logs",
        forbidden.len(),
        seen.bytes,
        seen.found,
        received.traces.len(),
        received.metrics.len(),
        received.logs.len(),
    );
    assert!(seen.bytes > 200_000 && seen.found == 0, "{seen:?}");
    arrived::spans(&received);
    arrived::metrics(&received);
    arrived::lines(&received);
    arrived::scraped(&text);

    // The search finds what is there: what did arrive, and what was left out and stands on standard error alone.
    let mut present = Needles::default();
    present.add(b"cofre.v1.ReleaseService/Release").expect("long");
    let seen = present.in_folder(&bytes, &["scrape", "headers"]).expect("files");
    assert!(seen.found > 0, "{seen:?}");
    // And the list did leave something out: whence a peer came stands on standard error alone.
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(log.lines().any(|line| line.contains("\"peer was not let in\"") && line.contains("\"address\"")));
    assert!(arrived::bodies(&received).any(|body| body == "peer was not let in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_costs_nobody_anything_and_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    // It takes connections and never says a word.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", deaf.local_addr().expect("an address"));
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(deaf.accept().await.expect("a connection"));
        }
    });
    let usual = crate::usual(&folder.path().join("world"));
    let wishes = Wishes { workers: 2, log: "debug,cofre=trace", collector: Some(uri), ..usual };
    let world = World::start(&wishes).await.expect("a world");
    let crowd = crowd::deposit(&world, LOGINS).await.expect("deposits");
    crowd::consent(&world, &crowd).await.expect("consents");
    assert_eq!(crowd::release(&world, &crowd).await.expect("releases"), LOGINS);
    let lost = |text: &str, signal: &str| {
        let label = format!("signal=\"{signal}\"");
        value(text, "cofre_telemetry_items_total", &[&label, "outcome=\"failed\""]).unwrap_or_default()
    };
    let mut text = String::new();
    for _ in 0..120 {
        text = scrape(&world).await;
        if ["traces", "metrics", "logs"].iter().all(|signal| lost(&text, signal) > 0.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    for signal in ["traces", "metrics", "logs"] {
        assert!(lost(&text, signal) > 0.0, "{signal}: {text}");
    }
    assert_eq!(crowd::release(&world, &crowd).await.expect("releases"), LOGINS);
    // The last flush fails, and the stop is in order all the same.
    world.stop().expect("it stops in order");
    held.abort();
}
