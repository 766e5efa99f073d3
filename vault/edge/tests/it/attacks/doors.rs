//! Peers at the door: handshakes that do not go on, connections that come and go, and ones that grow old.

use std::net::{IpAddr, Ipv4Addr};

use cofre_edge::limits::TENANT_AND_WORKER_HANDSHAKES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::frames::END_STREAM;
use super::process::{Attacked, Change};
use super::{Scene, times};
use crate::support::{CHECK, within};

/// A source of the attacker's; the honest client comes from 127.0.0.1.
const fn source(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, number))
}

/// Opens `count` connections from each of `sources` that say little, and nothing more.
async fn half_open(vault: &Attacked, sources: u8, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        for number in 0..sources {
            let Ok(mut tcp) = vault.knock_from(source(number + 1)).await else { continue };
            // The head of a TLS record that never comes.
            if tcp.write_all(&[0x16, 3, 1, 0x10, 0]).await.is_ok() {
                all.push(tcp);
            }
        }
    }
    all
}

/// Waits until the vault holds no more than `most` of them.
async fn until_held(all: &mut [TcpStream], most: usize) {
    within(async {
        while held(all).await > most {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Those that the vault still holds.
async fn held(all: &mut [TcpStream]) -> usize {
    let mut held = 0;
    for tcp in all {
        // The vault says nothing to them: whatever can be read is the end.
        held += usize::from(
            matches!(tcp.try_read(&mut [0; 1]), Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock),
        );
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_source_of_half_open_connections_takes_its_share_alone() {
    let mut scene = Scene::new(&[]).await;
    scene
        .withstands(async |vault, mallory| {
            let mut all = half_open(vault, 1, 300).await;
            // The door looks at one after the other: now it has looked at all of these.
            vault.wire(mallory, &[]).await;
            until_held(&mut all, TENANT_AND_WORKER_HANDSHAKES / 2).await;
        })
        .await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sources_of_half_open_connections_give_way_to_who_goes_on() {
    let mut scene = Scene::new(&[]).await;
    scene
        .withstands(async |vault, mallory| {
            let mut all = half_open(vault, 40, 10).await;
            vault.wire(mallory, &[]).await;
            until_held(&mut all, TENANT_AND_WORKER_HANDSHAKES).await;
        })
        .await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_share_one_source_takes_all_and_without_places_there_is_no_end() {
    for (change, most) in [(Change::NoSource, TENANT_AND_WORKER_HANDSHAKES), (Change::NoHandshakes, 300)] {
        let scene = Scene::new(&[change]).await;
        let mut all = half_open(&scene.vault, 1, 300).await;
        // A later connection from elsewhere is let in after all of these were looked at.
        scene.honest.round(&scene.vault).await;
        until_held(&mut all, most).await;
        // The honest client's own handshake took a place for a while.
        assert!(held(&mut all).await >= most - 1, "{change:?}");
        scene.end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_are_cut_by_their_time() {
    let mut scene = Scene::new(&[Change::ShortHandshakes]).await;
    scene
        .withstands(async |vault, _| {
            for mut each in half_open(vault, 1, 60).await {
                // Ends, in order or not, because the vault ends it.
                let ended = each.read(&mut [0; 1]).await;
                assert!(!matches!(ended, Ok(1..)), "something was said");
            }
        })
        .await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_and_go_leave_nothing_behind() {
    let mut scene = Scene::new(&[]).await;
    scene
        .withstands(async |vault, _| {
            for round in 0..times(1_000) {
                let Ok(mut tcp) = vault.knock_from(source(u8::try_from(round % 8).expect("short") + 1)).await else {
                    continue;
                };
                match round % 4 {
                    0 => drop(tcp.write_all(&[0xff; 64]).await),
                    1 => drop(tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await),
                    2 => tcp.set_zero_linger().expect("set"),
                    _ => drop(tcp.shutdown().await),
                }
            }
        })
        .await;
    // The honest front end's.
    scene.vault.until(|counts| counts.connections <= 1).await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_is_asked_to_go_and_cut_after_its_grace() {
    let mut scene = Scene::new(&[Change::ShortAge]).await;
    let seen = scene
        .withstands(async |vault, mallory| {
            let mut wire = vault.wire(mallory, &[]).await;
            // A call that never ends does not keep it.
            wire.call(CHECK, 0).await.expect("a stream");
            wire.closed().await
        })
        .await;
    // Asked with NO_ERROR (RFC 9113, 6.8).
    assert_eq!(seen.goaway, Some(0), "{seen:?}");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_longer_age_the_same_connection_stays() {
    let scene = Scene::new(&[]).await;
    let mut wire = scene.vault.wire(&scene.mallory, &[]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert!(wire.lives().await);
    assert!(within(wire.call(CHECK, END_STREAM)).await.is_some());
    assert_eq!(wire.seen().goaway, None);
    scene.end();
}
