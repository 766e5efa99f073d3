//! What survives: finalising, new processes, crashes, damage.

use std::path::{Path, PathBuf};

use cryptoki::error::RvError;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;

use crate::harness::{
    End, SO_PIN, USER_PIN, aes, alone, code, find, init, load, open, pin, ready, seal, slot, steps, user_session,
};

#[test]
fn keys_survive_finalize_and_initialize() {
    alone(|_| {
        let (module, slot, session) = ready();
        let sealed = seal(&session, aes(&session, "kek"), b"context", b"text").unwrap();
        drop(session);
        module.finalize().unwrap();
        let module = load();
        let session = user_session(&module, slot);
        let found = find(&session, "kek");
        assert_eq!(found.len(), 1);
        assert_eq!(open(&session, found[0], b"context", &sealed).unwrap(), b"text");
    });
}

/// Makes a key, leaves what it sealed beside the token, and dies in mid-life.
fn seal_and_die(folder: &Path) {
    let (_module, _, session) = ready();
    let sealed = seal(&session, aes(&session, "kek"), b"context", b"text").unwrap();
    std::fs::write(folder.join("sealed"), sealed).unwrap();
    std::process::abort();
}

fn objects_folder(folder: &Path) -> PathBuf {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("objects-")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn only_object(folder: &Path) -> PathBuf {
    let found: Vec<_> = std::fs::read_dir(objects_folder(folder)).unwrap().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].as_ref().unwrap().path()
}

#[test]
fn keys_survive_a_crash_and_half_written_files_are_ignored_and_removed() {
    fn leave_halves(folder: &Path) {
        let whole = std::fs::read(only_object(folder)).unwrap();
        std::fs::write(objects_folder(folder).join(".new-0011"), &whole[..whole.len() / 2]).unwrap();
        std::fs::write(folder.join(".new-2233"), b"{\"format\":1,").unwrap();
        std::fs::create_dir(folder.join("objects-DEVOLD")).unwrap();
        let module = load();
        let session = user_session(&module, slot(&module));
        let found = find(&session, "kek");
        assert_eq!(found.len(), 1);
        let sealed = std::fs::read(folder.join("sealed")).unwrap();
        assert_eq!(open(&session, found[0], b"context", &sealed).unwrap(), b"text");
        only_object(folder);
        assert!(!folder.join(".new-2233").exists());
    }
    steps(&[(seal_and_die, End::Abort), (leave_halves, End::Clean)]);
}

#[test]
fn changed_object_file_is_refused_at_login() {
    fn change(folder: &Path) {
        let path = only_object(folder);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
        // CKA_EXTRACTABLE (0x162) from false to true: the attribute an attacker would want.
        let lines = file["attributes"].as_array_mut().unwrap();
        let line = lines.iter_mut().find(|line| line["cka"] == 0x162).unwrap();
        assert_eq!(line["value"], "00");
        line["value"] = "01".into();
        std::fs::write(&path, file.to_string()).unwrap();
        let module = load();
        let session = module.open_rw_session(slot(&module)).unwrap();
        assert_eq!(code(session.login(UserType::User, Some(&pin(USER_PIN)))), RvError::DeviceError);
        std::fs::write(&path, text).unwrap();
        session.login(UserType::User, Some(&pin(USER_PIN))).unwrap();
        assert_eq!(find(&session, "kek").len(), 1);
    }
    steps(&[(seal_and_die, End::Abort), (change, End::Clean)]);
}

#[test]
fn damaged_token_file_is_no_empty_slot() {
    fn damage(folder: &Path) {
        std::fs::write(folder.join("token.json"), b"{}").unwrap();
        let module = cryptoki::context::Pkcs11::new(crate::harness::module_path()).unwrap();
        let args = cryptoki::context::CInitializeArgs::new(cryptoki::context::CInitializeFlags::OS_LOCKING_OK);
        assert_eq!(code(module.initialize(args)), RvError::DeviceError);
    }
    fn prepare(_: &Path) {
        init(&load());
    }
    steps(&[(prepare, End::Clean), (damage, End::Clean)]);
}

#[test]
fn initialising_again_destroys_what_was_there() {
    alone(|folder| {
        let (module, slot, session) = ready();
        aes(&session, "kek");
        let first = objects_folder(folder);
        assert_eq!(code(module.init_token(slot, &pin(SO_PIN), "again")), RvError::SessionExists);
        drop(session);
        module.init_token(slot, &pin(SO_PIN), "again").unwrap();
        assert!(!first.exists());
        assert_ne!(objects_folder(folder), first);
        let session = module.open_rw_session(slot).unwrap();
        assert_eq!(code(session.login(UserType::User, Some(&pin(USER_PIN)))), RvError::UserPinNotInitialized);
        assert_eq!(module.get_token_info(slot).unwrap().label(), "again");
    });
}

#[test]
fn session_objects_and_destroyed_objects_are_gone() {
    alone(|folder| {
        let (module, slot, session) = ready();
        let other = module.open_rw_session(slot).unwrap();
        let template = [Attribute::ValueLen(32.into()), Attribute::Label("passing".into()), Attribute::Encrypt(true)];
        other.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &template).unwrap();
        assert_eq!(find(&session, "passing").len(), 1);
        drop(other);
        assert!(find(&session, "passing").is_empty());
        let key = aes(&session, "kek");
        let path = only_object(folder);
        session.destroy_object(key).unwrap();
        assert!(!path.exists());
        assert_eq!(code(seal(&session, key, b"", b"")), RvError::KeyHandleInvalid);
        let reader = module.open_ro_session(slot).unwrap();
        let lasting = [Attribute::Token(true), Attribute::ValueLen(32.into())];
        let refused = reader.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &lasting);
        assert_eq!(code(refused), RvError::SessionReadOnly);
    });
}
