//! Many at once: every question of order has one answer, the ledger index.

use std::sync::Arc;

use cofre_model::entry::EntryKind;
use cofre_store::{Change, Committed, Lockdown, Operation};

use crate::world::{World, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_grants_at_once_one_holds_the_lease() {
    let world = Arc::new(World::new().await);
    let (credential, _) = world.releasable(4).await;
    // All decided on the same snapshot, before anything is committed.
    let mut decisions = Vec::new();
    for _ in 0..50 {
        let facts = world.facts(&world.attended(&credential)).await;
        decisions.push(world.decide(&facts));
    }
    let commits: Vec<_> = decisions
        .into_iter()
        .map(|decision| {
            let records = world.records().clone();
            tokio::spawn(async move { records.commit(decision).await.expect("commit") })
        })
        .collect();
    let mut heard = Vec::new();
    for commit in commits {
        heard.push(told(&commit.await.expect("task")));
    }
    heard.sort();
    let mut expected = vec!["LEASE_HELD".to_owned(); 50];
    expected[0] = "GRANTED".into();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn whatever_moves_an_epoch_sends_the_decision_back() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let other = world.releasable(4).await.0;
    let moves = [
        (EntryKind::PolicyActivated, Operation::PolicyActivated { digest: [3; 32] }),
        (EntryKind::Lockdown, Operation::Lockdown(Lockdown::Credential(other.id))),
        (EntryKind::WorkerQuarantined, Operation::QuarantineWorker { worker: crate::world::WORKER.into() }),
    ];
    for (kind, operation) in moves {
        let granted = world.decide(&world.facts(&world.ask(credential.id)).await);
        let denied = world.decide(&world.facts(&world.ask(other.id)).await);
        let size = world.records().head().await.expect("head").size;
        world.apply(kind, operation).await.expect("applied");
        assert!(matches!(world.records().commit(granted).await, Ok(Committed::Moved)), "{kind}");
        assert!(matches!(world.records().commit(denied).await, Ok(Committed::Moved)), "{kind}");
        assert_eq!(world.records().head().await.expect("head").size, size + 1, "a moved decision writes nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_no_grant_has_a_later_index() {
    for _ in 0..10 {
        let world = Arc::new(World::new().await);
        let (credential, consent) = world.releasable(4).await;
        let mut changes = world.records().changes();
        let granting = {
            let (world, credential) = (world.clone(), credential.clone());
            tokio::spawn(async move {
                let mut granted = Vec::new();
                for _ in 0..10 {
                    if let Committed::Granted { permit, .. } = world.once(&world.attended(&credential)).await {
                        granted.push(permit.entry().at.index);
                    }
                }
                granted
            })
        };
        let revoked = world.revoke(&consent).await.expect("revoke").index;
        let granted = granting.await.expect("task");
        assert!(granted.iter().all(|index| *index < revoked), "{granted:?} against {revoked}");
        let mut lease_ended = false;
        while let Ok(change) = changes.try_recv() {
            lease_ended |= matches!(change, Change::LeaseEnded { credential: of, .. } if of == credential.id);
        }
        assert_eq!(lease_ended, !granted.is_empty(), "the holder of a live lease is told");
    }
}
