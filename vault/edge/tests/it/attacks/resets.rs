//! Streams that are opened to be reset: by the peer at once (rapid reset, CVE-2023-44487), by the peer a little later,
//! and by the vault because the peer provokes it (MadeYouReset, CVE-2025-8671).

use cofre_edge::limits::LOCAL_ERROR_RESETS;
use cofre_testkit::ca::Issued;

use super::frames::{
    CALM, DATA, END_HEADERS, END_STREAM, HEADERS, PRIORITY, RST_STREAM, WINDOW_UPDATE, Wire, frame, head, literal,
};
use super::process::{Attacked, Change, Counts};
use super::{Scene, times};
use crate::support::CHECK;

/// CANCEL (RFC 9113, 7).
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Opens and resets `count` streams in one write.
async fn burst(wire: &mut Wire, count: usize) {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let stream = wire.stream();
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(CHECK)));
        bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    // What the vault does not take any more is part of its answer.
    wire.send(&bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_in_a_burst_end_the_connection() {
    let mut scene = Scene::new(&[]).await;
    let before = scene.vault.counts().reached;
    let ended = scene
        .withstands(async |vault, mallory| {
            let mut ended = 0;
            for _ in 0..times(20) {
                let mut wire = vault.wire(mallory, &[]).await;
                burst(&mut wire, 1_000).await;
                ended += usize::from(!wire.lives().await && wire.closed().await.goaway == Some(CALM));
            }
            ended
        })
        .await;
    assert_eq!(ended, times(20));
    let reached = scene.vault.counts().reached - before;
    assert!(reached < times(20) * 100, "{reached} of {} calls reached a handler", times(20) * 1_000);
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_limit_a_burst_of_resets_gets_through() {
    let scene = Scene::new(&[Change::NoPendingResets]).await;
    let mut wire = scene.vault.wire(&scene.mallory, &[]).await;
    burst(&mut wire, 5_000).await;
    assert!(wire.lives().await, "{:?}", wire.seen());
    scene.end();
}

/// Opens streams and resets each once the vault has seen it, so that each has reached the counter by then.
async fn paced(vault: &Attacked, mallory: &Issued, count: usize) {
    let mut wire = vault.wire(mallory, &[]).await;
    for _ in 0..count {
        let Some(stream) = wire.call(CHECK, 0).await else { panic!("the connection ended") };
        assert!(wire.lives().await, "{:?}", wire.seen());
        assert!(wire.send(&frame(RST_STREAM, 0, stream, &CANCEL)).await, "{:?}", wire.seen());
    }
    assert!(wire.lives().await, "{:?}", wire.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paced_resets_are_paid_for_from_the_callers_rate() {
    let mut scene = Scene::new(&[Change::FewCalls]).await;
    let before = scene.vault.counts();
    let count = times(400);
    scene.withstands(async |vault, mallory| paced(vault, mallory, count).await).await;
    // Each honest round is two calls and a refusal; the last is made after the attack.
    let honest = super::ROUNDS + 1;
    let reached = |counts: &Counts| counts.reached - before.reached - 2 * honest;
    // A call that was let through may be on record as well, as one whose message was cut short.
    let refused = |counts: &Counts| counts.refused - before.refused - honest;
    let after = scene.vault.until(|counts| reached(counts) + refused(counts) >= count).await;
    let reached = reached(&after);
    assert!((100..count / 2).contains(&reached), "{reached} of {count} were let through, after a burst of 100");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rate_all_paced_resets_reach_a_handler() {
    let mut scene = Scene::new(&[Change::NoRate]).await;
    let before = scene.vault.counts().reached;
    paced(&scene.vault, &scene.mallory, 400).await;
    scene.vault.until(|counts| counts.reached - before == 400).await;
    scene.end();
}

/// What makes the vault reset a stream of its own accord.
type Provocation = (&'static str, fn(u32) -> Vec<u8>);

const PROVOCATIONS: [Provocation; 5] = [
    ("a window update of nothing", |stream| {
        let open = frame(HEADERS, END_HEADERS, stream, &head(CHECK));
        [open, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    }),
    ("a window beyond its bound", |stream| {
        let open = frame(HEADERS, END_HEADERS, stream, &head(CHECK));
        [open, frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
    }),
    ("a stream that depends on itself", |stream| {
        let open = frame(HEADERS, END_HEADERS, stream, &head(CHECK));
        [open, frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat())].concat()
    }),
    ("more data than announced", |stream| {
        let block = [head(CHECK), literal(false, "content-length", b"1")].concat();
        [frame(HEADERS, END_HEADERS, stream, &block), frame(DATA, END_STREAM, stream, &[0; 5])].concat()
    }),
    ("data after the end", |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(CHECK));
        [open, frame(DATA, 0, stream, &[0; 5])].concat()
    }),
];

/// Provokes on `count` streams of one connection, in writes of eight.
async fn provoke(wire: &mut Wire, (_, frames): Provocation, count: usize) {
    for _ in 0..count / 8 {
        let bytes: Vec<u8> = (0..8).flat_map(|_| frames(wire.stream())).collect();
        if !wire.send(&bytes).await || !wire.lives().await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provoked_resets_end_the_connection() {
    let mut scene = Scene::new(&[]).await;
    let seen = scene
        .withstands(async |vault, mallory| {
            let mut all = Vec::new();
            for _ in 0..times(1) {
                for provocation in PROVOCATIONS {
                    let mut wire = vault.wire(mallory, &[]).await;
                    provoke(&mut wire, provocation, 800).await;
                    all.push((provocation.0, wire.closed().await));
                }
            }
            all
        })
        .await;
    for (name, seen) in seen {
        assert!(seen.goaway.is_some_and(|code| code != 0), "{name}: {seen:?}");
        assert!(seen.resets <= LOCAL_ERROR_RESETS + 8, "{name}: {seen:?}");
    }
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_their_limit_provoked_resets_go_on() {
    let scene = Scene::new(&[Change::NoLocalResets]).await;
    let mut through = Vec::new();
    for provocation in PROVOCATIONS {
        let mut wire = scene.vault.wire(&scene.mallory, &[]).await;
        provoke(&mut wire, provocation, 800).await;
        if wire.lives().await && wire.seen().resets > 4 * LOCAL_ERROR_RESETS {
            through.push(provocation.0);
        }
    }
    // The others end their connection at once, whatever the limit.
    assert!(through.len() >= 3, "{through:?}");
    scene.end();
}
