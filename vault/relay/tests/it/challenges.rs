//! From the lease to the conclusion, and everything that ends a challenge on the way.

use std::sync::Arc;

use cofre_model::entry::EntryKind;
use cofre_model::reason::Reason;
use cofre_model::wording::Outcome;
use cofre_relay::{Awaited, Ended};
use cofre_store::{Lockdown, Operation};

use crate::bench::{Bench, front_end, reason, sealed, worker};
use crate::world::told;

#[tokio::test]
async fn an_answer_is_handed_over_once_and_each_step_is_recorded() {
    let bench = Bench::new().await;
    let (_, _, ask) = bench.leased().await;
    let before = bench.world.records().head().await.expect("head").size;
    let id = bench.deliver(&ask).await;
    assert_eq!(reason(bench.relay.await_answer(&worker(), &id).await), Some(Reason::ChallengeEnded));
    assert_eq!(reason(bench.relay.answer(&front_end(), &id, sealed()).await), Some(Reason::ChallengeEnded));
    bench.relay.conclude(&worker(), &id, true).await.expect("concluded");
    assert_eq!(reason(bench.relay.conclude(&worker(), &id, true).await), Some(Reason::NotFound));
    assert_eq!(bench.world.records().head().await.expect("head").size, before + 3, "opened, answered, ended");
}

#[tokio::test]
async fn of_many_opened_at_once_one_login_gets_one() {
    let bench = Arc::new(Bench::new().await);
    let (_, _, ask) = bench.leased().await;
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (bench, ask) = (Arc::clone(&bench), ask.clone());
        opening.spawn(async move { bench.open(&ask).await });
    }
    let opened = opening.join_all().await;
    assert_eq!(opened.iter().filter(|result| result.is_ok()).count(), 1, "{opened:?}");
    assert!(opened.iter().all(|result| matches!(result, Ok(_) | Err(Reason::WrongState))), "{opened:?}");
    assert_eq!(bench.shown().await, 1);
}

#[tokio::test]
async fn an_id_that_is_taken_is_not_taken_over() {
    let bench = Bench::new().await;
    let ((_, _, first), (_, _, second)) = (bench.leased().await, bench.leased().await);
    let one = bench.request(&first);
    let other = cofre_model::request::ChallengeRequest { id: one.id, ..bench.request(&second) };
    let caller = worker();
    let (one, other) = tokio::join!(bench.relay.open(&caller, one), bench.relay.open(&caller, other));
    let (winner, refused) = if one.is_ok() { (first, other) } else { (second, one) };
    assert_eq!(reason(refused), Some(Reason::WrongState));
    let (_, shown, _) = bench.relay.watch(&front_end()).await.expect("watches");
    assert_eq!(shown.iter().map(|shown| shown.credential).collect::<Vec<_>>(), [winner.credential]);
}

#[tokio::test]
async fn a_revocation_or_a_stop_while_it_opens_leaves_no_challenge() {
    let bench = Bench::new().await;
    for round in 0..24 {
        let (credential, consent, ask) = bench.leased().await;
        let stop = async {
            // Each time a little later on its way.
            for _ in 0..round / 2 {
                tokio::task::yield_now().await;
            }
            if round % 2 == 0 {
                bench.world.revoke(&consent).await.expect("revoked");
            } else {
                let stop = Operation::Lockdown(Lockdown::Credential(credential.id));
                bench.world.apply(EntryKind::Lockdown, stop).await.expect("stopped");
            }
        };
        let (opened, ()) = tokio::join!(bench.open(&ask), stop);
        if let Ok(id) = opened {
            let told = bench.relay.await_answer(&worker(), &id).await;
            assert!(matches!(told, Ok(Awaited::Ended(Ended::Cancelled))), "{told:?}");
        }
        assert_eq!(bench.shown().await, 0, "round {round}: {opened:?}");
    }
}

#[tokio::test]
async fn never_concluding_reaches_the_limit_and_a_success_lifts_it() {
    let bench = Bench::new().await;
    let (credential, _, ask) = bench.leased().await;
    bench.deliver(&ask).await;
    bench.deliver(&ask).await;
    assert_eq!(bench.open(&ask).await, Err(Reason::WrongState), "the institution locks at three");
    // An institution that is asked for no factor lets it in.
    bench.report(&ask, Outcome::Ok).await;
    let ask = bench.lease(&credential).await;
    let mut opened = bench.open(&ask).await;
    for _ in 0..100 {
        if opened.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
        opened = bench.open(&ask).await;
    }
    assert!(opened.is_ok(), "{opened:?}");
}

#[tokio::test]
async fn opening_and_cancelling_is_bounded_and_each_ends_once() {
    let bench = Bench::new().await;
    let (_, _, ask) = bench.leased().await;
    for _ in 0..5 {
        let id = bench.open(&ask).await.expect("opens");
        bench.relay.cancel(&worker(), &id).await.expect("cancelled");
        assert_eq!(reason(bench.relay.cancel(&front_end(), &id).await), Some(Reason::ChallengeEnded));
    }
    assert_eq!(bench.open(&ask).await, Err(Reason::RateLimited));
}

#[tokio::test]
async fn a_report_ends_the_challenge_of_its_lease() {
    let bench = Bench::new().await;
    let (_, _, ask) = bench.leased().await;
    let id = bench.open(&ask).await.expect("opens");
    let caller = worker();
    let (told, ()) = tokio::join!(bench.relay.await_answer(&caller, &id), bench.report(&ask, Outcome::Cancelled));
    assert_eq!(told.expect("told"), Awaited::Ended(Ended::Cancelled));
}

#[tokio::test]
async fn without_a_lease_of_ones_own_nothing_opens() {
    let bench = Bench::new().await;
    let (credential, _) = bench.world.releasable(4).await;
    assert_eq!(bench.open(&bench.world.attended(&credential)).await, Err(Reason::NotFound));
    let unattended = bench.world.ask(credential.id);
    assert_eq!(told(&bench.world.once(&unattended).await), "GRANTED");
    assert_eq!(bench.open(&unattended).await, Err(Reason::AttendanceInvalid));
}
