//! Grants that nobody will deliver, and commits that wait: faults are made by a second connection that holds the
//! write lock, by askers that go away, by a clock that moves, and by a node that starts again.

use cofre_ledger::entry::Leaf;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::reason::Reason;
use cofre_model::time::Span;
use cofre_model::wording::Outcome;
use cofre_policy::decision::Decision;
use cofre_store::{Change, CommitConfig, Committed, Error, Operation, Search, Stores};
use tokio::task::JoinHandle;

use crate::hands::Lock;
use crate::world::{Ask, World, commit_config, config, told};

/// Hands a decision to the writer and lets it come as far as it can.
async fn submit(world: &World, decision: Decision) -> JoinHandle<Result<Committed, Error>> {
    let records = world.records().clone();
    let task = tokio::spawn(async move { records.commit(decision).await });
    settle().await;
    task
}

/// On a runtime of one thread, everything that can go on has gone on after this.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// The entries that follow up `index`.
async fn follow_ups(world: &World, index: u64) -> Vec<Entry> {
    let search = Search { follows: Some(index), limit: 9, ..Search::default() };
    let found = world.records().search(&search).await.expect("search").rows;
    found.iter().map(|row| Leaf::parse(&row.bytes).and_then(|leaf| leaf.entry()).expect("an entry")).collect()
}

/// The same deployment after its node started again.
async fn restarted(world: World, change: impl FnOnce(CommitConfig) -> CommitConfig) -> World {
    let World { folder, clock, stores, tenant, institution, recipient, job_key, .. } = world;
    stores.close().await;
    let stores = Stores::open(config(folder.path()).await, change(commit_config(&clock))).await.expect("opened");
    World::rebuilt(folder, clock, stores, tenant, institution, recipient, job_key)
}

async fn lease(world: &World, ask: &Ask) -> bool {
    let grant = world.records().grant(&ask.credential, &ask.job).await.expect("read");
    grant.is_some_and(|grant| grant.lease_until.is_some())
}

#[tokio::test]
async fn a_grant_whose_answer_could_not_leave_any_more_is_not_made() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    let ask = world.ask(credential.id);
    let decision = world.decide(&world.facts(&ask).await);
    let mut lock = Lock::on(&world).await;
    let waiting = submit(&world, decision).await;
    lock.keep(&world, Span::millis(81)).await;
    lock.release().await;
    let Ok(Committed::Denied { reason, at, .. }) = waiting.await.expect("task") else { panic!("granted too late") };
    assert_eq!(reason, Reason::NotDelivered);
    let row = world.records().entry(at.index).await.expect("read").expect("recorded");
    assert_eq!(Leaf::parse(&row.bytes).and_then(|leaf| leaf.entry()).expect("entry").kind, EntryKind::Denied);
    assert!(world.records().grant(&credential.id, &ask.job).await.expect("read").is_none());
    assert_eq!(told(&world.once(&ask).await), "GRANTED", "nothing was counted");
}

#[tokio::test]
async fn a_grant_that_nobody_waits_for_gets_its_outcome_and_can_be_repeated_at_once() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    let ask = world.ask(credential.id);
    let decision = world.decide(&world.facts(&ask).await);
    let mut changes = world.records().changes();
    let lock = Lock::on(&world).await;
    let waiting = submit(&world, decision).await;
    waiting.abort();
    settle().await;
    lock.release().await;
    let Ok(Change::Entry { at, kind: EntryKind::Granted, .. }) = changes.recv().await else { panic!("no grant") };
    assert!(matches!(changes.recv().await, Ok(Change::Entry { kind: EntryKind::Outcome, .. })));
    assert!(matches!(changes.recv().await, Ok(Change::LeaseEnded { job, .. }) if job == ask.job));
    let [outcome] = &follow_ups(&world, at.index).await[..] else { panic!("one outcome") };
    assert_eq!((outcome.kind, outcome.reason), (EntryKind::Outcome, Some(Reason::NotDelivered)));
    assert_eq!((outcome.job, outcome.credential), (Some(ask.job), Some(credential.id)));
    assert!(!lease(&world, &ask).await);
    // Another job, and then the same request: both find the login free.
    let other = world.attended(&credential);
    assert_eq!(told(&world.once(&other).await), "GRANTED");
    world.report(&other, Outcome::Ok).await.expect("report");
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    assert_eq!(follow_ups(&world, at.index).await.len(), 2, "the outcome and the redelivery");
}

#[tokio::test]
async fn a_grant_without_its_promise_gets_its_outcome() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    let world = restarted(world, |config| CommitConfig { origin: "o".repeat(65_536), ..config }).await;
    let ask = world.ask(credential.id);
    let decision = world.decide(&world.facts(&ask).await);
    let mut changes = world.records().changes();
    assert!(world.records().commit(decision).await.is_err());
    let Ok(Change::Entry { at, kind: EntryKind::Granted, .. }) = changes.recv().await else { panic!("no grant") };
    assert!(matches!(changes.recv().await, Ok(Change::Entry { kind: EntryKind::Outcome, .. })));
    assert_eq!(follow_ups(&world, at.index).await.len(), 1);
    assert!(!lease(&world, &ask).await);
}

#[tokio::test]
async fn an_undelivered_grant_frees_the_login_unless_its_session_has_another() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let first = world.ask(credential.id);
    let further = Ask { request: world.ask(credential.id).request, ..first.clone() };
    let mut indexes = Vec::new();
    for ask in [&first, &further] {
        let Committed::Granted { permit, .. } = world.once(ask).await else { panic!("not granted") };
        indexes.push(permit.entry().at.index);
    }
    for (index, held) in [(indexes[1], true), (indexes[1], true), (indexes[0], false)] {
        let mut entry = world.entry(EntryKind::Outcome);
        entry.verdict = Some(cofre_model::entry::Verdict::Denied);
        entry.reason = Some(Reason::NotDelivered);
        entry.follows = Some(index);
        world.records().apply(entry, Operation::Note).await.expect("noted");
        assert_eq!(lease(&world, &first).await, held);
    }
}

#[tokio::test]
async fn a_grant_of_unknown_delivery_keeps_its_lease() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    let ask = world.ask(credential.id);
    let Committed::Granted { permit, .. } = world.once(&ask).await else { panic!("not granted") };
    let mut entry = world.entry(EntryKind::Outcome);
    entry.reference = Some("DELIVERY_UNKNOWN".into());
    entry.follows = Some(permit.entry().at.index);
    world.records().apply(entry, Operation::Note).await.expect("noted");
    assert!(lease(&world, &ask).await);
    // It has its outcome: a later life of the node says nothing more and takes nothing back.
    let world = restarted(world, |config| CommitConfig { incarnation: [10; 16], ..config }).await;
    world.apply(EntryKind::NodeStarted, Operation::NodeStarted).await.expect("started");
    assert_eq!(follow_ups(&world, permit.entry().at.index).await.len(), 1);
    assert!(lease(&world, &ask).await);
}

#[tokio::test]
async fn a_node_that_starts_again_says_what_it_cannot_know() {
    let world = World::new().await;
    let (open, reported) = (world.releasable(1).await.0, world.releasable(1).await.0);
    let (ask, done) = (world.ask(open.id), world.ask(reported.id));
    let Committed::Granted { permit, .. } = world.once(&ask).await else { panic!("not granted") };
    let index = permit.entry().at.index;
    assert_eq!(told(&world.once(&done).await), "GRANTED");
    world.report(&done, Outcome::Ok).await.expect("report");

    let world = restarted(world, |config| CommitConfig { incarnation: [10; 16], ..config }).await;
    assert!(lease(&world, &ask).await);
    let size = world.records().head().await.expect("head").size;
    let started = world.apply(EntryKind::NodeStarted, Operation::NodeStarted).await.expect("started");
    assert_eq!(started.index, size);
    assert_eq!(world.records().head().await.expect("head").size, size + 2, "one grant was open");
    let [outcome] = &follow_ups(&world, index).await[..] else { panic!("one outcome") };
    assert_eq!((outcome.kind, outcome.verdict, outcome.reason), (EntryKind::Outcome, None, None));
    assert_eq!(outcome.reference.as_deref(), Some("DELIVERY_UNKNOWN"));
    assert!(!lease(&world, &ask).await);
    world.apply(EntryKind::NodeStarted, Operation::NodeStarted).await.expect("again");
    assert_eq!(world.records().head().await.expect("head").size, size + 3, "said once");
    assert_eq!(told(&world.once(&ask).await), "GRANTED", "a retry works at once");
    world.report(&ask, Outcome::Ok).await.expect("report");
    world.clock.advance(Span::minutes(31));
    assert_eq!(told(&world.once(&world.ask(open.id)).await), "FREQUENCY_EXCEEDED", "it stays counted");
    crate::ledger::sound(&world).await;
}

#[tokio::test]
async fn a_revocation_goes_before_the_grants_that_wait() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    let mut decisions = Vec::new();
    for _ in 0..50 {
        let facts = world.facts(&world.attended(&credential)).await;
        decisions.push(world.decide(&facts));
    }
    let lock = Lock::on(&world).await;
    let mut waiting = Vec::new();
    for decision in decisions {
        waiting.push(submit(&world, decision).await);
    }
    let (records, mut entry) = (world.records().clone(), Entry::new(EntryKind::ConsentRevoked, [0xcc; 16]));
    entry.tenant = Some(world.tenant.id);
    let end = Operation::EndConsent {
        tenant: consent.tenant,
        consent: consent.id,
        to: cofre_model::consent::ConsentState::Revoked,
    };
    let revoked = tokio::spawn(async move { records.apply(entry, end).await });
    settle().await;
    lock.release().await;
    let revoked = revoked.await.expect("task").expect("revoked");
    let mut heard = Vec::new();
    for task in waiting {
        let committed = task.await.expect("task").expect("commit");
        if let Committed::Granted { permit, .. } = &committed {
            assert!(permit.entry().at.index < revoked.index);
        }
        heard.push(told(&committed));
    }
    // Only the one that the writer had in hand already.
    let mut expected = vec!["MOVED"; 50];
    expected[0] = "GRANTED";
    assert_eq!(heard, expected);
}
