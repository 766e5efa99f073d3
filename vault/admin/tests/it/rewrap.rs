//! A rewrap moves every tenant key, each with one call for every share it needs and one for every share it gives, by
//! however many nodes, and says of each key that it could not move why.

use cofre_admin::{RewrapOrder, Source};
use cofre_custody::{TenantRef, Warmed};
use cofre_model::entry::EntryKind;
use cofre_model::id::KeyJobId;
use cofre_model::keys::{KeyJobKind, KeyJobState};
use cofre_model::reason::Reason;
use cofre_model::time::{Clock as _, Span};
use cofre_store::Due;

use crate::bench::operator;
use crate::house::{House, Node, custodian, hands_on, never, order, refusal, set};

fn to(target: &str) -> Due<'_> {
    Due { target, from_key: None }
}

async fn house(custodians: &[&str], tenants: u8, custody: &str) -> (House, Node) {
    let mut house = House::new(custodians);
    let node = house.node().await;
    house.tenants(&node, tenants, custody).await;
    (house, node)
}

#[tokio::test]
async fn every_key_is_moved_with_one_call_to_open_it_and_one_to_wrap_it() {
    let (house, node) = house(&["hsm-1", "hsm-2"], 20, "any_of(hsm-1)").await;
    assert_eq!(node.jobs.due(&order("any_of(hsm-2)")).await.expect("counted"), 20);
    assert_eq!(house.calls(), (0, 20), "a dry run asks nobody");
    let job = node.open("any_of(hsm-2)").await;
    let before = node.jobs.progress(job.clone()).await.expect("read");
    assert_eq!((before.moved, before.left, before.failed, before.secs_left), (0, 20, 0, None));

    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.others, pass.done), (20, 0, 0, true));
    assert_eq!(
        (house.custodian("hsm-1").unwraps(), house.custodian("hsm-2").unwraps()),
        (20, 1),
        "one shows that it opens"
    );
    assert_eq!((house.custodian("hsm-1").wraps(), house.custodian("hsm-2").wraps()), (20, 20));
    node.opened_no_data_key();

    house.custodian("hsm-1").take_away();
    house.all_open(&node).await;
    house.clock.advance(Span::secs(10));
    let ended = node.stores.records.key_job(&job.id).await.expect("read").expect("there");
    assert_eq!(ended.state, KeyJobState::Done);
    let after = node.jobs.progress(ended).await.expect("read");
    assert_eq!((after.moved, after.left, after.secs_left), (20, 0, Some(0)));
    assert!(after.per_thousand_secs > 0);

    let (rewraps, outcomes) = (node.entries(EntryKind::Rewrap).await, node.entries(EntryKind::Rewrapped).await);
    assert_eq!((rewraps.len(), outcomes.len()), (21, 21));
    let tried = |entry: &&cofre_model::entry::Entry| entry.custodian_request.as_deref() == Some("hsm-2/unwrap/0");
    assert_eq!(outcomes.iter().filter(tried).map(|entry| entry.count).collect::<Vec<_>>(), [Some(1)]);
    for outcome in outcomes.iter().filter(|entry| !tried(entry)) {
        let requests = outcome.custodian_request.as_deref().expect("both calls by their ids");
        assert!(requests.contains("hsm-1/unwrap/") && requests.contains("hsm-2/wrap/"), "{requests}");
        assert_eq!((outcome.count, outcome.reason), (Some(2), None));
    }
    let end = node.entries(EntryKind::KeyJobEnded).await;
    assert_eq!((end.len(), end[0].count, end[0].follows), (1, Some(20), Some(job.opened_entry)));
}

#[tokio::test]
async fn sets_of_several_custodians_are_moved_with_two_calls_a_share_at_most() {
    for (from, target, unwraps, wraps) in [
        ("any_of(a)", "any_of(b,c)", 1, 2),
        ("any_of(a,b)", "any_of(c,b)", 1, 2),
        ("all_of(a,b)", "all_of(c,b)", 2, 2),
        ("all_of(a,b)", "any_of(c)", 2, 1),
    ] {
        let (house, node) = house(&["a", "b", "c"], 3, from).await;
        let before = house.calls();
        let job = node.open(target).await;
        assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done, "{from} to {target}");
        let after = house.calls();
        // Every share of the first key is opened before that is put in force.
        let tried = u64::try_from(wraps).expect("few");
        assert_eq!((after.0 - before.0, after.1 - before.1), (3 * unwraps + tried, 3 * wraps), "{from} to {target}");
        house.custodian("a").take_away();
        house.all_open(&node).await;
    }
}

#[tokio::test]
async fn a_stricter_set_is_refused_and_the_failure_says_why() {
    let (house, node) = house(&["a", "b"], 2, "any_of(a)").await;
    let job = node.open("all_of(a,b)").await;
    let before = house.calls();
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (0, 2, false));
    assert_eq!(house.calls(), before, "nobody was asked");
    let progress = node.jobs.progress(job).await.expect("read");
    assert_eq!((progress.failed, progress.left), (2, 2));
    for failure in &progress.failures {
        assert!(failure.cause.contains("is stricter than the one the key has"), "{}", failure.cause);
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused() {
    let (_house, node) = house(&["a", "b"], 1, "any_of(a)").await;
    let unknown = node.jobs.open(&operator(), order("any_of(z)")).await;
    assert_eq!(refusal(unknown), Reason::BadRequest);
    for rate in [0, 10_001, u32::MAX] {
        let never = RewrapOrder { rate: Some(rate), ..order("any_of(b)") };
        assert_eq!(refusal(node.jobs.open(&operator(), never).await), Reason::BadRequest, "{rate}");
    }
    let job = node.open("any_of(b)").await;
    assert_eq!(refusal(node.jobs.open(&operator(), order("any_of(a)")).await), Reason::WrongState);
    node.jobs.stop(&operator(), &job.id).await.expect("stopped");
    assert_eq!(refusal(node.jobs.stop(&operator(), &job.id).await), Reason::WrongState);
    // A job that runs no more has no permits left.
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed), (0, 0));
    node.open("any_of(b)").await;
}

#[tokio::test]
async fn keys_leave_an_older_key_of_a_custodian_that_stays() {
    let (house, node) = house(&["a"], 4, "any_of(a)").await;
    let away = || RewrapOrder { from_key: Some("test".into()), ..order("any_of(a)") };
    assert_eq!(node.jobs.due(&order("any_of(a)")).await.expect("counted"), 0);
    assert_eq!(node.jobs.due(&away()).await.expect("counted"), 4);
    let job = node.jobs.open(&operator(), away()).await.expect("opened").0;
    let before = node.stores.keyring.custodian_shares().await.expect("read");
    // Nobody told the custodian to use another one: nothing is moved from a key to itself, again and again.
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (0, 4, false));
    let failures = node.jobs.progress(job.clone()).await.expect("read").failures;
    assert!(failures[0].cause.contains("have it use a newer one"), "{}", failures[0].cause);
    assert_eq!(node.stores.keyring.custodian_shares().await.expect("read"), before);
    house.custodian("a").turn_to("test-2");
    house.clock.advance(Span::secs(61));
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.done), (4, true));
    let shares = node.stores.keyring.custodian_shares().await.expect("read");
    let told: Vec<_> = shares.iter().map(|row| (row.key.as_str(), row.current, row.closed)).collect();
    assert_eq!(told, [("test", 0, 4), ("test-2", 4, 0)]);
    let source = Source { custodian: custodian("a"), key: Some("test".into()) };
    assert_eq!(node.jobs.retire(&operator(), &source).await.expect("retired").shares, 4);
    house.all_open(&node).await;
}

#[tokio::test]
async fn what_a_job_moved_is_still_told_after_the_next_one() {
    let (house, node) = house(&["a", "b"], 3, "any_of(a)").await;
    let first = node.open("any_of(b)").await;
    assert!(node.jobs.rewrap(&first, &never).await.expect("a pass").done);
    house.clock.advance(Span::secs(1));
    let second = node.open("any_of(a)").await;
    assert!(node.jobs.rewrap(&second, &never).await.expect("a pass").done);
    let status = node.jobs.status().await.expect("read");
    let told: Vec<_> = status.jobs.iter().map(|job| (job.job.id, job.moved, job.left, job.secs_left)).collect();
    assert_eq!(told, [(second.id, 3, 0, Some(0)), (first.id, 3, 0, Some(0))]);
}

#[tokio::test]
async fn a_job_that_nobody_ordered_moves_nothing() {
    let (house, node) = house(&["a", "b", "c"], 2, "all_of(a,b)").await;
    let job = node.open("all_of(c,b)").await;
    // Whoever owns the records has it loosen the set instead, then names an entry of another kind.
    for (what, put, back) in [
        ("target", "'any_of(c)'".to_owned(), "'all_of(c,b)'".to_owned()),
        ("opened_entry", "0".to_owned(), job.opened_entry.to_string()),
        ("from_key", "'test'".to_owned(), "NULL".to_owned()),
        ("rate", "4000000000".to_owned(), "NULL".to_owned()),
    ] {
        house.edit_records(&[&format!("UPDATE key_jobs SET {what} = {put}")]).await;
        let edited = node.stores.records.key_job(&job.id).await.expect("read").expect("there");
        assert_eq!(refusal(node.jobs.rewrap(&edited, &never).await), Reason::IntegrityFailure, "{what}");
        assert_eq!(house.calls(), (0, 4), "{what}: nobody is asked");
        house.edit_records(&[&format!("UPDATE key_jobs SET {what} = {back}")]).await;
    }
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
}

#[tokio::test]
async fn a_job_that_ended_is_not_brought_back_by_an_edit() {
    let (house, node) = house(&["a", "b", "c"], 2, "any_of(a)").await;
    let ended = node.open("any_of(b)").await;
    node.jobs.stop(&operator(), &ended.id).await.expect("stopped");
    let back =
        format!("UPDATE key_jobs SET state = 'RUNNING', ended_at = NULL, moved = NULL WHERE id = '{}'", ended.id);
    house.edit_records(&[&back]).await;
    let calls = house.calls();
    assert_eq!(refusal(node.jobs.resume(KeyJobKind::Rewrap, &never).await), Reason::IntegrityFailure);
    assert_eq!(house.calls(), calls, "nobody is asked");
    house.edit_records(&[&format!("UPDATE key_jobs SET state = 'STOPPED' WHERE id = '{}'", ended.id)]).await;
    // Nor is one that another followed, of which nobody recorded the end.
    let next = node.open("any_of(c)").await;
    house.edit_records(&[&format!("UPDATE key_jobs SET state = 'STOPPED' WHERE id = '{}'", next.id), &back]).await;
    assert_eq!(refusal(node.jobs.resume(KeyJobKind::Rewrap, &never).await), Reason::IntegrityFailure);
    assert_eq!(house.calls(), calls, "nobody is asked");
}

#[tokio::test]
async fn a_job_whose_row_was_edited_before_it_was_stopped_is_not_brought_back() {
    let (house, node) = house(&["a", "b"], 2, "any_of(a)").await;
    let calls = house.calls();
    let other = KeyJobId::from_parts(house.clock.now().millis(), [9; 10]);
    for (put, back, stopped) in [
        // Its end follows another entry then, or names another job.
        ("opened_entry = 0".to_owned(), None, None),
        (format!("id = '{other}'"), Some("id"), Some(other)),
    ] {
        let job = node.open("any_of(b)").await;
        house.edit_records(&[&format!("UPDATE key_jobs SET {put} WHERE id = '{}'", job.id)]).await;
        let named = stopped.unwrap_or(job.id);
        node.jobs.stop(&operator(), &named).await.expect("stopped");
        let back = back.map_or(String::new(), |column| format!("{column} = '{}', ", job.id));
        let edit = format!(
            "UPDATE key_jobs SET {back}opened_entry = {}, state = 'RUNNING', ended_at = NULL, moved = NULL WHERE id = '{named}'",
            job.opened_entry
        );
        house.edit_records(&[&edit]).await;
        let running = node.stores.records.key_jobs_running().await.expect("read");
        assert_eq!(running, std::slice::from_ref(&job), "as it was ordered");
        assert_eq!(refusal(node.jobs.resume(KeyJobKind::Rewrap, &never).await), Reason::IntegrityFailure, "{put}");
        assert_eq!(house.calls(), calls, "{put}: nobody is asked");
        house.edit_records(&[&format!("UPDATE key_jobs SET state = 'STOPPED' WHERE id = '{}'", job.id)]).await;
    }
}

#[tokio::test]
async fn no_set_is_put_in_place_that_is_looser_than_the_nodes_own() {
    let mut house = House::new(&["a", "b", "c"]);
    let loose = house.node().await;
    house.tenants(&loose, 2, "all_of(a,b)").await;
    let job = loose.open("any_of(c)").await;
    house.floor = set("all_of(a,b)");
    let strict = house.on(hands_on(&loose.stores));
    let calls = house.calls();
    // It was ordered at a node that has another configuration.
    assert_eq!(refusal(strict.jobs.resume(KeyJobKind::Rewrap, &never).await), Reason::BadRequest);
    loose.jobs.stop(&operator(), &job.id).await.expect("stopped");
    for looser in ["any_of(c)", "any_of(a,b)", "all_of(a,any_of(b,c))", "any_of(a,all_of(b,c))"] {
        assert_eq!(refusal(strict.jobs.open(&operator(), order(looser)).await), Reason::BadRequest, "{looser}");
    }
    assert_eq!(house.calls(), calls, "nobody is asked");
    let job = strict.open("all_of(c,b)").await;
    assert!(strict.jobs.rewrap(&job, &never).await.expect("a pass").done, "a custodian in another's place");
    house.all_open(&strict).await;
}

#[tokio::test]
async fn no_custodian_of_the_nodes_own_set_loses_its_veto() {
    let mut house = House::new(&["a", "b", "c", "d", "e", "f", "g", "h"]);
    let node = house.node().await;
    for (floor, looser) in [
        ("all_of(a,any_of(b,c))", "any_of(all_of(b,c),all_of(d,e))"),
        ("all_of(a,any_of(b,c,d))", "any_of(all_of(e,f),all_of(g,h),all_of(b,c))"),
        ("any_of(a)", "any_of(c,all_of(a,b))"),
    ] {
        house.floor = set(floor);
        let strict = house.on(hands_on(&node.stores));
        assert_eq!(refusal(strict.jobs.open(&operator(), order(looser)).await), Reason::BadRequest, "{looser}");
    }
}

#[tokio::test]
async fn no_key_is_moved_to_custodians_that_do_not_open_what_they_wrap() {
    let (house, node) = house(&["a", "b"], 3, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    house.custodian("b").lose_what_is_wrapped();
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (0, 3, false));
    let failures = node.jobs.progress(job).await.expect("read").failures;
    assert!(failures[0].cause.starts_with("the new custodians do not open what they wrapped"), "{}", failures[0].cause);
    house.custodian("b").take_away();
    house.all_open(&node).await;
}

#[tokio::test]
async fn what_was_replaced_brings_a_key_back_whose_new_custodian_is_lost() {
    let (house, node) = house(&["a", "b"], 2, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    house.custodian("b").take_away();
    house.clock.advance(Span::secs(1));
    let job = node.open("any_of(a)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (2, 0, true));
    node.keys.wipe_all();
    house.all_open(&node).await;
}

#[tokio::test]
async fn what_was_retired_brings_a_key_back_as_long_as_it_is_there() {
    let (house, node) = house(&["a", "b", "c"], 2, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    let source = Source { custodian: custodian("a"), key: None };
    assert_eq!(node.jobs.retire(&operator(), &source).await.expect("retired").shares, 2);
    house.custodian("b").take_away();
    house.clock.advance(Span::secs(1));
    let job = node.open("any_of(c)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (2, 0, true));
    node.keys.wipe_all();
    house.all_open(&node).await;
}

#[tokio::test]
async fn an_older_wrapping_stays_in_force_while_the_newest_does_not_open() {
    let (house, node) = house(&["a", "b"], 1, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    // Somebody put the older one back, and it is the only one that opens.
    house.edit(&["UPDATE tenant_keys SET state = 'CURRENT'"]).await;
    house.custodian("b").take_away();
    let job = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (0, 1, false));
    let shares = node.stores.keyring.custodian_shares().await.expect("read");
    assert!(shares.iter().all(|row| row.current == 1), "{shares:?}");
    house.custodian("b").bring_back();
    house.clock.advance(Span::secs(61));
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    let shares = node.stores.keyring.custodian_shares().await.expect("read");
    assert_eq!(shares.iter().map(|row| (row.current, row.closed)).collect::<Vec<_>>(), [(0, 1), (1, 0)]);
}

#[tokio::test]
async fn what_cannot_be_read_of_one_tenant_holds_up_no_other() {
    let (house, node) = house(&["a", "b"], 4, "any_of(a)").await;
    house.edit_records(&[&format!("UPDATE tenants SET state = 'MELTED' WHERE id = '{}'", house.tenants[1].id)]).await;
    let job = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (3, 1, false));
}

#[tokio::test]
async fn a_row_that_does_not_open_is_listed_and_holds_up_no_other() {
    let (house, node) = house(&["a", "b"], 5, "any_of(a)").await;
    let broken = house.tenants[2].id;
    // Another tenant's share in its place: its custodian opens it for no context but its own.
    let edit = format!("UPDATE tenant_keys SET wrapped = x'30' WHERE tenant_id = '{broken}'");
    let rows = node.stores.keyring.tenant_key(&broken, 1).await.expect("read");
    house.edit(&[&edit]).await;
    let job = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (4, 1, false));
    let progress = node.jobs.progress(job.clone()).await.expect("read");
    assert_eq!((progress.moved, progress.left, progress.failed), (4, 1, 1));
    assert_eq!(progress.failures[0].item, format!("{broken}/1"));
    assert_eq!(progress.failures[0].cause, "the share of a tenant key is not what the records say");
    let outcomes = node.entries(EntryKind::Rewrapped).await;
    assert_eq!(outcomes.iter().filter(|entry| entry.reason == Some(Reason::IntegrityFailure)).count(), 1);

    let mend = format!(
        "UPDATE tenant_keys SET wrapped = x'{}' WHERE tenant_id = '{broken}'",
        rows[0].wrapped.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    );
    house.edit(&[&mend]).await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed), (0, 1), "what failed is left alone for a while");
    assert_eq!(house.custodian("a").unwraps(), 5);
    house.clock.advance(Span::secs(61));
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.done), (1, true));
    assert_eq!(node.jobs.progress(job).await.expect("read").failures, []);
}

#[tokio::test]
async fn a_custodian_that_is_away_costs_a_pass_and_nothing_else() {
    let (house, node) = house(&["a", "b"], 3, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    house.custodian("b").take_away();
    assert_eq!(node.jobs.rewrap(&job, &never).await.expect("a pass").failed, 3);
    house.all_open(&node).await;
    house.custodian("b").bring_back();
    house.clock.advance(Span::secs(61));
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    house.all_open(&node).await;
}

#[tokio::test]
async fn two_nodes_at_once_do_no_work_twice() {
    let (mut house, first) = house(&["a", "b"], 24, "any_of(a)").await;
    let second = if House::shared() { house.node().await } else { house.on(hands_on(&first.stores)) };
    let job = first.open("any_of(b)").await;
    let (one, two) = tokio::join!(first.jobs.rewrap(&job, &never), second.jobs.rewrap(&job, &never));
    let (one, two) = (one.expect("a pass"), two.expect("a pass"));
    assert_eq!(one.moved + two.moved, 24);
    assert_eq!(one.failed + two.failed, 0);
    assert_eq!((house.custodian("a").unwraps(), house.custodian("b").wraps()), (24, 24));
    // Whoever found the other at work leaves the end to it, or to the next pass.
    if !one.done && !two.done {
        assert!(first.jobs.rewrap(&job, &never).await.expect("a pass").done);
    }
    assert_eq!(first.entries(EntryKind::KeyJobEnded).await.len(), 1);
    house.all_open(&second).await;
}

#[tokio::test]
async fn keys_open_all_the_time_they_are_moved() {
    let (house, node) = house(&["a", "b"], 12, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    let moving = async {
        let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
        assert_eq!((pass.moved, pass.done), (12, true));
    };
    let using = async {
        let mut opened = 0_u32;
        loop {
            for tenant in &house.tenants {
                // As a release does that asks the custodian each time.
                let tenant = TenantRef { warm_for: Span::default(), ..TenantRef::of(tenant, 1) };
                node.keys.for_release().warm(&tenant, Warmed::default()).await.expect("opens");
                opened += 1;
            }
            tokio::task::yield_now().await;
            if node.jobs.due(&order("any_of(b)")).await.expect("counted") == 0 {
                return opened;
            }
        }
    };
    let ((), opened) = tokio::join!(moving, using);
    assert!(opened >= 12, "{opened}");
}

#[tokio::test]
async fn an_old_row_put_back_is_due_again() {
    let (house, node) = house(&["a", "b"], 3, "any_of(a)").await;
    let job = node.open("any_of(b)").await;
    assert!(node.jobs.rewrap(&job, &never).await.expect("a pass").done);
    let back = house.tenants[1].id;
    let statements = [
        format!("DELETE FROM tenant_keys WHERE tenant_id = '{back}' AND wrapping = 2"),
        format!("UPDATE tenant_keys SET state = 'CURRENT' WHERE tenant_id = '{back}'"),
    ];
    house.edit(&statements.each_ref().map(String::as_str)).await;
    assert_eq!(node.stores.keyring.keys_due_count(to("any_of(b)")).await.expect("counted"), 1);
    node.keys.wipe_all();
    house.all_open(&node).await;
    let job = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.done), (1, true));
    // Two in force at once: the newest is used, and the older one is closed.
    house.edit(&[&format!("UPDATE tenant_keys SET state = 'CURRENT' WHERE tenant_id = '{back}'")]).await;
    let job = node.open("any_of(b)").await;
    assert_eq!(node.stores.keyring.keys_due_count(to("any_of(b)")).await.expect("counted"), 1);
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.done), (0, true));
    house.all_open(&node).await;
}
