//! What a custodian wrapped is retired only where nothing needs it: counted, signed, recorded, and every newer share opened.

use cofre_admin::Source;
use cofre_custody::Signer as _;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::reason::Reason;
use cofre_model::time::{Clock as _, Span};
use cofre_store::{CommitError, Operation, WrappedBy};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};

use crate::bench::operator;
use crate::house::{House, Node, custodian, never, refusal};

fn from(name: &str) -> Source {
    Source { custodian: custodian(name), key: None }
}

async fn moved() -> (House, Node) {
    let mut house = House::new(&["a", "b"]);
    let node = house.node().await;
    house.tenants(&node, 4, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    (house, node)
}

async fn shares(node: &Node, name: &str) -> (u64, u64, u64) {
    let all = node.stores.keyring.custodian_shares().await.expect("read");
    all.iter().find(|row| row.custodian == name).map_or((0, 0, 0), |row| (row.current, row.closed, row.retired))
}

#[tokio::test]
async fn what_is_still_in_force_is_counted_and_not_retired() {
    let mut house = House::new(&["a", "b"]);
    let node = house.node().await;
    house.tenants(&node, 3, "any_of(a)").await;
    assert_eq!(refusal(node.jobs.retire(&operator(), &from("a")).await), Reason::WrongState);
    let counts = node.entries(EntryKind::KeysCounted).await;
    assert_eq!((counts.len(), counts[0].count, counts[0].reference.as_deref()), (1, Some(3), Some("a")));
    assert_eq!(node.entries(EntryKind::KeysRetired).await.len(), 0);
    assert_eq!(shares(&node, "a").await, (3, 0, 0));
}

#[tokio::test]
async fn retiring_needs_a_signed_count_of_zero_and_uses_it_up() {
    let (house, node) = moved().await;
    let retire = || Operation::RetireKeys { subject: "a".into() };
    let entry = |id| Entry::new(EntryKind::KeysRetired, [id; 16]);
    let refused = node.stores.records.apply(entry(1), retire()).await;
    assert!(matches!(refused, Err(CommitError::Refused(Reason::WrongState))), "{refused:?}");
    let (left, at) = node.jobs.count(&operator(), &from("a")).await.expect("counted");
    assert_eq!(left, 0);
    let count = node.stores.records.key_count("a").await.expect("read").expect("kept");
    assert_eq!((count.remaining, count.entry_index), (0, at.index));
    let (statement, signature) = count.statement.split_last_chunk::<64>().expect("signed");
    let text = std::str::from_utf8(statement).expect("text");
    assert!(text.starts_with("cofre/v1/keys-counted\ncofre.test\na\n0\n"), "{text}");
    let key: [u8; 32] = house.signer.public_key().as_bytes().try_into().expect("Ed25519");
    let key = VerifyingKey::from_bytes(&key).expect("a key");
    key.verify(statement, &Signature::from_bytes(signature)).expect("the deployment's signature");
    node.stores.records.apply(entry(2), retire()).await.expect("retired");
    let again = node.stores.records.apply(entry(3), retire()).await;
    assert!(matches!(again, Err(CommitError::Refused(Reason::WrongState))), "{again:?}");
}

#[tokio::test]
async fn nothing_is_retired_before_what_replaced_it_was_opened() {
    let (house, node) = moved().await;
    house.custodian("b").take_away();
    assert_eq!(refusal(node.jobs.retire(&operator(), &from("a")).await), Reason::KeyServiceUnavailable);
    assert_eq!(shares(&node, "a").await, (0, 4, 0));
    // Nor is the keyring talked into it.
    let by = WrappedBy { custodian: "a", key: None };
    assert_eq!(node.stores.keyring.retire_shares(by, house.clock.now()).await.expect("asked"), None);
    assert_eq!(shares(&node, "a").await, (0, 4, 0));

    house.custodian("b").bring_back();
    let unwraps = house.custodian("b").unwraps();
    let retired = node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    assert_eq!(retired.shares, 4);
    assert_eq!(house.custodian("b").unwraps() - unwraps, 4, "each share was opened once");
    assert_eq!(shares(&node, "a").await, (0, 0, 4));
    let entry = node.entries(EntryKind::KeysRetired).await;
    assert_eq!((entry.len(), entry[0].follows), (1, Some(retired.counted.index)));
    house.all_open(&node).await;
}

#[tokio::test]
async fn nothing_is_retired_while_a_rewrap_runs_or_after_a_row_was_put_back() {
    let (house, node) = moved().await;
    let job = node.open("any_of(b)").await;
    assert_eq!(refusal(node.jobs.retire(&operator(), &from("a")).await), Reason::WrongState);
    node.jobs.stop(&operator(), &job.id).await.expect("stopped");
    house
        .edit(&[&format!("UPDATE tenant_keys SET state = 'CURRENT' WHERE tenant_id = '{}'", house.tenants[0].id)])
        .await;
    assert_eq!(refusal(node.jobs.retire(&operator(), &from("a")).await), Reason::WrongState);
    assert_eq!(shares(&node, "a").await, (1, 3, 0));
}

#[tokio::test]
async fn what_was_retired_is_destroyed_after_its_time() {
    let (house, node) = moved().await;
    node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    assert_eq!(node.jobs.destroy_retired().await.expect("asked"), 0);
    house.clock.advance(Span::hours(30 * 24 + 1));
    assert_eq!(node.jobs.destroy_retired().await.expect("destroyed"), 4);
    assert_eq!(shares(&node, "a").await, (0, 0, 0));
    let entries = node.entries(EntryKind::KeysDestroyed).await;
    assert_eq!((entries.len(), entries[0].count), (1, Some(4)));
    house.all_open(&node).await;
}
