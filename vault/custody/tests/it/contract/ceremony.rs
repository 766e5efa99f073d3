//! The contract, key ceremonies: what is made is as it was asked, a token opens on it and on nothing else, and where
//! something is in the way nothing is made.

use cofre_custody::pkcs11::ceremony::{self, Failed, MadeKey, Performed, Use};
use cofre_custody::pkcs11::{Recorded, Settings, Token};
use cofre_custody::{Cause, Custodian, Fault, Mechanism, Operation, Signer};
use cofre_testkit::hsm::Module;
use cryptoki::object::Attribute;

use super::{
    Case, KEY, SIGNER, USER_PIN, abilities, by_hand, cases, open, opened, pin, refusal, settings, unwrapped, wrapped,
};
use crate::bench::{Child, slab};
use crate::capability;

pub(super) const CASES: &[Case] = cases![
    a_ceremony_makes_what_was_asked_and_a_token_opens_on_it,
    the_best_mechanism_is_found_and_another_is_made_where_it_is_wanted,
    keys_that_the_record_does_not_have_are_refused,
    a_label_that_is_taken_is_refused_before_anything_is_made,
    an_id_that_is_taken_is_refused_as_well,
    a_rehearsal_leaves_nothing,
    a_mechanism_that_is_missing_leaves_nothing,
    a_wrong_pin_is_tried_once,
    what_a_template_leaves_out_is_found_afterwards,
];

const NEW: &str = "root-2";
const NEW_SIGNER: &str = "ledger-2";

fn wanted(child: &Child) -> Settings {
    Settings { key_label: NEW.into(), signer_label: Some(NEW_SIGNER.into()), ..settings(child) }
}

async fn perform(settings: Settings) -> Result<(Performed, std::sync::Arc<Token>), Fault> {
    let done = ceremony::perform(settings, pin(USER_PIN), &slab(), |_| {}).await;
    // Every refusal of this contract comes before a token is told to make anything.
    done.map_err(|failed| {
        let Failed { fault, begun, performed } = *failed;
        assert_eq!((begun, performed), (Vec::new(), None), "{fault}");
        fault
    })
}

async fn performed(settings: Settings) -> (Performed, std::sync::Arc<Token>) {
    perform(settings).await.unwrap_or_else(|fault| panic!("{fault}"))
}

/// Objects on the token, whatever they are.
fn objects(child: &Child) -> usize {
    by_hand(child).find_objects(&[Attribute::Token(true)]).expect("a list").len()
}

fn says<'a>(key: &'a MadeKey, class: &str, name: &str) -> &'a str {
    let object = key.objects.iter().find(|object| object.class == class).expect("an object of the class");
    let found = object.attributes.iter().find(|(known, _)| known == name);
    found.map_or_else(|| panic!("{name} is not in {object:?}"), |(_, value)| value.as_str())
}

async fn a_ceremony_makes_what_was_asked_and_a_token_opens_on_it(child: &Child) {
    let (made, token) = performed(wanted(child)).await;
    assert_eq!(made.mechanism, Mechanism::AesGcm);
    assert!(made.why.contains("AES-256") && !made.serial.is_empty(), "{made:?}");
    let [root, signer] = &made.keys[..] else { panic!("{made:?}") };
    assert_eq!((root.used_to, root.label.as_str(), root.kind.as_str()), (Use::Wrap, NEW, "AES-256"));
    assert_eq!((signer.used_to, signer.label.as_str()), (Use::Sign, NEW_SIGNER));
    assert_eq!(signer.kind, abilities(child.kind).signer);
    for (key, class) in [(root, "secret"), (signer, "private")] {
        for name in ["CKA_TOKEN", "CKA_PRIVATE", "CKA_SENSITIVE", "CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE"] {
            assert_eq!(says(key, class, name), "true", "{name} of {}", key.label);
        }
        for name in ["CKA_EXTRACTABLE", "CKA_MODIFIABLE"] {
            assert_eq!(says(key, class, name), "false", "{name} of {}", key.label);
        }
    }
    let usages = |name: &str| says(root, "secret", name).to_owned();
    assert_eq!(["CKA_ENCRYPT", "CKA_DECRYPT", "CKA_WRAP"].map(usages), ["true", "true", "false"]);
    assert_eq!((says(signer, "private", "CKA_SIGN"), says(signer, "public", "CKA_VERIFY")), ("true", "true"));
    assert!(root.check_value.as_ref().is_none_or(|value| value.len() == 3), "three bytes: {root:?}");

    let public = *token.signer().expect("it signs").public_key();
    assert_eq!((made.signer, signer.public.as_deref()), (Some(public), Some(public.as_bytes())));
    let bytes = wrapped(&token).await;
    token.close().await.expect("it closes");
    // As a vault does that has no record.
    let again = open(wanted(child)).await.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(unwrapped(&*again, bytes).await.expect("the same key"), 7);
    assert_eq!(*again.signer().expect("it signs").public_key(), public);
}

async fn the_best_mechanism_is_found_and_another_is_made_where_it_is_wanted(child: &Child) {
    let wanted = Settings { mechanism: Some(Mechanism::AesKwp), signer_label: None, ..wanted(child) };
    let (made, token) = performed(wanted).await;
    assert_eq!((made.mechanism, made.signer, made.keys.len()), (Mechanism::AesKwp, None, 1));
    assert_eq!(says(&made.keys[0], "secret", "CKA_WRAP"), "true");
    assert_eq!(says(&made.keys[0], "secret", "CKA_ENCRYPT"), "false");
    assert_eq!(unwrapped(&*token, wrapped(&token).await).await.expect("it opens"), 7);
}

/// The token has keys of the labels, and they are not those of the record.
async fn keys_that_the_record_does_not_have_are_refused(child: &Child) {
    let (made, token) = performed(wanted(child)).await;
    token.close().await.expect("it closes");
    let recorded = Recorded { witness: made.witness.clone(), signer: made.signer, mechanism: made.mechanism };
    let opens = async |settings: Settings, recorded: Recorded| {
        let opened = Token::open_recorded(settings, pin(USER_PIN), &slab(), recorded).await;
        match opened {
            Ok(token) => token.close().await.map_err(|fault| fault.cause),
            Err(fault) => Err(fault.cause),
        }
    };
    assert_eq!(opens(wanted(child), recorded.clone()).await, Ok(()));
    let other_root = Settings { key_label: KEY.into(), ..wanted(child) };
    assert_eq!(opens(other_root, recorded.clone()).await, Err(Cause::KeyMissing));
    let other_signer = Settings { signer_label: Some(SIGNER.into()), ..wanted(child) };
    assert_eq!(opens(other_signer, recorded.clone()).await, Err(Cause::KeyMissing));
    let held = |mechanism| Settings { mechanism: Some(mechanism), ..wanted(child) };
    assert_eq!(opens(held(Mechanism::AesGcm), recorded.clone()).await, Ok(()));
    assert_eq!(opens(held(Mechanism::AesKwp), recorded.clone()).await, Err(Cause::Unsupported), "as it is configured");
    let other_way = Recorded { mechanism: Mechanism::AesKwp, ..recorded };
    assert_eq!(opens(wanted(child), other_way).await, Err(Cause::KeyMissing));
}

async fn a_label_that_is_taken_is_refused_before_anything_is_made(child: &Child) {
    let before = objects(child);
    for (key, signer) in [(KEY, NEW_SIGNER), (NEW, SIGNER), (NEW, KEY)] {
        let taken = Settings { key_label: key.into(), signer_label: Some(signer.into()), ..settings(child) };
        let fault = perform(taken).await.map(drop).expect_err("taken");
        assert_eq!((fault.operation, fault.cause), (Operation::MakeKey, Cause::KeyExists));
        assert!(fault.to_string().contains("never overwritten"), "{fault}");
    }
    assert_eq!(objects(child), before);
    assert_eq!(unwrapped(&*opened(child).await, wrapped(&*opened(child).await).await).await.expect("unharmed"), 7);
}

async fn an_id_that_is_taken_is_refused_as_well(child: &Child) {
    let session = by_hand(child);
    let template = [
        Attribute::Label(b"of somebody".to_vec()),
        Attribute::Id(NEW.into()),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Encrypt(true),
    ];
    session.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &template).expect("a key");
    drop(session);
    let fault = perform(wanted(child)).await.map(drop).expect_err("taken");
    assert_eq!(fault.cause, Cause::KeyExists);
}

async fn a_rehearsal_leaves_nothing(child: &Child) {
    let before = objects(child);
    let seen =
        ceremony::rehearse(wanted(child), pin(USER_PIN), &slab()).await.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!((seen.mechanism, seen.keys.len(), seen.witness.len()), (Mechanism::AesGcm, 0, 0));
    assert_eq!(objects(child), before);
    assert_eq!(refusal(wanted(child)).await, Cause::KeyMissing);
    let taken = Settings { key_label: KEY.into(), ..wanted(child) };
    let refused = ceremony::rehearse(taken, pin(USER_PIN), &slab()).await;
    assert_eq!(refused.map(drop).expect_err("taken").cause, Cause::KeyExists);
}

async fn a_mechanism_that_is_missing_leaves_nothing(child: &Child) {
    let before = objects(child);
    let wanted = Settings { mechanism: Some(Mechanism::RsaOaepSha256), ..wanted(child) };
    let made = perform(wanted).await;
    if capability::says(capability::OAEP, child.kind) == "yes" {
        let (made, token) = made.unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!((made.mechanism, made.keys[0].kind.as_str()), (Mechanism::RsaOaepSha256, "RSA-3072"));
        assert_eq!(made.keys[0].public.as_ref().map(Vec::len), Some(384));
        assert_eq!(unwrapped(&*token, wrapped(&token).await).await.expect("it opens"), 7);
        return;
    }
    let fault = made.map(drop).expect_err("missing");
    assert_eq!(fault.cause, Cause::Unsupported);
    assert!(fault.to_string().contains("rsa-oaep-sha256: "), "{fault}");
    assert_eq!(objects(child), before, "nothing was made");
}

async fn a_wrong_pin_is_tried_once(child: &Child) {
    let before = objects(child);
    let wrong = ceremony::perform(wanted(child), pin("0000-wrong-pin"), &slab(), |_| {}).await;
    let fault = wrong.map(drop).expect_err("wrong").fault;
    assert_eq!((fault.operation, fault.cause), (Operation::LogIn, Cause::PinIncorrect));
    if child.kind == Module::HsmSim {
        let wrong = ("C_Login".to_owned(), "CKR_PIN_INCORRECT".to_owned());
        assert_eq!(crate::bench::calls(child).get(&wrong), Some(&1));
    }
    assert_eq!(objects(child), before);
}

/// Keys of the contract's own preparation and keys of a ceremony are of one template: a token opens on either.
async fn what_a_template_leaves_out_is_found_afterwards(child: &Child) {
    let (made, _token) = performed(wanted(child)).await;
    // SoftHSM2 allows what a template does not name; a ceremony names everything.
    for usage in ["CKA_SIGN", "CKA_VERIFY", "CKA_UNWRAP", "CKA_DERIVE"] {
        assert!(["false", "unknown"].contains(&says(&made.keys[0], "secret", usage)), "{usage}: {made:?}");
    }
    let description = opened(child).await.describe();
    assert_eq!((description.serial, description.manufacturer), (made.serial, made.manufacturer));
}
