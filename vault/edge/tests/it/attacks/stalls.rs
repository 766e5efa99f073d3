//! Peers that do not take their answers. They lose their connection, and what one of them can make the vault hold is
//! bounded; a grant's answer that was not taken in its time is never taken.

use cofre_testkit::ca::Issued;

use super::frames::{INITIAL_WINDOW, RST_STREAM, WINDOW_UPDATE, Wire, frame, setting};
use super::process::{Attacked, Change, GRANT, GRANT_BYTES, LARGE};
use super::{GROWTH, Scene, times};
use crate::support::within;

/// Bytes before a message (gRPC over HTTP/2, Length-Prefixed-Message).
const PREFIX: usize = 5;

fn window(bytes: u32) -> Vec<u8> {
    setting(INITIAL_WINDOW, bytes)
}

/// Opens `connections` with a window of nothing, and asks for 32 large answers on each.
async fn stall(vault: &Attacked, mallory: &Issued, connections: usize) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..connections {
        let mut wire = vault.wire(mallory, &window(0)).await;
        for _ in 0..32 {
            // One that was refused before all of it was sent ended as well, and leaves its connection open.
            if wire.ask(LARGE).await.is_none() && wire.seen().closed {
                break;
            }
        }
        within(wire.until(|seen| seen.heads + seen.resets >= 32 || seen.closed)).await;
        wires.push(wire);
    }
    wires
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_no_answer_is_cut_and_holds_little() {
    let mut scene = Scene::new(&[Change::ShortAnswers]).await;
    let cut = scene
        .withstands(async |vault, mallory| {
            let mut cut = 0;
            for _ in 0..times(1) {
                for wire in stall(vault, mallory, 60).await {
                    // One whose answers were all refused or dropped holds nothing, and stays.
                    within(wire.until(|seen| seen.closed || seen.ended() == 32)).await;
                    assert_eq!(wire.seen().data, 0, "the window was closed");
                    cut += usize::from(wire.seen().closed);
                }
            }
            cut
        })
        .await;
    assert!(cut > 0);
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answers_one_identity_does_not_take_are_bounded_even_before_it_is_cut() {
    let mut scene = Scene::new(&[Change::NoAnswerTime]).await;
    let living = scene
        .withstands(async |vault, mallory| {
            let mut living = 0;
            for wire in &mut stall(vault, mallory, 60).await {
                living += usize::from(wire.lives().await);
            }
            living
        })
        .await;
    // The twin of the test above: without a time for the answer nobody is cut.
    assert_eq!(living, 60);
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_bytes_for_each_identity_untaken_answers_fill_the_memory() {
    let scene = Scene::new(&[Change::NoAnswerTime, Change::NoBytes]).await;
    let wires = stall(&scene.vault, &scene.mallory, 60).await;
    assert!(scene.growth() > GROWTH, "{} MiB", scene.growth() >> 20);
    drop(wires);
    scene.end();
}

/// Gives `stream` and the connection room for `bytes`.
async fn open_window(wire: &mut Wire, stream: u32, bytes: u32) {
    wire.send(&frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())).await;
}

/// Waits until the vault has recorded that an answer was not delivered.
async fn missed(scene: &mut Scene, count: usize) {
    while scene.vault.counts().missed < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grants_answer_leaves_whole_to_whoever_takes_it() {
    let mut scene = Scene::new(&[]).await;
    let mut wire = scene.vault.wire(&scene.mallory, &window(65_535)).await;
    // On a machine that is busy elsewhere an answer may be too late; it is then recorded, and asked for again.
    let mut whole = 0;
    for _ in 0..20 {
        let before = wire.seen().data;
        wire.ask(GRANT).await.expect("a stream");
        within(wire.until(|seen| seen.data >= before + PREFIX + GRANT_BYTES || seen.resets > 0 || seen.closed)).await;
        if wire.seen().resets > 0 || wire.seen().closed {
            wire = scene.vault.wire(&scene.mallory, &window(65_535)).await;
            continue;
        }
        whole += 1;
    }
    // What came whole may still be of unknown delivery, where the machine was too busy to see it go.
    let counts = scene.vault.counts();
    assert!(counts.missed + counts.unknown >= 20 - whole && counts.missed <= 20 - whole, "{whole} {counts:?}");
    assert!(whole > 0 && counts.unknown < 20, "{counts:?}");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grants_answer_behind_a_closed_window_never_leaves() {
    let mut scene = Scene::new(&[]).await;
    let mut wire = scene.vault.wire(&scene.mallory, &window(0)).await;
    let stream = wire.ask(GRANT).await.expect("a stream");
    within(missed(&mut scene, 1)).await;
    assert!(wire.lives().await, "its stream alone is lost");
    open_window(&mut wire, stream, 60_000).await;
    within(wire.until(|seen| seen.resets == 1 || seen.closed)).await;
    let seen = wire.seen().clone();
    assert!(!seen.closed && seen.data <= PREFIX, "{seen:?}");
    assert!(wire.lives().await);
    assert_eq!(scene.vault.counts().missed, 1);
    scene.end();
}

/// A peer that lets through `bytes` of an answer and no more: the vault cuts it off, and claims nothing.
async fn begun(bytes: usize) {
    let mut scene = Scene::new(&[]).await;
    let mut wire = scene.vault.wire(&scene.mallory, &window(0)).await;
    let stream = wire.ask(GRANT).await.expect("a stream");
    open_window(&mut wire, stream, u32::try_from(bytes).expect("short")).await;
    within(scene.vault.until(|counts| counts.unknown + counts.missed == 1)).await;
    open_window(&mut wire, stream, 60_000).await;
    let counts = scene.vault.counts();
    if counts.missed == 1 {
        // Too late already when it was asked for: nothing of it left.
        within(wire.until(|seen| seen.resets == 1 || seen.closed)).await;
        assert!(wire.seen().data <= PREFIX);
    } else {
        let seen = wire.closed().await;
        assert!(seen.data <= bytes, "{seen:?}");
    }
    assert_eq!(counts.missed + counts.unknown, 1);
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grants_answer_that_has_begun_to_leave_is_cut_off_and_of_unknown_delivery() {
    begun(9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_taken_but_for_its_last_byte_is_of_unknown_delivery() {
    begun(PREFIX + GRANT_BYTES - 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_taken_but_for_its_last_byte_and_reset_is_of_unknown_delivery() {
    let mut scene = Scene::new(&[]).await;
    let most = PREFIX + GRANT_BYTES - 1;
    let mut unknown = 0;
    // On a machine that is busy elsewhere an answer may be too late; it is asked for again.
    for round in 1..=20 {
        let mut wire = scene.vault.wire(&scene.mallory, &window(u32::try_from(most).expect("short"))).await;
        let stream = wire.ask(GRANT).await.expect("a stream");
        within(wire.until(|seen| seen.data == most || seen.resets > 0 || seen.closed)).await;
        wire.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await;
        let took = wire.seen().data == most;
        let counts = within(scene.vault.until(|counts| counts.unknown + counts.missed == round)).await;
        assert_eq!(counts.unknown, unknown + usize::from(took), "{counts:?}");
        unknown = counts.unknown;
    }
    assert!(unknown > 0);
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grants_answer_that_is_not_recorded_has_reached_its_socket() {
    // In answers of 60 KiB, which is less than a session keeps: one of these fills is where only the session has room.
    // The loopback's sockets keep between one and three MiB.
    const FILLS: std::ops::Range<usize> = 8..56;
    let mut scene = Scene::new(&[Change::ShortAge, Change::NoRate]).await;
    let before = scene.vault.counts();
    let mut wires = Vec::new();
    // Every window is wide open and TCP takes next to nothing: what the vault writes is first in the socket's buffer,
    // then in the TLS session's, then in its own. Each wire fills that a little further before the grant.
    for filled in FILLS {
        let mut wire = scene.vault.narrow_wire(&scene.mallory, &window(1 << 30)).await;
        assert!(wire.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await);
        for _ in 0..filled {
            wire.ask(LARGE).await.expect("a stream");
        }
        let stream = wire.ask(GRANT).await.expect("a stream");
        wires.push((wire, stream));
    }
    // The vault ends each, at the latest for its age: what is in a socket arrives all the same, and nothing else does.
    scene.vault.until(|now| now.reached > before.reached && now.connections <= before.connections).await;
    let mut arrived = 0;
    for (mut wire, stream) in wires {
        wire.read_on();
        let seen = wire.closed().await;
        arrived += usize::from(seen.data_of(stream) == PREFIX + GRANT_BYTES);
    }
    let counts = scene.vault.counts();
    assert!(arrived + counts.missed + counts.unknown >= FILLS.len(), "{arrived} {counts:?}");
    // How much the sockets of a machine keep is the kernel's business: on one where they keep all of it, all arrives.
    println!("{arrived} arrived, {counts:?}");
    assert!(arrived > 0, "{arrived} {counts:?}");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grants_answer_whose_stream_is_reset_is_recorded() {
    let mut scene = Scene::new(&[]).await;
    let mut wire = scene.vault.wire(&scene.mallory, &window(0)).await;
    let stream = wire.ask(GRANT).await.expect("a stream");
    within(wire.until(|seen| seen.heads == 1)).await;
    assert!(wire.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await);
    within(missed(&mut scene, 1)).await;
    assert!(wire.lives().await);
    scene.end();
}
