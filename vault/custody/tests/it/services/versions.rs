//! Versions of a service's key, and keys that are exchanged: what was wrapped under an old version opens, what was wrapped
//! under another key does not, and each call is one call.

use cofre_custody::Cause;
use cofre_custody::remote::Patience;
use cofre_testkit::kms::{Kind, State, Weather};

use super::{QUICK, open, serves_within};
use crate::bench::{any_warm_permit, context, row_of, share, slab};
use crate::contract::{KEY, SIGNER, runtime, unwrapped, wrapped};
use crate::site::{Form, Held, Wanted};

fn each(mut case: impl AsyncFnMut(Form)) {
    runtime().block_on(async {
        for form in Form::ALL {
            case(form).await;
        }
    });
}

/// The key a fresh row names.
async fn key_of(held: &Held) -> String {
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    held.wrap(context.encode(), bound).await.expect("wraps").custodian_key
}

#[test]
fn a_rotated_key_opens_what_its_old_version_wrapped() {
    each(async |form| {
        let (served, held, old) = open(form).await;
        let before = key_of(&held).await;
        assert_eq!(served.kms.rotate(KEY).expect("rotates"), 2);
        let after = key_of(&held).await;
        // AWS does not say which version wrapped.
        assert_eq!(before == after, form == Form::Aws, "{before} {after}");
        let new = wrapped(&held).await;
        assert_eq!(unwrapped(&held, old.clone()).await.expect("opens"), 7);
        assert_eq!(unwrapped(&held, new).await.expect("opens"), 7);
        let mut row = row_of(&*held, old);
        row.custodian_key = before;
        held.unwrap(&any_warm_permit(), context("hsm-1").encode(), &row).await.map(drop).expect("opens by its version");
    });
}

/// Retiring a version ends it and no other: of Google by its state, of transit by the least version that may be used.
#[test]
fn an_old_version_can_be_ended_alone() {
    for (form, state, cause) in [
        (Form::Gcp, State::Disabled, Cause::KeyDisabled),
        (Form::Gcp, State::PendingDeletion, Cause::KeyPendingDeletion),
        (Form::Gcp, State::Destroyed, Cause::KeyDestroyed),
        (Form::Transit, State::Disabled, Cause::KeyDisabled),
    ] {
        runtime().block_on(async {
            let (served, held, old) = open(form).await;
            served.kms.rotate(KEY).expect("rotates");
            let new = wrapped(&held).await;
            served.kms.set(KEY, Some(1), state).expect("a version");
            assert_eq!(unwrapped(&held, old.clone()).await.expect_err("ended").cause, cause, "{form:?} {state:?}");
            assert_eq!(unwrapped(&held, new).await.expect("the new one serves"), 7);
            held.check().await.expect("ready");
            served.kms.set(KEY, Some(1), State::Enabled).expect("a version");
            serves_within(&held, &old, std::time::Duration::from_secs(10)).await.expect("serves again");
        });
    }
}

#[test]
fn a_key_that_is_gone_is_missing_and_is_not_made_anew() {
    each(async |form| {
        let (served, held, bytes) = open(form).await;
        let taken = served.kms.take(KEY).expect("a key");
        for _ in 0..3 {
            assert_eq!(unwrapped(&held, bytes.clone()).await.expect_err("gone").cause, Cause::KeyMissing, "{form:?}");
            let context = context("hsm-1");
            let bound = share(&slab(), 7).bind(&context).expect("bound");
            let wrapping = held.wrap(context.encode(), bound).await.map(drop);
            assert_eq!(wrapping.expect_err("gone").cause, Cause::KeyMissing, "{form:?}");
        }
        assert!(served.kms.take(KEY).is_none(), "somebody made a key");
        served.kms.put(KEY, taken);
        serves_within(&held, &bytes, std::time::Duration::from_secs(10)).await.expect("serves again");
    });
}

#[test]
fn another_key_under_the_same_name_opens_nothing() {
    each(async |form| {
        let (served, held, bytes) = open(form).await;
        let taken = served.kms.take(KEY).expect("a key");
        served.kms.make(KEY, if form == Form::Derived { Kind::Derived } else { Kind::Aes }).expect("another key");
        assert_eq!(unwrapped(&held, bytes.clone()).await.expect_err("another").cause, Cause::Integrity, "{form:?}");
        served.kms.put(KEY, taken);
        assert_eq!(unwrapped(&held, bytes).await.expect("the right one is back"), 7);
    });
}

#[test]
fn each_call_is_one_call_and_a_glitch_costs_one_more() {
    each(async |form| {
        let (served, held, bytes) = open(form).await;
        let [wrap, unwrap, sign] = served.operations();
        let counts = || [served.kms.count(KEY, wrap), served.kms.count(KEY, unwrap), served.kms.count(SIGNER, sign)];
        let before = counts();
        unwrapped(&held, bytes.clone()).await.expect("opens");
        wrapped(&held).await;
        held.signer().expect("a signer").sign(b"a message").await.expect("signs");
        assert_eq!(counts(), before.map(|count| count + 1), "{form:?}");
        // The answer to one request is lost: the call is made again and comes through.
        served.kms.set_weather(Weather { cut: true, calls: Some(1), ..Weather::default() });
        let row = row_of(&*held, bytes.clone());
        let answer = held.unwrap(&any_warm_permit(), context("hsm-1").encode(), &row).await.expect("opens");
        assert_eq!(served.kms.count(KEY, unwrap), before[1] + 3, "{form:?}");
        // The service's log shows both, and so does the id.
        assert_eq!((answer.request.tries(), answer.request.as_str().split(',').count()), (2, 2), "{}", answer.request);
        assert_eq!(unwrapped(&held, bytes).await.expect("opens"), 7);
    });
}

#[test]
fn no_more_than_so_many_ask_at_once_and_who_waits_is_told_in_time() {
    each(async |form| {
        let (mut served, _, bytes) = open(form).await;
        served.patience = Patience { at_once: 1, ..QUICK };
        let held = served.opened_in_the_end(Wanted::default()).await;
        served.kms.set_weather(Weather { latency: std::time::Duration::from_secs(60), ..Weather::default() });
        let (held, before) = (held.custodian(), served.kms.requests());
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let (held, bytes) = (held.clone(), bytes.clone());
                tokio::spawn(async move { unwrapped(&held, bytes).await.map_err(|fault| fault.cause) })
            })
            .collect();
        let mut causes = Vec::new();
        for task in tasks {
            causes.push(task.await.expect("no panic").expect_err("slow"));
        }
        assert!(causes.contains(&Cause::Timeout), "{form:?} {causes:?}");
        // Whose turn comes in the last moment has no time left for an answer.
        assert!(causes.iter().all(|cause| matches!(cause, Cause::Timeout | Cause::Busy)), "{form:?} {causes:?}");
        // Three who ask side by side would be seen three times each.
        let seen = served.kms.requests() - before;
        assert!((1..=5).contains(&seen), "{form:?}: {seen} requests");
    });
}
