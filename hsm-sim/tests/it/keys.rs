//! Keys: what they do, what they refuse, what never leaves.

use cryptoki::error::RvError;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use ed25519_dalek::Verifier as _;

use crate::harness::{aes, alone, code, find, load, open, ready, seal, slot};

const P256_OID: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

#[test]
fn aes_gcm_binds_text_and_associated_data() {
    alone(|_| {
        let (_module, _, session) = ready();
        let key = aes(&session, "kek");
        for len in [0, 1, 32, 4096] {
            let text = vec![0x5a; len];
            let sealed = seal(&session, key, b"context", &text).unwrap();
            assert_eq!(sealed.len(), len + 16);
            assert_eq!(open(&session, key, b"context", &sealed).unwrap(), text);
            assert_eq!(code(open(&session, key, b"other context", &sealed)), RvError::EncryptedDataInvalid);
            for at in [0, sealed.len() / 2, sealed.len() - 1] {
                let mut tampered = sealed.clone();
                tampered[at] ^= 1;
                assert_eq!(code(open(&session, key, b"context", &tampered)), RvError::EncryptedDataInvalid);
            }
        }
        assert_eq!(code(open(&session, key, b"context", &[0; 15])), RvError::EncryptedDataLenRange);
        let other = aes(&session, "other");
        let sealed = seal(&session, key, b"context", b"text").unwrap();
        assert_eq!(code(open(&session, other, b"context", &sealed)), RvError::EncryptedDataInvalid);
        let mut short_iv = [7; 8];
        let mechanism = Mechanism::AesGcm(GcmParams::new(&mut short_iv, b"", 128.into()).unwrap());
        assert_eq!(code(session.encrypt(&mechanism, key, b"text")), RvError::MechanismParamInvalid);
    });
}

/// Test case 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega), through an imported session key.
#[test]
fn aes_gcm_known_answer() {
    alone(|_| {
        let (_module, _, session) = ready();
        let unhex = |text: &str| hex::decode(text).unwrap();
        let mut template = vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Value(unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")),
            Attribute::Encrypt(true),
        ];
        let key = session.create_object(&template).unwrap();
        let mut iv = unhex("cafebabefacedbaddecaf888");
        let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let text = unhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, &aad, 128.into()).unwrap());
        let sealed = session.encrypt(&mechanism, key, &text).unwrap();
        assert_eq!(
            hex::encode(sealed),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
        );
        template.push(Attribute::Token(true));
        assert_eq!(
            code(session.create_object(&template)),
            RvError::TemplateInconsistent,
            "no lasting key comes in clear"
        );
    });
}

#[test]
fn secret_values_do_not_leave_and_usages_are_enforced() {
    alone(|_| {
        let (_module, _, session) = ready();
        let key = aes(&session, "kek");
        let wanted = [AttributeType::Value, AttributeType::Sensitive, AttributeType::Modulus];
        let info = session.get_attribute_info(key, &wanted).unwrap();
        use AttributeInfo::{Available, Sensitive, TypeInvalid};
        assert!(matches!(info.as_slice(), [Sensitive, Available(1), TypeInvalid]), "{info:?}");
        let facts = [
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::AlwaysSensitive,
            AttributeType::NeverExtractable,
            AttributeType::Sign,
            AttributeType::Wrap,
        ];
        let expected = [
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::AlwaysSensitive(true),
            Attribute::NeverExtractable(true),
            Attribute::Sign(false),
            Attribute::Wrap(false),
        ];
        assert_eq!(session.get_attributes(key, &facts).unwrap(), expected);
        let loosen = [Attribute::Extractable(true)];
        assert_eq!(code(session.update_attributes(key, &loosen)), RvError::AttributeReadOnly);
        session.update_attributes(key, &[Attribute::Label("renamed".into())]).unwrap();
        assert_eq!(find(&session, "renamed"), [key]);

        let template = [Attribute::ValueLen(32.into()), Attribute::Decrypt(true)];
        let opener = session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        assert_eq!(code(seal(&session, opener, b"", b"text")), RvError::KeyFunctionNotPermitted);
        let short = [Attribute::ValueLen(16.into())];
        assert_eq!(code(session.generate_key(&Mechanism::AesKeyGen, &short)), RvError::KeySizeRange);
        let typo = [Attribute::ValueLen(32.into()), Attribute::Modulus(vec![1])];
        assert_eq!(code(session.generate_key(&Mechanism::AesKeyGen, &typo)), RvError::AttributeTypeInvalid);

        let (public, private) = pair(&session, &Mechanism::EccEdwardsKeyPairGen, ED25519_OID, "signer");
        let info = session.get_attribute_info(private, &[AttributeType::Value]).unwrap();
        assert!(matches!(info.as_slice(), [Sensitive]), "{info:?}");
        assert_eq!(code(seal(&session, public, b"", b"text")), RvError::KeyTypeInconsistent);
        session.logout().unwrap();
        assert_eq!(code(seal(&session, key, b"", b"text")), RvError::KeyHandleInvalid);
        assert!(find(&session, "renamed").is_empty());
        assert_eq!(
            code(session.generate_key(&Mechanism::AesKeyGen, &[Attribute::ValueLen(32.into())])),
            RvError::UserNotLoggedIn
        );
    });
}

fn pair(session: &Session, mechanism: &Mechanism<'_>, curve: &[u8], label: &str) -> (ObjectHandle, ObjectHandle) {
    let public = [
        Attribute::Token(true),
        Attribute::EcParams(curve.to_vec()),
        Attribute::Verify(true),
        Attribute::Label(label.into()),
    ];
    let private = [Attribute::Token(true), Attribute::Sign(true), Attribute::Label(label.into())];
    session.generate_key_pair(mechanism, &public, &private).unwrap()
}

/// `CKA_EC_POINT` without its DER header.
fn point(session: &Session, key: ObjectHandle) -> Vec<u8> {
    match session.get_attributes(key, &[AttributeType::EcPoint]).unwrap().as_slice() {
        [Attribute::EcPoint(der)] => {
            assert_eq!(der[..2], [0x04, u8::try_from(der.len() - 2).unwrap()]);
            der[2..].to_vec()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ed25519_signatures_hold_for_another_implementation() {
    alone(|_| {
        let (_module, _, session) = ready();
        let (public, private) = pair(&session, &Mechanism::EccEdwardsKeyPairGen, ED25519_OID, "ledger");
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
        let signature = session.sign(&mechanism, private, b"checkpoint").unwrap();
        let key = ed25519_dalek::VerifyingKey::from_bytes(&point(&session, public).try_into().unwrap()).unwrap();
        let parsed = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        key.verify(b"checkpoint", &parsed).unwrap();
        assert!(key.verify(b"checkpoinT", &parsed).is_err());
        session.verify(&mechanism, public, b"checkpoint", &signature).unwrap();
        let refused = session.verify(&mechanism, public, b"checkpoinT", &signature);
        assert_eq!(code(refused), RvError::SignatureInvalid);
        assert_eq!(code(session.sign(&Mechanism::Ecdsa, private, &[0; 32])), RvError::KeyTypeInconsistent);
    });
}

#[test]
fn ecdsa_signatures_hold_for_another_implementation() {
    alone(|_| {
        let (_module, _, session) = ready();
        let (public, private) = pair(&session, &Mechanism::EccKeyPairGen, P256_OID, "ecdsa");
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point(&session, public)).unwrap();
        let signature = session.sign(&Mechanism::EcdsaSha256, private, b"message").unwrap();
        key.verify(b"message", &p256::ecdsa::Signature::from_slice(&signature).unwrap()).unwrap();
        session.verify(&Mechanism::EcdsaSha256, public, b"message", &signature).unwrap();
        let digest = [3; 32];
        let signature = session.sign(&Mechanism::Ecdsa, private, &digest).unwrap();
        session.verify(&Mechanism::Ecdsa, public, &digest, &signature).unwrap();
        assert_eq!(code(session.verify(&Mechanism::Ecdsa, public, &[4; 32], &signature)), RvError::SignatureInvalid);
        assert_eq!(code(session.sign(&Mechanism::Ecdsa, private, b"no digest")), RvError::DataLenRange);
        let wrong_curve = [Attribute::EcParams(ED25519_OID.to_vec())];
        let refused = session.generate_key_pair(&Mechanism::EccKeyPairGen, &wrong_curve, &[]);
        assert_eq!(code(refused), RvError::CurveNotSupported);
    });
}

#[test]
fn mechanisms_are_listed_with_their_key_sizes() {
    alone(|_| {
        let module = load();
        let slot = slot(&module);
        let listed = module.get_mechanism_list(slot).unwrap();
        let sizes = [
            (MechanismType::AES_KEY_GEN, 32),
            (MechanismType::AES_GCM, 32),
            (MechanismType::ECC_KEY_PAIR_GEN, 256),
            (MechanismType::ECDSA, 256),
            (MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, 255),
            (MechanismType::EDDSA, 255),
        ];
        for (mechanism, size) in sizes {
            assert!(listed.contains(&mechanism), "{mechanism}");
            assert_eq!(module.get_mechanism_info(slot, mechanism).unwrap().max_key_size(), size);
        }
        assert_eq!(code(module.get_mechanism_info(slot, MechanismType::RSA_PKCS)), RvError::MechanismInvalid);
    });
}

#[test]
fn random_bytes_differ_and_seeding_is_declined() {
    alone(|_| {
        let (_module, _, session) = ready();
        let (a, b) = (session.generate_random_vec(32).unwrap(), session.generate_random_vec(32).unwrap());
        assert_eq!((a.len(), b.len()), (32, 32));
        assert_ne!(a, b);
        assert_eq!(code(session.seed_random(b"seed")), RvError::RandomSeedNotSupported);
    });
}
