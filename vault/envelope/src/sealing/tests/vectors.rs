//! Published vectors through the functions of `kem`, which everything above them uses. Each test asserts how many
//! cases and messages it ran; the files name their origin and licence.

use hpke::aead::{Aead, AesGcm256};
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, Serializable};
use serde_json::Value;

use super::super::kem::{self, Drawn, Receiver, Sender};
use super::*;
use crate::samples::bytes;

fn cases(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).expect("the file is JSON");
    assert!(file["origin"].is_string() && file["licence"].is_string());
    file["cases"].as_array().expect("a list").clone()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the right length")
}

#[test]
fn rfc_9180_base_kem_0020_kdf_0001_aead_0002_open_and_seal_with_fixed_randomness() {
    let cases = cases(include_str!("../../../tests/vectors/hpke-rfc9180-x25519-sha256-aes256gcm.json"));
    let (mut sealed, mut opened) = (0, 0);
    for case in &cases {
        let suite = Suite::X25519;
        let (info, encapsulated) = (bytes(&case["info"]), bytes(&case["enc"]));
        let mut private = [0; 32];
        let public = kem::derive(suite, &array(&case["ikmR"]), &mut private);
        assert_eq!(public, bytes(&case["pkRm"]));
        // The library keeps the scalar clamped; the public key of both is the one of the vector.
        assert_eq!(kem::public_of(suite, &array(&case["skRm"])).expect("public"), public);
        assert_eq!(kem::public_of(suite, &private).expect("public"), public);

        let drawn = Drawn::chosen(&bytes(&case["ikmE"]));
        let (enc, mut sender) = Sender::new(suite, &public, &info, drawn).expect("set up");
        assert_eq!(enc, encapsulated);
        let mut receiver = Receiver::new(suite, &private, &encapsulated, &info).expect("set up");
        for message in case["encryptions"].as_array().expect("a list") {
            let (aad, text, cipher) = (bytes(&message["aad"]), bytes(&message["pt"]), bytes(&message["ct"]));
            let mut body = text.clone();
            assert_eq!(sender.seal(&aad, &mut body).expect("sealed"), cipher);
            sealed += 1;
            let (body, tag) = kem::split_tag(&cipher).expect("long enough");
            let mut body = body.to_vec();
            receiver.open(&aad, &mut body, tag).expect("opened");
            assert_eq!(body, text);
            opened += 1;
        }
    }
    assert_eq!((cases.len(), sealed, opened), (1, 257, 257));
}

#[test]
fn rfc_9180_shared_secret_of_kem_0020() {
    let cases = cases(include_str!("../../../tests/vectors/hpke-rfc9180-x25519-sha256-aes256gcm.json"));
    for case in &cases {
        check_shared_secret::<X25519HkdfSha256>(case);
    }
    assert_eq!(cases.len(), 1);
}

/// The KEM alone: fixed randomness gives the encapsulation and the secret, and the private key gives it back.
fn check_shared_secret<K: Kem>(case: &Value) {
    let public = K::PublicKey::from_bytes(&bytes(&case["pkRm"])).expect("a public key");
    let private = K::PrivateKey::from_bytes(&bytes(&case["skRm"])).expect("a private key");
    let mut drawn = Drawn::chosen(&bytes(&case["ikmE"]));
    let (secret, encapsulated) = K::encap_with_rng(&public, None, &mut drawn).expect("encapsulated");
    assert_eq!(encapsulated.to_bytes().to_vec(), bytes(&case["enc"]));
    assert_eq!(secret.0.to_vec(), bytes(&case["shared_secret"]));
    let back = K::decap(&private, None, &encapsulated).expect("decapsulated");
    assert_eq!(back.0.to_vec(), bytes(&case["shared_secret"]));
}

/// The draft's cases for 0x647A use other KDFs and AEADs than ours, so the KEM is tested alone here: derived pair,
/// encapsulation with fixed randomness, decapsulation.
#[test]
fn draft_ietf_hpke_pq_kem_647a_pair_encapsulation_and_shared_secret() {
    let cases = cases(include_str!("../../../tests/vectors/hpke-pq-mlkem768-x25519.json"));
    for case in &cases {
        let mut private = [0; 32];
        let public = kem::derive(Suite::MlKem768X25519, &array(&case["ikmR"]), &mut private);
        assert_eq!((public, private.to_vec()), (bytes(&case["pkRm"]), bytes(&case["skRm"])));
        check_shared_secret::<XWing>(case);
    }
    assert_eq!(cases.len(), 2);
}

/// ChaCha20-Poly1305's place in the key schedule without the cipher: the draft's only HKDF-SHA-256 case for 0x647A is
/// of that AEAD. Key and nonce have the same lengths as ours, so set-up and exporter secret are the vector's exactly;
/// nothing is encrypted with it.
struct Aead0003;

impl Aead for Aead0003 {
    type AeadImpl = <AesGcm256 as Aead>::AeadImpl;
    const AEAD_ID: u16 = 0x0003;
}

#[test]
fn draft_ietf_hpke_pq_kem_647a_kdf_0001_key_schedule_by_its_exported_secrets() {
    let cases = cases(include_str!("../../../tests/vectors/hpke-pq-mlkem768-x25519.json"));
    let mut exported = 0;
    for case in cases.iter().filter(|case| case["kdf_id"] == 1) {
        let (info, drawn) = (bytes(&case["info"]), Drawn::chosen(&bytes(&case["ikmE"])));
        let (enc, sender) = kem::setup_sender::<Aead0003, XWing>(&bytes(&case["pkRm"]), &info, drawn).expect("set up");
        let receiver = kem::setup_receiver::<Aead0003, XWing>(&array(&case["skRm"]), &enc, &info).expect("set up");
        assert_eq!((enc, &case["aead_id"]), (bytes(&case["enc"]), &Value::from(3)));
        for export in case["exports"].as_array().expect("a list") {
            let context = bytes(&export["exporter_context"]);
            let (mut ours, mut theirs) = ([0; 32], [0; 32]);
            sender.export(&context, &mut ours).expect("exported");
            receiver.export(&context, &mut theirs).expect("exported");
            assert_eq!((ours.to_vec(), theirs), (bytes(&export["exported_value"]), ours));
            exported += 1;
        }
    }
    assert_eq!(exported, 5);
}

#[test]
fn draft_connolly_cfrg_xwing_kem_all_three_cases() {
    let cases = cases(include_str!("../../../tests/vectors/xwing-kem.json"));
    for case in &cases {
        let public = kem::public_of(Suite::MlKem768X25519, &array(&case["sk"])).expect("public");
        assert_eq!(public, bytes(&case["pk"]));
        let key = <XWing as Kem>::PublicKey::from_bytes(&public).expect("a public key");
        let mut drawn = Drawn::chosen(&bytes(&case["eseed"]));
        let (secret, encapsulated) = XWing::encap_with_rng(&key, None, &mut drawn).expect("encapsulated");
        assert_eq!((encapsulated.to_bytes().to_vec(), secret.0.to_vec()), (bytes(&case["ct"]), bytes(&case["ss"])));
        let private = <XWing as Kem>::PrivateKey::from_bytes(&bytes(&case["sk"])).expect("a private key");
        assert_eq!(XWing::decap(&private, None, &encapsulated).expect("decapsulated").0.to_vec(), bytes(&case["ss"]));
    }
    assert_eq!(cases.len(), 3);
}

/// Randomness that runs out must end the set-up: nothing may be sealed under zeros.
#[test]
fn a_short_draw_seals_nothing() {
    use hpke::rand_core::TryRng;
    let pair = WorkerKeyPair::generate(Suite::MlKem768X25519).expect("pair");
    let mut drawn = Drawn::fresh().expect("randomness");
    drawn.try_next_u32().expect("infallible");
    let refused = Sender::new(Suite::MlKem768X25519, pair.public().as_bytes(), b"info", drawn);
    assert_eq!(refused.err(), Some(Error::Randomness));
}
