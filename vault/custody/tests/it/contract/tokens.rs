//! The contract, first part: modules, tokens and PINs.

use std::path::Path;

use cofre_custody::pkcs11::{Token, TokenName, ceremony};
use cofre_custody::{Cause, Custodian, Operation};
use cryptoki::session::UserType;

use super::{
    Case, LABEL, SO_PIN, USER_PIN, abilities, by_hand, cases, open, opened, pin, refusal, settings, unwrapped,
    without_login, wrapped,
};
use crate::bench::{Child, custodian, slab};

pub(super) const CASES: &[Case] = cases![
    a_second_token_of_the_label_is_refused,
    a_wrong_pin_is_refused_once_and_the_right_one_works_after,
    wrong_pins_never_lock_a_token_that_counts,
    a_locked_token_is_told_from_a_wrong_pin,
    the_pin_shows_nowhere,
    an_unknown_token_is_absent,
    a_token_is_found_by_serial_number,
    a_file_that_is_no_module_is_refused,
    a_pinned_module_must_match,
];

async fn a_second_token_of_the_label_is_refused(child: &Child) {
    let again = ceremony::init_token(&custodian("hsm-1"), &child.module, LABEL, &pin(SO_PIN), &pin(USER_PIN));
    assert_eq!(again.expect_err("must be refused").cause, Cause::TokenExists);
    unwrapped(&*opened(child).await, wrapped(&*opened(child).await).await).await.expect("the token is unharmed");
}

async fn a_wrong_pin_is_refused_once_and_the_right_one_works_after(child: &Child) {
    let wrong = Token::open(settings(child), pin("0000-wrong-pin"), &slab()).await;
    let fault = wrong.map(drop).expect_err("must not open");
    assert_eq!((fault.operation, fault.cause), (Operation::LogIn, Cause::PinIncorrect));
    assert!(fault.advice().contains("not tried again"), "{}", fault.advice());
    assert_eq!(unwrapped(&*opened(child).await, wrapped(&*opened(child).await).await).await.expect("opens"), 7);
}

/// However often a vault with a wrong PIN is started: the last try that a token allows is left to a person.
async fn wrong_pins_never_lock_a_token_that_counts(child: &Child) {
    let tries = abilities(child.kind).locks_after;
    let last = tries.map(|tries| tries - 1);
    for tried in 0..tries.unwrap_or(5) + 3 {
        let wrong = Token::open(settings(child), pin("0000-wrong-pin"), &slab()).await;
        let cause = wrong.map(drop).expect_err("wrong").cause;
        let spared = last.is_some_and(|last| tried >= last);
        assert_eq!(cause, if spared { Cause::PinInDoubt } else { Cause::PinIncorrect }, "start {tried}");
    }
    let right = async || open(settings(child)).await.map(drop).map_err(|fault| fault.cause);
    assert_eq!(right().await, if last.is_some() { Err(Cause::PinInDoubt) } else { Ok(()) }, "also of a right one");
    drop(by_hand(child));
    assert_eq!(right().await, Ok(()), "a person logged in, which gives the token its tries back");
}

async fn a_locked_token_is_told_from_a_wrong_pin(child: &Child) {
    let tries = abilities(child.kind).locks_after;
    let session = without_login(child);
    for _ in 0..tries.unwrap_or(5) {
        session.login(UserType::User, Some(&"0000-wrong-pin".to_owned().into())).expect_err("wrong");
    }
    drop(session);
    let right = open(settings(child)).await.map(drop).map_err(|fault| fault.cause);
    assert_eq!(right, if tries.is_some() { Err(Cause::PinLocked) } else { Ok(()) });
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
