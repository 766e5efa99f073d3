//! From a page to the vault and back: what is sealed opens there, and nothing is sealed to a key nobody vouched for.

use super::*;
use crate::samples::{NOW, ed25519, signer};
use cofre_envelope::{Backing, DepositKeyPair, Room, SealedDeposit, SealedField, Slab, Suite, open_deposit};
use cofre_model::time::Span;
use cofre_model::wording::Form;
use ed25519_dalek::Signer as _;

fn served(pair: &DepositKeyPair, seed: u8) -> SignedDepositKey {
    let (id, tenant) = (DepositKeyId::from_parts(1, [1; 10]), tenant());
    let key = SealKey { suite: pair.public().suite().into(), bytes: pair.public().as_bytes().to_vec() };
    let (not_before, not_after) = (NOW, NOW.plus(Span::hours(24)));
    let signed = statement::deposit_key(tenant, id, &key, not_before, not_after);
    let signature = ed25519(seed).sign(&signed).to_bytes().to_vec();
    SignedDepositKey { id, tenant, key, not_before, not_after, signature }
}

fn field(key: &str, required: bool, signing_factor: bool) -> TemplateField {
    TemplateField {
        key: FieldKey::try_from(key).expect("a key"),
        pattern: ".+".into(),
        required,
        secret: true,
        signing_factor,
        identifies: false,
        release_form: Form::Full,
    }
}

fn tenant() -> TenantId {
    TenantId::from_parts(1, [2; 10])
}

fn enrolment() -> Enrolment {
    Enrolment {
        id: EnrolmentId::from_parts(1, [3; 10]),
        credential: CredentialId::from_parts(1, [4; 10]),
        owner: SubjectId::from_parts(1, [5; 10]),
        template_version: 2,
        fields: vec![field("user", true, false), field("password", true, false), field("signature", false, true)],
        expires: NOW.plus(Span::minutes(30)),
    }
}

fn values(keys: &[&str]) -> Vec<(FieldKey, ClientSecret)> {
    let value = |key: &&str| (FieldKey::try_from(*key).expect("a key"), ClientSecret::copy_of(key.as_bytes()));
    keys.iter().map(value).collect()
}

fn pair() -> (std::sync::Arc<Slab>, DepositKeyPair) {
    let slab = Slab::with_room(Backing::Mlock, Room { small: 64, large: 16 }).expect("memory");
    let pair = DepositKeyPair::generate(Suite::MlKem768X25519, &slab).expect("a pair");
    (slab, pair)
}

#[test]
fn what_a_page_seals_the_vault_opens() {
    let (_slab, pair) = pair();
    let text = Page { key: served(&pair, 1), enrolment: enrolment() }.to_json();
    let page = Page::from_json(&text).expect("a page");
    assert_eq!(page, Page { key: served(&pair, 1), enrolment: enrolment() });
    let key = page.key.verify(&signer(1), &tenant(), NOW).expect("signed");
    let login = seal(&page.enrolment, &key, values(&["user", "password"])).expect("sealed");
    let login = SealedLogin::from_json(&login.to_json()).expect("a login");
    let context = DepositContext {
        tenant: key.signed().tenant,
        key: login.deposit_key,
        enrolment: login.enrolment,
        owner: enrolment().owner,
        credential: enrolment().credential,
        template_version: 2,
    };
    let fields = login.fields.into_iter().zip(0u16..);
    let deposit = SealedDeposit {
        encapsulated_key: login.encapsulated_key,
        fields: fields.map(|((key, sealed), position)| SealedField { key, position, sealed }).collect(),
    };
    let opened = open_deposit(&pair, &context, &deposit).expect("opens");
    assert_eq!(opened.len(), 2);
    assert!(opened[1].1.with_bytes(|bytes| bytes == b"password"));
}

#[test]
fn a_key_that_nobody_vouched_for_is_refused() {
    let (_slab, pair) = pair();
    assert_eq!(served(&pair, 2).verify(&signer(1), &tenant(), NOW), Err(NotVerified::DepositKey));
    let changes: [fn(&mut SignedDepositKey); 4] = [
        |key| key.tenant = TenantId::from_parts(9, [2; 10]),
        |key| key.not_after = key.not_after.plus(Span::hours(1)),
        |key| key.key.bytes[0] ^= 1,
        |key| key.signature.clear(),
    ];
    for change in changes {
        let mut changed = served(&pair, 1);
        change(&mut changed);
        assert_eq!(changed.verify(&signer(1), &tenant(), NOW), Err(NotVerified::DepositKey));
    }
    // Genuine, of this deployment, and another tenant's.
    let other = TenantId::from_parts(9, [2; 10]);
    assert_eq!(served(&pair, 1).verify(&signer(1), &other, NOW), Err(NotVerified::DepositKey));
    for outside in [NOW.minus(Span::secs(1)), NOW.plus(Span::hours(24))] {
        assert_eq!(served(&pair, 1).verify(&signer(1), &tenant(), outside), Err(NotVerified::DepositKeyTime));
    }
}

#[test]
fn the_form_is_kept_to() {
    let (_slab, pair) = pair();
    let key = served(&pair, 1).verify(&signer(1), &tenant(), NOW).expect("signed");
    let named = |text: &str| FieldKey::try_from(text).expect("a key");
    let refused = |keys: &[&str]| seal(&enrolment(), &key, values(keys)).expect_err("refused");
    assert_eq!(refused(&["user"]), SealingError::Missing(named("password")));
    assert_eq!(refused(&["user", "password", "pin"]), SealingError::UnknownField(named("pin")));
    assert_eq!(refused(&["user", "password", "signature"]), SealingError::SigningFactor(named("signature")));
    let twice = refused(&["user", "user", "password"]);
    assert_eq!(twice, SealingError::Envelope(cofre_envelope::Error::FieldRepeated));
}
