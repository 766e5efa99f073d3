//! Identity of the token, PINs, counting, lock-out.

use std::path::Path;

use cofre_hsm_sim::{MANUFACTURER, MODEL, PIN_TRIES};
use cryptoki::error::RvError;
use cryptoki::session::UserType;

use crate::harness::{End, SO_PIN, Step, USER_PIN, alone, code, init, load, pin, slot, steps, user_session};

#[test]
fn names_itself_as_a_development_token() {
    alone(|_| {
        let module = load();
        assert_eq!(module.get_library_info().unwrap().manufacturer_id(), MANUFACTURER);
        let slot = slot(&module);
        let blank = module.get_token_info(slot).unwrap();
        assert!(!blank.token_initialized() && !blank.user_pin_initialized());
        assert_eq!(code(module.open_rw_session(slot)), RvError::TokenNotRecognized);
        init(&module);
        let info = module.get_token_info(slot).unwrap();
        assert!(info.token_initialized() && info.user_pin_initialized() && info.login_required());
        assert_eq!((info.manufacturer_id(), info.model(), info.label()), (MANUFACTURER, MODEL, "cofre-test"));
        assert!(info.serial_number().starts_with("DEV"), "{}", info.serial_number());
    });
}

#[test]
fn wrong_pins_are_counted_and_lock_until_the_so_sets_a_new_one() {
    alone(|_| {
        let module = load();
        let slot = init(&module);
        let session = module.open_rw_session(slot).unwrap();
        for tries in 1..=PIN_TRIES {
            assert_eq!(code(session.login(UserType::User, Some(&pin("wrong")))), RvError::PinIncorrect);
            let info = module.get_token_info(slot).unwrap();
            assert!(info.user_pin_count_low());
            assert_eq!(info.user_pin_final_try(), tries == PIN_TRIES - 1);
            assert_eq!(info.user_pin_locked(), tries == PIN_TRIES);
        }
        assert_eq!(code(session.login(UserType::User, Some(&pin(USER_PIN)))), RvError::PinLocked);
        session.login(UserType::So, Some(&pin(SO_PIN))).unwrap();
        session.init_pin(&pin("another-user-pin")).unwrap();
        session.logout().unwrap();
        assert_eq!(code(session.login(UserType::User, Some(&pin(USER_PIN)))), RvError::PinIncorrect);
        session.login(UserType::User, Some(&pin("another-user-pin"))).unwrap();
        assert!(!module.get_token_info(slot).unwrap().user_pin_count_low());
    });
}

/// Two guesses, then the process dies without finalising.
fn guess_twice_and_die(_: &Path) {
    let module = load();
    let session = module.open_rw_session(slot(&module)).unwrap();
    for _ in 0..2 {
        assert_eq!(code(session.login(UserType::User, Some(&pin("wrong")))), RvError::PinIncorrect);
    }
    std::process::abort();
}

#[test]
fn counter_survives_crashes() {
    fn prepare(_: &Path) {
        init(&load());
    }
    fn last_guess(_: &Path) {
        let module = load();
        assert!(module.get_token_info(slot(&module)).unwrap().user_pin_final_try());
        let session = module.open_rw_session(slot(&module)).unwrap();
        assert_eq!(code(session.login(UserType::User, Some(&pin("wrong")))), RvError::PinIncorrect);
        assert_eq!(code(session.login(UserType::User, Some(&pin(USER_PIN)))), RvError::PinLocked);
    }
    assert_eq!(PIN_TRIES, 5);
    let crash: Step = (guess_twice_and_die, End::Abort);
    steps(&[(prepare, End::Clean), crash, crash, (last_guess, End::Clean)]);
}

/// The right PIN this time, and death as soon as the guess is on disk: before the check it guards has come out.
fn die_during_the_check(folder: &Path) {
    let module = load();
    let session = module.open_rw_session(slot(&module)).unwrap();
    let login = std::thread::spawn(move || session.login(UserType::User, Some(&pin(USER_PIN))).map(|()| session));
    while !login.is_finished() {
        let file: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("token.json")).unwrap()).unwrap();
        if file["user"]["failures"] == 1 {
            std::process::abort();
        }
    }
    panic!("the login ended without having been counted first");
}

#[test]
fn guess_is_counted_before_it_is_checked() {
    fn prepare(_: &Path) {
        init(&load());
    }
    fn look(_: &Path) {
        let module = load();
        assert!(module.get_token_info(slot(&module)).unwrap().user_pin_count_low());
    }
    steps(&[(prepare, End::Clean), (die_during_the_check, End::Abort), (look, End::Clean)]);
}

#[test]
fn right_pin_clears_the_count_and_set_pin_asks_for_the_old_one() {
    alone(|_| {
        let module = load();
        let slot = init(&module);
        let session = module.open_rw_session(slot).unwrap();
        assert_eq!(code(session.login(UserType::User, Some(&pin("wrong")))), RvError::PinIncorrect);
        session.login(UserType::User, Some(&pin(USER_PIN))).unwrap();
        assert!(!module.get_token_info(slot).unwrap().user_pin_count_low());
        assert_eq!(code(session.login(UserType::User, Some(&pin(USER_PIN)))), RvError::UserAlreadyLoggedIn);
        assert_eq!(code(session.set_pin(&pin("wrong"), &pin("third-pin"))), RvError::PinIncorrect);
        assert!(module.get_token_info(slot).unwrap().user_pin_count_low());
        assert_eq!(code(session.set_pin(&pin(USER_PIN), &pin("abc"))), RvError::PinLenRange);
        session.set_pin(&pin(USER_PIN), &pin("third-pin")).unwrap();
        session.logout().unwrap();
        session.login(UserType::User, Some(&pin("third-pin"))).unwrap();
    });
}

#[test]
fn so_and_user_keep_out_of_each_others_way() {
    alone(|_| {
        let module = load();
        let slot = init(&module);
        let reader = module.open_ro_session(slot).unwrap();
        let session = module.open_rw_session(slot).unwrap();
        assert_eq!(code(session.login(UserType::So, Some(&pin(SO_PIN)))), RvError::SessionReadOnlyExists);
        assert_eq!(code(session.init_pin(&pin("whatever"))), RvError::UserNotLoggedIn);
        drop(reader);
        session.login(UserType::So, Some(&pin(SO_PIN))).unwrap();
        assert_eq!(code(module.open_ro_session(slot)), RvError::SessionReadWriteSoExists);
        assert_eq!(code(session.login(UserType::User, Some(&pin(USER_PIN)))), RvError::UserAnotherAlreadyLoggedIn);
        session.logout().unwrap();
        drop(session);
        assert_eq!(code(module.init_token(slot, &pin("wrong-so-pin"), "again")), RvError::PinIncorrect);
        drop(user_session(&module, slot));
    });
}
