//! Custody hosts: what a crash, a hang or a killed process of the vendor's module costs, what a PIN is worth then, and
//! what holds the process in. Each case is a vault in a process of its own, with its host beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cofre_custody::pkcs11::{Place, Settings, Token, ceremony};
use cofre_custody::{Cause, Signer};
use cofre_envelope::{Backing, Room, Slab};
use cofre_testkit::hsm::Module;
use cryptoki::object::{Attribute, ObjectClass};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Child, Runs, alone, calls, count, faults, run_each, slab};
use crate::contract::{
    Case, KEY, SIGNER, USER_PIN, by_hand, cases, names, open, opened, pin, prepared, prepared_in_silence, runtime,
    serves_within, settings, unwrapped, wrapped,
};

mod walls;

pub(crate) const CASES: &[Case] = cases![
    killed_at_any_moment_it_serves_again_and_never_wrongly,
    signing_survives_a_kill,
    a_hanging_module_costs_one_deadline_and_one_restart,
    a_stopped_process_costs_one_deadline_and_one_restart,
    calls_beside_a_hanging_one_are_done_again,
    a_wrong_pin_is_handed_to_one_host_only,
    a_pin_refused_after_a_crash_is_not_tried_again,
    a_host_that_hangs_in_the_first_login_leaves_the_pin_in_doubt,
    a_host_that_hangs_in_a_later_login_is_started_again,
    another_key_after_a_restart_is_not_taken,
    a_token_away_at_a_restart_serves_when_it_is_back,
    keys_pass_through_secret_memory,
    what_does_not_start_is_said,
    closing_ends_the_process,
];

/// What is asked of a module of another make: one that keeps its tokens elsewhere, and whose answers are vague.
const SOFTHSM: &[Case] = cases![a_changed_key_is_missing_though_the_answer_is_vague];

/// What ends without being asked.
const ENDS: &[Case] = cases![a_vault_that_dies];

#[test]
fn a_module_may_crash_and_hang() {
    let cases = [names(CASES), names(walls::CASES)].concat();
    run_each("host::child", &cases, &prepared_in_silence(), Module::HsmSim, Runs::Hosted);
}

#[test]
fn a_module_of_another_make_is_held_too() {
    let cases = [names(SOFTHSM), names(walls::SOFTHSM)].concat();
    run_each("host::child", &cases, &prepared(Module::SoftHsm), Module::SoftHsm, Runs::Hosted);
}

/// Killed, not told: nothing of the vault runs any more that could end the host.
#[test]
fn a_host_dies_with_its_vault() {
    let ready = prepared(Module::HsmSim);
    let ended = alone("host::child", "a_vault_that_dies", Module::HsmSim, &ready, Runs::Hosted);
    assert!(!ended.status.success(), "the vault was to be killed");
    let pid = std::fs::read_to_string(ready.tokens().join("pid")).expect("the vault noted its host");
    let place = PathBuf::from("/proc").join(pid.trim()).join("stat");
    for _ in 0..200 {
        // Gone, or waiting to be buried by whoever inherited it.
        match std::fs::read_to_string(&place) {
            Ok(stat) if !stat.contains(") Z ") => std::thread::sleep(Duration::from_millis(50)),
            Ok(_) | Err(_) => return,
        }
    }
    panic!("the host {pid} outlives its vault");
}

/// One case in a process of its own.
#[test]
fn child() {
    let Some(child) = crate::bench::child() else { return };
    let all = [CASES, SOFTHSM, ENDS, walls::CASES, walls::SOFTHSM].concat();
    let (_, case) = all.iter().find(|(name, _)| *name == child.case).unwrap_or_else(|| panic!("no {}", child.case));
    runtime().block_on(case(&child));
}

fn pid(token: &Token) -> Option<Pid> {
    let pid = token.host().expect("a host").pid?;
    Pid::from_raw(i32::try_from(pid).expect("a process id"))
}

fn starts(token: &Token) -> u64 {
    token.host().expect("a host").starts
}

/// Ends the host that serves now and waits until the vault has heard of it.
async fn kill(token: &Token) {
    let (before, started) = (pid(token).expect("a host serves"), starts(token));
    kill_process(before, Signal::KILL).expect("it ran");
    while starts(token) == started {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn quick(child: &Child, seconds: u64) -> Settings {
    let mut settings = settings(child);
    (settings.sessions, settings.deadline) = (1, Duration::from_secs(seconds));
    settings
}

/// Four callers unwrap without a pause while the host is killed twenty times, at moments that nobody chose.
async fn killed_at_any_moment_it_serves_again_and_never_wrongly(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\nlatency_ms = 3\n");
    let (over, right) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (token, bytes, over, right) = (token.clone(), bytes.clone(), over.clone(), right.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    match unwrapped(&token, bytes.clone()).await {
                        // Anything but the share that was wrapped would have stopped the case in `unwrapped`.
                        Ok(first) => assert_eq!(first, 7),
                        Err(fault) => assert_eq!(fault.cause, Cause::Crashed, "{fault}"),
                    }
                    right.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let kills = 20;
    for round in 0..kills {
        let before = right.load(Ordering::Relaxed);
        while right.load(Ordering::Relaxed) < before + round % 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while pid(&token).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        kill(&token).await;
    }
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no wrong answer");
    }
    assert_eq!(unwrapped(&token, bytes).await.expect("serves"), 7);
    assert_eq!(starts(&token), kills as u64 + 1);
    let held = token.open_sessions().await.expect("serves").expect("hsm-sim counts");
    assert!(held <= 3, "{held} sessions");
    assert_eq!(calls(child).get(&("C_Login".into(), "CKR_PIN_INCORRECT".into())), None);
}

async fn signing_survives_a_kill(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let token = open(settings).await.expect("opens");
    let signer = token.signer().expect("a signer");
    let before = signer.sign(b"message").await.expect("signs");
    kill(&token).await;
    assert_eq!(signer.sign(b"message").await.expect("signs"), before, "Ed25519 gives one signature for one message");
}

async fn a_hanging_module_costs_one_deadline_and_one_restart(child: &Child) {
    let token = open(quick(child, 2)).await.expect("opens");
    let bytes = wrapped(&token).await;
    // Counted by each process: the first call of the next host proves the key and passes.
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\nafter = 1\nlatency_ms = 600000\n");
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect("passes"), 7);
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("hangs").cause, Cause::Timeout);
    faults(child, "");
    assert_eq!(unwrapped(&token, bytes).await.expect("serves again"), 7);
    assert_eq!(starts(&token), 2);
}

async fn a_stopped_process_costs_one_deadline_and_one_restart(child: &Child) {
    let token = open(quick(child, 1)).await.expect("opens");
    let bytes = wrapped(&token).await;
    kill_process(pid(&token).expect("serves"), Signal::STOP).expect("it ran");
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("stopped").cause, Cause::Timeout);
    assert_eq!(unwrapped(&token, bytes).await.expect("serves again"), 7);
    assert_eq!(starts(&token), 2);
}

/// One session hangs; on the other a slow call is under way when the host is ended for it.
async fn calls_beside_a_hanging_one_are_done_again(child: &Child) {
    let mut two = quick(child, 6);
    two.sessions = 2;
    let token = open(two).await.expect("opens");
    let bytes = wrapped(&token).await;
    let call = || {
        let (token, bytes) = (token.clone(), bytes.clone());
        tokio::spawn(async move { unwrapped(&token, bytes).await.map_err(|fault| fault.cause) })
    };
    for task in [call(), call(), call(), call()] {
        assert_eq!(task.await.expect("no panic"), Ok(7), "both sessions are open");
    }
    let slow = "[[rule]]\nfunction = \"C_DecryptInit\"\nlatency_ms = 5000\n";
    faults(child, &format!("[[rule]]\nfunction = \"C_DecryptInit\"\ntimes = 1\nlatency_ms = 600000\n{slow}"));
    let hanging = call();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let beside = call();
    tokio::time::sleep(Duration::from_secs(1)).await;
    faults(child, "");
    assert_eq!(hanging.await.expect("no panic"), Err(Cause::Timeout));
    assert_eq!(beside.await.expect("no panic"), Ok(7), "done again on the next host");
    assert_eq!(starts(&token), 2);
}

async fn a_wrong_pin_is_handed_to_one_host_only(child: &Child) {
    let wrong = Token::open(settings(child), pin("0000-wrong-pin"), &slab()).await;
    assert_eq!(wrong.map(drop).expect_err("wrong").cause, Cause::PinIncorrect);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(count(child, "C_Login"), 1);
    assert_eq!(count(child, "C_Initialize"), 1);
}

async fn a_pin_refused_after_a_crash_is_not_tried_again(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let before = count(child, "C_Login");
    // Somebody changed the PIN meanwhile.
    faults(child, "[[rule]]\nfunction = \"C_Login\"\nreturn = \"CKR_PIN_INCORRECT\"\n");
    kill(&token).await;
    for _ in 0..10 {
        let fault = unwrapped(&token, bytes.clone()).await.expect_err("refused");
        assert_eq!(fault.cause, Cause::PinIncorrect);
        assert!(!fault.cause.retryable());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(count(child, "C_Login"), before + 1);
    assert_eq!(starts(&token), 2, "no host is started with a PIN that was refused");
}

async fn a_host_that_hangs_in_the_first_login_leaves_the_pin_in_doubt(child: &Child) {
    faults(child, "[[rule]]\nfunction = \"C_Login\"\nlatency_ms = 600000\n");
    let fault = open(quick(child, 2)).await.map(drop).expect_err("hangs");
    assert_eq!(fault.cause, Cause::PinInDoubt);
    assert!(!fault.cause.retryable());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(count(child, "C_Initialize"), 1, "the PIN is not handed to another host");
}

async fn a_host_that_hangs_in_a_later_login_is_started_again(child: &Child) {
    let token = open(quick(child, 2)).await.expect("opens");
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_Login\"\nlatency_ms = 600000\n");
    kill(&token).await;
    let cause = unwrapped(&token, bytes.clone()).await.expect_err("hangs").cause;
    assert!(cause.retryable(), "{cause}");
    faults(child, "");
    serves_again(&token, &bytes).await;
}

/// After a fault that ended, and without a restart of the vault.
async fn serves_again(token: &Token, bytes: &[u8]) {
    serves_within(token, bytes, Duration::from_secs(10), Cause::retryable).await.expect("service again");
}

/// The token was swapped for one with the same labels and another key while no host had it open.
async fn another_key_after_a_restart_is_not_taken(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "[[rule]]\nfunction = \"C_DecryptInit\"\nreturn = \"CKR_ENCRYPTED_DATA_INVALID\"\n");
    kill(&token).await;
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("another key").cause, Cause::KeyMissing);
    faults(child, "");
    loop {
        // A missing key is nothing a caller should try again; the vault does, in case it is put back.
        match unwrapped(&token, bytes.clone()).await {
            Ok(first) => return assert_eq!(first, 7),
            Err(fault) => assert_eq!(fault.cause, Cause::KeyMissing),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_token_away_at_a_restart_serves_when_it_is_back(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    faults(child, "removed = true\n");
    kill(&token).await;
    for _ in 0..5 {
        assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("away").cause, Cause::TokenAbsent);
    }
    faults(child, "");
    serves_again(&token, &bytes).await;
}

/// Both backings of locked memory; the other cases have the plain one.
async fn keys_pass_through_secret_memory(child: &Child) {
    let secret = Slab::with_room(Backing::MemfdSecret, Room { small: 64, large: 0 }).expect("secret memory");
    let token = Token::open(settings(child), pin(USER_PIN), &secret).await.expect("opens");
    assert_eq!(unwrapped(&token, wrapped(&token).await).await.expect("serves"), 7);
    kill(&token).await;
    assert_eq!(unwrapped(&token, wrapped(&token).await).await.expect("serves again"), 7);
    token.close().await.expect("closes");
    assert_eq!(secret.counters().in_use, 0, "every share was wiped");
}

async fn what_does_not_start_is_said(child: &Child) {
    for (program, argument, cause) in [
        ("/nonexistent/cofred", "", Cause::Unprotected),
        ("/bin/true", "", Cause::Crashed),
        // It says nothing, for as long as it is let.
        ("/bin/cat", "-", Cause::Timeout),
    ] {
        let mut wrong = quick(child, 1);
        let mut hosting = child.hosting();
        (hosting.program, hosting.arguments) = (program.into(), vec![argument.into()]);
        wrong.place = Place::Child(hosting);
        let fault = open(wrong).await.map(drop).expect_err("no host");
        assert_eq!(fault.cause, cause, "{program}: {fault}");
    }
    assert_eq!(count(child, "C_Initialize"), 0);
}

async fn closing_ends_the_process(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let host = pid(&token).expect("serves");
    token.close().await.expect("closes");
    assert_eq!(token.host().expect("a host").pid, None);
    assert!(rustix::process::test_kill_process(host).is_err(), "the process was ended and buried");
    assert_eq!(unwrapped(&token, bytes).await.expect_err("closed").cause, Cause::Stopped);
    // In order: the sessions were closed one by one and not by the end of the process.
    assert!(count(child, "C_CloseSession") >= 1);
}

/// The key is destroyed and another one made under its label while no host has the token open. Of a value under the old
/// key this module only says that something failed.
async fn a_changed_key_is_missing_though_the_answer_is_vague(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let session = by_hand(child);
    let key = session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(KEY.into())]);
    session.destroy_object(key.expect("found")[0]).expect("destroyed");
    drop(session);
    let made =
        ceremony::ensure_keys(&settings(child), pin(USER_PIN), &slab()).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(made.root, ceremony::Found::Made);
    kill(&token).await;
    let fault = unwrapped(&token, bytes).await.expect_err("another key");
    assert_eq!(fault.cause, Cause::KeyMissing, "{fault}");
}

async fn a_vault_that_dies(child: &Child) {
    let token = opened(child).await;
    let pid = token.host().and_then(|host| host.pid).expect("serves");
    std::fs::write(child.tokens.join("pid"), pid.to_string()).expect("noted");
    kill_process(rustix::process::getpid(), Signal::KILL).expect("it ends here");
}
