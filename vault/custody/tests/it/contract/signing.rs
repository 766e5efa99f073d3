//! The contract, fourth part: signatures, verified by another make of cryptography.

use cofre_custody::{Cause, VerifyingKey};
use p256::ecdsa::signature::Verifier;
use sha2::{Digest, Sha256};

use super::{Case, SIGNER, abilities_of, cases};
use crate::site::{Site, Wanted};

pub(super) const CASES: &[Case<Site>] = cases![
    a_signature_verifies_elsewhere,
    signing_without_a_configured_key_is_refused,
    a_missing_signing_key_is_reported,
];

const WITH_SIGNER: Wanted = Wanted { key: super::KEY, signer: Some(SIGNER) };

async fn a_signature_verifies_elsewhere(site: &Site) {
    let expected = abilities_of(site);
    let signer = site.open(WITH_SIGNER).await.expect("opens").signer().expect("a signer");
    assert_eq!(signer.public_key().algorithm(), expected.signer);
    for len in [0usize, 1, 32, 1000] {
        let message = vec![0x5a; len];
        if len < expected.signs_from {
            assert_eq!(signer.sign(&message).await.expect_err("too short there").cause, Cause::Unsupported);
            continue;
        }
        let signature = signer.sign(&message).await.expect("signs");
        let signed = if expected.digests_again { Sha256::digest(&message).to_vec() } else { message };
        assert!(verifies(signer.public_key(), &signed, &signature), "{len} bytes");
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

async fn signing_without_a_configured_key_is_refused(site: &Site) {
    let held = site.opened().await;
    assert_eq!(held.signer().map(drop).expect_err("none").cause, Cause::KeyMissing);
    assert_eq!(held.describe().signer, None);
}

async fn a_missing_signing_key_is_reported(site: &Site) {
    let wanted = Wanted { signer: Some("ledger-9"), ..WITH_SIGNER };
    assert_eq!(site.open(wanted).await.map(drop).expect_err("missing").cause, Cause::KeyMissing);
}
