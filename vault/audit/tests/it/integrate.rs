//! Committing to a root, signing it, and refusing to sign what contradicts it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cofre_audit::{Error, Halt};
use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::tree::Frontier;
use cofre_store::IntegratorState;
use cofre_testkit::stores::{Store, back_up, restore};

use crate::support::node;

#[tokio::test]
async fn each_growth_gets_one_checkpoint_with_the_true_root() {
    let node = node().await;
    let integrator = node.integrator();
    assert_eq!(integrator.integrate().await.expect("nothing to do"), None);
    let mut sizes = Vec::new();
    for more in [1, 2, 252, 1, 45] {
        node.add(more, more as u8).await;
        let published = integrator.integrate().await.expect("integrated").expect("a checkpoint");
        sizes.push(published.size);
        let signed = Checkpoint::open(&published.note, &node.key()).expect("signed by the token");
        let mut frontier = Frontier::empty();
        for leaf in node.stores.records.leaf_hashes(0, published.size).await.expect("leaves") {
            frontier.append(leaf);
        }
        assert_eq!((signed.size, signed.root), (published.size, frontier.root()));
        assert_eq!(integrator.integrate().await.expect("nothing to do"), None);
    }
    assert_eq!(sizes, [1, 3, 255, 256, 301]);
    let state = node.stores.keyring.integrator().await.expect("keyring").expect("a commitment");
    assert_eq!((state.generation, state.size), (5, 301));
}

#[tokio::test]
async fn a_crash_between_commitment_and_signature_is_mended_by_the_same_root() {
    let node = node().await;
    node.add(3, 1).await;
    node.integrator().integrate().await.expect("integrated").expect("a checkpoint");
    node.add(2, 2).await;
    node.token.take_away();
    let error = node.integrator().integrate().await.expect_err("no token");
    assert!(matches!(error, Error::Signer(_)), "{error}");
    let before = node.stores.keyring.integrator().await.expect("keyring").expect("a commitment");
    assert_eq!(before.size, 5);
    assert_eq!(node.stores.records.checkpoint().await.expect("records").map(|newest| newest.size), Some(3));

    let node = node.restart(async |_| {}).await;
    node.token.bring_back();
    let published = node.integrator().integrate().await.expect("mended").expect("a checkpoint");
    let signed = Checkpoint::open(&published.note, &node.key()).expect("signed");
    assert_eq!((signed.size, signed.root), (5, before.root));
    assert_eq!(node.stores.keyring.integrator().await.expect("keyring"), Some(before));

    // The same with entries that came while the token was away: the way to them leads over the root committed to.
    node.add(1, 3).await;
    node.token.take_away();
    node.integrator().integrate().await.expect_err("no token");
    node.add(4, 4).await;
    node.token.bring_back();
    let published = node.integrator().integrate().await.expect("mended").expect("a checkpoint");
    assert_eq!(published.size, 10);
}

#[tokio::test]
async fn another_root_than_the_one_committed_to_is_a_fork_and_never_signed() {
    let node = node().await;
    node.add(3, 1).await;
    node.integrator().integrate().await.expect("integrated").expect("a checkpoint");
    node.add(2, 2).await;
    let keyring = &node.stores.keyring;
    let now = keyring.integrator().await.expect("keyring");
    let other = IntegratorState { generation: 2, size: 5, root: [9; 32] };
    assert!(keyring.swap_integrator(now, other).await.expect("keyring"));
    for _ in 0..2 {
        let error = node.integrator().integrate().await.expect_err("a fork");
        assert!(matches!(error, Error::Halted(Halt::Fork { size: 5 })), "{error}");
    }
    assert_eq!(node.stores.records.checkpoint().await.expect("records").map(|newest| newest.size), Some(3));
}

#[tokio::test]
async fn restored_records_are_refused_first_as_behind_then_as_a_fork() {
    let node = node().await;
    node.add(3, 1).await;
    node.integrator().integrate().await.expect("integrated").expect("a checkpoint");
    let node = node.restart(async |folder| back_up(folder, Store::Records).await.expect("backed up")).await;
    node.add(4, 2).await;
    node.integrator().integrate().await.expect("integrated").expect("a checkpoint");
    let node = node.restart(async |folder| restore(folder, Store::Records).await.expect("restored")).await;
    let error = node.integrator().integrate().await.expect_err("behind");
    assert!(matches!(error, Error::Halted(Halt::RecordsBehind { records: 3, committed: 7 })), "{error}");
    node.add(9, 3).await;
    let error = node.integrator().integrate().await.expect_err("a fork");
    assert!(matches!(error, Error::Halted(Halt::Fork { size: 7 })), "{error}");
}

#[tokio::test]
async fn a_restored_keyring_is_refused() {
    let node = node().await;
    node.add(3, 1).await;
    node.integrator().integrate().await.expect("integrated").expect("a checkpoint");
    let node = node.restart(async |folder| back_up(folder, Store::Keyring).await.expect("backed up")).await;
    node.add(4, 2).await;
    node.integrator().integrate().await.expect("integrated").expect("a checkpoint");
    let node = node.restart(async |folder| restore(folder, Store::Keyring).await.expect("restored")).await;
    let error = node.integrator().integrate().await.expect_err("behind");
    assert!(matches!(error, Error::Halted(Halt::KeyringBehind { committed: 3, published: 7 })), "{error}");
}

#[tokio::test]
async fn two_integrators_at_once_sign_one_line_of_roots() {
    let node = node().await;
    let (one, other) = (node.integrator(), node.integrator());
    for round in 1..=8 {
        node.add(5, round).await;
        let (first, second) = tokio::join!(one.integrate(), other.integrate());
        let published: Vec<_> = [first, second].into_iter().filter_map(|done| done.expect("no halt")).collect();
        assert!(!published.is_empty());
        let sizes: Vec<u64> = published.iter().map(|checkpoint| checkpoint.size).collect();
        let roots: Vec<_> = published.iter().map(|p| Checkpoint::open(&p.note, &node.key()).expect("signed")).collect();
        assert!(roots.iter().all(|root| Some(root) == roots.first()), "one root for {sizes:?}");
    }
    assert_eq!(node.stores.records.checkpoint().await.expect("records").map(|newest| newest.size), Some(40));
}

#[tokio::test]
async fn the_loop_waits_out_an_absent_token_and_ends_clean() {
    let node = node().await;
    node.add(2, 1).await;
    node.token.take_away();
    let integrator = node.integrator();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move { integrator.run(async { drop(stopped.await) }).await });
    until(|| async { node.token.refused.load(Ordering::SeqCst) > 0 }).await;
    node.token.bring_back();
    let records = &node.stores.records;
    until(|| async { records.checkpoint().await.expect("records").is_some_and(|newest| newest.size == 2) }).await;
    node.add(1, 2).await;
    stop.send(()).expect("still running");
    running.await.expect("ended");
    assert_eq!(records.checkpoint().await.expect("records").map(|newest| newest.size), Some(3));
}

async fn until<F: Future<Output = bool>>(ready: impl Fn() -> F) {
    let waiting = async {
        while !ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("ready in time");
}
