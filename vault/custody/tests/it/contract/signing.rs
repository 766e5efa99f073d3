//! The contract, fourth part: signatures, verified by another make of cryptography.

use cofre_custody::{Cause, Signer, VerifyingKey};
use p256::ecdsa::signature::Verifier;

use super::{Case, SIGNER, abilities, cases, open, opened, refusal, settings};
use crate::bench::Child;

pub(super) const CASES: &[Case] = cases![
    a_signature_verifies_elsewhere,
    signing_without_a_configured_key_is_refused,
    a_missing_signing_key_is_reported,
];

async fn a_signature_verifies_elsewhere(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let signer = open(settings).await.expect("opens").signer().expect("a signer");
    assert_eq!(signer.public_key().algorithm(), abilities(child.kind).signer);
    for len in [0usize, 1, 32, 1000] {
        let message = vec![0x5a; len];
        let signature = signer.sign(&message).await.expect("signs");
        assert!(verifies(signer.public_key(), &message, &signature), "{len} bytes");
        assert!(!verifies(signer.public_key(), b"another message", &signature));
    }
}

fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    match key {
        VerifyingKey::Ed25519(bytes) => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).expect("a point");
            key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
        }
        VerifyingKey::P256(point) => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).expect("a point");
            key.verify(message, &p256::ecdsa::Signature::from_slice(signature).expect("r and s")).is_ok()
        }
    }
}

async fn signing_without_a_configured_key_is_refused(child: &Child) {
    assert_eq!(opened(child).await.signer().map(drop).expect_err("none").cause, Cause::KeyMissing);
}

async fn a_missing_signing_key_is_reported(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some("ledger-9".into());
    assert_eq!(refusal(settings).await, Cause::KeyMissing);
}
