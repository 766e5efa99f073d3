//! The contract, second part: which keys are taken, and that none is made or changed by serving.

use cofre_custody::Cause;
use cofre_custody::pkcs11::ceremony;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;

use super::{Case, KEY, SIGNER, USER_PIN, by_hand, cases, opened, pin, refusal, settings, unwrapped, wrapped};
use crate::bench::{Child, slab};

pub(super) const CASES: &[Case] = cases![
    keys_that_are_there_are_left_alone,
    a_missing_key_is_reported_and_not_made,
    two_keys_of_one_label_are_ambiguous,
    an_extractable_key_is_refused,
    a_key_that_may_do_more_is_refused,
    a_key_that_may_do_less_is_refused,
];

async fn keys_that_are_there_are_left_alone(child: &Child) {
    let bytes = wrapped(&*opened(child).await).await;
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let there = ceremony::ensure_keys(&settings, pin(USER_PIN), &slab()).expect("both are there");
    assert_eq!(
        (there.root, there.signer.map(|(found, _)| found)),
        (ceremony::Found::There, Some(ceremony::Found::There))
    );
    assert_eq!(unwrapped(&*opened(child).await, bytes).await.expect("the same key"), 7);
}

async fn a_missing_key_is_reported_and_not_made(child: &Child) {
    let mut settings = settings(child);
    settings.key_label = "root-9".into();
    assert_eq!(refusal(settings.clone()).await, Cause::KeyMissing);
    assert_eq!(refusal(settings).await, Cause::KeyMissing, "the first start made a key");
}

/// Makes an AES key with these rights through the module itself, past our own ceremony.
fn make_key(child: &Child, label: &str, extractable: bool, (encrypt, decrypt, wrap): (bool, bool, bool)) {
    let session = by_hand(child);
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
