//! One decision after the other: what is granted, what is not, and what the register says of it.

use cofre_model::consent::ConsentState;
use cofre_model::entry::EntryKind;
use cofre_model::permit::GroupSigner as _;
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::Outcome;
use cofre_policy::facts::Evidence;
use cofre_store::{Change, Committed, Operation};

use crate::hands::bytes;
use crate::world::{WORKER, World, node_key, refusal, told, true_mac};

#[tokio::test]
async fn a_grant_has_its_permit_its_promise_its_lease_and_its_entry() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let ask = world.ask(credential.id);
    let before = world.records().head().await.expect("head").size;
    let Committed::Granted { permit, promise } = world.once(&ask).await else { panic!("not granted") };
    let evidence = permit.entry();
    assert_eq!(evidence.at.index, before);
    assert_eq!(evidence.warrant.credential, credential.id);
    assert_eq!(evidence.warrant.secret_version, credential.secret_version);
    assert_eq!(evidence.warrant.tenant_key_id, [5; 16]);
    promise.verify(&evidence.at, &node_key().public_key()).expect("the promise is true");
    assert!(evidence.send_by.check(world.clock.monotonic()).is_ok());
    world.clock.advance(Span::millis(81));
    assert!(evidence.send_by.check(world.clock.monotonic()).is_err());

    let grant = world.records().grant(&credential.id, &ask.job).await.expect("read").expect("a grant");
    assert_eq!((grant.index, grant.worker.as_str(), grant.outcome), (before, WORKER, None));
    assert!(grant.lease_until.is_some_and(|until| until > world.clock.now()));
}

#[tokio::test]
async fn without_consent_nothing_leaves_and_the_denial_is_recorded() {
    let world = World::new().await;
    let credential = world.login().await;
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "CONSENT_MISSING");
    let awaited = world.request_consent(&credential, 4).await.expect("request");
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "CONSENT_NOT_ACTIVE");
    let consent = world.grant_consent(&awaited).await.expect("grant");
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
    world.revoke(&consent).await.expect("revoke");
    let Committed::Denied { at, reason, .. } = world.once(&world.ask(credential.id)).await else {
        panic!("not denied")
    };
    assert_eq!(reason.to_string(), "CONSENT_REVOKED");
    let row = world.records().entry(at.index).await.expect("read").expect("recorded");
    assert_eq!(row.leaf_hash, at.leaf_hash);
}

#[tokio::test]
async fn another_job_waits_for_the_lease_and_the_same_session_goes_on() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    let first = world.ask(credential.id);
    assert_eq!(told(&world.once(&first).await), "GRANTED");
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "FREQUENCY_EXCEEDED");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "LEASE_HELD");
    // The same job, worker and seal key: a further release, counted once.
    let further = crate::world::Ask { request: world.ask(credential.id).request, ..first.clone() };
    assert_eq!(told(&world.once(&further).await), "GRANTED");
    world.report(&first, Outcome::Ok).await.expect("report");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "GRANTED");
}

#[tokio::test]
async fn an_exact_repeat_is_redelivered_and_any_other_is_a_replay() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    let ask = world.ask(credential.id);
    let Committed::Granted { permit: first, .. } = world.once(&ask).await else { panic!("not granted") };
    world.clock.advance(Span::secs(1));
    let Committed::Granted { permit: again, .. } = world.once(&ask).await else { panic!("not granted again") };
    let found = world
        .records()
        .search(&cofre_store::Search { follows: Some(first.entry().at.index), limit: 9, ..Default::default() })
        .await
        .expect("search");
    assert_eq!(found.rows.len(), 1);
    assert_eq!((found.rows[0].index, found.rows[0].kind), (again.entry().at.index, EntryKind::Redelivered));
    let other = crate::world::Ask { digest: [0xee; 32], ..ask.clone() };
    assert_eq!(told(&world.once(&other).await), "REPLAY");
    world.report(&ask, Outcome::Ok).await.expect("report");
    assert_eq!(told(&world.once(&ask).await), "REPLAY", "a reported request is over");
}

#[tokio::test]
async fn attendance_counts_once_and_unattended_visits_are_few() {
    let world = World::new().await;
    let (credential, _) = world.releasable(2).await;
    let ask = world.attended(&credential);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    world.report(&ask, Outcome::Ok).await.expect("report");
    let reuse = crate::world::Ask { attendance: ask.attendance.clone(), ..world.ask(credential.id) };
    assert_eq!(told(&world.once(&reuse).await), "ATTENDANCE_INVALID");

    for _ in 0..2 {
        let ask = world.ask(credential.id);
        assert_eq!(told(&world.once(&ask).await), "GRANTED");
        world.report(&ask, Outcome::Ok).await.expect("report");
        world.clock.advance(Span::minutes(31));
    }
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "FREQUENCY_EXCEEDED");
    world.clock.advance(Span::hours(23));
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
}

#[tokio::test]
async fn the_commit_finds_what_the_facts_could_not_know() {
    let world = World::new().await;
    let (credential, _) = world.releasable(1).await;
    // Two decisions on the same snapshot, none of which moves an epoch: limits are the commit's.
    let (one, two) = (world.attended(&credential), world.ask(credential.id));
    let shared = crate::world::Ask { attendance: one.attendance.clone(), ..world.ask(credential.id) };
    let facts = [world.facts(&one).await, world.facts(&shared).await, world.facts(&two).await];
    let decisions = facts.each_ref().map(|facts| world.decide(facts));
    let mut heard = Vec::new();
    for decision in decisions {
        heard.push(told(&world.records().commit(decision).await.expect("commit")));
    }
    assert_eq!(heard, ["GRANTED", "LEASE_HELD", "LEASE_HELD"]);

    world.report(&one, Outcome::Ok).await.expect("report");
    let decision = world.decide(&facts[1]);
    let heard = told(&world.records().commit(decision).await.expect("commit"));
    assert_eq!(heard, "ATTENDANCE_INVALID", "the token was used meanwhile");

    // Unattended visits are counted again: both were decided while there was none.
    let single = world.releasable(1).await.0;
    let (one, two) = (world.ask(single.id), world.ask(single.id));
    let decisions = [world.decide(&world.facts(&one).await), world.decide(&world.facts(&two).await)];
    let [first, second] = decisions;
    assert_eq!(told(&world.records().commit(first).await.expect("commit")), "GRANTED");
    world.report(&one, Outcome::Ok).await.expect("report");
    let Committed::Denied { reason, retry_at, .. } = world.records().commit(second).await.expect("commit") else {
        panic!("a second visit on a consent for one")
    };
    assert_eq!(reason.to_string(), "FREQUENCY_EXCEEDED");
    assert!(retry_at.is_some_and(|at| at > world.clock.now().plus(Span::hours(23))));

    let late = world.decide(&world.facts(&world.attended(&credential)).await);
    world.clock.advance(Span::minutes(10));
    assert_eq!(told(&world.records().commit(late).await.expect("commit")), "ATTENDANCE_INVALID");
}

#[tokio::test]
async fn a_clock_set_back_grants_nothing_until_it_is_right_again() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let (ask, now) = (world.ask(credential.id), world.clock.now());
    let decision = world.decide(&world.facts(&ask).await);
    world.clock.set(now.minus(Span::secs(3)));
    assert_eq!(told(&world.records().commit(decision).await.expect("commit")), "CLOCK_UNTRUSTED");
    world.clock.set(now.plus(Span::secs(1)));
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
}

#[tokio::test]
async fn an_edited_row_grants_nothing_and_still_can_be_revoked() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(1).await;
    let facts = world.facts(&world.ask(credential.id)).await;
    assert!(matches!(facts.consent, Evidence::Genuine(_)) && matches!(facts.credential, Evidence::Genuine(_)));
    let record = world.records().consent(&world.tenant.id, &consent.id).await.expect("read").expect("there");
    assert_eq!(record.claimed.state, ConsentState::Active);
    assert!(matches!(record.row.clone().verify(|_, _, _, _| false), Evidence::Forged));
    assert!(matches!(record.row.verify(true_mac), Evidence::Genuine(_)));
    world.revoke(&consent).await.expect("revoke");
    let record = world.records().consent(&world.tenant.id, &consent.id).await.expect("read").expect("there");
    assert!(matches!(record.row.verify(|_, _, _, _| false), Evidence::Genuine(_)), "an ended row needs no MAC");
}

#[tokio::test]
async fn whoever_edits_the_file_permits_nothing() {
    let set = |assigned: &str, digits: &str| format!("UPDATE {assigned} = {}", bytes(digits));
    for (edit, reason) in [
        ("UPDATE consents SET valid_until = valid_until + 1", "CONSENT_EVIDENCE_INVALID"),
        ("UPDATE consents SET scopes = 'POSITIONS,TRANSACTIONS'", "CONSENT_EVIDENCE_INVALID"),
        ("UPDATE consents SET scopes = 'EVERYTHING'", "CONSENT_EVIDENCE_INVALID"),
        (&set("consents SET entry_id", &"00".repeat(16)), "CONSENT_EVIDENCE_INVALID"),
        (&set("consents SET tag", ""), "CONSENT_EVIDENCE_INVALID"),
        ("UPDATE credentials SET secret_version = 7", "INTEGRITY_FAILURE"),
        (&set("credentials SET dedupe_tag", "00"), "INTEGRITY_FAILURE"),
    ] {
        let world = World::new().await;
        let (credential, consent) = world.releasable(4).await;
        world.edit(edit).await;
        assert_eq!(told(&world.once(&world.ask(credential.id)).await), reason, "{edit}");
        if edit.contains("EVERYTHING") {
            continue; // Such a row says nothing any more, not even whose it is.
        }
        world.revoke(&consent).await.expect("ending needs no MAC");
    }
    // An awaiting row made active by hand.
    let world = World::new().await;
    let credential = world.login().await;
    world.request_consent(&credential, 4).await.expect("request");
    world.edit("UPDATE consents SET state = 'ACTIVE'").await;
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "CONSENT_EVIDENCE_INVALID");
}

#[tokio::test]
async fn a_wrong_secret_is_never_tried_again_and_a_report_is_taken_once() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let ask = world.ask(credential.id);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    let mut changes = world.records().changes();
    world.report(&ask, Outcome::WrongSecret).await.expect("report");
    assert!(matches!(changes.recv().await, Ok(Change::Entry { kind: EntryKind::Reported, .. })));
    assert_eq!(refusal(world.report(&ask, Outcome::Ok).await), "WRONG_STATE");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "SECRET_REJECTED");
    // Entered anew: a new version, active again.
    let enrolment = world.enrol(None, &credential).await.expect("enrolment");
    let version = world.intend(enrolment).await.expect("intent");
    assert!(version > credential.secret_version);
    world.complete(enrolment, &credential, version, b"again".to_vec()).await.expect("deposit");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "GRANTED");
    assert_eq!(
        refusal(
            world
                .apply(
                    EntryKind::Reported,
                    Operation::ReportOutcome {
                        credential: credential.id,
                        job: ask.job,
                        worker: "spiffe://cofre.test/worker/pool-a/w2".into(),
                        outcome: Outcome::Ok,
                        lock: None,
                    }
                )
                .await
        ),
        "NOT_FOUND"
    );
}
