//! Records of keys that are other than their plan and mechanism make them, each way of it.

use super::super::tests::{body, both, pair, secret, wraps};
use super::*;
use crate::ceremony::Record;
use crate::note::NoteKey;
use crate::samples::note_key;

/// What an object says.
type Said = Vec<(String, String)>;

fn refused(change: impl FnOnce(&mut Body)) -> CeremonyError {
    let mut body = body(both());
    change(&mut body);
    Record::of(body).expect_err("refused")
}

fn unlike(change: impl FnOnce(&mut Body), words: &str) {
    let why = refused(change);
    assert!(matches!(why, CeremonyError::Unlike { .. }), "{why:?}");
    assert!(why.to_string().contains(words), "{words} is not in: {why}");
}

#[test]
fn a_record_off_its_plan_is_not_written() {
    let off = |line, change: &dyn Fn(&mut Body)| assert_eq!(refused(change), CeremonyError::OffPlan(line));
    off("keys", &|body| drop(body.keys.pop()));
    off("keys", &|body| body.keys[0].label = "root-2".into());
    off("keys", &|body| body.keys.swap(0, 1));
    off("keys", &|body| body.keys.push(body.keys[1].clone()));
    off("plan", &|body| {
        let (key, planned) = (body.keys[0].clone(), body.plan.keys[0].clone());
        body.keys.insert(0, key);
        body.plan.keys.insert(0, planned);
    });
    off("verifier-key", &|body| body.verifier_key = Some(note_key(9)));
    off("verifier-key", &|body| body.verifier_key = None);
    // The plan allows AES-GCM alone for wrapping, and Ed25519 or P-256 for signing.
    off("mechanism", &|body| (body.mechanism, body.witness) = ("aes-kwp".into(), vec![7; 72]));
    off("mechanism", &|body| body.mechanism = "aes-cbc".into());
    off("mechanism", &|body| body.plan.keys[1].mechanism = "ecdsa-p256-sha256".into());
    off("place", &|body| body.plan.place = "gcp-kms https://kms".into());
    off("module-sha256", &|body| body.plan.module_sha256 = "-".into());
    off("witness", &|body| body.witness.push(7));
    off("token-label", &|body| body.token[0] = "other".into());
    off("token-serial", &|body| body.plan.place = "token serial 0f3a91c3".into());
    off("verifier-key", &|body| {
        let key = body.verifier_key.as_ref().map(|key| key.key().clone()).expect("it signs");
        body.verifier_key = Some(NoteKey::new("other.test/ledger", key).expect("a name"));
    });
    let mut by_serial = body(both());
    by_serial.plan.place = "token serial 0f3a91c2".into();
    assert!(Record::of(by_serial).is_ok());
}

#[test]
fn a_key_of_another_kind_is_refused() {
    unlike(|body| body.keys[0].kind = "AES-128".into(), "kind is not AES-256");
    unlike(|body| body.keys[1].kind = "ecdsa-p256-sha256".into(), "kind is not ed25519");
    unlike(|body| body.keys[0].public = Some(vec![1; 384]), "public half");
    unlike(|body| body.keys[1].check_value = Some(vec![1, 2, 3]), "check value");
    unlike(|body| drop(body.keys[1].objects.pop()), "objects are not: private, public");
    unlike(|body| body.keys[0].objects[0].class = "service".into(), "objects are not: secret");
    unlike(|body| body.keys[0].objects.clear(), "objects are not: secret");
}

/// Each attribute that a key has is left out, said twice, said otherwise, and one is said too many.
#[test]
fn every_attribute_is_there_once_and_as_it_has_to_be() {
    let good = body(both());
    let mut tried = 0;
    for (k, key) in good.keys.iter().enumerate() {
        for (o, object) in key.objects.iter().enumerate() {
            for (a, (name, value)) in object.attributes.iter().enumerate() {
                let with = |change: &dyn Fn(&mut Said)| {
                    let why = refused(|body| change(&mut body.keys[k].objects[o].attributes));
                    let named = matches!(why, CeremonyError::Loose(_)) == STAYS.contains(&name.as_str());
                    assert!(named, "{name}: {why}");
                };
                let other = if value == "true" { "false" } else { "true" };
                with(&|attributes| drop(attributes.remove(a)));
                with(&|attributes| attributes.push((name.clone(), value.clone())));
                with(&|attributes| attributes.push((name.clone(), other.to_owned())));
                with(&|attributes| attributes.insert(0, (name.clone(), other.to_owned())));
                with(&|attributes| attributes[a].1 = other.to_owned());
                tried += 1;
            }
            let trusted = ("CKA_WRAP_WITH_TRUSTED".to_owned(), "false".to_owned());
            unlike(|body| body.keys[k].objects[o].attributes.push(trusted), "CKA_WRAP_WITH_TRUSTED is no attribute");
        }
    }
    assert_eq!(tried, 18 + 14 + 10);
}

#[test]
fn keys_of_the_other_mechanisms_are_held_to_theirs() {
    let with = |mechanism: &str, witness: usize, key: Key| {
        let mut body = body(both());
        body.plan.keys[0].mechanism = "aes-gcm or aes-kwp or rsa-oaep-sha256".into();
        (body.mechanism, body.witness) = (mechanism.into(), vec![7; witness]);
        body.keys[0] = key;
        Record::of(body).map(drop)
    };
    let ends = ["CKA_SIGN false", "CKA_VERIFY false", "CKA_VALUE_LEN 32"];
    let kwp = ["CKA_ENCRYPT false", "CKA_DECRYPT false", "CKA_WRAP true", "CKA_UNWRAP true"];
    let kwp = wraps(vec![secret(&[&kwp[..], &ends].concat())]);
    assert_eq!(with("aes-kwp", 72, kwp.clone()), Ok(()));
    assert!(matches!(with("aes-gcm", 92, kwp), Err(CeremonyError::Unlike { .. })));
    let rsa = |bytes| Key {
        kind: "RSA-3072".into(),
        public: Some(vec![0xc1; bytes]),
        check_value: None,
        ..wraps(pair(
            "root-1",
            ["CKA_DECRYPT true", "CKA_SIGN false", "CKA_UNWRAP false"],
            ["CKA_ENCRYPT true", "CKA_VERIFY false", "CKA_WRAP false"],
        ))
    };
    assert_eq!(with("rsa-oaep-sha256", 384, rsa(384)), Ok(()));
    assert!(matches!(with("rsa-oaep-sha256", 384, rsa(256)), Err(CeremonyError::Unlike { .. })));
}

#[test]
fn keys_of_services_are_held_to_what_their_service_says() {
    let digest = "ab".repeat(32);
    let aws = "KeyState Enabled,KeyUsage ENCRYPT_DECRYPT,Origin AWS_KMS,KeyManager CUSTOMER,MultiRegion false,\
               witness-key arn:k";
    let gcp = "purpose ENCRYPT_DECRYPT,primary arn:k/cryptoKeyVersions/2,state ENABLED,protectionLevel HSM,\
               importOnly false,importJob none,rotates false,witness-key arn:k/cryptoKeyVersions/2";
    let bao = "type aes256-gcm96,derived true,exportable false,allow_plaintext_backup false,imported_key false,witness-key arn:k:v3";
    let with = |mechanism: &str, place: &str, kind: &str, told: &str| {
        let mut body = body(both());
        (body.plan.place, body.plan.module_sha256) = (place.into(), "-".into());
        (body.plan.keys[0].label, body.plan.keys[0].mechanism) = ("arn:k".into(), mechanism.into());
        let pair = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut attributes: Vec<_> = told.split(',').filter_map(pair).collect();
        attributes.push((WITNESS_SHA256.into(), digest.clone()));
        let object = Object { class: "service".into(), attributes };
        body.mechanism = mechanism.into();
        body.keys[0] = Key { label: "arn:k".into(), kind: kind.into(), check_value: None, ..wraps(vec![object]) };
        body.keys[1].objects = vec![Object { class: "service".into(), attributes: Vec::new() }];
        Record::of(body).map(|record| record.body().witness_sha256())
    };
    let rows = [
        ("aws-kms", "aws-kms https://kms", "SYMMETRIC_DEFAULT", aws),
        ("gcp-kms", "gcp-kms https://kms", "GOOGLE_SYMMETRIC_ENCRYPTION", gcp),
        ("transit-derived", "transit https://bao", "aes256-gcm96", bao),
    ];
    for (mechanism, place, kind, told) in rows {
        assert_eq!(with(mechanism, place, kind, told), Ok(Some([0xab; 32])), "{mechanism}");
        let unlike = |told: &str| {
            let why = with(mechanism, place, kind, told).expect_err("refused");
            assert!(matches!(why, CeremonyError::Unlike { .. }), "{told}: {why}");
        };
        for line in told.split(',') {
            unlike(&told.replace(&format!("{line},"), "").replace(&format!(",{line}"), ""));
            unlike(&format!("{told},{line}"));
        }
        unlike(&told.replace("witness-key arn:k", "witness-key arn:j"));
        unlike(&format!("{told},alias a"));
        assert_eq!(
            with(mechanism, "token label cofre", kind, told),
            Err(CeremonyError::OffPlan("place")),
            "a token is no service"
        );
    }
    // Made elsewhere, and brought there.
    for (from, to) in [("AWS_KMS", "EXTERNAL"), ("AWS_KMS", "EXTERNAL_KEY_STORE"), ("AWS_KMS", "not said")] {
        assert!(with("aws-kms", "aws-kms https://kms", "SYMMETRIC_DEFAULT", &aws.replace(from, to)).is_err(), "{to}");
    }
    for (from, to) in [("importOnly false", "importOnly true"), ("importJob none", "importJob projects/p/importJobs/j")]
    {
        let told = gcp.replace(from, to);
        assert!(with("gcp-kms", "gcp-kms https://kms", "GOOGLE_SYMMETRIC_ENCRYPTION", &told).is_err(), "{to}");
    }
    let bao_with = |said: &str| {
        let told = bao.replace("imported_key false", &format!("imported_key {said}"));
        with("transit-derived", "transit https://bao", "aes256-gcm96", &told).is_ok()
    };
    assert_eq!(["false", "not said", "true", "unknown"].map(bao_with), [true, true, false, false]);
    let derives = bao.replace("derived true", "derived false");
    assert!(with("transit-derived", "transit https://bao", "aes256-gcm96", &derives).is_err());
}
