//! The vector of RFC 8037, both algorithms, and the usual attacks on JWS.

use ed25519_dalek::Signer as _;

use super::*;
use crate::samples::{ed25519, p256, public};

fn token(kid: &str, payload: &[u8]) -> String {
    let input = signing_input(&public(&ed25519(1)), kid, "receipt+jws", payload).expect("writes");
    assemble(&input, &ed25519(1).sign(input.as_bytes()).to_bytes())
}

fn hand_made(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
    assemble(&input, &ed25519(1).sign(input.as_bytes()).to_bytes())
}

#[test]
fn the_signature_of_rfc_8037_appendix_a_holds() {
    let x = from_base64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("base64url");
    let key = VerifyingKey::ed25519(&x.try_into().expect("32 bytes")).expect("a key");
    let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        from_base64url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
            .expect("base64url");
    assert_eq!(key.verify(input.as_bytes(), &signature), Ok(()));
    // Its header has no kid and no typ, so it is none of our tokens.
    assert_eq!(verify(&assemble(input, &signature), &key), Err(JwsError::Header));
}

#[test]
fn tokens_of_both_algorithms_are_read_back() {
    let expected = Verified { kid: "sgk_1".into(), typ: "receipt+jws".into(), payload: b"{\"a\":1}".to_vec() };
    assert_eq!(verify(&token("sgk_1", b"{\"a\":1}"), &public(&ed25519(1))), Ok(expected.clone()));

    let key = VerifyingKey::p256(p256(2).verifying_key().to_sec1_point(false).as_bytes()).expect("a point");
    let input = signing_input(&key, "sgk_1", "receipt+jws", b"{\"a\":1}").expect("writes");
    assert!(input.starts_with(&base64url(b"{\"alg\":\"ES256\",\"kid\":\"sgk_1\",\"typ\":\"receipt+jws\"}")));
    let signature: p256::ecdsa::Signature = p256(2).sign(input.as_bytes());
    let made = assemble(&input, &signature.to_bytes());
    assert_eq!(verify(&made, &key), Ok(expected));
    assert_eq!(verify(&made, &public(&ed25519(1))), Err(JwsError::Algorithm));
}

#[test]
fn the_token_never_chooses_its_algorithm_or_adds_a_member() {
    let key = public(&ed25519(1));
    let cases = [
        (r#"{"alg":"none","kid":"k","typ":"t"}"#, JwsError::Algorithm),
        (r#"{"alg":"HS256","kid":"k","typ":"t"}"#, JwsError::Algorithm),
        (r#"{"alg":"ES256","kid":"k","typ":"t"}"#, JwsError::Algorithm),
        (r#"{"alg":"eddsa","kid":"k","typ":"t"}"#, JwsError::Algorithm),
        (r#"{"alg":"EdDSA","kid":"k","typ":"t","crit":["b64"]}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","kid":"k","typ":"t","jwk":{}}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","alg":"none","kid":"k","typ":"t"}"#, JwsError::Header),
        (r#"{"kid":"k","alg":"EdDSA","typ":"t"}"#, JwsError::Header),
        (r#"{"alg": "EdDSA","kid":"k","typ":"t"}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","kid":"k"}"#, JwsError::Header),
    ];
    for (header, error) in cases {
        assert_eq!(verify(&hand_made(header, "{}"), &key), Err(error), "{header}");
    }
    assert!(verify(&hand_made(r#"{"alg":"EdDSA","kid":"k","typ":"t"}"#, "{}"), &key).is_ok());
}

#[test]
fn every_flipped_byte_is_found() {
    let good = token("sgk_1", b"{\"consent\":\"cns\"}");
    for at in 0..good.len() {
        let mut bent = good.clone().into_bytes();
        bent[at] ^= 1;
        let bent = String::from_utf8(bent).expect("ASCII stays ASCII");
        assert!(verify(&bent, &public(&ed25519(1))).is_err(), "byte {at}");
    }
    for bad in ["", ".", "..", "a.b", &format!("{good}."), &format!("{good}="), &good.replace('.', "")] {
        assert!(verify(bad, &public(&ed25519(1))).is_err(), "{bad:?}");
    }
    assert_eq!(verify(&good, &public(&ed25519(2))), Err(JwsError::Signature));
}
