//! The contract: one set of cases that every PKCS#11 module passes, each case in a process and with a token of its own.
//! What modules legitimately differ in is asserted in [`abilities`], not skipped.

use std::future::Future;
use std::path::Path;
use std::pin::Pin as Pinned;
use std::time::Duration;

use cofre_custody::pkcs11::{Pin, Settings, Token, TokenName, ceremony};
use cofre_custody::{Broken, Cause, Custodian, CustodySet, Error, Fault, Operation, Signer, VerifyingKey};
use cofre_testkit::hsm::{Module, TokenFolder};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use p256::ecdsa::signature::Verifier;

use crate::bench::{
    Child, any_warm_permit, bytes_of, child as this_child, context, custodian, row, run_alone, share, slab,
};

pub(crate) const LABEL: &str = "cofre";
pub(crate) const KEY: &str = "root-1";
pub(crate) const SIGNER: &str = "ledger-1";
pub(crate) const USER_PIN: &str = "4711-user-pin";
const SO_PIN: &str = "0815-officer-pin";

/// What a module can do that others cannot.
struct Abilities {
    manufacturer: &'static str,
    simulator: bool,
    signer: &'static str,
    /// What a wrong tag looks like does not matter; that a token counts PINs and locks does.
    locks: bool,
}

fn abilities(kind: Module) -> Abilities {
    match kind {
        Module::HsmSim => Abilities { manufacturer: "Cofre hsm-sim", simulator: true, signer: "ed25519", locks: true },
        Module::SoftHsm => {
            Abilities { manufacturer: "SoftHSM project", simulator: false, signer: "ed25519", locks: false }
        }
    }
}

type Case = (&'static str, for<'a> fn(&'a Child) -> Pinned<Box<dyn Future<Output = ()> + 'a>>);

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |child| Box::pin($name(child)))),*] };
}
pub(crate) use cases;

const CASES: &[Case] = cases![
    a_second_token_of_the_label_is_refused,
    keys_that_are_there_are_left_alone,
    a_share_survives_wrapping,
    wrapping_twice_differs_and_shows_nothing,
    another_context_is_refused,
    changed_bytes_are_refused,
    cut_and_lengthened_bytes_are_refused,
    a_row_of_another_key_is_refused,
    bytes_of_another_key_are_refused,
    a_wrong_pin_is_refused_once_and_the_right_one_works_after,
    wrong_pins_lock_where_the_token_counts,
    the_pin_shows_nowhere,
    an_unknown_token_is_absent,
    a_token_is_found_by_serial_number,
    a_missing_key_is_reported_and_not_made,
    two_keys_of_one_label_are_ambiguous,
    an_extractable_key_is_refused,
    a_key_that_may_do_more_is_refused,
    a_key_that_may_do_less_is_refused,
    it_says_what_it_is,
    a_signature_verifies_elsewhere,
    signing_without_a_configured_key_is_refused,
    a_missing_signing_key_is_reported,
    it_is_ready,
    many_at_once_all_come_back,
    request_ids_do_not_repeat,
    after_closing_it_serves_no_more_and_can_be_opened_again,
    a_file_that_is_no_module_is_refused,
    a_pinned_module_must_match,
    a_tenant_key_is_made_and_comes_back,
];

#[test]
fn hsm_sim_keeps_the_contract() {
    keep(Module::HsmSim);
}

/// Not skipped where SoftHSM2 is missing: it fails with the line to type.
#[test]
fn softhsm_keeps_the_contract() {
    keep(Module::SoftHsm);
}

fn keep(kind: Module) {
    let ready = prepared(kind);
    let mut failed = Vec::new();
    for (name, _) in CASES {
        let folder = ready.copy().expect("a copy of the token");
        failed.extend(run_alone("contract::child", name, kind, &folder).err());
    }
    // Two processes, one after the other, on one token.
    for half in ["first_process_wraps", "second_process_unwraps"] {
        failed.extend(run_alone("contract::child", half, kind, &ready).err());
    }
    assert!(failed.is_empty(), "{} of {} cases failed\n{}", failed.len(), CASES.len() + 2, failed.join("\n"));
}

/// A folder with an initialised token and both keys.
pub(crate) fn prepared(kind: Module) -> TokenFolder {
    let folder = TokenFolder::empty(kind).unwrap_or_else(|error| panic!("{error:#}"));
    run_alone("contract::child", "prepare", kind, &folder).unwrap_or_else(|out| panic!("{out}"));
    folder
}

/// One case in a process of its own. The parents assert that exactly this test ran there; among them it has no case.
#[test]
fn child() {
    let Some(child) = this_child() else { return };
    let extra: &[Case] = cases![prepare, first_process_wraps, second_process_unwraps];
    let found = CASES.iter().chain(extra).chain(crate::faults::CASES).find(|(name, _)| *name == child.case);
    let (_, case) = found.unwrap_or_else(|| panic!("no case {}", child.case));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(case(&child));
}

pub(crate) fn settings(child: &Child) -> Settings {
    let mut settings = Settings::new(custodian("hsm-1"), child.module.clone(), TokenName::Label(LABEL.into()), KEY);
    settings.sessions = 3;
    settings.deadline = Duration::from_secs(20);
    settings
}

pub(crate) fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned().into())
}

pub(crate) async fn open(settings: Settings) -> Result<std::sync::Arc<Token>, Fault> {
    Token::open(settings, pin(USER_PIN), &slab()).await
}

pub(crate) async fn opened(child: &Child) -> std::sync::Arc<Token> {
    open(settings(child)).await.unwrap_or_else(|fault| panic!("{fault}"))
}

async fn refusal(settings: Settings) -> Cause {
    open(settings).await.map(drop).expect_err("must not open").cause
}

/// Wraps a share of sevens and answers the bytes.
pub(crate) async fn wrapped(token: &Token) -> Vec<u8> {
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    token.wrap(context.encode(), bound).await.unwrap_or_else(|fault| panic!("{fault}")).bytes.as_bytes().to_vec()
}

/// Unwraps and answers the first byte of the share.
pub(crate) async fn unwrapped(token: &Token, bytes: Vec<u8>) -> Result<u8, Fault> {
    let context = context("hsm-1");
    let row = row(token.id(), KEY, bytes);
    let answer = token.unwrap(&any_warm_permit(), context.encode(), &row).await?;
    Ok(answer.share.unbind(&context).expect("bound to this context").with_bytes(|share| share[0]))
}

async fn prepare(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let serial = ceremony::init_token(&settings.id, &child.module, LABEL, &pin(SO_PIN), &pin(USER_PIN))
        .unwrap_or_else(|fault| panic!("{fault}"));
    assert!(!serial.is_empty());
    let made = ceremony::ensure_keys(&settings, pin(USER_PIN)).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(made.root, ceremony::Found::Made);
    assert_eq!(made.signer, Some((ceremony::Found::Made, abilities(child.kind).signer)));
}

async fn a_second_token_of_the_label_is_refused(child: &Child) {
    let again = ceremony::init_token(&custodian("hsm-1"), &child.module, LABEL, &pin(SO_PIN), &pin(USER_PIN));
    assert_eq!(again.expect_err("must be refused").cause, Cause::TokenExists);
    unwrapped(&*opened(child).await, wrapped(&*opened(child).await).await).await.expect("the token is unharmed");
}

async fn keys_that_are_there_are_left_alone(child: &Child) {
    let bytes = wrapped(&*opened(child).await).await;
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let there = ceremony::ensure_keys(&settings, pin(USER_PIN)).expect("both are there");
    assert_eq!(
        (there.root, there.signer.map(|(found, _)| found)),
        (ceremony::Found::There, Some(ceremony::Found::There))
    );
    assert_eq!(unwrapped(&*opened(child).await, bytes).await.expect("the same key"), 7);
}

async fn a_share_survives_wrapping(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let context = context("hsm-1");
    let answer = token.unwrap(&any_warm_permit(), context.encode(), &row(token.id(), KEY, bytes)).await.expect("opens");
    let expected = share(&slab(), 7).bind(&context).expect("bound");
    assert_eq!(bytes_of(&answer.share), bytes_of(&expected));
}

async fn wrapping_twice_differs_and_shows_nothing(child: &Child) {
    let token = opened(child).await;
    let (one, two) = (wrapped(&token).await, wrapped(&token).await);
    assert_eq!((one.len(), two.len()), (92, 92));
    assert_ne!(one[..12], two[..12], "a nonce was used twice");
    assert_ne!(one[12..], two[12..]);
    assert!(!one.windows(8).any(|run| run == [7; 8]), "the share shows");
}

async fn another_context_is_refused(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let mut other = context("hsm-1");
    other.tenant_key_version = 2;
    let answer = token.unwrap(&any_warm_permit(), other.encode(), &row(token.id(), KEY, bytes.clone())).await;
    assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::Integrity);
    assert_eq!(unwrapped(&token, bytes).await.expect("the session is sound"), 7);
}

async fn changed_bytes_are_refused(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    for place in [0, 11, 12, 43, 44, 75, 76, 91] {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let fault = unwrapped(&token, changed).await.expect_err("must not open");
        assert_eq!((fault.operation, fault.cause), (Operation::Unwrap, Cause::Integrity), "byte {place}");
    }
    assert_eq!(unwrapped(&token, bytes).await.expect("the session is sound"), 7);
}

async fn cut_and_lengthened_bytes_are_refused(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    for len in [0, 1, 11, 12, 13, 27, 28, 76, 91] {
        let cut = bytes[..len].to_vec();
        assert_eq!(unwrapped(&token, cut).await.expect_err("must not open").cause, Cause::Integrity, "{len} bytes");
    }
    let longer = [bytes.clone(), vec![0]].concat();
    assert_eq!(unwrapped(&token, longer).await.expect_err("must not open").cause, Cause::Integrity);
    assert_eq!(unwrapped(&token, bytes).await.expect("the session is sound"), 7);
}

async fn a_row_of_another_key_is_refused(child: &Child) {
    let token = opened(child).await;
    let row = row(token.id(), "root-0", wrapped(&token).await);
    let answer = token.unwrap(&any_warm_permit(), context("hsm-1").encode(), &row).await;
    assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::KeyMissing);
}

async fn bytes_of_another_key_are_refused(child: &Child) {
    let bytes = wrapped(&*opened(child).await).await;
    let mut second = settings(child);
    second.key_label = "root-2".into();
    ceremony::ensure_keys(&second, pin(USER_PIN)).expect("a second key");
    let token = open(second).await.expect("opens");
    let row = row(token.id(), "root-2", bytes);
    let answer = token.unwrap(&any_warm_permit(), context("hsm-1").encode(), &row).await;
    assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::Integrity);
}

async fn a_wrong_pin_is_refused_once_and_the_right_one_works_after(child: &Child) {
    let wrong = Token::open(settings(child), pin("0000-wrong-pin"), &slab()).await;
    let fault = wrong.map(drop).expect_err("must not open");
    assert_eq!((fault.operation, fault.cause), (Operation::LogIn, Cause::PinIncorrect));
    assert!(fault.advice().contains("not tried again"), "{}", fault.advice());
    assert_eq!(unwrapped(&*opened(child).await, wrapped(&*opened(child).await).await).await.expect("opens"), 7);
}

async fn wrong_pins_lock_where_the_token_counts(child: &Child) {
    for _ in 0..5 {
        let _ = Token::open(settings(child), pin("0000-wrong-pin"), &slab()).await.map(drop).expect_err("wrong");
    }
    let right = open(settings(child)).await.map(drop).map_err(|fault| fault.cause);
    assert_eq!(right, if abilities(child.kind).locks { Err(Cause::PinLocked) } else { Ok(()) });
}

async fn the_pin_shows_nowhere(child: &Child) {
    let wrong = "0000-wrong-pin";
    let fault = Token::open(settings(child), pin(wrong), &slab()).await.map(drop).expect_err("wrong");
    let token = opened(child).await;
    let said = format!("{fault} {fault:?} {token:?} {:?} {:?}", token.describe(), settings(child));
    assert!(!said.contains(wrong) && !said.contains(USER_PIN), "{said}");
}

async fn an_unknown_token_is_absent(child: &Child) {
    let mut settings = settings(child);
    settings.token = TokenName::Label("elsewhere".into());
    assert_eq!(refusal(settings).await, Cause::TokenAbsent);
}

async fn a_token_is_found_by_serial_number(child: &Child) {
    let serial = opened(child).await.describe().serial;
    let mut by_serial = settings(child);
    by_serial.token = TokenName::Serial(serial.clone());
    assert_eq!(open(by_serial).await.expect("found").describe().serial, serial);
    let mut other = settings(child);
    other.token = TokenName::Serial("0000000000".into());
    assert_eq!(refusal(other).await, Cause::TokenAbsent);
}

async fn a_missing_key_is_reported_and_not_made(child: &Child) {
    let mut settings = settings(child);
    settings.key_label = "root-9".into();
    assert_eq!(refusal(settings.clone()).await, Cause::KeyMissing);
    assert_eq!(refusal(settings).await, Cause::KeyMissing, "the first start made a key");
}

/// Makes an AES key with these rights through the module itself, past our own ceremony.
fn make_key(child: &Child, label: &str, extractable: bool, (encrypt, decrypt, wrap): (bool, bool, bool)) {
    let module = Pkcs11::new(&child.module).expect("loads");
    // Initialised already when the driver was open before.
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = module.get_slots_with_initialized_token().expect("slots");
    let session = module.open_rw_session(slots[0]).expect("session");
    session.login(UserType::User, Some(&USER_PIN.to_owned().into())).expect("login");
    let template = [
        Attribute::Label(label.into()),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(extractable),
        Attribute::Encrypt(encrypt),
        Attribute::Decrypt(decrypt),
        Attribute::Wrap(wrap),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template).expect("key");
}

async fn two_keys_of_one_label_are_ambiguous(child: &Child) {
    make_key(child, KEY, false, (true, true, false));
    assert_eq!(refusal(settings(child)).await, Cause::KeyAmbiguous);
}

async fn refusal_of(child: &Child, extractable: bool, rights: (bool, bool, bool)) -> Cause {
    make_key(child, "made", extractable, rights);
    let mut settings = settings(child);
    settings.key_label = "made".into();
    refusal(settings).await
}

async fn an_extractable_key_is_refused(child: &Child) {
    assert_eq!(refusal_of(child, true, (true, true, false)).await, Cause::KeyUnsafe);
}

async fn a_key_that_may_do_more_is_refused(child: &Child) {
    assert_eq!(refusal_of(child, false, (true, true, true)).await, Cause::KeyUnsafe);
}

async fn a_key_that_may_do_less_is_refused(child: &Child) {
    assert_eq!(refusal_of(child, false, (false, true, false)).await, Cause::KeyDisabled);
}

async fn it_says_what_it_is(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let expected = abilities(child.kind);
    let is = open(settings).await.expect("opens").describe();
    assert_eq!((is.custodian.as_str(), is.token_label.as_str(), is.key_label.as_str()), ("hsm-1", LABEL, KEY));
    assert_eq!((is.manufacturer.as_str(), is.is_simulator()), (expected.manufacturer, expected.simulator));
    assert_eq!((is.mechanism.as_str(), is.sessions, is.signer), ("aes-gcm", 3, Some(expected.signer)));
}

async fn a_signature_verifies_elsewhere(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let signer = open(settings).await.expect("opens").signer().expect("a signer");
    assert_eq!(signer.public_key().algorithm(), abilities(child.kind).signer);
    for len in [0usize, 1, 32, 1000] {
        let message = vec![0x5a; len];
        let signature = signer.sign(&message).await.expect("signs");
        assert!(verifies(signer.public_key(), &message, &signature), "{len} bytes");
        assert!(!verifies(signer.public_key(), b"another message", &signature));
    }
}

fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    match key {
        VerifyingKey::Ed25519(bytes) => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).expect("a point");
            key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
        }
        VerifyingKey::P256(point) => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).expect("a point");
            key.verify(message, &p256::ecdsa::Signature::from_slice(signature).expect("r and s")).is_ok()
        }
    }
}

async fn signing_without_a_configured_key_is_refused(child: &Child) {
    assert_eq!(opened(child).await.signer().map(drop).expect_err("none").cause, Cause::KeyMissing);
}

async fn a_missing_signing_key_is_reported(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some("ledger-9".into());
    assert_eq!(refusal(settings).await, Cause::KeyMissing);
}

async fn it_is_ready(child: &Child) {
    opened(child).await.check().await.expect("ready");
}

async fn many_at_once_all_come_back(child: &Child) {
    let token = opened(child).await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let token = token.clone();
            tokio::spawn(async move { unwrapped(&token, wrapped(&token).await).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic").expect("opens"), 7);
    }
}

async fn request_ids_do_not_repeat(child: &Child) {
    let (one, two) = (opened(child).await, opened(child).await);
    let mut seen = std::collections::BTreeSet::new();
    for token in [&one, &one, &two, &two] {
        let context = context("hsm-1");
        let bound = share(&slab(), 7).bind(&context).expect("bound");
        let request = token.wrap(context.encode(), bound).await.expect("wraps").request;
        assert!(request.as_str().starts_with("hsm-1/"), "{request}");
        assert!(seen.insert(request.to_string()), "{request} was given twice");
    }
}

async fn after_closing_it_serves_no_more_and_can_be_opened_again(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    token.close().await.expect("closes");
    assert_eq!(unwrapped(&token, bytes.clone()).await.expect_err("closed").cause, Cause::Stopped);
    // The login ended with the sessions: a wrong PIN is refused again, the right one serves.
    let wrong = Token::open(settings(child), pin("0000-wrong-pin"), &slab()).await;
    assert_eq!(wrong.map(drop).expect_err("logged out").cause, Cause::PinIncorrect);
    assert_eq!(unwrapped(&*opened(child).await, bytes).await.expect("opens"), 7);
}

async fn a_file_that_is_no_module_is_refused(child: &Child) {
    for path in [Path::new("/nonexistent/module.so"), Path::new("/etc/hostname"), child.tokens.as_path()] {
        let mut settings = settings(child);
        settings.module = path.to_owned();
        assert_eq!(refusal(settings).await, Cause::ModuleUnusable, "{}", path.display());
    }
}

async fn a_pinned_module_must_match(child: &Child) {
    use sha2::Digest;
    let digest: [u8; 32] = sha2::Sha256::digest(std::fs::read(&child.module).expect("readable")).into();
    let mut pinned = settings(child);
    pinned.module_sha256 = Some([1; 32]);
    assert_eq!(refusal(pinned.clone()).await, Cause::ModuleUnusable);
    pinned.module_sha256 = Some(digest);
    open(pinned).await.expect("the right file");
}

async fn a_tenant_key_is_made_and_comes_back(child: &Child) {
    let house = crate::warm::House::over(vec![opened(child).await]);
    let set = CustodySet::any_of(vec![custodian("hsm-1")]).expect("a set");
    let (one, two) = (house.tenant(1, &set).await, house.tenant(2, &set).await);
    house.keys.for_release().warm(&one).await.expect("comes back");
    house.keys.for_release().warm(&two).await.expect("comes back");
    let calls = house.register.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.result.is_ok() && call.request.is_some()), "{calls:?}");
    let other = house.register.keys.lock().expect("whole")[&two.tenant].clone();
    house.register.keep(one.tenant, other);
    house.keys.wipe_all();
    assert_eq!(house.keys.for_release().warm(&one).await, Err(Error::Integrity(Broken::Share)));
}

async fn first_process_wraps(child: &Child) {
    std::fs::write(child.tokens.parent().expect("parent").join("wrapped"), wrapped(&*opened(child).await).await)
        .expect("kept");
}

async fn second_process_unwraps(child: &Child) {
    let bytes = std::fs::read(child.tokens.parent().expect("parent").join("wrapped")).expect("kept");
    assert_eq!(unwrapped(&*opened(child).await, bytes).await.expect("opens"), 7);
}
