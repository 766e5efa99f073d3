//! Frames that cost the sender nothing: empty DATA, SETTINGS and PING, and more streams than one connection may have.

use cofre_edge::limits::{CONCURRENT_CALLS, CONCURRENT_STREAMS};

use super::frames::{DATA, INITIAL_WINDOW, PING, SETTINGS, frame, setting};
use super::process::{Change, Counts};
use super::{Scene, times};
use crate::support::{CHECK, within};

/// The transport's own bound (RUSTSEC-2026-0258), which cannot be set, only relied upon: hence shown by count.
const EMPTY: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_ends_the_connection_at_its_bound() {
    let mut scene = Scene::new(&[]).await;
    scene
        .withstands(async |vault, mallory| {
            for _ in 0..times(5) {
                let mut wire = vault.wire(mallory, &[]).await;
                let stream = wire.call(CHECK, 0).await.expect("a stream");
                assert!(wire.send(&frame(DATA, 0, stream, &[]).repeat(EMPTY)).await);
                assert!(wire.lives().await, "{EMPTY} empty frames are borne: {:?}", wire.seen());
                wire.send(&frame(DATA, 0, stream, &[]).repeat(10_000)).await;
                let seen = wire.closed().await;
                assert!(seen.goaway.is_some_and(|code| code != 0), "{seen:?}");
            }
        })
        .await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_pings_are_answered_one_by_one_or_not_taken() {
    let mut scene = Scene::new(&[]).await;
    let flood = 20_000;
    scene
        .withstands(async |vault, mallory| {
            for _ in 0..times(1) {
                let mut wire = vault.wire(mallory, &[]).await;
                let window = setting(INITIAL_WINDOW, 65_535);
                assert!(wire.send(&frame(SETTINGS, 0, 0, &window).repeat(flood)).await);
                assert!(wire.send(&frame(PING, 0, 0, &[7; 8]).repeat(flood)).await);
                within(wire.until(|seen| seen.pongs >= flood || seen.closed)).await;
                assert!(wire.lives().await);
                let seen = wire.seen().clone();
                assert_eq!(seen.pongs, flood + 1, "none is answered twice, none is kept");

                // Who reads no answer is not read any further: the sockets fill up, the vault does not.
                let mut unread = vault.unread_wire(mallory).await;
                let pings = frame(PING, 0, 0, &[7; 8]).repeat(60_000);
                let mut taken = 0;
                while taken < 128 {
                    let sent = tokio::time::timeout(std::time::Duration::from_millis(500), unread.send(&pings)).await;
                    if sent != Ok(true) {
                        break;
                    }
                    taken += 1;
                }
                assert!(taken < 128, "128 MiB of pings were taken and never answered");
            }
        })
        .await;
    scene.end();
}

/// Streams to ask for: more than there may be, not so many that refusing them ends the connection.
const MANY: usize = 64 + 50;

/// Opens [`MANY`] streams that say nothing more; how many the vault has reset, once `reached` calls are at work.
async fn open_streams(scene: &mut Scene, reached: usize) -> usize {
    let before = scene.vault.counts();
    let mut wire = scene.vault.wire(&scene.mallory, &[]).await;
    for _ in 0..MANY {
        wire.call(CHECK, 0).await.expect("a stream");
    }
    assert!(wire.lives().await, "{:?}", wire.seen());
    let resets = wire.seen().resets;
    let refused = MANY - reached - resets;
    let as_told = |counts: &Counts| counts.reached - before.reached == reached;
    scene.vault.until(|counts| as_told(counts) && counts.refused - before.refused == refused).await;
    resets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_calls_of_a_connection_are_bounded() {
    let mut scene = Scene::new(&[]).await;
    // A place for some; the others are refused by the counter or, where too many are open at once, by the transport.
    open_streams(&mut scene, CONCURRENT_CALLS).await;
    scene.withstands(async |_, _| ()).await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_places_streams_bound_the_calls_and_without_both_nothing_does() {
    let most = usize::try_from(CONCURRENT_STREAMS).expect("short");
    for (changes, reached) in [(&[Change::NoPlaces][..], most), (&[Change::NoPlaces, Change::NoStreams], MANY)] {
        let mut scene = Scene::new(changes).await;
        assert_eq!(open_streams(&mut scene, reached).await, MANY - reached, "{changes:?}");
        scene.end();
    }
}
