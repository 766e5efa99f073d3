//! Messages: many that are never finished, slow ones, compressed ones, and frames that are none.

use std::time::Duration;

use cofre_edge::limits::RELAY_MESSAGE_BYTES;
use cofre_testkit::ca::Issued;
use tonic::Code;

use super::frames::{DATA, END_STREAM, Wire, frame};
use super::process::{Attacked, Change};
use super::{GROWTH, Scene, times};
use crate::support::{CHECK, call_with, within};

/// The method that takes the largest message.
const OPEN: &str = "/cofre.v1.RelayService/Open";

/// On each of `connections`, 32 messages of which only the last byte is missing.
async fn unfinished(vault: &Attacked, mallory: &Issued, connections: usize) -> Vec<Wire> {
    let announced = u32::try_from(RELAY_MESSAGE_BYTES).expect("short").to_be_bytes();
    let message = [&[0], announced.as_slice(), &vec![7; RELAY_MESSAGE_BYTES - 1]].concat();
    let mut wires = Vec::new();
    for _ in 0..connections {
        let mut wire = vault.wire(mallory, &[]).await;
        for _ in 0..32 {
            let Some(stream) = wire.call(OPEN, 0).await else { break };
            if !wire.data(stream, &message, 0).await {
                break;
            }
            let seen = wire.seen().clone();
            if seen.heads + seen.resets > 0 {
                break;
            }
        }
        wires.push(wire);
    }
    wires
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_just_under_their_limit_do_not_add_up() {
    let mut scene = Scene::new(&[]).await;
    let before = scene.vault.counts().refused;
    scene.withstands(async |vault, mallory| drop(unfinished(vault, mallory, times(6)).await)).await;
    let refused = scene.vault.counts().refused - before - super::ROUNDS - 1;
    assert!(refused > 0, "some were refused for their bytes");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_bytes_for_each_identity_unfinished_messages_fill_the_memory() {
    let scene = Scene::new(&[Change::NoBytes, Change::LongCalls]).await;
    let wires = unfinished(&scene.vault, &scene.mallory, 6).await;
    let seen: Vec<_> = wires.iter().map(|wire| wire.seen().clone()).collect();
    assert!(scene.growth() > GROWTH, "{} MiB; {seen:?}", scene.growth() >> 20);
    drop(wires);
    scene.end();
}

/// Begins 32 calls, and sends a byte of each now and then.
async fn dribble(vault: &Attacked, mallory: &Issued, rounds: usize) -> Wire {
    let mut wire = vault.wire(mallory, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(wire.call(OPEN, 0).await.expect("a stream"));
    }
    for _ in 0..rounds {
        for stream in &streams {
            wire.data(*stream, &[0], 0).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wire
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_messages_lose_their_call() {
    let mut scene = Scene::new(&[Change::ShortCalls]).await;
    scene
        .withstands(async |vault, mallory| {
            for _ in 0..times(1) {
                let wire = dribble(vault, mallory, 10).await;
                within(wire.until(|seen| seen.heads >= 32 || seen.closed)).await;
                assert!(!wire.seen().closed);
            }
        })
        .await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_longer_time_slow_messages_keep_it() {
    let scene = Scene::new(&[]).await;
    let mut wire = dribble(&scene.vault, &scene.mallory, 10).await;
    assert!(wire.lives().await);
    assert_eq!(wire.seen().heads, 0, "the time of this vault is ten times the other's");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_of_ours_is_refused_by_its_head() {
    let mut scene = Scene::new(&[]).await;
    let before = scene.vault.counts();
    let cases: [(&[(&str, &str)], Code); 7] = [
        (&[("grpc-encoding", "gzip")], Code::InvalidArgument),
        (&[("grpc-encoding", "deflate")], Code::InvalidArgument),
        (&[("grpc-encoding", "identity, gzip")], Code::InvalidArgument),
        (&[("content-encoding", "br")], Code::InvalidArgument),
        (&[("content-type", "application/json")], Code::InvalidArgument),
        (&[("content-type", "application/grpc+json")], Code::InvalidArgument),
        (&[("content-type", "application/grpc-web")], Code::InvalidArgument),
    ];
    let codes = scene
        .withstands(async |vault, mallory| {
            let channel = vault.enter(mallory).await;
            let mut codes = Vec::new();
            for (headers, _) in cases {
                codes.push(call_with(&channel, CHECK, headers).await.expect("a status").code());
            }
            codes
        })
        .await;
    assert_eq!(codes, cases.map(|(_, code)| code));
    let after = scene.vault.counts();
    assert_eq!(after.reached - before.reached, 2 * (super::ROUNDS + 1), "the honest calls alone");
    assert_eq!(after.refused - before.refused, cases.len() + super::ROUNDS + 1);
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_messages_are_answered_and_cost_nothing() {
    let bodies: [&[u8]; 9] = [
        &[],
        &[0],
        &[0, 0, 0, 0],
        &[0, 0, 0, 0, 1],
        &[0, 0xff, 0xff, 0xff, 0xff],
        &[1, 0, 0, 0, 1, 7],
        &[2, 0, 0, 0, 0],
        &[0, 0, 0, 0, 2, 0x0a, 0xff],
        &[0xff; 64],
    ];
    let mut scene = Scene::new(&[]).await;
    scene
        .withstands(async |vault, mallory| {
            let mut wire = vault.wire(mallory, &[]).await;
            for count in 0..times(1) {
                for (number, body) in bodies.iter().enumerate() {
                    let stream = wire.call(CHECK, 0).await.expect("a stream");
                    assert!(wire.send(&frame(DATA, END_STREAM, stream, body)).await);
                    let answered = count * bodies.len() + number + 1;
                    within(wire.until(|seen| seen.heads + seen.resets >= answered || seen.closed)).await;
                    assert!(wire.lives().await, "{body:02x?}");
                }
            }
        })
        .await;
    scene.end();
}
