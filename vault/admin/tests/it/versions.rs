//! Versions of tenants' keys that a rotation has left behind, or never finished: none of them holds up a job, another tenant's
//! retirement, or the moving of what lies under another.

use std::sync::Arc;

use cofre_admin::RewrapOrder;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{DepositKeyId, KeyJobId, TenantId};
use cofre_model::keys::{KeyJob, TenantKeyState};
use cofre_model::reason::Reason;
use cofre_model::sealed::WrappedKey;
use cofre_model::time::{Span, Timestamp};
use cofre_store::StoredDepositKey;
use cofre_testkit::seed::Seeded;

use crate::bench::operator;
use crate::house::{House, Node, never, refusal};
use crate::retire::{Slow, from, shares};
use crate::rotate::{EVERYBODY, all_open, left_under, ordered, seeded};

/// Every tenant gets its next key, and all that lay under older ones.
async fn rotated(house: &House, node: &Node) {
    let job = ordered(node).await;
    node.jobs.rotate(&job, &never).await.expect("a pass");
    house.clock.advance(Span::secs(6));
    assert!(node.jobs.rotate(&job, &never).await.expect("a pass").done);
}

/// From now on the one share of a version opens for nobody; gives the statement that mends it.
async fn spoilt(house: &House, node: &Node, tenant: &TenantId, version: u32) -> String {
    let there = node.stores.keyring.tenant_key(tenant, version).await.expect("read");
    let put = |bytes: &str| {
        format!("UPDATE tenant_keys SET wrapped = x'{bytes}' WHERE tenant_id = '{tenant}' AND version = {version}")
    };
    house.edit(&[&put("ff")]).await;
    put(&hex(there.first().expect("a share").wrapped.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn keys_that_do_not_open_keep_no_other_version_from_being_retired_and_what_was_opened_in_time_is() {
    let (house, mut node, seeded) = seeded(4, 8).await;
    rotated(&house, &node).await;
    house.clock.advance(Span::hours(25));
    let mut tenants: Vec<TenantId> = seeded.iter().map(|tenant| tenant.tenant.id).collect();
    tenants.sort_unstable();
    let mut mend = Vec::new();
    for tenant in &tenants[..2] {
        mend.push(spoilt(&house, &node, tenant, 2).await);
    }
    // There is time for two tenants in each call, and to retire for one.
    let quick = Arc::clone(&node.jobs.clock);
    node.jobs.clock = Arc::new(Slow(house.clock.clone()));
    let before = house.calls().0;
    assert_eq!(refusal(node.jobs.retire_versions(&operator()).await), Reason::WrongState, "neither of the first opens");
    let second = node.jobs.retire_versions(&operator()).await.expect("retired");
    assert_eq!(
        (second.shares, second.kept, second.more),
        (1, 0, true),
        "the other two were opened, and one is retired"
    );
    let third = node.jobs.retire_versions(&operator()).await.expect("retired");
    assert_eq!((third.shares, third.kept, third.more), (1, 1, true), "those that failed come last");
    assert_eq!(house.calls().0 - before, 2 + 2 + 1, "each that opened was opened once");
    assert_eq!(refusal(node.jobs.retire_versions(&operator()).await), Reason::WrongState, "these two stay");
    let left = node.stores.keyring.outlived(None, 9).await.expect("read");
    assert_eq!(left.iter().map(|older| older.tenant).collect::<Vec<_>>(), tenants[..2]);

    house.edit(&mend.iter().map(String::as_str).collect::<Vec<_>>()).await;
    node.jobs.clock = quick;
    let last = node.jobs.retire_versions(&operator()).await.expect("retired");
    assert_eq!((last.shares, last.kept, last.more), (2, 0, false));
    let noted = node.stores.keyring.key_failures(&KeyJobId::from_parts(0, [0; 10]), 9).await.expect("read");
    assert_eq!(noted, [], "nothing is noted of whoever was mended");
    all_open(&node, &seeded).await;
}

#[tokio::test]
async fn a_tenant_with_keys_under_its_older_version_keeps_it_and_holds_up_no_other() {
    let (house, node, seeded) = seeded(2, 8).await;
    rotated(&house, &node).await;
    let (_, owner) = seeded[0].login(1);
    house.edit(&[&format!("UPDATE subject_keys SET tenant_key_version = 1 WHERE owner_id = '{owner}'")]).await;
    let retired = node.jobs.retire_versions(&operator()).await.expect("retired");
    assert_eq!((retired.shares, retired.kept, retired.more), (1, 1, false));
    let statement = String::from_utf8_lossy(&retired.statement).into_owned();
    assert!(statement.contains(", 1 tenants, 1 left out\n0\n"), "{statement}");
}

#[tokio::test]
async fn a_version_that_was_made_and_does_not_open_keeps_no_rewrap_from_its_end() {
    use TenantKeyState::{Closed, Current, Made};
    let (house, node, seeded) = seeded(2, 4).await;
    let states = async || {
        let versions = node.stores.records.tenant_key_versions(&seeded[0].tenant.id).await.expect("read");
        versions.iter().map(|version| version.state).collect::<Vec<_>>()
    };
    house.custodian("a").lose_what_is_wrapped();
    let rotation = ordered(&node).await;
    node.jobs.rotate(&rotation, &never).await.expect("a pass");
    node.jobs.stop(&operator(), &rotation.id).await.expect("stopped");
    assert_eq!(states().await, [Current, Made]);

    let rewrap = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&rewrap, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.nobodys, pass.done), (2, 2, 0, false), "they may still be opened");
    house.clock.advance(Span::hours(2));
    let pass = node.jobs.rewrap(&rewrap, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.nobodys, pass.done), (0, 0, 2, true));
    assert_eq!(node.jobs.progress(rewrap).await.expect("read").failures.len(), 2, "both are listed");

    // The next one overtakes what was made, which opens as little as before.
    rotated(&house, &node).await;
    assert_eq!(states().await, [Closed, Closed, Current]);
    house.clock.advance(Span::hours(2));
    let rewrap = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&rewrap, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.nobodys, pass.done), (0, 0, 2, true));
    // Nor does it keep its custodian from being retired.
    assert_eq!(shares(&node, "a").await, (2, 2, 0));
    assert_eq!(node.jobs.retire(&operator(), &from("a")).await.expect("retired").shares, 2);
    assert_eq!(node.jobs.retire_versions(&operator()).await.expect("retired").kept, 0);
    assert_eq!(shares(&node, "a").await, (0, 0, 4));
    house.custodian("a").take_away();
    node.keys.forget_all();
    all_open(&node, &seeded).await;
}

#[tokio::test]
async fn a_version_that_does_not_open_and_has_keys_under_it_is_somebodys() {
    let (house, node, seeded) = seeded(2, 4).await;
    let job = ordered(&node).await;
    node.jobs.rotate(&job, &never).await.expect("a pass");
    node.jobs.stop(&operator(), &job.id).await.expect("stopped");
    house.edit(&["UPDATE tenant_keys SET wrapped = x'ff' WHERE version = 1"]).await;
    house.clock.advance(Span::hours(2));
    let rewrap = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&rewrap, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.nobodys, pass.done), (2, 2, 0, false));
    assert_eq!(left_under(&node, &seeded[0], 2).await, 2);
}

#[tokio::test]
async fn each_version_is_asked_for_once_however_its_keys_stand_beside_those_of_another() {
    let (house, node, seeded) = seeded(1, 2_600).await;
    let hide = "UPDATE subject_keys SET tenant_id = 'hidden ' || tenant_id WHERE owner_id IN (SELECT owner_id FROM
        (SELECT owner_id, row_number() OVER (ORDER BY owner_id) AS nth FROM subject_keys) AS numbered WHERE nth % 2 = 0)";
    house.edit(&[hide]).await;
    rotated(&house, &node).await;
    house.edit(&["UPDATE subject_keys SET tenant_id = substr(tenant_id, 8) WHERE tenant_id LIKE 'hidden %'"]).await;
    assert_eq!(left_under(&node, &seeded[0], 2).await, 1_300, "every second one");
    let (job, _) = node.jobs.open_rotation(&operator(), &EVERYBODY).await.expect("opened");
    node.jobs.rotate(&job, &never).await.expect("a pass");
    house.clock.advance(Span::secs(6));
    node.keys.forget_all();
    let before = house.calls().0;
    assert!(node.jobs.rotate(&job, &never).await.expect("a pass").done);
    assert_eq!(house.calls().0 - before, 3, "the two they leave, and the one they go to");
    assert_eq!(left_under(&node, &seeded[0], 3).await, 0);
    all_open(&node, &seeded).await;
}

/// A tenant with one key under the first version and seven under the second, in the middle of a rotation to the third. Under
/// the second there are two deposit keys as well: one opens nothing, and one is of no suite there is.
async fn in_two_versions() -> (House, Node, Vec<Seeded>, KeyJob) {
    let (house, node, seeded) = seeded(1, 8).await;
    let of = seeded.first().expect("a tenant");
    let (_, owner) = of.login(3);
    let hide = format!("UPDATE subject_keys SET tenant_id = 'hidden ' || tenant_id WHERE owner_id = '{owner}'");
    house.edit(&[&hide]).await;
    rotated(&house, &node).await;
    house.edit(&["UPDATE subject_keys SET tenant_id = substr(tenant_id, 8) WHERE tenant_id LIKE 'hidden %'"]).await;
    for (number, suite) in [(1, 0x647a), (2, 0)] {
        let pair = StoredDepositKey {
            id: DepositKeyId::from_parts(1, [number; 10]),
            tenant: of.tenant.id,
            tenant_key_version: 2,
            suite,
            public: vec![1; 32],
            wrapped_private: WrappedKey::from_bytes(vec![1; 40]),
            not_before: Timestamp::from_secs(1),
            not_after: Timestamp::from_secs(2),
            signature: vec![1; 64],
        };
        node.stores.keyring.put_deposit_key(&pair).await.expect("put");
    }
    assert_eq!((left_under(&node, of, 2).await, left_under(&node, of, 3).await), (1, 10));
    let job = ordered(&node).await;
    node.jobs.rotate(&job, &never).await.expect("a pass");
    house.clock.advance(Span::secs(6));
    node.keys.forget_all();
    (house, node, seeded, job)
}

#[tokio::test]
async fn a_version_that_does_not_open_keeps_no_key_of_another_where_it_is() {
    for (version, left) in [(1, [1, 3]), (2, [0, 9])] {
        let (house, node, seeded, job) = in_two_versions().await;
        let mend = spoilt(&house, &node, &seeded[0].tenant.id, version).await;
        for _ in 0..2 {
            let pass = node.jobs.rotate(&job, &never).await.expect("a pass");
            assert_eq!((pass.moved, pass.failed, pass.done), (0, 1, false), "version {version}");
            let lie = [left_under(&node, &seeded[0], 2).await, left_under(&node, &seeded[0], 3).await];
            assert_eq!(lie, left, "all of the other version moved, and version {version} stays");
            house.clock.advance(Span::secs(61));
        }
        // Under the other one, what could be moved was: asking for that again would be in vain.
        let permits = node.entries(EntryKind::KeysMove).await;
        let moves =
            |entry: &&Entry| entry.reference.as_deref().is_some_and(|said| said.starts_with(&job.id.to_string()));
        let moved: Vec<_> = permits.iter().filter(moves).map(|entry| entry.count).collect();
        // The deposit key that opens nothing is tried with each pass, where its version opens.
        assert_eq!(moved, if version == 1 { vec![Some(1), Some(7), Some(1)] } else { vec![Some(1)] });
        let told = node.jobs.progress(job.clone()).await.expect("read").failures;
        let whole = told.iter().find(|failure| failure.item.starts_with("rotation of ")).expect("listed");
        assert!(whole.cause.contains(&format!("; version {version}: ")), "{told:?}");

        house.edit(&[&mend, "DELETE FROM deposit_keys"]).await;
        let pass = node.jobs.rotate(&job, &never).await.expect("a pass");
        assert_eq!((pass.moved, pass.failed, pass.done), (1, 0, true));
        all_open(&node, &seeded).await;
    }
}

#[tokio::test]
async fn keys_under_a_version_that_nobody_knows_keep_none_of_another_where_it_is() {
    let (house, node, seeded, job) = in_two_versions().await;
    house.edit_records(&["DELETE FROM tenant_key_versions WHERE version = 1"]).await;
    let pass = node.jobs.rotate(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (0, 1, false));
    assert_eq!((left_under(&node, &seeded[0], 2).await, left_under(&node, &seeded[0], 3).await), (1, 3));
}

#[tokio::test]
async fn a_key_that_is_moved_after_all_is_listed_no_more() {
    let (house, node, seeded) = seeded(1, 4).await;
    let (_, owner) = seeded[0].login(1);
    let key = node.stores.keyring.subject_key(&owner).await.expect("read").expect("there");
    let put = |bytes: &str| format!("UPDATE subject_keys SET wrapped = x'{bytes}' WHERE owner_id = '{owner}'");
    house.edit(&[&put("ff")]).await;
    let job = ordered(&node).await;
    node.jobs.rotate(&job, &never).await.expect("a pass");
    house.clock.advance(Span::secs(6));
    assert_eq!(node.jobs.rotate(&job, &never).await.expect("a pass").failed, 1);
    let listed = async || node.jobs.progress(job.clone()).await.expect("read").failures.len();
    assert_eq!(listed().await, 2, "the key, and its tenant");
    house.edit(&[&put(&hex(key.wrapped.as_bytes()))]).await;
    house.clock.advance(Span::secs(61));
    assert!(node.jobs.rotate(&job, &never).await.expect("a pass").done);
    assert_eq!(listed().await, 0);
    all_open(&node, &seeded).await;
}

#[tokio::test]
async fn a_version_of_nobody_rests_while_a_job_waits_for_somebodys() {
    let (house, node, seeded) = seeded(2, 4).await;
    house.custodian("a").lose_what_is_wrapped();
    let rotation = ordered(&node).await;
    node.jobs.rotate(&rotation, &never).await.expect("a pass");
    node.jobs.stop(&operator(), &rotation.id).await.expect("stopped");
    let rewrap = node.open("any_of(b)").await;
    node.jobs.rewrap(&rewrap, &never).await.expect("a pass");
    node.jobs.stop(&operator(), &rewrap.id).await.expect("stopped");
    rotated(&house, &node).await;
    house.clock.advance(Span::hours(2));
    // The custodian goes on wrapping by the key that is to wrap nothing any more.
    let order = RewrapOrder { from_key: Some("test".into()), ..crate::house::order("any_of(b)") };
    let (rewrap, _) = node.jobs.open(&operator(), order).await.expect("opened");
    let pass = async || {
        let pass = node.jobs.rewrap(&rewrap, &never).await.expect("a pass");
        (pass.moved, pass.failed, pass.nobodys, pass.done)
    };
    assert_eq!(pass().await, (0, 2, 4, false), "those in force, and the two before each of them");
    let cost = async || (node.entries(EntryKind::Rewrap).await.len(), house.calls());
    let before = cost().await;
    for _ in 0..3 {
        house.clock.advance(Span::secs(1));
        assert_eq!(pass().await, (0, 2, 4, false));
    }
    assert_eq!(cost().await, before, "a key of nobody is tried no more often than one of somebody");
    house.custodian("b").turn_to("test-2");
    house.clock.advance(Span::secs(61));
    assert_eq!(pass().await, (4, 0, 2, true), "what opens is moved, whoever's it is");
    all_open(&node, &seeded).await;
}

#[tokio::test]
async fn a_tenant_whose_row_cannot_be_read_keeps_no_others_older_version() {
    let (house, node, seeded) = seeded(3, 6).await;
    rotated(&house, &node).await;
    assert_eq!(node.jobs.retire_versions(&operator()).await.expect("retired").shares, 3);
    house.clock.advance(Span::hours(30 * 24 + 2));
    house.edit(&["UPDATE tenant_keys SET state_at = 0 WHERE state = 'RETIRED'"]).await;
    let first = seeded.iter().map(|tenant| tenant.tenant.id).min().expect("some");
    house.edit_records(&[&format!("UPDATE tenants SET state = 'NONE' WHERE id = '{first}'")]).await;
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("destroyed"), 2);
    house.edit_records(&["UPDATE tenants SET state = 'ACTIVE' WHERE state = 'NONE'"]).await;
    assert_eq!(node.jobs.destroy_retired(&never).await.expect("destroyed"), 1);
    all_open(&node, &seeded).await;
}
