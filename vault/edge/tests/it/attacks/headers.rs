//! Heads without an end (CONTINUATION flood, CVE-2024-27316 and its kin) and heads that unfold (HPACK bomb).

use super::Scene;
use super::frames::{CONTINUATION, END_HEADERS, END_STREAM, FRAME, HEADERS, Wire, frame, head, literal};
use super::process::Change;
use super::times;
use crate::support::CHECK;

/// Sends one head in up to `count` continuations; how many were taken.
async fn endless(wire: &mut Wire, count: usize) -> usize {
    let stream = wire.stream();
    if !wire.send(&frame(HEADERS, END_STREAM, stream, &head(CHECK))).await {
        return 0;
    }
    let piece = literal(false, "x-endless", &vec![b'x'; FRAME - 64]);
    for taken in 0..count {
        if !wire.send(&frame(CONTINUATION, 0, stream, &piece)).await {
            return taken;
        }
    }
    wire.send(&frame(CONTINUATION, END_HEADERS, stream, &[])).await;
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_end_ends_the_connection() {
    let mut scene = Scene::new(&[]).await;
    let before = scene.vault.counts().reached;
    let seen = scene
        .withstands(async |vault, mallory| {
            let mut all = Vec::new();
            for _ in 0..times(4) {
                let mut wire = vault.wire(mallory, &[]).await;
                endless(&mut wire, 6_000).await;
                all.push(wire.closed().await);
            }
            all
        })
        .await;
    assert!(seen.iter().all(|seen| seen.goaway.is_some_and(|code| code != 0)), "{seen:?}");
    assert_eq!(scene.vault.counts().reached - before, 2 * (super::ROUNDS + 1), "the honest calls alone");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_limit_a_head_of_many_frames_gets_through() {
    let mut scene = Scene::new(&[Change::NoHeaderBytes]).await;
    let before = scene.vault.counts().reached;
    let mut wire = scene.vault.wire(&scene.mallory, &[]).await;
    assert_eq!(endless(&mut wire, 6_000).await, 6_000);
    assert!(wire.lives().await, "{:?}", wire.seen());
    scene.vault.until(|counts| counts.reached - before == 1).await;
    assert!(scene.growth() > super::GROWTH, "{} MiB", scene.growth() >> 20);
    scene.end();
}

/// One entry of the dynamic table, then the entry again and again, a byte each: 12 KiB that unfold to 40 MiB.
fn bomb() -> Vec<u8> {
    // Index 62 is the newest entry (RFC 7541, 2.3.3).
    [head(CHECK), literal(true, "x-bomb", &[b'x'; 3_900]), vec![0x80 | 62; 10_000]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_unfolds_reaches_nobody() {
    let mut scene = Scene::new(&[]).await;
    let before = scene.vault.counts().reached;
    scene
        .withstands(async |vault, mallory| {
            for _ in 0..times(2) {
                let mut wire = vault.wire(mallory, &[]).await;
                for _ in 0..50 {
                    let stream = wire.stream();
                    if !wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb())).await {
                        break;
                    }
                }
                wire.lives().await;
            }
        })
        .await;
    assert_eq!(scene.vault.counts().reached - before, 2 * (super::ROUNDS + 1), "the honest calls alone");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_limit_a_head_that_unfolds_reaches_a_handler() {
    let mut scene = Scene::new(&[Change::NoHeaderBytes]).await;
    let before = scene.vault.counts().reached;
    let mut wire = scene.vault.wire(&scene.mallory, &[]).await;
    let stream = wire.stream();
    assert!(wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb())).await);
    assert!(wire.lives().await, "{:?}", wire.seen());
    scene.vault.until(|counts| counts.reached - before == 1).await;
    scene.end();
}
