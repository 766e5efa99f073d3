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

pub(crate) fn from(name: &str) -> Source {
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

pub(crate) async fn shares(node: &Node, name: &str) -> (u64, u64, u64) {
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
    let now = house.clock.now();
    assert_eq!(node.stores.keyring.retire_shares(by, now, now, 9).await.expect("asked"), 0);
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
    assert_eq!((node.entries(EntryKind::KeysRetired).await.len(), shares(&node, "a").await), (0, (0, 4, 0)));
    node.jobs.stop(&operator(), &job.id).await.expect("stopped");
    house
        .edit(&[&format!("UPDATE tenant_keys SET state = 'CURRENT' WHERE tenant_id = '{}'", house.tenants[0].id)])
        .await;
    assert_eq!(refusal(node.jobs.retire(&operator(), &from("a")).await), Reason::WrongState);
    assert_eq!(shares(&node, "a").await, (1, 3, 0));
}

#[tokio::test]
async fn whoever_is_to_hold_new_keys_is_not_retired_and_whoever_was_retired_holds_none() {
    let (mut house, node) = moved().await;
    house.floor = crate::house::set("any_of(a)");
    let other = house.on(crate::house::hands_on(&node.stores));
    assert_eq!(refusal(other.jobs.retire(&operator(), &from("a")).await), Reason::WrongState);
    assert_eq!(node.entries(EntryKind::KeysCounted).await.len(), 0, "nothing was counted");
    node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    let back = node.jobs.open(&operator(), crate::house::order("any_of(a)")).await;
    assert_eq!(refusal(back), Reason::BadRequest);
    let back = node.jobs.open(&operator(), crate::house::order("all_of(a)")).await;
    assert_eq!(refusal(back), Reason::BadRequest);
}

#[tokio::test]
async fn the_key_of_a_registration_that_was_broken_off_keeps_no_custodian() {
    let mut house = House::new(&["a", "b"]);
    let node = house.node().await;
    house.tenants(&node, 2, "any_of(a)").await;
    // Put before its tenant was, which never came.
    let nobody = cofre_model::id::TenantId::from_parts(house.clock.now().millis(), [0xee; 10]);
    let made = node.keys.for_wrapping().new_tenant_key("eu-nl", nobody, &crate::house::set("any_of(a)")).await;
    let key = cofre_store::KeyVersion { tenant: nobody, version: 1 };
    let rows = cofre_admin::stored(key, made.expect("wrapped").wrapped);
    node.stores.keyring.put_tenant_key(&rows, &[], house.clock.now()).await.expect("put");
    let job = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (2, 1, false), "its tenant may still come");
    house.clock.advance(Span::hours(2));
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.nobodys, pass.done), (0, 0, 1, true));
    assert_eq!(shares(&node, "a").await, (1, 2, 0));
    let retired = node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    assert_eq!((retired.shares, shares(&node, "a").await), (2, (1, 0, 2)));
    house.all_open(&node).await;
}

#[tokio::test]
async fn of_several_keys_of_nobody_none_keeps_a_job_from_its_end() {
    let mut house = House::new(&["a", "b"]);
    let node = house.node().await;
    house.tenants(&node, 1, "any_of(a)").await;
    for number in [0xed, 0xee] {
        let nobody = cofre_model::id::TenantId::from_parts(house.clock.now().millis(), [number; 10]);
        let made = node.keys.for_wrapping().new_tenant_key("eu-nl", nobody, &crate::house::set("any_of(a)")).await;
        let key = cofre_store::KeyVersion { tenant: nobody, version: 1 };
        let rows = cofre_admin::stored(key, made.expect("wrapped").wrapped);
        node.stores.keyring.put_tenant_key(&rows, &[], house.clock.now()).await.expect("put");
    }
    house.clock.advance(Span::hours(2));
    let job = node.open("any_of(b)").await;
    // The node is told to stop after it has seen one of them.
    let looks = std::sync::atomic::AtomicU32::new(0);
    let soon = || looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2;
    let pass = node.jobs.rewrap(&job, &soon).await.expect("a pass");
    assert_eq!((pass.moved, pass.nobodys, pass.done), (1, 1, false));
    house.clock.advance(Span::secs(1));
    // Another node is at it by now.
    let failures = node.jobs.progress(job.clone()).await.expect("read").failures;
    let (item, now) = (format!("wrapping {}", failures[0].item), house.clock.now());
    assert!(node.stores.keyring.claim(&item, &[9; 16], now, now.plus(Span::secs(30))).await.expect("asked"));
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.nobodys, pass.done), (0, 0, 2, true));
    assert_eq!(node.jobs.progress(job).await.expect("read").failures.len(), 2, "both are listed");
}

#[tokio::test]
async fn whoever_never_wrapped_a_key_is_not_retired() {
    let (house, node) = moved().await;
    for source in [from("c"), Source { custodian: custodian("a"), key: Some("never".into()) }] {
        assert_eq!(refusal(node.jobs.retire(&operator(), &source).await), Reason::WrongState, "{source}");
    }
    assert_eq!(node.stores.keyring.retired_custodians().await.expect("read"), [], "no name is lost");
    assert_eq!(node.entries(EntryKind::KeysRetired).await.len(), 0);
    node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    node.jobs.retire(&operator(), &from("a")).await.expect("retired as it was");
    house.all_open(&node).await;
}

#[tokio::test]
async fn the_key_by_which_new_tenants_keys_are_wrapped_is_not_retired() {
    let mut house = House::new(&["a", "b"]);
    house.floor = crate::house::set("any_of(a)");
    let node = house.node().await;
    house.tenants(&node, 2, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    let key = |name: &str| Source { custodian: custodian("a"), key: Some(name.into()) };
    assert_eq!(refusal(node.jobs.retire(&operator(), &key("test")).await), Reason::WrongState, "it has no other");
    house.custodian("a").turn_to("test-2");
    house.tenants(&node, 1, "any_of(a)").await;
    assert_eq!(node.jobs.retire(&operator(), &key("test")).await.expect("retired").shares, 2);
    house.tenants(&node, 1, "any_of(a)").await;
    house.all_open(&node).await;
}

#[tokio::test]
async fn retired_shares_stay_where_what_replaced_them_does_not_open() {
    let (house, node) = moved().await;
    node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    house.clock.advance(Span::hours(30 * 24 + 2));
    house.edit(&["UPDATE tenant_keys SET state_at = 0 WHERE state = 'RETIRED'"]).await;
    // Its token died after the retirement.
    house.custodian("b").take_away();
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("asked"), 0);
    assert_eq!((shares(&node, "a").await, node.entries(EntryKind::KeysDestroyed).await.len()), ((0, 0, 4), 0));
    house.custodian("b").bring_back();
    // One opens nothing, and says that it was opened just now.
    let edit = format!(
        "UPDATE tenant_keys SET wrapped = x'30', proven = {} WHERE tenant_id = '{}' AND state = 'CURRENT'",
        house.clock.now().micros(),
        house.tenants[1].id
    );
    house.edit(&[&edit]).await;
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("destroyed"), 3);
    assert_eq!(shares(&node, "a").await, (0, 0, 1), "what opens is still there");
    let told = node.entries(EntryKind::KeysDestroyed).await;
    assert_eq!((told.len(), told[0].count, told[0].reference.as_deref()), (1, Some(3), Some("retired-wrappings")));
    assert_eq!(node.jobs.destroy_retired(&|| true).await.expect("asked"), 0, "a node that ends destroys nothing");
}

#[tokio::test]
async fn a_key_that_cannot_be_read_keeps_no_others_retired_shares() {
    let (house, node) = moved().await;
    node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    house.clock.advance(Span::hours(30 * 24 + 2));
    house.edit(&["UPDATE tenant_keys SET state_at = 0 WHERE state = 'RETIRED'"]).await;
    let first = house.tenants.iter().map(|tenant| tenant.id).min().expect("some");
    let spoilt =
        format!("UPDATE tenant_keys SET share_count = 70000 WHERE state = 'CURRENT' AND tenant_id = '{first}'");
    house.edit(&[&spoilt]).await;
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("destroyed"), 3);
    assert_eq!(shares(&node, "a").await, (0, 0, 1), "its older share stays");
    house.edit(&["UPDATE tenant_keys SET share_count = 1 WHERE share_count = 70000"]).await;
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("destroyed"), 1);
    house.all_open(&node).await;
}

/// A clock on which every look takes a second.
#[derive(Debug)]
pub(crate) struct Slow(pub(crate) std::sync::Arc<cofre_testkit::clock::TestClock>);

impl cofre_model::time::Clock for Slow {
    fn now(&self) -> cofre_model::time::Timestamp {
        self.0.now()
    }
    fn monotonic(&self) -> cofre_model::time::Monotonic {
        self.0.advance(Span::secs(1));
        self.0.monotonic()
    }
}

#[tokio::test]
async fn a_retirement_goes_on_where_the_last_call_had_no_more_time() {
    let (house, mut node) = moved().await;
    node.jobs.clock = std::sync::Arc::new(Slow(house.clock.clone()));
    let unwraps = house.custodian("b").unwraps();
    assert_eq!(refusal(node.jobs.retire(&operator(), &from("a")).await), Reason::WrongState);
    assert_eq!(house.custodian("b").unwraps() - unwraps, 3);
    assert_eq!(node.jobs.retire(&operator(), &from("a")).await.expect("retired").shares, 4);
    assert_eq!(house.custodian("b").unwraps() - unwraps, 4, "each share was opened once");
}

#[tokio::test]
async fn a_proof_of_long_ago_is_none() {
    let (house, node) = moved().await;
    for tenant in &house.tenants {
        let key = cofre_store::KeyVersion { tenant: tenant.id, version: 1 };
        node.stores.keyring.prove_wrapping(key, 2, house.clock.now()).await.expect("proven");
    }
    house.clock.advance(Span::hours(25));
    house.custodian("b").take_away();
    assert_eq!(refusal(node.jobs.retire(&operator(), &from("a")).await), Reason::KeyServiceUnavailable);
    house.custodian("b").bring_back();
    assert_eq!(node.jobs.retire(&operator(), &from("a")).await.expect("retired").shares, 4);
}

#[tokio::test]
async fn what_was_retired_is_destroyed_after_its_time() {
    let (house, node) = moved().await;
    node.jobs.retire(&operator(), &from("a")).await.expect("retired");
    // Where the database has a clock of its own, that one counts: then they are destroyed when both agree.
    house.edit(&["UPDATE tenant_keys SET state_at = 1790000001000000 WHERE state = 'RETIRED'"]).await;
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("asked"), 0);
    house.clock.advance(Span::hours(30 * 24 + 2));
    house.edit(&["UPDATE tenant_keys SET state_at = 0 WHERE state = 'RETIRED'"]).await;
    let unwraps = house.custodian("b").unwraps();
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("destroyed"), 4);
    assert_eq!(house.custodian("b").unwraps() - unwraps, 4, "each share of what replaced them was opened once more");
    assert_eq!(shares(&node, "a").await, (0, 0, 0));
    let entries = node.entries(EntryKind::KeysDestroyed).await;
    assert_eq!((entries.len(), entries[0].count), (1, Some(4)));
    house.all_open(&node).await;
}
