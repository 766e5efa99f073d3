//! The files: whose they are, what belongs together, and what happens when one is full. Tests about the files alone run
//! on SQLite whatever the engine of the run.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use cofre_model::entry::EntryKind;
use cofre_model::time::Clock as _;
use cofre_store::{CommitError, Error, Mode, Operation, Place, StoreConfig, Stores};
use cofre_testkit::clock::TestClock;
use cofre_testkit::stores::sqlite;

use crate::hands::Lock;
use crate::world::{World, commit_config, config, told};

#[tokio::test]
async fn a_second_process_is_told_that_the_store_is_held() {
    let world = World::on_sqlite(None).await;
    let second = Stores::open(sqlite(world.folder.path()), commit_config(&world.clock)).await;
    let Err(cause @ Error::Held { .. }) = second else { panic!("opened twice") };
    assert!(cause.to_string().contains("held by another cofred"), "{cause}");
}

#[tokio::test]
async fn the_files_are_their_owners_alone() {
    let world = World::on_sqlite(None).await;
    for file in ["records.db", "records.db-wal", "ciphertexts.db", "keyring.db", "records.db.lock"] {
        let mode = std::fs::metadata(world.folder.path().join(file)).expect(file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn files_of_another_mode_or_another_set_are_refused() {
    let clock = Arc::new(TestClock::default());
    let (one, two) = (World::on_sqlite(None).await, World::on_sqlite(None).await);
    let (one_folder, two_folder) = (one.folder, two.folder);
    let id = one.stores.records.store_id();
    one.stores.close().await;
    two.stores.close().await;

    let production = StoreConfig { mode: Mode::Production, ..sqlite(one_folder.path()) };
    assert!(matches!(Stores::open(production, commit_config(&clock)).await, Err(Error::Mode { .. })));
    let mixed =
        StoreConfig { keyring: Place::Sqlite(two_folder.path().join("keyring.db")), ..sqlite(one_folder.path()) };
    assert!(matches!(Stores::open(mixed, commit_config(&clock)).await, Err(Error::Apart { store: "keyring" })));
    let emptied = StoreConfig { keyring: Place::Sqlite(one_folder.path().join("new.db")), ..sqlite(one_folder.path()) };
    assert!(matches!(Stores::open(emptied, commit_config(&clock)).await, Err(Error::Lost { .. })));
    assert!(!one_folder.path().join("new.db").exists(), "nothing is made in its place");
    let fresh =
        StoreConfig { records: Place::Sqlite(one_folder.path().join("new-records.db")), ..sqlite(one_folder.path()) };
    assert!(matches!(Stores::open(fresh, commit_config(&clock)).await, Err(Error::Lost { .. })));
    assert!(!one_folder.path().join("new-records.db").exists(), "nothing is made in its place");
    let again = Stores::open(sqlite(one_folder.path()), commit_config(&clock)).await.expect("its own set");
    assert_eq!(again.records.store_id(), id);
}

#[tokio::test]
async fn a_full_file_grants_nothing_still_narrows_and_recovers() {
    full_file().await;
}

/// A file that may not grow any further: stands for a full disk where none can be mounted.
pub(crate) async fn full_file() {
    const PAGES: u32 = 120;
    let world = World::on_sqlite(Some(PAGES)).await;
    let (credential, consent) = world.releasable(4).await;
    let mut written = 0;
    let full = loop {
        let mut note = world.entry(EntryKind::AuditRead);
        note.policy_input = vec![b'x'; 2_000];
        match world.records().apply(note, Operation::Note).await {
            Ok(_) => written += 1,
            Err(cause) => break cause,
        }
        assert!(written < 1_000, "the ceiling is never reached");
    };
    assert!(matches!(full, CommitError::Store(Error::Unavailable(_))), "{full:?}");
    assert_eq!(full.reason().to_string(), "AUDIT_UNAVAILABLE");
    let size = world.records().head().await.expect("head").size;
    // Small writes may still find room in pages begun: fill those too.
    while world.apply(EntryKind::AuditRead, Operation::Note).await.is_ok() {}
    let decision = world.decide(&world.facts(&world.ask(credential.id)).await);
    assert!(matches!(world.records().commit(decision).await, Err(Error::Unavailable(_))), "granted on a full disk");
    let revoked = world.revoke(&consent).await.expect("narrowing finds room");
    assert!(revoked.index >= size);

    let World { folder, clock, stores, .. } = world;
    stores.close().await;
    let stores = Stores::open(sqlite(folder.path()), commit_config(&clock)).await.expect("opens without a ceiling");
    let mut note = cofre_model::entry::Entry::new(EntryKind::AuditRead, [1; 16]);
    note.policy_input = vec![b'x'; 2_000];
    let at = stores.records.apply(note, Operation::Note).await.expect("recovered");
    assert_eq!(at.index, revoked.index + 1);
    assert!(at.time > clock.now());
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_and_grants_nothing() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let head = world.records().head().await.expect("head");
    let stuck = Lock::on(&world).await;
    // Reading is not what hangs.
    let decision = world.decide(&world.facts(&world.ask(credential.id)).await);
    // Far beyond what it takes: only a commit that is never given up gets there.
    let both =
        async { tokio::join!(world.records().commit(decision), world.apply(EntryKind::AuditRead, Operation::Note)) };
    let (granted, noted) = tokio::time::timeout(std::time::Duration::from_secs(30), both).await.expect("given up");
    assert!(matches!(granted, Err(Error::Unavailable(_) | Error::Unanswered)), "granted without a ledger");
    assert!(matches!(noted, Err(CommitError::Store(Error::Unavailable(_) | Error::Unanswered))));
    stuck.release().await;
    // A note whose call waits at the server when the lock is let go may stand after all; a grant is too late by then.
    for row in world.records().entries(head.size, u64::MAX).await.expect("entries") {
        let leaf = cofre_ledger::entry::Leaf::parse(&row.bytes).expect("a leaf");
        assert_eq!(leaf.entry().expect("an entry").kind, EntryKind::AuditRead);
    }
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
}

#[tokio::test]
async fn a_reopened_store_goes_on_where_it_was() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let head = world.records().head().await.expect("head");
    let World { folder, clock, stores, tenant, institution, recipient, job_key, .. } = world;
    drop(stores);
    let stores = Stores::open(config(folder.path()).await, commit_config(&clock)).await.expect("reopened");
    assert_eq!(stores.records.head().await.expect("head"), head);
    let at = stores
        .records
        .apply(cofre_model::entry::Entry::new(EntryKind::NodeStarted, [2; 16]), Operation::NodeStarted)
        .await
        .expect("started");
    assert_eq!(at.index, head.size);
    assert!(at.time > head.last_time);
    let world = World::rebuilt(folder, clock, stores, tenant, institution, recipient, job_key);
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
}
