//! Processes, tokens and keys for the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use cofre_hsm_sim::DIR_ENV;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

/// Which step of its test a child process shall run.
pub(crate) const STEP_ENV: &str = "COFRE_HSM_SIM_TEST_STEP";
pub(crate) const SO_PIN: &str = "so-pin-1234";
pub(crate) const USER_PIN: &str = "user-pin-5678";

/// How a step's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The step returns.
    Clean,
    /// The step kills its own process with `std::process::abort`.
    Abort,
}

/// A part of a test that gets its own process, and how that ends.
pub(crate) type Step = (fn(&Path), End);

/// Runs each step in a new process, one after another, on one token folder.
pub(crate) fn steps(steps: &[Step]) {
    if let Ok(step) = std::env::var(STEP_ENV) {
        let folder = PathBuf::from(std::env::var_os(DIR_ENV).unwrap());
        let (body, _) = steps[step.parse::<usize>().unwrap()];
        return body(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let test = std::thread::current().name().unwrap().to_owned();
    for (step, (_, end)) in steps.iter().enumerate() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([&test, "--exact", "--nocapture"])
            .env(STEP_ENV, step.to_string())
            .env(DIR_ENV, folder.path())
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match end {
            End::Clean => assert!(output.status.success() && text.contains("1 passed"), "step {step}:\n{text}"),
            End::Abort => assert_eq!(signal(output.status), Some(6), "step {step} should have aborted:\n{text}"),
        }
    }
}

/// One step that ends cleanly.
pub(crate) fn alone(body: fn(&Path)) {
    steps(&[(body, End::Clean)]);
}

fn signal(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// The shared library that cargo built for this test: in `deps`, beside the test itself. The copy one folder up is
/// made by `cargo build` only, and may be older.
pub(crate) fn module_path() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.push("libcofre_hsm_sim.so");
    assert!(path.is_file(), "{} is missing: cargo builds it for the tests of this package", path.display());
    path
}

pub(crate) fn load() -> Pkcs11 {
    let module = Pkcs11::new(module_path()).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    module
}

pub(crate) fn pin(text: &str) -> AuthPin {
    AuthPin::new(text.into())
}

pub(crate) fn slot(module: &Pkcs11) -> Slot {
    let slots = module.get_slots_with_token().unwrap();
    assert_eq!(slots.len(), 1);
    slots[0]
}

/// Initialises the token and gives the user a PIN.
pub(crate) fn init(module: &Pkcs11) -> Slot {
    let slot = slot(module);
    module.init_token(slot, &pin(SO_PIN), "cofre-test").unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&pin(SO_PIN))).unwrap();
    session.init_pin(&pin(USER_PIN)).unwrap();
    session.logout().unwrap();
    slot
}

/// A read-write session of the logged-in user.
pub(crate) fn user_session(module: &Pkcs11, slot: Slot) -> Session {
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&pin(USER_PIN))).unwrap();
    session
}

/// A fresh token with a user logged in.
pub(crate) fn ready() -> (Pkcs11, Slot, Session) {
    let module = load();
    let slot = init(&module);
    let session = user_session(&module, slot);
    (module, slot, session)
}

/// An AES-256 key on the token that may encrypt and decrypt and nothing else.
pub(crate) fn aes(session: &Session, label: &str) -> ObjectHandle {
    let template = [
        Attribute::Token(true),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
}

pub(crate) fn find(session: &Session, label: &str) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Label(label.into()), Attribute::Class(ObjectClass::SECRET_KEY)]).unwrap()
}

pub(crate) fn seal(session: &Session, key: ObjectHandle, aad: &[u8], text: &[u8]) -> Result<Vec<u8>, Error> {
    let mut iv = [7; 12];
    session.encrypt(&Mechanism::AesGcm(GcmParams::new(&mut iv, aad, 128.into()).unwrap()), key, text)
}

pub(crate) fn open(session: &Session, key: ObjectHandle, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut iv = [7; 12];
    session.decrypt(&Mechanism::AesGcm(GcmParams::new(&mut iv, aad, 128.into()).unwrap()), key, sealed)
}

/// The return code of a refused call.
pub(crate) fn code<T>(result: Result<T, Error>) -> RvError {
    match result {
        Err(Error::Pkcs11(code, _)) => code,
        Err(other) => panic!("not a return code: {other:?}"),
        Ok(_) => panic!("the call should have been refused"),
    }
}
