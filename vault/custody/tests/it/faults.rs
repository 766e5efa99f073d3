//! What happens when a token misbehaves: cases that only hsm-sim can play, each in a process of its own.

use std::time::Duration;

use cofre_custody::pkcs11::Token;
use cofre_custody::{Cause, Custodian};
use cofre_testkit::hsm::Module;

use crate::bench::{Child, Runs, calls, count, faults, run_each, slab};
use crate::contract::{Case, cases, names, open, opened, pin, prepared_in_silence, settings, unwrapped, wrapped};

pub(crate) const CASES: &[Case] = cases![
    a_device_error_costs_one_call,
    the_nth_call_fails_and_no_other,
    a_lost_answer_costs_one_call,
    a_dead_session_is_replaced_unseen,
    a_token_that_left_and_came_back_serves_again,
    a_token_that_is_away_at_start_is_absent,
    a_wrong_pin_costs_one_try_however_often_it_is_asked,
    a_pin_refused_after_the_token_was_away_is_not_tried_again,
    a_first_login_that_fails_vaguely_leaves_the_pin_in_doubt,
    a_vague_answer_to_broken_bytes_is_integrity,
    a_vague_answer_of_a_failing_device_is_not,
    a_vague_answer_of_a_sound_session_is_not_asked_again,
    a_full_queue_is_busy,
    what_nobody_waits_for_is_not_done,
    sessions_stay_below_the_tokens_limit,
    sessions_that_others_took_are_not_waited_for,
    what_a_call_left_behind_is_not_the_next_ones_trouble,
    a_key_disabled_under_way_is_reported,
    another_key_under_the_label_is_not_taken,
];

/// Beside a hanging call the others go on, where no process can be ended for it.
pub(crate) const INSIDE: &[Case] = cases![a_slow_token_times_out_and_recovers];

#[test]
fn a_misbehaving_token_is_borne() {
    borne(CASES, Runs::Hosted);
}

#[test]
fn a_misbehaving_token_is_borne_inside() {
    borne(&[CASES, INSIDE].concat(), Runs::Inside);
}

fn borne(cases: &[Case], runs: Runs) {
    run_each("contract::child", &names(cases), &prepared_in_silence(), Module::HsmSim, runs);
}

async fn one(child: &Child) -> std::sync::Arc<Token> {
    let mut settings = settings(child);
    settings.sessions = 1;
    open(settings).await.unwrap_or_else(|fault| panic!("{fault}"))
}

async fn a_device_error_costs_one_call(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_Decrypt\"\ntimes = 1\nreturn = \"CKR_DEVICE_ERROR\"\n");
    let fault = unwrapped(&token, bytes.clone()).await.expect_err("the device fails");
    assert_eq!(fault.cause, Cause::Transient);
    assert!(fault.cause.retryable() && fault.request.is_some());
    assert_eq!(unwrapped(&token, bytes).await.expect("a new session"), 7);
}

async fn the_nth_call_fails_and_no_other(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\nafter = 3\ntimes = 1\nreturn = \"CKR_DEVICE_MEMORY\"\n");
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push(unwrapped(&token, bytes.clone()).await.map_err(|fault| fault.cause));
    }
    let failed = Err(Cause::Transient);
    assert_eq!(outcomes, [Ok(7), Ok(7), Ok(7), failed, Ok(7), Ok(7)]);
}

async fn a_lost_answer_costs_one_call(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    faults(
        child,
        "[[rule]]\nfunction = \"C_Decrypt\"\nafter = 1\ntimes = 1\nreturn = \"CKR_DEVICE_ERROR\"\nwork_done = true\n",
    );
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("lost").cause, Cause::Transient);
    assert_eq!(unwrapped(&token, bytes).await.expect("a new session"), 7);
}

async fn a_dead_session_is_replaced_unseen(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    for (function, code) in [
        ("C_DecryptInit", "CKR_SESSION_HANDLE_INVALID"),
        ("C_DecryptInit", "CKR_SESSION_CLOSED"),
        ("C_Decrypt", "CKR_USER_NOT_LOGGED_IN"),
        ("C_DecryptInit", "CKR_KEY_HANDLE_INVALID"),
    ] {
        faults(child, &format!("[[rule]]\nfunction = \"{function}\"\ntimes = 1\nreturn = \"{code}\"\n"));
        assert_eq!(unwrapped(&token, bytes.clone()).await.expect("healed"), 7, "{function} {code}");
    }
}

async fn a_token_that_left_and_came_back_serves_again(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let logins = count(child, "C_Login");
    for _ in 0..2 {
        faults(child, "removed = true\n");
        for _ in 0..4 {
            let fault = unwrapped(&token, bytes.clone()).await.expect_err("away");
            assert_eq!(fault.cause, Cause::TokenAbsent);
            assert!(fault.cause.retryable());
        }
        assert_eq!(token.check().await.expect_err("away").cause, Cause::TokenAbsent);
        faults(child, "");
        for _ in 0..4 {
            assert_eq!(unwrapped(&token, bytes.clone()).await.expect("back"), 7);
        }
        token.check().await.expect("back");
    }
    assert_eq!(count(child, "C_Login"), logins + 2, "one login each time it came back");
}

async fn a_token_that_is_away_at_start_is_absent(child: &Child) {
    faults(child, "removed = true\n");
    let fault = open(settings(child)).await.map(drop).expect_err("away");
    assert_eq!(fault.cause, Cause::TokenAbsent);
    assert_eq!(count(child, "C_Login"), 0);
}

async fn a_wrong_pin_costs_one_try_however_often_it_is_asked(child: &Child) {
    let mut eight = settings(child);
    eight.sessions = 8;
    let wrong = Token::open(eight, pin("0000-wrong-pin"), &slab()).await;
    assert_eq!(wrong.map(drop).expect_err("wrong").cause, Cause::PinIncorrect);
    assert_eq!(calls(child).get(&("C_Login".into(), "CKR_PIN_INCORRECT".into())), Some(&1));
    assert_eq!(count(child, "C_Login"), 1);
}

async fn a_pin_refused_after_the_token_was_away_is_not_tried_again(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "removed = true\n");
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("away").cause, Cause::TokenAbsent);
    let before = count(child, "C_Login");
    // Somebody changed the PIN meanwhile.
    faults(child, "[[rule]]\nfunction = \"C_Login\"\nreturn = \"CKR_PIN_INCORRECT\"\n");
    for _ in 0..10 {
        let fault = unwrapped(&token, bytes.clone()).await.expect_err("refused");
        assert_eq!(fault.cause, Cause::PinIncorrect);
        assert!(!fault.cause.retryable());
    }
    assert_eq!(count(child, "C_Login"), before + 1);
}

/// The device failed while the PIN was tried for the first time: the try may have counted, and is not repeated.
async fn a_first_login_that_fails_vaguely_leaves_the_pin_in_doubt(child: &Child) {
    faults(child, "[[rule]]\nfunction = \"C_Login\"\ntimes = 1\nreturn = \"CKR_DEVICE_ERROR\"\n");
    let fault = open(settings(child)).await.map(drop).expect_err("the device fails");
    assert_eq!(fault.cause, Cause::PinInDoubt);
    assert!(!fault.cause.retryable() && fault.to_string().contains("DeviceError"), "{fault}");
    assert_eq!(count(child, "C_Login"), 1);
}

async fn a_vague_answer_to_broken_bytes_is_integrity(child: &Child) {
    // The last is what PKCS#11 3.0 has for a tag that does not match, and the first of the vendors' own.
    for code in ["\"CKR_GENERAL_ERROR\"", "\"CKR_DEVICE_ERROR\"", "0x80000001", "0x42"] {
        faults(child, &format!("[quirks]\nopen_failure = {code}\n"));
        let token = one(child).await;
        let mut bytes = wrapped(&token).await;
        bytes[20] ^= 1;
        assert_eq!(unwrapped(&token, bytes).await.expect_err("broken").cause, Cause::Integrity, "{code}");
        token.close().await.expect("closes");
    }
}

async fn a_vague_answer_of_a_failing_device_is_not(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_Decrypt\"\nreturn = \"CKR_GENERAL_ERROR\"\n");
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("failing").cause, Cause::Transient);
    faults(child, "");
    assert_eq!(unwrapped(&token, bytes).await.expect("recovered"), 7);
}

async fn a_vague_answer_of_a_sound_session_is_not_asked_again(child: &Child) {
    let token = one(child).await;
    let asked = count(child, "C_EncryptInit");
    faults(child, "[[rule]]\nfunction = \"C_EncryptInit\"\ntimes = 1\nreturn = \"CKR_GENERAL_ERROR\"\n");
    let context = crate::bench::context("hsm-1");
    let bound = crate::bench::share(&slab(), 7).bind(&context).expect("bound");
    let fault = token.wrap(context.encode(), bound).await.expect_err("refused");
    assert_eq!(fault.cause, Cause::Transient);
    assert_eq!(count(child, "C_EncryptInit"), asked + 1, "the value known to be good opened: the call was the trouble");
    let bytes = wrapped(&token).await;
    assert_eq!(unwrapped(&token, bytes).await.expect("a new session"), 7);
}

async fn a_slow_token_times_out_and_recovers(child: &Child) {
    let mut quick = settings(child);
    quick.deadline = Duration::from_secs(2);
    let token = open(quick).await.expect("opens");
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\ntimes = 1\nlatency_ms = 3000\n");
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("slow").cause, Cause::Timeout);
    // The other sessions serve while one thread still waits.
    assert_eq!(unwrapped(&token, bytes).await.expect("serves"), 7);
}

/// One session, one place to wait, and calls of two and a half seconds: of five callers with four seconds each one is
/// served, one is with the token when its time is over, and none of the others reached it. Inside, the one that was let
/// into the queue when the first was served cannot tell.
async fn a_full_queue_is_busy(child: &Child) {
    let mut narrow = settings(child);
    (narrow.sessions, narrow.queue, narrow.deadline) = (1, 1, Duration::from_secs(4));
    let token = open(narrow).await.expect("opens");
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\nlatency_ms = 2500\n");
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (token, bytes) = (token.clone(), bytes.clone());
            tokio::spawn(async move { unwrapped(&token, bytes).await.map_err(|fault| fault.cause) })
        })
        .collect();
    let (mut served, mut causes) = (0, Vec::new());
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(first) => served += usize::from(first == 7),
            Err(cause) => causes.push(cause),
        }
    }
    causes.sort_by_key(|cause| cause.as_str());
    let third = if child.runs == Runs::Hosted { Cause::Busy } else { Cause::Timeout };
    assert_eq!((served, causes), (1, vec![Cause::Busy, Cause::Busy, third, Cause::Timeout]));
}

async fn what_nobody_waits_for_is_not_done(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\ntimes = 1\nlatency_ms = 1000\n");
    let before = count(child, "C_Decrypt");
    let mut first = Box::pin(unwrapped(&token, bytes.clone()));
    let taken = tokio::time::timeout(Duration::from_millis(100), &mut first).await;
    assert!(taken.is_err(), "the token is slow");
    for _ in 0..5 {
        let gone = tokio::time::timeout(Duration::from_millis(10), unwrapped(&token, bytes.clone())).await;
        assert!(gone.is_err(), "the only session is taken");
    }
    assert_eq!(first.await.expect("serves"), 7);
    token.check().await.expect("the queue is empty now");
    assert_eq!(count(child, "C_Decrypt"), before + 2, "one unwrapping asks for the length and then does it");
}

async fn sessions_stay_below_the_tokens_limit(child: &Child) {
    faults(child, "[quirks]\nmax_sessions = 3\n");
    let mut eight = settings(child);
    eight.sessions = 8;
    let token = open(eight).await.expect("opens");
    assert_eq!(token.describe().sessions, 2, "one of three is left to others");
    for _ in 0..8 {
        let bytes = wrapped(&token).await;
        assert_eq!(unwrapped(&token, bytes).await.expect("serves"), 7);
    }
}

/// Others hold what the token has: the threads that got no session leave the calls to the one that did.
async fn sessions_that_others_took_are_not_waited_for(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    // Slow enough that the threads without a session get some of the calls.
    let slow = "[[rule]]\nfunction = \"C_DecryptInit\"\nlatency_ms = 50\n";
    faults(child, &format!("[[rule]]\nfunction = \"C_OpenSession\"\nreturn = \"CKR_SESSION_COUNT\"\n\n{slow}"));
    let tasks: Vec<_> = (0..24)
        .map(|_| {
            let (token, bytes) = (token.clone(), bytes.clone());
            tokio::spawn(async move { unwrapped(&token, bytes).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic").expect("served by a session that is there"), 7);
    }
    assert!(calls(child).contains_key(&("C_OpenSession".into(), "CKR_SESSION_COUNT".into())), "none was asked for");
}

/// Codes that say that a session is in an operation, or in none, are about the call before.
async fn what_a_call_left_behind_is_not_the_next_ones_trouble(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    for (function, code) in [("C_DecryptInit", "CKR_OPERATION_ACTIVE"), ("C_Decrypt", "CKR_OPERATION_NOT_INITIALIZED")]
    {
        faults(child, &format!("[[rule]]\nfunction = \"{function}\"\ntimes = 1\nreturn = \"{code}\"\n"));
        assert_eq!(unwrapped(&token, bytes.clone()).await.expect("healed"), 7, "{function} {code}");
    }
    assert_eq!(token.open_sessions().await.expect("serves"), Some(1), "the sessions given up are closed");
}

async fn a_key_disabled_under_way_is_reported(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\nreturn = \"CKR_KEY_FUNCTION_NOT_PERMITTED\"\n");
    let fault = unwrapped(&token, bytes.clone()).await.expect_err("disabled");
    assert_eq!(fault.cause, Cause::KeyDisabled);
    assert!(!fault.cause.retryable());
    faults(child, "");
    assert_eq!(unwrapped(&token, bytes).await.expect("enabled again"), 7);
}

/// The token is swapped for one with the same labels and another key.
async fn another_key_under_the_label_is_not_taken(child: &Child) {
    let token = one(child).await;
    let bytes = wrapped(&token).await;
    faults(
        child,
        "[[rule]]\nfunction = \"C_EncryptInit\"\ntimes = 1\nreturn = \"CKR_SESSION_CLOSED\"\n\n\
         [[rule]]\nfunction = \"C_DecryptInit\"\nreturn = \"CKR_ENCRYPTED_DATA_INVALID\"\n",
    );
    let context = crate::bench::context("hsm-1");
    let bound = crate::bench::share(&slab(), 7).bind(&context).expect("bound");
    let fault = token.wrap(context.encode(), bound).await.expect_err("what it wrapped before does not open");
    assert_eq!(fault.cause, Cause::KeyMissing);
    faults(child, "");
    assert_eq!(unwrapped(&token, bytes).await.expect("the right one is back"), 7);
}
