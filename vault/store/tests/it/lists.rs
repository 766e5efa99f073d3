//! Random lists of operations, carried out on SQLite, on PostgreSQL and by a reference in plain Rust: verdicts and
//! entries, their times and indices included, must be equal. Decisions are also kept for a while before they are
//! committed, so that the commit meets rows that moved meanwhile; clocks jump, forward and back.
//!
//! `COFRE_TEST_LISTS` says how many lists; without it a few, and ten thousand where `COFRE_NIGHT` is set. A list that
//! failed once is kept in `proptest-regressions` and played first ever after.

mod bench;
mod reference;
mod release;
mod steps;

use std::collections::BTreeSet;
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use bench::{Bench, Engine};
use steps::{Step, list};

/// Lists without being told otherwise.
const LISTS: u32 = 100;
/// Lists of a night.
const NIGHT: u32 = 10_000;
/// Lists on the same stores: each has a tenant of its own, and making stores costs more than a list.
const SHARED: u32 = 40;

/// Both engines, for as many lists as they stay usable.
struct Benches {
    pair: Option<(Bench, Bench)>,
    played: u32,
    /// All that was told, once each.
    seen: BTreeSet<String>,
}

impl Benches {
    async fn play(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        let (mut sqlite, mut postgres) = match self.pair.take() {
            Some(pair) => pair,
            None => (Bench::new(Engine::Sqlite).await, Bench::new(Engine::Postgres).await),
        };
        let told = sqlite.play(steps).await?;
        prop_assert_eq!(&told, &postgres.play(steps).await?, "SQLite and PostgreSQL tell different things");
        self.seen.extend(told);
        self.played += 1;
        // Stores on which something failed, or was stopped for good, are not used again.
        if !self.played.is_multiple_of(SHARED) && !sqlite.is_stopped() {
            self.pair = Some((sqlite, postgres));
        }
        Ok(())
    }
}

#[test]
fn both_engines_and_the_reference_give_equal_verdicts_and_entries() {
    let cases = match std::env::var("COFRE_TEST_LISTS") {
        Ok(count) => count.parse().expect("COFRE_TEST_LISTS is a number"),
        Err(_) if std::env::var_os("COFRE_NIGHT").is_some() => NIGHT,
        Err(_) => LISTS,
    };
    let regressions = FileFailurePersistence::SourceParallel("proptest-regressions");
    let config = Config {
        cases,
        max_shrink_iters: 400,
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(regressions)),
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let benches = Mutex::new(Benches { pair: None, played: 0, seen: BTreeSet::new() });
    let played = TestRunner::new(config).run(&list(), |steps| {
        let mut benches = benches.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        runtime.block_on(benches.play(&steps))
    });
    if let Err(failed) = played {
        panic!("{failed}");
    }
    // Lists that meet nothing compare nothing.
    let benches = benches.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for met in ["Granted(", "Moved", "Denied(LeaseHeld", "Err(WrongState)"] {
        assert!(benches.seen.iter().any(|told| told.starts_with(met)), "no list met {met}");
    }
}
