//! Several nodes on the records of one PostgreSQL: each question of order has one answer for all of them, what one
//! narrows the others hear, and none answers for grants that another still holds. Always on PostgreSQL: an SQLite file
//! has one process.

use std::sync::Arc;
use std::time::Duration;

use cofre_ledger::entry::Leaf;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::time::Span;
use cofre_model::wording::Outcome;
use cofre_policy::decision::Decision;
use cofre_store::{Change, CommitConfig, CommitError, Committed, Error, Operation, Search, StoreConfig, Stores};
use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::Store;
use sqlx::{Connection as _, PgConnection, Row as _};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use crate::world::{Ask, Cellar, World, commit_config, told};

/// Two nodes and the folder their databases are named after.
struct Cell {
    folder: TempDir,
    config: StoreConfig,
    first: Arc<World>,
    second: Arc<World>,
}

impl Cell {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let config = cofre_testkit::stores::postgres(folder.path()).await.expect("databases");
        let beside = tempfile::tempdir().expect("folder");
        let first = World::in_cellar(Cellar::of(beside, config.clone()).await).await;
        let second = joined(&first, &config, "n2", 10).await;
        Self { folder, config, first: Arc::new(first), second: Arc::new(second) }
    }

    /// A connection that no role and no lock time-out holds back.
    async fn administrator(&self) -> PgConnection {
        let cluster = Cluster::here().expect("a cluster");
        cluster.administrator(&databases::name(self.folder.path(), Store::Records)).await.expect("connected")
    }
}

/// A further node, or a further life of one, on the same records.
async fn joined(beside: &World, config: &StoreConfig, node: &str, incarnation: u8) -> World {
    let settings = CommitConfig {
        node: format!("spiffe://cofre.test/node/eu-nl/{node}"),
        incarnation: [incarnation; 16],
        ..commit_config(&beside.clock)
    };
    let stores = Stores::open(config.clone(), settings).await.expect("opened");
    World::rebuilt(
        tempfile::tempdir().expect("folder"),
        beside.clock.clone(),
        stores,
        beside.tenant.clone(),
        beside.institution.clone(),
        beside.recipient,
        beside.job_key,
    )
}

async fn decided(world: &World, ask: &Ask) -> Decision {
    world.decide(&world.facts(ask).await)
}

/// The entries that follow up `index`.
async fn follow_ups(world: &World, index: u64) -> Vec<Entry> {
    let search = Search { follows: Some(index), limit: 9, ..Search::default() };
    let found = world.records().search(&search).await.expect("search").rows;
    found.iter().map(|row| Leaf::parse(&row.bytes).and_then(|leaf| leaf.entry()).expect("an entry")).collect()
}

async fn granted(world: &World, ask: &Ask) -> u64 {
    let committed = world.once(ask).await;
    let index = match &committed {
        Committed::Granted { permit, .. } => Some(permit.entry().at.index),
        Committed::Denied { .. } | Committed::Moved => None,
    };
    index.expect("granted")
}

/// Changes until one is as wanted; whoever waits for one that never comes is ended by the test's own time limit.
async fn heard(changes: &mut Receiver<Change>, wanted: impl Fn(&Change) -> bool) {
    loop {
        if wanted(&changes.recv().await.expect("changes")) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_grants_on_two_nodes_at_once_one_holds_the_lease() {
    let cell = Cell::new().await;
    let (credential, _) = cell.first.releasable(4).await;
    let mut commits = Vec::new();
    for place in 0..20 {
        let node = if place % 2 == 0 { &cell.first } else { &cell.second };
        let decision = decided(node, &node.attended(&credential)).await;
        commits.push((node.records().clone(), decision));
    }
    let commits: Vec<_> = commits
        .into_iter()
        .map(|(records, decision)| tokio::spawn(async move { records.commit(decision).await.expect("commit") }))
        .collect();
    let mut heard = Vec::new();
    for commit in commits {
        heard.push(told(&commit.await.expect("task")));
    }
    heard.sort();
    let mut expected = vec!["LEASE_HELD".to_owned(); 20];
    expected[0] = "GRANTED".into();
    assert_eq!(heard, expected);
    crate::ledger::sound(&cell.second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_on_one_node_the_other_grants_nothing() {
    let cell = Cell::new().await;
    for _ in 0..5 {
        let (credential, consent) = cell.first.releasable(4).await;
        let granting = {
            let (node, credential) = (cell.second.clone(), credential.clone());
            tokio::spawn(async move {
                let mut granted = Vec::new();
                for _ in 0..8 {
                    if let Committed::Granted { permit, .. } = node.once(&node.attended(&credential)).await {
                        granted.push(permit.entry().at.index);
                    }
                }
                granted
            })
        };
        let revoked = cell.first.revoke(&consent).await.expect("revoke").index;
        let granted = granting.await.expect("task");
        assert!(granted.iter().all(|index| *index < revoked), "{granted:?} against {revoked}");
    }
    crate::ledger::sound(&cell.first).await;
}

#[tokio::test]
async fn a_request_id_is_one_request_on_all_nodes() {
    let cell = Cell::new().await;
    let (credential, _) = cell.first.releasable(4).await;
    let ask = cell.first.ask(credential.id);
    let other = Ask { digest: [0xee; 32], ..ask.clone() };
    // All decided before anything is committed: to each it is new.
    let first = decided(&cell.first, &ask).await;
    let again = decided(&cell.second, &ask).await;
    let changed = decided(&cell.second, &other).await;
    let Ok(Committed::Granted { permit, .. }) = cell.first.records().commit(first).await else { panic!("granted") };
    let index = permit.entry().at.index;
    assert_eq!(told(&cell.second.records().commit(again).await.expect("commit")), "GRANTED");
    let [repeat] = &follow_ups(&cell.first, index).await[..] else { panic!("one repeat") };
    assert_eq!(repeat.kind, EntryKind::Redelivered);
    assert_eq!(told(&cell.second.records().commit(changed).await.expect("commit")), "REPLAY");
}

#[tokio::test]
async fn visits_are_counted_over_all_nodes() {
    let cell = Cell::new().await;
    let (credential, _) = cell.first.releasable(1).await;
    let (one, two) = (cell.first.ask(credential.id), cell.second.ask(credential.id));
    let first = decided(&cell.first, &one).await;
    let second = decided(&cell.second, &two).await;
    assert_eq!(told(&cell.first.records().commit(first).await.expect("commit")), "GRANTED");
    cell.first.report(&one, Outcome::Ok).await.expect("report");
    assert_eq!(told(&cell.second.records().commit(second).await.expect("commit")), "FREQUENCY_EXCEEDED");
}

#[tokio::test]
async fn a_node_that_starts_answers_for_its_own_grants_only() {
    let cell = Cell::new().await;
    let (mine, theirs) = (cell.first.releasable(1).await.0, cell.first.releasable(1).await.0);
    let (my_ask, their_ask) = (cell.first.ask(mine.id), cell.second.ask(theirs.id));
    let (my_grant, their_grant) = (granted(&cell.first, &my_ask).await, granted(&cell.second, &their_ask).await);

    // A name is one live process's: the next life begins when the last one has ended.
    let Cell { folder: _folder, config, first, second } = cell;
    Arc::into_inner(first).expect("nobody else has it").stores.close().await;
    let again = joined(&second, &config, "n1", 11).await;
    again.apply(EntryKind::NodeStarted, Operation::NodeStarted).await.expect("started");
    let [outcome] = &follow_ups(&again, my_grant).await[..] else { panic!("one outcome") };
    assert_eq!((outcome.kind, outcome.reference.as_deref()), (EntryKind::Outcome, Some("DELIVERY_UNKNOWN")));
    assert!(follow_ups(&again, their_grant).await.is_empty(), "the other node lives");
    assert!(
        again.records().grant(&theirs.id, &their_ask.job).await.expect("read").expect("there").lease_until.is_some()
    );

    Arc::into_inner(second).expect("nobody else has it").stores.close().await;
    let other = joined(&again, &config, "n2", 12).await;
    other.apply(EntryKind::NodeStarted, Operation::NodeStarted).await.expect("started");
    assert_eq!(follow_ups(&other, their_grant).await.len(), 1);
}

#[tokio::test]
async fn what_one_node_narrows_the_other_hears_also_after_its_connection_was_lost() {
    let cell = Cell::new().await;
    let mut changes = cell.second.records().changes();
    for lost in [false, true] {
        let (credential, consent) = cell.first.releasable(4).await;
        let ask = cell.first.ask(credential.id);
        granted(&cell.first, &ask).await;
        if lost {
            let mut administrator = cell.administrator().await;
            let ended = sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND query LIKE '%told%' AND pid <> pg_backend_pid()",
            );
            assert!(!ended.fetch_all(&mut administrator).await.expect("ended").is_empty(), "nobody listened");
        }
        cell.first.revoke(&consent).await.expect("revoke");
        heard(&mut changes, |change| matches!(change, Change::ConsentEnded { consent: of, .. } if *of == consent.id))
            .await;
        heard(&mut changes, |change| matches!(change, Change::LeaseEnded { job, .. } if *job == ask.job)).await;
    }
    // A node hears its own changes once.
    let mut own = cell.first.records().changes();
    let (_, consent) = cell.first.releasable(1).await;
    cell.first.revoke(&consent).await.expect("revoke");
    let (_, next) = cell.second.releasable(1).await;
    cell.second.revoke(&next).await.expect("revoke");
    let mut ended = Vec::new();
    while ended.last() != Some(&next.id) {
        if let Change::ConsentEnded { consent, .. } = own.recv().await.expect("changes") {
            ended.push(consent);
        }
    }
    assert_eq!(ended, [consent.id, next.id]);
}

/// Holds the cell's lock until dropped.
struct Lock(PgConnection);

impl Lock {
    async fn on(cell: &Cell) -> Self {
        let mut holder = cell.administrator().await;
        sqlx::query("BEGIN").execute(&mut holder).await.expect("begun");
        sqlx::query("SELECT 1 FROM cofre.cell FOR UPDATE").execute(&mut holder).await.expect("locked");
        Self(holder)
    }

    /// Waits until a commit waits for the lock, and gives its backend.
    async fn waiter(&mut self) -> i32 {
        loop {
            let row = sqlx::query(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_optional(&mut self.0)
            .await
            .expect("activity");
            match row {
                Some(row) => return row.get("pid"),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn release(self) {
        self.0.close().await.expect("released");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_backend_is_killed_happens_not_at_all_or_is_found() {
    let cell = Cell::new().await;
    let (_, consent) = cell.first.releasable(4).await;
    let size = cell.first.records().head().await.expect("head").size;
    let mut lock = Lock::on(&cell).await;
    let revoking = {
        let (node, consent) = (cell.first.clone(), consent.clone());
        tokio::spawn(async move { node.revoke(&consent).await })
    };
    let waiter = lock.waiter().await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(waiter).execute(&mut lock.0).await.expect("killed");
    assert!(matches!(revoking.await.expect("task"), Err(CommitError::Store(_))), "nobody knows what became of it");
    lock.release().await;
    // The writer asks what became of it before it goes on, and goes on.
    let at = cell.first.revoke(&consent).await.expect("revoke");
    assert_eq!(at.index, size, "the killed one left nothing");
    crate::ledger::sound(&cell.first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_had_is_given_up_and_nothing_stays() {
    let cell = Cell::new().await;
    let (_, consent) = cell.first.releasable(4).await;
    let size = cell.first.records().head().await.expect("head").size;
    let lock = Lock::on(&cell).await;
    let refused = cell.first.revoke(&consent).await;
    assert!(matches!(refused, Err(CommitError::Store(Error::Unavailable(_) | Error::Unanswered))), "{refused:?}");
    lock.release().await;
    assert_eq!(cell.first.revoke(&consent).await.expect("revoke").index, size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_spent_waiting_for_another_node_is_time_spent() {
    let cell = Cell::new().await;
    let (credential, _) = cell.first.releasable(1).await;
    let ask = cell.first.ask(credential.id);
    let decision = decided(&cell.first, &ask).await;
    let mut lock = Lock::on(&cell).await;
    let records = cell.first.records().clone();
    let waiting = tokio::spawn(async move { records.commit(decision).await.expect("commit") });
    lock.waiter().await;
    // Beyond the 80 ms in which an answer may leave, and short of the time a lock is waited for.
    tokio::time::sleep(Duration::from_millis(150)).await;
    lock.release().await;
    let before = cofre_model::time::Clock::now(cell.first.clock.as_ref());
    let Committed::Denied { reason, at, .. } = waiting.await.expect("task") else { panic!("granted too late") };
    assert_eq!(reason.as_str(), "NOT_DELIVERED");
    assert!(at.time >= before.plus(Span::millis(80)), "the entry's time has the wait in it");
    assert_eq!(told(&cell.first.once(&ask).await), "GRANTED", "nothing was counted");
}
