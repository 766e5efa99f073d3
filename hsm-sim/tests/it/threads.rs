//! Many threads and several processes on one token.

use std::path::Path;

use cryptoki::error::RvError;
use cryptoki::session::UserType;

use crate::harness::{
    End, STEP_ENV, aes, alone, code, find, init, load, open, pin, ready, seal, slot, steps, user_session,
};

#[test]
fn sessions_of_many_threads_keep_apart() {
    alone(|_| {
        let (module, slot, session) = ready();
        aes(&session, "kek");
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let own = module.open_rw_session(slot).unwrap();
                scope.spawn(move || {
                    let key = find(&own, "kek")[0];
                    for round in 0..50_u8 {
                        let (aad, text) = ([thread, round], [round; 32]);
                        let sealed = seal(&own, key, &aad, &text).unwrap();
                        assert_eq!(open(&own, key, &aad, &sealed).unwrap(), text);
                        assert_eq!(code(open(&own, key, b"other", &sealed)), RvError::EncryptedDataInvalid);
                    }
                });
            }
        });
    });
}

/// Starts this test binary once more for a step of its own, while the caller's module stays initialised.
fn beside(step: &str) {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([std::thread::current().name().unwrap(), "--exact", "--nocapture"])
        .env(STEP_ENV, step)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn another_process_shares_keys_and_counters() {
    fn first(_: &Path) {
        let module = load();
        let slot = init(&module);
        let session = user_session(&module, slot);
        beside("1");
        let key = find(&session, "from-the-other");
        assert_eq!(key.len(), 1);
        seal(&session, key[0], b"", b"text").unwrap();
        assert!(module.get_token_info(slot).unwrap().user_pin_count_low(), "a wrong PIN there counts here");
        session.destroy_object(key[0]).unwrap();
    }
    fn second(_: &Path) {
        let module = load();
        let session = user_session(&module, slot(&module));
        if find(&session, "from-the-other").is_empty() {
            aes(&session, "from-the-other");
        }
        session.logout().unwrap();
        assert_eq!(code(session.login(UserType::User, Some(&pin("wrong")))), RvError::PinIncorrect);
    }
    steps(&[(first, End::Clean), (second, End::Clean)]);
}
