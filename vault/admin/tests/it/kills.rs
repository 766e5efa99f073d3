//! A node that ends at any instant of a rewrap loses nothing: the work is dropped at a random one of the points where it
//! waits, with whatever the stores have done by then, and another life goes on from the rows. `COFRE_NIGHT` makes it
//! many.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use cofre_model::entry::EntryKind;
use cofre_model::keys::KeyJobState;
use cofre_model::time::Span;
use cofre_store::Due;

use crate::bench::operator;
use crate::house::{House, custodian, never};

const LISTS: u64 = 5;
const NIGHT: u64 = 200;
const TENANTS: u8 = 6;

/// Numbers that look random and are the same in every run (splitmix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Polls `work` at most `turns` times; nothing where it was not done by then, and it is dropped where it stood.
pub(crate) async fn at_most<T>(turns: u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = turns;
    poll_fn(|context| {
        let Some(after) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = after;
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn play(seed: u64) {
    let mut draw = Draw(seed);
    let mut house = House::new(&["a", "b", "c"]);
    let mut node = house.node().await;
    let (from, target) = match draw.below(3) {
        0 => ("any_of(a)", "any_of(b)"),
        1 => ("any_of(a)", "any_of(b,c)"),
        _ => ("all_of(a,c)", "all_of(b,c)"),
    };
    house.tenants(&node, TENANTS, from).await;
    let job = node.open(target).await;
    let mut kills = 0;
    for _ in 0..draw.below(5) + 1 {
        let turns = draw.below(160) + 1;
        let done = at_most(turns, node.jobs.rewrap(&job, &never)).await;
        if done.is_none() {
            kills += 1;
        }
        node.stores.close().await;
        node = house.node().await;
        house.all_open(&node).await;
        node.keys.wipe_all();
        // What it had claimed is free again by then.
        house.clock.advance(Span::secs(31));
    }
    if node.stores.records.key_job(&job.id).await.expect("read").expect("there").state == KeyJobState::Running {
        let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
        assert!(pass.done && pass.failed == 0 && pass.others == 0, "seed {seed}: {pass:?}");
    }
    let due = Due { target, from_key: None };
    assert_eq!(node.stores.keyring.keys_due_count(due).await.expect("counted"), 0, "seed {seed}");
    for tenant in &house.tenants {
        let rows = node.stores.keyring.tenant_key(&tenant.id, 1).await.expect("read");
        assert!(rows.iter().all(|row| row.set == target), "seed {seed}");
    }
    let wrappings = node.stores.keyring.custodian_shares().await.expect("read");
    let in_force: u64 = wrappings.iter().map(|row| row.current).sum();
    let members = target.split(',').count();
    assert_eq!(in_force, u64::from(TENANTS) * u64::try_from(members).expect("few"), "seed {seed}: one in force a key");
    house.custodian("a").take_away();
    house.all_open(&node).await;
    assert_eq!(node.entries(EntryKind::KeyJobEnded).await.len(), 1, "seed {seed}");
    // What was begun and not answered stands in the ledger as that, and nothing else was.
    let (begun, answered) = (node.entries(EntryKind::Rewrap).await, node.entries(EntryKind::Rewrapped).await);
    assert!(begun.len() <= answered.len() + kills, "seed {seed}");
    let source = cofre_admin::Source { custodian: custodian("a"), key: None };
    for _ in 0..draw.below(4) {
        at_most(draw.below(120) + 1, node.jobs.retire(&operator(), &source)).await;
        node.stores.close().await;
        node = house.node().await;
        house.all_open(&node).await;
        node.keys.wipe_all();
        let shares = node.stores.keyring.custodian_shares().await.expect("read");
        let left = shares.iter().filter(|row| row.custodian == "a").map(|row| row.closed + row.retired);
        assert_eq!(left.sum::<u64>(), u64::from(TENANTS), "seed {seed}: none is lost");
    }
    node.jobs.retire(&operator(), &source).await.expect("retired");
    house.edit(&["UPDATE tenant_keys SET state_at = 0 WHERE state = 'RETIRED'"]).await;
    house.clock.advance(Span::hours(30 * 24 + 2));
    for _ in 0..draw.below(4) {
        at_most(draw.below(120) + 1, node.jobs.destroy_retired(&never)).await;
        node.stores.close().await;
        node = house.node().await;
        house.all_open(&node).await;
        node.keys.wipe_all();
    }
    node.jobs.destroy_retired(&never).await.expect("destroyed");
    let left = node.stores.keyring.custodian_shares().await.expect("read");
    assert_eq!(left.iter().map(|row| row.closed + row.retired).sum::<u64>(), 0, "seed {seed}");
    // The entry of a destruction is written before it is done, never after.
    let told: u64 = node.entries(EntryKind::KeysDestroyed).await.iter().filter_map(|entry| entry.count).sum();
    assert!(told >= u64::from(TENANTS), "seed {seed}: {told}");
    house.all_open(&node).await;
    node.opened_no_data_key();
    println!("seed {seed}: {from} to {target}, {kills} kills, {} of {} rewraps answered", answered.len(), begun.len());
    node.stores.close().await;
}

/// How many lists of kills are played.
pub(crate) fn lists() -> u64 {
    if std::env::var_os("COFRE_NIGHT").is_some() { NIGHT } else { LISTS }
}

#[tokio::test]
async fn a_node_that_ends_at_any_instant_loses_nothing() {
    for seed in 0..lists() {
        play(seed).await;
    }
}
