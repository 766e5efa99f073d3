//! Each kind of fault, set while the module runs.

use std::path::Path;
use std::time::Duration;

use cofre_hsm_sim::faults::write_plan;
use cofre_hsm_sim::{FAULTS_FILE, calls};
use cryptoki::error::RvError;
use cryptoki::session::UserType;

use crate::harness::{USER_PIN, aes, alone, code, find, open, pin, ready, seal, user_session};

fn lift(folder: &Path) {
    std::fs::remove_file(folder.join(FAULTS_FILE)).unwrap();
}

#[test]
fn codes_hit_the_named_calls_and_end_the_operation() {
    alone(|folder| {
        let (_module, _, session) = ready();
        let key = aes(&session, "kek");
        let sealed = seal(&session, key, b"a", b"text").unwrap();
        write_plan(folder, "[[rule]]\nfunction = \"C_Decrypt\"\nafter = 2\ntimes = 1\nreturn = \"CKR_DEVICE_ERROR\"\n")
            .unwrap();
        open(&session, key, b"a", &sealed).unwrap(); // two calls: length, then text
        assert_eq!(code(open(&session, key, b"a", &sealed)), RvError::DeviceError);
        // Had the operation stayed on, this C_DecryptInit would answer CKR_OPERATION_ACTIVE.
        assert_eq!(open(&session, key, b"a", &sealed).unwrap(), b"text");
        write_plan(folder, "[[rule]]\nfunction = \"*\"\nreturn = 0x31\n").unwrap();
        assert_eq!(code(seal(&session, key, b"a", b"text")), RvError::DeviceMemory);
        assert_eq!(code(session.generate_random_vec(4)), RvError::DeviceMemory);
        lift(folder);
        seal(&session, key, b"a", b"text").unwrap();
    });
}

#[test]
fn work_may_be_done_although_the_answer_is_lost() {
    alone(|folder| {
        let (_module, _, session) = ready();
        let rule = "[[rule]]\nfunction = \"C_GenerateKey\"\nreturn = \"CKR_DEVICE_ERROR\"\n";
        let make = || {
            let template = [
                cryptoki::object::Attribute::Token(true),
                cryptoki::object::Attribute::ValueLen(32.into()),
                cryptoki::object::Attribute::Label("lost".into()),
            ];
            session.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &template)
        };
        write_plan(folder, rule).unwrap();
        assert_eq!(code(make()), RvError::DeviceError);
        assert!(find(&session, "lost").is_empty());
        write_plan(folder, &format!("{rule}work_done = true\n")).unwrap();
        assert_eq!(code(make()), RvError::DeviceError);
        assert_eq!(find(&session, "lost").len(), 1);
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures real waiting")]
fn latency_delays_one_caller_and_not_the_others() {
    alone(|folder| {
        let (module, slot, session) = ready();
        let key = aes(&session, "kek");
        write_plan(folder, "[[rule]]\nfunction = \"C_EncryptInit\"\nlatency_ms = 400\n").unwrap();
        let start = std::time::Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                seal(&session, key, b"a", b"text").unwrap();
                assert!(start.elapsed() >= Duration::from_millis(400));
            });
            std::thread::sleep(Duration::from_millis(50));
            let other = module.open_rw_session(slot).unwrap();
            other.generate_random_vec(8).unwrap();
            assert!(start.elapsed() < Duration::from_millis(350), "{:?}", start.elapsed());
        });
    });
}

#[test]
fn removed_token_refuses_everything_and_comes_back_without_sessions() {
    alone(|folder| {
        let (module, slot, session) = ready();
        let key = aes(&session, "kek");
        let sealed = seal(&session, key, b"a", b"text").unwrap();
        write_plan(folder, "removed = true\n").unwrap();
        assert_eq!(code(seal(&session, key, b"a", b"text")), RvError::DeviceRemoved);
        assert_eq!(code(session.generate_random_vec(4)), RvError::DeviceRemoved);
        assert_eq!(code(module.get_token_info(slot)), RvError::TokenNotPresent);
        assert_eq!(code(module.open_rw_session(slot)), RvError::TokenNotPresent);
        assert!(module.get_slots_with_token().unwrap().is_empty());
        assert_eq!(module.get_all_slots().unwrap(), [slot]);
        assert!(!module.get_slot_info(slot).unwrap().token_present());
        module.get_library_info().unwrap();
        lift(folder);
        assert_eq!(code(seal(&session, key, b"a", b"text")), RvError::SessionHandleInvalid);
        let session = user_session(&module, slot);
        let found = find(&session, "kek");
        assert_eq!(open(&session, found[0], b"a", &sealed).unwrap(), b"text");
    });
}

#[test]
fn rule_may_take_the_token_out_for_some_calls() {
    alone(|folder| {
        let (module, slot, session) = ready();
        aes(&session, "kek");
        write_plan(folder, "[[rule]]\nfunction = \"*\"\nafter = 1\ntimes = 2\nremoved = true\n").unwrap();
        session.generate_random_vec(4).unwrap();
        assert_eq!(code(session.generate_random_vec(4)), RvError::DeviceRemoved);
        assert_eq!(code(module.open_rw_session(slot)), RvError::TokenNotPresent);
        let fresh = module.open_rw_session(slot).unwrap();
        assert!(find(&fresh, "kek").is_empty(), "the login died with the sessions");
        fresh.login(UserType::User, Some(&pin(USER_PIN))).unwrap();
        assert_eq!(find(&fresh, "kek").len(), 1);
    });
}

#[test]
fn quirks_limit_sessions_and_change_the_code_of_a_failed_check() {
    alone(|folder| {
        let (module, slot, session) = ready();
        let key = aes(&session, "kek");
        let sealed = seal(&session, key, b"a", b"text").unwrap();
        write_plan(folder, "[quirks]\nmax_sessions = 2\nopen_failure = \"CKR_GENERAL_ERROR\"\n").unwrap();
        let second = module.open_rw_session(slot).unwrap();
        assert_eq!(code(module.open_rw_session(slot)), RvError::SessionCount);
        drop(second);
        module.open_rw_session(slot).unwrap();
        assert_eq!(code(open(&session, key, b"b", &sealed)), RvError::GeneralError);
    });
}

#[test]
fn broken_plan_is_loud() {
    alone(|folder| {
        let (_module, _, session) = ready();
        std::fs::write(folder.join(FAULTS_FILE), "[[rule]]\nfunctoin = \"C_Sign\"\n").unwrap();
        assert_eq!(code(session.generate_random_vec(4)), RvError::GeneralError);
        let reason = std::fs::read_to_string(folder.join("faults.error")).unwrap();
        assert!(reason.contains("functoin"), "{reason}");
        lift(folder);
        session.generate_random_vec(4).unwrap();
        assert!(!folder.join("faults.error").exists());
    });
}

#[test]
fn call_log_shows_what_the_token_saw() {
    alone(|folder| {
        let (_module, _, session) = ready();
        let key = aes(&session, "kek");
        let sealed = seal(&session, key, b"a", b"text").unwrap();
        assert_eq!(code(open(&session, key, b"b", &sealed)), RvError::EncryptedDataInvalid);
        let tally = calls::tally(folder).unwrap();
        assert_eq!((tally["C_EncryptInit"].calls, tally["C_Encrypt"].calls), (1, 2));
        assert!(tally["C_Encrypt"].refused.is_empty());
        assert_eq!(tally["C_Decrypt"].calls, 2);
        assert_eq!(tally["C_Decrypt"].refused.get("CKR_ENCRYPTED_DATA_INVALID"), Some(&1));
        assert_eq!(tally["C_Login"].calls, 2);
        let log = std::fs::read_to_string(folder.join(cofre_hsm_sim::CALLS_FILE)).unwrap();
        assert!(!log.contains(USER_PIN) && !log.contains("text"));
    });
}
