//! Probes of what a token does with keys: making and keeping them, wrapping shares and wrapping keys.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::{GcmMessageParams, GeneratorFunction};
use cryptoki::mechanism::hkdf::{HkdfParams, HkdfSalt};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType, MessageParam};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use super::probes::{Bench, CONTEXT, Found, NONCE, PLAIN, YES, gcm, refused, same};

pub(super) fn stays(bench: &Bench) -> Found {
    let key = bench.cipher()?;
    let shown = bench.session.get_attributes(key, &[AttributeType::Value])?;
    let kept = bench.session.get_attributes(key, &[AttributeType::Sensitive, AttributeType::Extractable])?;
    let as_asked = [Attribute::Sensitive(true), Attribute::Extractable(false)].iter().all(|want| kept.contains(want));
    Ok(if as_asked && shown.is_empty() { YES.to_owned() } else { format!("{} values shown", shown.len()) })
}

pub(super) fn extractable_later(bench: &Bench) -> Found {
    let key = bench.cipher()?;
    refused(bench.session.update_attributes(key, &[Attribute::Extractable(true)]))
}

/// By whichever way the token knows.
pub(super) fn wrapped_out(bench: &Bench) -> Found {
    let (by, _) = bench.wrapping()?;
    let key = bench.cipher()?;
    let ways = [Mechanism::AesKeyWrap, kwp_210b()];
    let known = |answer: &Result<_, Error>| !matches!(answer, Err(Error::Pkcs11(RvError::MechanismInvalid, _)));
    let answer = ways.iter().map(|way| bench.session.wrap_key(way, by, key)).find(known);
    refused(answer.expect("a way to wrap keys"))
}

/// The usages of a key whose template names none.
pub(super) fn unsaid_usages(bench: &Bench) -> Found {
    let key = bench.aes(&[])?;
    let mut allowed = Vec::new();
    for (usage, word) in [
        (AttributeType::Encrypt, "encrypt"),
        (AttributeType::Decrypt, "decrypt"),
        (AttributeType::Sign, "sign"),
        (AttributeType::Verify, "verify"),
        (AttributeType::Wrap, "wrap"),
        (AttributeType::Unwrap, "unwrap"),
        (AttributeType::Derive, "derive"),
    ] {
        let said = bench.session.get_attributes(key, &[usage])?;
        let yes = said.iter().any(|attribute| match attribute {
            Attribute::Encrypt(yes)
            | Attribute::Decrypt(yes)
            | Attribute::Sign(yes)
            | Attribute::Verify(yes)
            | Attribute::Wrap(yes)
            | Attribute::Unwrap(yes)
            | Attribute::Derive(yes) => *yes,
            other => panic!("asked for {word}, got {other:?}"),
        });
        allowed.extend(yes.then_some(word));
    }
    Ok(if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") })
}

pub(super) fn gcm_with_context(bench: &Bench) -> Found {
    let key = bench.cipher()?;
    let sealed = bench.seal(key, CONTEXT)?;
    assert_eq!(sealed.len(), PLAIN.len() + 16);
    same(&bench.open(key, CONTEXT, &sealed)?, PLAIN)
}

pub(super) fn another_context(bench: &Bench) -> Found {
    let key = bench.cipher()?;
    refused(bench.open(key, b"another one", &bench.seal(key, CONTEXT)?))
}

pub(super) fn shorter_than_a_tag(bench: &Bench) -> Found {
    let key = bench.cipher()?;
    refused(bench.open(key, CONTEXT, &bench.seal(key, CONTEXT)?[..8]))
}

pub(super) fn sound_after_a_refusal(bench: &Bench) -> Found {
    let key = bench.cipher()?;
    let sealed = bench.seal(key, CONTEXT)?;
    bench.open(key, b"another one", &sealed).expect_err("another context");
    same(&bench.open(key, CONTEXT, &sealed)?, PLAIN)
}

/// Through the message calls of PKCS#11 3.0: the token makes the nonce and hands it out.
pub(super) fn nonce_of_the_token(bench: &Bench) -> Found {
    let key = bench.cipher()?;
    let nonces: Vec<[u8; 12]> = (0..2).map(|_| sealed_by_message(bench, key)).collect::<Result<_, Error>>()?;
    assert!(nonces[0] != nonces[1] && nonces.iter().all(|nonce| *nonce != [0; 12]), "no fresh nonce: {nonces:?}");
    Ok(YES.to_owned())
}

/// Seals a message, opens it with the plain calls and answers its nonce.
fn sealed_by_message(bench: &Bench, key: ObjectHandle) -> Result<[u8; 12], Error> {
    let (mut nonce, mut tag) = ([0; 12], [0; 16]);
    let made = GcmMessageParams::new(&mut nonce, 0.into(), GeneratorFunction::GenerateRandom, &mut tag)?;
    bench.session.message_encrypt_init(&Mechanism::AesGcmMessage(made), key)?;
    let body = bench.session.encrypt_message(&MessageParam::AesGcmMessage(made), CONTEXT, PLAIN)?;
    bench.session.message_encrypt_final()?;
    let opened = bench.session.decrypt(&gcm(&mut nonce.to_owned(), CONTEXT)?, key, &[body, tag.to_vec()].concat())?;
    assert_eq!(opened, PLAIN);
    Ok(nonce)
}

pub(super) fn wraps_by_gcm(bench: &Bench) -> Found {
    wraps(bench, &gcm(&mut NONCE.to_owned(), CONTEXT)?)
}

pub(super) fn wraps_by_kw(bench: &Bench) -> Found {
    wraps(bench, &Mechanism::AesKeyWrap)
}

pub(super) fn wraps_by_kwp_210a(bench: &Bench) -> Found {
    wraps(bench, &Mechanism::AesKeyWrapPad)
}

pub(super) fn wraps_by_kwp_210b(bench: &Bench) -> Found {
    wraps(bench, &kwp_210b())
}

/// `CKM_AES_KEY_WRAP_KWP`, which the binding does not know by name.
fn kwp_210b() -> Mechanism<'static> {
    // SAFETY: MechanismType is `repr(transparent)` over this integer, and every value of it is a valid one.
    #[expect(unsafe_code, reason = "the binding offers no other way to say 0x210B")]
    let kwp = unsafe { std::mem::transmute::<std::ffi::c_ulong, MechanismType>(0x210B) };
    Mechanism::VendorDefined(VendorDefinedMechanism::new::<()>(kwp, None))
}

/// Wraps a key out and back in: the copy opens what the key sealed.
fn wraps(bench: &Bench, mechanism: &Mechanism<'_>) -> Found {
    let (by, key) = bench.wrapping()?;
    let wrapped = bench.session.wrap_key(mechanism, by, key)?;
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    let copy = bench.session.unwrap_key(mechanism, by, &wrapped, &template)?;
    same(&bench.open(copy, CONTEXT, &bench.seal(key, CONTEXT)?)?, PLAIN)
}

pub(super) fn oaep_sha256(bench: &Bench) -> Found {
    oaep(bench, MechanismType::SHA256, PkcsMgfType::MGF1_SHA256)
}

pub(super) fn oaep_sha1(bench: &Bench) -> Found {
    oaep(bench, MechanismType::SHA1, PkcsMgfType::MGF1_SHA1)
}

fn oaep(bench: &Bench, digest: MechanismType, mask: PkcsMgfType) -> Found {
    let public = [
        Attribute::Token(false),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(true),
    ];
    let private = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
    ];
    let (public, private) = bench.session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
    let mechanism = Mechanism::RsaPkcsOaep(PkcsOaepParams::new(digest, mask, PkcsOaepSource::empty()));
    let sealed = bench.session.encrypt(&mechanism, public, PLAIN)?;
    same(&bench.session.decrypt(&mechanism, private, &sealed)?, PLAIN)
}

/// Two derivations of one name give the same key, of another name another.
pub(super) fn hkdf(bench: &Bench) -> Found {
    let template = [
        Attribute::ValueLen(32.into()),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Derive(true),
    ];
    let base = bench.session.generate_key(&Mechanism::GenericSecretKeyGen, &template)?;
    let derive = |info: &'static [u8]| {
        let params = HkdfParams::new(MechanismType::SHA256, Some(HkdfSalt::Null), Some(info));
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(false),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        bench.session.derive_key(&Mechanism::HkdfDerive(params), base, &template)
    };
    let (one, again, other) = (derive(b"one")?, derive(b"one")?, derive(b"other")?);
    let sealed = bench.seal(one, CONTEXT)?;
    bench.open(other, CONTEXT, &sealed).expect_err("a key of another name");
    same(&bench.open(again, CONTEXT, &sealed)?, PLAIN)
}
