//! Refusals: exact where a caller has standing, counted where nobody answers for them.

use cofre_audit::Recorder;
use cofre_ledger::entry::Leaf;
use cofre_model::caller::Caller;
use cofre_model::entry::{CallerRef, Entry, EntryKind, Verdict};
use cofre_model::reason::Reason;

use crate::support::{Node, node, worker};

async fn entries(node: &Node) -> Vec<Entry> {
    let mut rows = node.stores.records.entries(0, 1_000).await.expect("records");
    rows.extend(node.stores.records.entries(1_000, 2_000).await.expect("records"));
    rows.iter().map(|row| Leaf::parse(&row.bytes).expect("a leaf").entry().expect("a body")).collect()
}

fn recorder(node: &Node) -> Recorder {
    Recorder::new(node.stores.records.clone(), "tenants-and-workers")
}

#[tokio::test]
async fn a_caller_with_standing_gets_an_entry_with_the_exact_reason() {
    let node = node().await;
    let method = "cofre.v1.AuditService/Search";
    let index = recorder(&node).refused(Some(&worker("w1")), Some(method), Reason::MethodNotAllowed).await;
    assert_eq!(index, Some(0));
    let entries = entries(&node).await;
    let entry = entries.first().expect("an entry");
    assert_eq!((entry.kind, entry.verdict), (EntryKind::Denied, Some(Verdict::Denied)));
    assert_eq!(entry.reason, Some(Reason::MethodNotAllowed));
    assert_eq!(entry.caller, Some(CallerRef::from(&worker("w1"))));
    assert_eq!(entry.method.as_deref(), Some(method));
    assert_eq!(recorder(&node).flush().await, 0);
}

#[tokio::test]
async fn a_flood_becomes_one_entry_per_cause_and_identity() {
    let node = node().await;
    let recorder = recorder(&node);
    let many = |caller: Option<Caller>, reason, times: u64| {
        let recorder = &recorder;
        async move {
            for _ in 0..times {
                assert_eq!(recorder.refused(caller.as_ref(), None, reason).await, None);
            }
        }
    };
    many(None, Reason::PeerUntrusted, 1_000).await;
    many(Some(worker("w1")), Reason::RateLimited, 70).await;
    many(Some(worker("w2")), Reason::RateLimited, 8).await;
    many(Some(worker("w2")), Reason::PeerUntrusted, 3).await;
    assert!(entries(&node).await.is_empty(), "nothing is written before the flush");
    assert_eq!(recorder.flush().await, 4);
    assert_eq!(recorder.flush().await, 0);
    let entries = entries(&node).await;
    assert!(entries.iter().all(|entry| entry.kind == EntryKind::Refusals));
    assert!(entries.iter().all(|entry| entry.reference.as_deref() == Some("tenants-and-workers")));
    let count = |caller: Option<Caller>, reason| {
        let caller = caller.as_ref().map(CallerRef::from);
        let mut found = entries.iter().filter(|entry| entry.reason == Some(reason) && entry.caller == caller);
        (found.next().and_then(|entry| entry.count), found.next().is_none())
    };
    assert_eq!(count(None, Reason::PeerUntrusted), (Some(1_000), true));
    assert_eq!(count(Some(worker("w1")), Reason::RateLimited), (Some(70), true));
    assert_eq!(count(Some(worker("w2")), Reason::RateLimited), (Some(8), true));
    assert_eq!(count(Some(worker("w2")), Reason::PeerUntrusted), (Some(3), true));
}

#[tokio::test]
async fn more_identities_than_are_counted_share_one_entry_and_none_is_lost() {
    let node = node().await;
    let recorder = recorder(&node);
    for n in 0..400 {
        recorder.refused(Some(&worker(&format!("w{n}"))), None, Reason::RateLimited).await;
    }
    let written = recorder.flush().await;
    assert!(written <= 257, "{written} entries");
    let total: u64 = entries(&node).await.iter().filter_map(|entry| entry.count).sum();
    assert_eq!(total, 400);
}

#[tokio::test]
async fn what_cannot_be_written_is_kept_for_the_next_flush() {
    let node = node().await;
    let recorder = recorder(&node);
    recorder.refused(None, None, Reason::PeerUntrusted).await;
    node.stores.close().await;
    assert_eq!(recorder.refused(Some(&worker("w1")), None, Reason::NotFound).await, None);
    assert_eq!(recorder.flush().await, 0);
    assert_eq!(recorder.flush().await, 0);
    let shown = format!("{recorder:?}");
    assert!(shown.contains("PeerUntrusted") && shown.contains("NotFound"), "{shown}");
}

#[tokio::test]
async fn one_identity_gets_a_thousand_entries_of_its_own_and_the_rest_is_one_entry() {
    let node = node().await;
    let recorder = recorder(&node);
    let method = Some("cofre.v1.AuditService/Search");
    let mut exact = 0;
    for _ in 0..1_200 {
        exact += u64::from(recorder.refused(Some(&worker("w1")), method, Reason::MethodNotAllowed).await.is_some());
    }
    assert_eq!(exact, 1_000);
    assert_eq!(entries(&node).await.len(), 1_000, "a flood is not in the way of others");
    let other = recorder.refused(Some(&worker("w2")), method, Reason::MethodNotAllowed).await;
    assert!(other.is_some(), "others get their entries");
    assert_eq!(recorder.flush().await, 1);
    let counted = entries(&node).await.pop().expect("an entry");
    assert_eq!((counted.kind, counted.count), (EntryKind::Refusals, Some(200)));
    assert_eq!(counted.caller, Some(CallerRef::from(&worker("w1"))));
    let again = recorder.refused(Some(&worker("w1")), method, Reason::MethodNotAllowed).await;
    assert!(again.is_some(), "after a flush the count begins anew");
}
