//! The contract, sixth part: keys that go with another mechanism than AES-GCM, found, explained and held to.

use cofre_custody::pkcs11::{Settings, Token, ceremony};
use cofre_custody::{Cause, Custodian, Fault, Mechanism, WrappedShare};
use cryptoki::mechanism::Mechanism as Called;
use cryptoki::object::{Attribute, ObjectClass};

use super::{Case, USER_PIN, by_hand, cases, open, opened, pin, settings, wrapped};
use crate::bench::{Child, any_warm_permit, bytes_of, context, row, share, slab};
use crate::capability;

pub(super) const CASES: &[Case] = cases![
    a_cipher_key_goes_with_gcm_and_says_why,
    a_wrapping_key_goes_with_kwp,
    a_share_wrapped_by_kwp_is_bound_to_its_context,
    bytes_wrapped_by_kwp_cannot_be_changed,
    a_pair_goes_with_oaep_where_the_token_has_it,
    a_public_half_of_another_pair_is_refused,
    a_row_is_opened_with_the_mechanism_it_names_or_not_at_all,
    a_pinned_mechanism_that_is_not_the_keys_is_refused,
];

/// The settings of a key of its own that goes with this mechanism, made by the ceremony.
fn made(child: &Child, how: Mechanism) -> Settings {
    let mut own = settings(child);
    (own.key_label, own.mechanism) = (how.as_str().into(), Some(how));
    let ensured = ceremony::ensure_keys(&own, pin(USER_PIN), &slab()).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(ensured.root, ceremony::Found::Made);
    own
}

async fn wrap(token: &Token) -> WrappedShare {
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    let wrapped = token.wrap(context.encode(), bound).await.unwrap_or_else(|fault| panic!("{fault}"));
    let mut row = row(token.id(), &wrapped.custodian_key, wrapped.bytes.as_bytes().to_vec());
    row.mechanism = wrapped.mechanism;
    row
}

async fn unwrap(token: &Token, row: &WrappedShare) -> Result<[u8; 64], Fault> {
    token.unwrap(&any_warm_permit(), context("hsm-1").encode(), row).await.map(|answer| bytes_of(&answer.share))
}

fn sevens() -> [u8; 64] {
    bytes_of(&share(&slab(), 7).bind(&context("hsm-1")).expect("bound"))
}

async fn a_cipher_key_goes_with_gcm_and_says_why(child: &Child) {
    let token = opened(child).await;
    assert_eq!(token.describe().mechanism, Mechanism::AesGcm);
    assert!(token.why().contains("AES-256 that encrypts and decrypts"), "{}", token.why());
    assert!(token.why().contains("CKM_AES_GCM"), "{}", token.why());
}

async fn a_wrapping_key_goes_with_kwp(child: &Child) {
    let mut own = made(child, Mechanism::AesKwp);
    // Found without being told as well: by what the key may do.
    own.mechanism = None;
    let token = open(own).await.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(token.describe().mechanism, Mechanism::AesKwp);
    let number = if capability::says(capability::KWP_210B, child.kind) == "yes" { "0x210b" } else { "0x210a" };
    assert!(token.why().contains(number), "{}", token.why());
    let row = wrap(&token).await;
    assert_eq!((row.mechanism, row.wrapped.as_bytes().len()), (Mechanism::AesKwp, 72));
    assert_eq!(unwrap(&token, &row).await.expect("opens"), sevens());
    // Another session, and another process, which finds the number anew.
    token.close().await.expect("closes");
    let mut again = settings(child);
    again.key_label = Mechanism::AesKwp.as_str().into();
    assert_eq!(unwrap(&open(again).await.expect("opens"), &row).await.expect("opens"), sevens());
}

/// Without associated data the token opens it; the share's own second half is what does not fit.
async fn a_share_wrapped_by_kwp_is_bound_to_its_context(child: &Child) {
    let token = open(made(child, Mechanism::AesKwp)).await.expect("opens");
    let row = wrap(&token).await;
    let mut other = context("hsm-1");
    other.tenant_key_version = 2;
    let answer = token.unwrap(&any_warm_permit(), other.encode(), &row).await.expect("the token cannot tell");
    assert!(answer.share.unbind(&other).is_err());
    let answer = token.unwrap(&any_warm_permit(), other.encode(), &row).await.expect("the token cannot tell");
    answer.share.unbind(&context("hsm-1")).expect("its own");
}

async fn bytes_wrapped_by_kwp_cannot_be_changed(child: &Child) {
    let token = open(made(child, Mechanism::AesKwp)).await.expect("opens");
    let good = wrap(&token).await;
    for place in [0, 7, 8, 39, 40, 71] {
        let mut bytes = good.wrapped.as_bytes().to_vec();
        bytes[place] ^= 1;
        let changed = WrappedShare { wrapped: cofre_model::sealed::WrappedKey::from_bytes(bytes), ..good.clone() };
        assert_eq!(unwrap(&token, &changed).await.expect_err("changed").cause, Cause::Integrity, "byte {place}");
    }
    for len in [0, 8, 16, 71] {
        let bytes = good.wrapped.as_bytes()[..len].to_vec();
        let cut = WrappedShare { wrapped: cofre_model::sealed::WrappedKey::from_bytes(bytes), ..good.clone() };
        assert_eq!(unwrap(&token, &cut).await.expect_err("cut").cause, Cause::Integrity, "{len} bytes");
    }
    assert_eq!(unwrap(&token, &good).await.expect("the session is sound"), sevens());
}

async fn a_pair_goes_with_oaep_where_the_token_has_it(child: &Child) {
    let mut own = settings(child);
    (own.key_label, own.mechanism) = ("pair".into(), Some(Mechanism::RsaOaepSha256));
    let ensured = ceremony::ensure_keys(&own, pin(USER_PIN), &slab());
    if capability::says(capability::OAEP, child.kind) != "yes" {
        // Refused where no pair can be made, or where the one that was made does not wrap so.
        let opened = match ensured {
            Err(fault) => Err(fault),
            Ok(_) => open(own).await.map(drop),
        };
        return assert_eq!(opened.expect_err("unsupported").cause, Cause::Unsupported);
    }
    ensured.unwrap_or_else(|fault| panic!("{fault}"));
    own.mechanism = None;
    let token = open(own).await.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(token.describe().mechanism, Mechanism::RsaOaepSha256);
    assert!(token.why().contains("RSA that encrypts and decrypts"), "{}", token.why());
    let row = wrap(&token).await;
    assert_eq!((row.mechanism, row.wrapped.as_bytes().len()), (Mechanism::RsaOaepSha256, 384));
    assert_eq!(unwrap(&token, &row).await.expect("opens"), sevens());
    let mut bytes = row.wrapped.as_bytes().to_vec();
    bytes[100] ^= 1;
    let changed = WrappedShare { wrapped: cofre_model::sealed::WrappedKey::from_bytes(bytes), ..row.clone() };
    assert_eq!(unwrap(&token, &changed).await.expect_err("changed").cause, Cause::Integrity);
    assert_eq!(unwrap(&token, &row).await.expect("the session is sound"), sevens());
}

/// Shares are wrapped with the public half: one that somebody put in its place would be able to open them.
async fn a_public_half_of_another_pair_is_refused(child: &Child) {
    if capability::says(capability::OAEP_SHA1, child.kind) != "yes" {
        // No RSA at all: there is nothing to put in place, and the ceremony says that it makes no pair.
        let mut own = settings(child);
        (own.key_label, own.mechanism) = ("pair".into(), Some(Mechanism::RsaOaepSha256));
        let fault = ceremony::ensure_keys(&own, pin(USER_PIN), &slab()).map(drop).expect_err("no RSA");
        return assert_eq!(fault.cause, Cause::Unsupported);
    }
    let mut own = made(child, Mechanism::RsaOaepSha256);
    own.mechanism = None;
    let session = by_hand(child);
    let halves = |label: &str| {
        let found = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Label(label.into())]);
        found.expect("searched")
    };
    session.destroy_object(halves(&own.key_label)[0]).expect("destroyed");
    let fault = open(own.clone()).await.map(drop).expect_err("half a pair");
    assert_eq!(fault.cause, Cause::KeyDisabled, "{fault}");
    let fault = ceremony::ensure_keys(&own, pin(USER_PIN), &slab()).map(drop).expect_err("half a pair");
    assert_eq!(fault.cause, Cause::KeyDisabled, "nothing is made beside it: {fault}");
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(own.key_label.clone().into()),
        Attribute::ModulusBits(3072.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(true),
    ];
    let private = [Attribute::Token(false), Attribute::Private(true), Attribute::Decrypt(true)];
    session.generate_key_pair(&Called::RsaPkcsKeyPairGen, &public, &private).expect("another pair");
    drop(session);
    let fault = open(own).await.map(drop).expect_err("another public half");
    assert_eq!(fault.cause, Cause::KeyUnsafe, "{fault}");
}

async fn a_row_is_opened_with_the_mechanism_it_names_or_not_at_all(child: &Child) {
    let token = opened(child).await;
    let mut named = row(token.id(), super::KEY, wrapped(&token).await);
    named.mechanism = Mechanism::AesKwp;
    let fault = unwrap(&token, &named).await.expect_err("another mechanism");
    assert_eq!(fault.cause, Cause::KeyMissing);
    assert!(fault.to_string().contains("aes-kwp"), "{fault}");
    named.mechanism = Mechanism::AesGcm;
    assert_eq!(unwrap(&token, &named).await.expect("opens"), sevens());
}

async fn a_pinned_mechanism_that_is_not_the_keys_is_refused(child: &Child) {
    for wrong in [Mechanism::AesKwp, Mechanism::RsaOaepSha256] {
        let mut pinned = settings(child);
        pinned.mechanism = Some(wrong);
        let fault = open(pinned).await.map(drop).expect_err("pinned to another");
        assert_eq!(fault.cause, Cause::Unsupported);
        assert!(fault.to_string().contains("it goes with aes-gcm"), "{fault}");
    }
    let mut pinned = settings(child);
    pinned.mechanism = Some(Mechanism::AesGcm);
    open(pinned).await.expect("its own");
}
