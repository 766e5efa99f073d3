//! A PostgreSQL that is gone, hangs or was cut off: the answer is "unavailable" within two seconds, and all is well
//! again once it is back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofre_model::id::SubjectId;
use cofre_model::time::Timestamp;
use cofre_store::*;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::Instant;

use crate::databases::{Databases, STORES};

/// Callers hold out for two seconds, here with some more for a machine under load.
const SOON: Duration = Duration::from_millis(2_900);

fn place(host: &str, port: u16, database: &str) -> Place {
    let tls = if host.starts_with('/') { "" } else { " sslmode=disable" };
    let text = format!("host={host} port={port} dbname={database} user={database}{tls}");
    Place::Postgres(Postgres::parse(&text, None).expect("parsed"))
}

fn everywhere(place: Place) -> StoreConfig {
    StoreConfig { records: place.clone(), ciphertexts: place.clone(), keyring: place, mode: Mode::Dev, ceiling: None }
}

async fn refused(config: StoreConfig) -> Error {
    let asked = Instant::now();
    let opened = tokio::spawn(async move { crate::databases::open(config).await });
    let cause = opened.await.expect("answered").map(drop).expect_err("opened");
    assert!(asked.elapsed() < SOON, "took {:?}", asked.elapsed());
    cause
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let port = listener.local_addr().expect("address").port();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    let cause = refused(everywhere(place("127.0.0.1", port, "nothing"))).await;
    assert!(matches!(cause, Error::Unavailable(_)), "{cause:?}");
    held.abort();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_waited_for() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        listener.local_addr().expect("address").port()
    };
    let cause = refused(everywhere(place("127.0.0.1", port, "nothing"))).await;
    assert!(matches!(cause, Error::Unavailable(_)), "{cause:?}");
}

/// A way to the server that can be stopped up.
struct Way {
    folder: tempfile::TempDir,
    stopped: Arc<AtomicBool>,
}

impl Way {
    fn to(server: &Path) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let stopped = Arc::new(AtomicBool::new(false));
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("socket");
        let (server, stop) = (server.join(".s.PGSQL.5432"), stopped.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (server, stop) = (server.clone(), stop.clone());
                tokio::spawn(async move {
                    let far = UnixStream::connect(&server).await.expect("server");
                    let (near, far) = (near.into_split(), far.into_split());
                    tokio::join!(pass(near.0, far.1, stop.clone()), pass(far.0, near.1, stop));
                });
            }
        });
        Self { folder, stopped }
    }

    fn config(&self, databases: &Databases) -> StoreConfig {
        let folder = self.folder.path().to_str().expect("path");
        let [records, ciphertexts, keyring] = STORES.map(|store| place(folder, 5432, &databases.database(store)));
        StoreConfig { records, ciphertexts, keyring, mode: Mode::Dev, ceiling: None }
    }
}

/// What is read while the way is stopped up is swallowed, like by a network that lost its other side.
async fn pass(
    mut from: tokio::net::unix::OwnedReadHalf,
    mut to: tokio::net::unix::OwnedWriteHalf,
    stopped: Arc<AtomicBool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if !stopped.load(Ordering::SeqCst) && to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_answering_is_unavailable_and_comes_back() {
    let databases = Databases::migrated().await;
    let way = Way::to(databases.folder());
    let stores = crate::databases::open(way.config(&databases)).await.expect("opened");
    assert_eq!(stores.records.head().await.expect("head").size, 0);
    way.stopped.store(true, Ordering::SeqCst);
    // More at once than the pool has sessions: none may be lost for good.
    let asked = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for turn in 0..24_u64 {
        let (records, keyring) = (stores.records.clone(), stores.keyring.clone());
        asking.spawn(async move {
            let owner = SubjectId::from_parts(turn, [1; 10]);
            match turn % 3 {
                0 => records.head().await.map(drop),
                1 => records.search(&Search::default()).await.map(drop),
                _ => keyring.destroy_owner(&owner, Timestamp::default(), 0).await.map(drop),
            }
        });
    }
    while let Some(answer) = asking.join_next().await {
        let answer = answer.expect("answered");
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
    assert!(asked.elapsed() < SOON, "took {:?}", asked.elapsed());
    way.stopped.store(false, Ordering::SeqCst);
    // Sessions that hang are closed within seconds; then there is room for new ones.
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(cause) = stores.records.head().await {
        assert!(Instant::now() < deadline, "never came back: {cause}");
    }
    for turn in 0..24_u64 {
        let owner = SubjectId::from_parts(turn, [2; 10]);
        assert!(stores.keyring.destroyed(&owner).await.expect("read").is_none());
    }
}

/// Showing a password gives way to other work some eight hundred times. Where each turn of that work takes a few
/// milliseconds, whoever waited for it on the same thread would wait for seconds, at every try anew.
#[tokio::test]
async fn a_busy_node_gets_its_sessions_back() {
    let databases = Databases::migrated().await;
    let config = databases.with_password("sesame").await;
    let stores = crate::databases::open(config).await.expect("opened");
    let busy = tokio::spawn(async {
        loop {
            std::thread::sleep(Duration::from_millis(4));
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..3 {
        databases.end_sessions("records").await;
        assert_eq!(stores.records.head().await.expect("head").size, 0);
    }
    busy.abort();
}

#[tokio::test]
async fn sessions_the_server_ended_are_made_anew() {
    let databases = Databases::migrated().await;
    let stores = databases.open().await.expect("opened");
    for _ in 0..3 {
        assert_eq!(stores.records.head().await.expect("head").size, 0);
        databases.end_sessions("records").await;
    }
    assert_eq!(stores.records.head().await.expect("head").size, 0);
}

#[tokio::test]
async fn a_lock_that_is_held_is_not_waited_for_longer_than_a_caller_waits() {
    let databases = Databases::migrated().await;
    let stores = databases.open().await.expect("opened");
    let owner = SubjectId::from_parts(1, [1; 10]);
    let mut other = databases.hold("keyring", &owner.to_string()).await;
    let asked = Instant::now();
    let refused = stores.keyring.destroy_owner(&owner, Timestamp::default(), 0).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(asked.elapsed() < SOON, "took {:?}", asked.elapsed());
    // Another owner's keys are another matter.
    stores.keyring.destroy_owner(&SubjectId::from_parts(2, [1; 10]), Timestamp::default(), 0).await.expect("destroyed");
    sqlx::Executor::execute(&mut other, "ROLLBACK").await.expect("released");
    stores.keyring.destroy_owner(&owner, Timestamp::default(), 0).await.expect("destroyed");
}
