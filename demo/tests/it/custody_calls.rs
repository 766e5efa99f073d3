//! What releases cost a custodian, by the token's own log and not by the vault's word.

use std::path::Path;

use cofre_demo::crowd::{self, Asker, Tally};
use cofre_demo::world::{Wishes, World};

/// Workers that ask in turn: one alone would ask more often than a caller may.
const ASKERS: usize = 8;

/// Logins, and how often each is released after the first time: at night a hundred thousand releases in all.
fn size() -> (u64, u64) {
    if std::env::var_os("COFRE_NIGHT").is_some() { (10_000, 10) } else { (40, 3) }
}

/// Shares the token was asked to open so far; each takes one of these and two calls that follow it.
fn opened(world: &Path) -> u64 {
    let calls = cofre_testkit::hsm::calls(&world.join("token")).expect("the token keeps a log");
    calls.get(&("C_DecryptInit".to_owned(), "CKR_OK".to_owned())).copied().unwrap_or_default() as u64
}

/// Deposits, consents, releases once to warm what may be warm, and answers how many shares the token opened for which
/// releases after that.
async fn cost(warm_for: &'static str) -> (u64, Tally) {
    let folder = tempfile::tempdir().expect("a folder");
    let world =
        World::start(&Wishes { warm_for, ..crate::usual(&folder.path().join("world")) }).await.expect("a world");
    let (logins, rounds) = size();
    let mut askers = Vec::new();
    for number in 1..=ASKERS {
        askers.push(Asker::connect(&world, number).await.expect("a worker"));
    }
    let north = &world.north;
    let all = crowd::deposit(north, 0..logins).await.expect("deposited");
    crowd::consent(north, world.clock.now(), &all).await.expect("consented");
    assert_eq!(crowd::release(&world, north, &askers, &all[..1]).await.expect("released").whole, 1);
    let before = opened(&world.folder);
    let mut released = Tally::default();
    for _ in 0..rounds {
        let Tally { whole, late } = crowd::release(&world, north, &askers, &all).await.expect("released");
        released = Tally { whole: released.whole + whole, late: released.late + late };
    }
    assert_eq!(released.whole, logins * rounds, "every one of them, with what was deposited");
    let calls = opened(&world.folder) - before;
    println!("warm_for {warm_for}: {calls} calls for {} releases and {} late ones", released.whole, released.late);
    world.stop().expect("an ordered stop");
    (calls, released)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_key_costs_no_call_after_the_first() {
    let (calls, _) = cost("12h").await;
    assert_eq!(calls, 0);
}

/// An answer that was not ready in time was granted and asked for again: it cost its call too, unless it broke before.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_stay_warm_costs_one_call_a_release() {
    let (calls, Tally { whole, late }) = cost("0s").await;
    assert!((whole..=whole + late).contains(&calls), "{calls} calls for {whole} releases and {late} late ones");
}
