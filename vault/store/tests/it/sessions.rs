//! One visit is one visit: how long a session lasts, when it counts, and what comes between two of them.

use cofre_model::entry::EntryKind;
use cofre_model::registry::{Worker, WorkerState};
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::Outcome;
use cofre_store::{Committed, Operation};

use crate::world::{Ask, WORKER, World, told};

/// A further release of the same job, worker and seal key.
fn further(world: &World, ask: &Ask) -> Ask {
    let Ask { request, digest, .. } = world.ask(ask.credential);
    Ask { request, digest, attendance: None, ..ask.clone() }
}

#[tokio::test]
async fn a_session_ends_five_minutes_after_it_began_however_often_it_asks() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    let first = world.ask(credential.id);
    let began = world.clock.now();
    let mut last = first.clone();
    for pause in [0, 100, 100, 95] {
        world.clock.advance(Span::secs(pause));
        last = if pause == 0 { first.clone() } else { further(&world, &first) };
        let Committed::Granted { permit, .. } = world.once(&last).await else { panic!("one session") };
        let until = permit.entry().warrant.lease_until;
        assert!(until <= began.plus(Span::secs(300)).plus(Span::millis(1)), "{until}");
        let grant = world.records().grant(&credential.id, &first.job).await.expect("read").expect("there");
        assert_eq!(grant.lease_until, Some(until));
    }
    world.clock.advance(Span::secs(6));
    assert_eq!(told(&world.once(&last).await), "REPLAY", "a repeat does not carry it on");
    assert_eq!(told(&world.once(&further(&world, &first)).await), "FREQUENCY_EXCEEDED", "a new visit");
}

#[tokio::test]
async fn a_session_that_began_attended_counts_once_nobody_attends() {
    let world = World::new().await;
    for (per_day, expected) in [(0, "FREQUENCY_EXCEEDED"), (1, "GRANTED")] {
        let (credential, _) = world.releasable(per_day).await;
        let present = world.attended(&credential);
        assert_eq!(told(&world.once(&present).await), "GRANTED");
        assert_eq!(told(&world.once(&further(&world, &present)).await), expected);
        // Counted once, like any other visit.
        assert_eq!(told(&world.once(&further(&world, &present)).await), expected);
        world.report(&present, Outcome::Ok).await.expect("report");
        world.clock.advance(Span::minutes(31));
        assert_eq!(told(&world.once(&world.ask(credential.id)).await), "FREQUENCY_EXCEEDED");
    }
}

#[tokio::test]
async fn two_visits_decided_at_once_are_half_an_hour_apart() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let (one, two) = (world.ask(credential.id), world.ask(credential.id));
    let [first, second] = [world.decide(&world.facts(&one).await), world.decide(&world.facts(&two).await)];
    assert_eq!(told(&world.records().commit(first).await.expect("commit")), "GRANTED");
    world.report(&one, Outcome::Ok).await.expect("report");
    let Committed::Denied { reason, retry_at, .. } = world.records().commit(second).await.expect("commit") else {
        panic!("a second visit right after the first")
    };
    assert_eq!(reason.to_string(), "FREQUENCY_EXCEEDED");
    let wait = retry_at.expect("an instant").since(world.clock.now());
    assert!(wait > Span::minutes(29) && wait < Span::minutes(31), "{wait:?}");
}

#[tokio::test]
async fn registering_a_worker_anew_does_not_lift_its_quarantine() {
    let world = World::new().await;
    let known = world.records().worker(WORKER).await.expect("read").expect("there");
    let enabled = Worker { state: WorkerState::Enabled, ..known };
    let quarantine = Operation::QuarantineWorker { worker: WORKER.into() };
    world.apply(EntryKind::WorkerQuarantined, quarantine).await.expect("quarantine");
    world.apply(EntryKind::WorkerPut, Operation::PutWorker(enabled)).await.expect("registered");
    let state = world.records().worker(WORKER).await.expect("read").expect("there").state;
    assert_eq!(state, WorkerState::Quarantined);
}
