//! What releases cost a custodian, by the token's own log and not by the vault's word.

use std::path::Path;

use cofre_demo::world::{Wishes, World};

use crate::crowd;

/// Logins, and how often each is released.
fn size() -> (usize, usize) {
    if std::env::var_os("COFRE_NIGHT").is_some() { (10_000, 10) } else { (40, 3) }
}

/// Shares the token was asked to open so far; each takes one of these and two calls that follow it.
fn opened(world: &Path) -> u64 {
    let calls = cofre_testkit::hsm::calls(&world.join("token")).expect("the token keeps a log");
    calls.get(&("C_DecryptInit".to_owned(), "CKR_OK".to_owned())).copied().unwrap_or_default() as u64
}

/// Deposits, consents, releases once to warm what may be warm, and answers how many shares the token opened for how many
/// releases after that.
async fn cost(warm_for: &'static str) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let world =
        World::start(&Wishes { warm_for, ..crate::usual(&folder.path().join("world")) }).await.expect("a world");
    let (logins, rounds) = size();
    let all = crowd::deposit(&world, logins).await.expect("deposited");
    crowd::consent(&world, &all).await.expect("consented");
    assert_eq!(crowd::release(&world, &all[..1]).await.expect("released"), 1);
    let before = opened(&world.folder);
    let mut released = 0;
    for _ in 0..rounds {
        released += crowd::release(&world, &all).await.expect("released");
    }
    assert_eq!(released, logins * rounds, "every one of them, with what was deposited");
    let calls = opened(&world.folder) - before;
    world.stop().expect("an ordered stop");
    (calls, released as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_key_costs_no_call_after_the_first() {
    let (calls, _) = cost("12h").await;
    assert_eq!(calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_stay_warm_costs_one_call_a_release() {
    let (calls, released) = cost("0s").await;
    assert_eq!(calls, released);
}
