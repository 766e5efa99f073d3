//! Receipts under the pinned signer, and every way one can be about something else.

use super::*;
use crate::samples::{ed25519, signer};
use ed25519_dalek::Signer as _;

fn consent() -> ConsentId {
    ConsentId::from_parts(1, [1; 10])
}

fn paper(seed: u8, typ: &str, content: &Value) -> String {
    let key = signer(seed);
    let input = jws::signing_input(key.key(), key.name(), typ, content.to_string().as_bytes()).expect("a header");
    jws::assemble(&input, &ed25519(seed).sign(input.as_bytes()).to_bytes())
}

fn about(state: &str, prev: Option<&str>) -> Value {
    let prev = prev.map(|jws| hex::encode(sha256(jws.as_bytes())));
    serde_json::json!({ "consent_id": consent().to_string(), "state": state, "prev": prev })
}

#[test]
fn a_receipt_holds_for_its_consent_state_and_signer_only() {
    let jws = paper(1, RECEIPT, &about("ACTIVE", None));
    let verified = receipt(&jws, &signer(1), &consent(), Some(ConsentState::Active)).expect("holds");
    assert_eq!(verified.text("state"), Some("ACTIVE"));
    let other = ConsentId::from_parts(2, [1; 10]);
    for refused in [
        receipt(&jws, &signer(2), &consent(), None),
        receipt(&jws, &signer(1), &other, None),
        receipt(&jws, &signer(1), &consent(), Some(ConsentState::Revoked)),
        receipt(&paper(1, "other+jws", &about("ACTIVE", None)), &signer(1), &consent(), None),
        receipt(&jws.replace('.', ".A"), &signer(1), &consent(), None),
    ] {
        assert_eq!(refused, Err(NotVerified::Paper));
    }
}

#[test]
fn receipts_form_a_chain_or_none() {
    let first = paper(1, RECEIPT, &about("ACTIVE", None));
    let second = paper(1, RECEIPT, &about("REVOKED", Some(&first)));
    let whole = receipts(&[first.clone(), second.clone()], &signer(1), &consent()).expect("a chain");
    assert_eq!(whole.len(), 2);
    for broken in [vec![second.clone()], vec![second.clone(), first.clone()], vec![first.clone(), first]] {
        assert_eq!(receipts(&broken, &signer(1), &consent()), Err(NotVerified::PaperChain));
    }
}

#[test]
fn a_certificate_names_its_erasure() {
    let erasure = ErasureId::from_parts(1, [3; 10]);
    let content = serde_json::json!({ "erasure_id": erasure.to_string() });
    let jws = paper(1, CERTIFICATE, &content);
    assert!(certificate(&jws, &signer(1), &erasure).is_ok());
    assert!(certificate(&jws, &signer(2), &erasure).is_err());
    assert!(certificate(&jws, &signer(1), &ErasureId::from_parts(2, [3; 10])).is_err());
    assert!(certificate(&paper(1, RECEIPT, &content), &signer(1), &erasure).is_err());
}
