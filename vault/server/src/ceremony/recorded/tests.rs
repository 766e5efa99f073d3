//! Records beside configurations that say the same of the same keys in other words, and that say something else.

#![allow(clippy::expect_used, reason = "a test that cannot go on stops")]

use cofre_custody::Pending;
use cofre_ledger::ceremony::{Key, PlannedKey};
use cofre_model::time::Timestamp;
use cofre_testkit::custody::Signs;

use super::*;

fn planned(place: &str, wraps: &str, signs: &str) -> Plan {
    let key = |used_to, label: &str, mechanism: &str| PlannedKey {
        used_to,
        label: label.to_owned(),
        mechanism: mechanism.to_owned(),
    };
    Plan {
        deployment: "cofre.test".into(),
        custodian: "hsm-1".into(),
        place: place.into(),
        module_sha256: "07".repeat(32),
        people: 2,
        keys: vec![key(Use::Wrap, "root-1", wraps), key(Use::Sign, "ledger-1", signs)],
    }
}

fn body() -> Body {
    let key = |used_to, label: &str, kind: &str| Key {
        used_to,
        label: label.to_owned(),
        kind: kind.to_owned(),
        public: None,
        check_value: None,
        objects: Vec::new(),
    };
    Body {
        at: Timestamp::from_secs(1_790_000_000),
        tool: "cofred 0.1.0".into(),
        plan: planned("token label cofre", "aes-gcm or aes-kwp", "ed25519"),
        token: ["cofre", "0f3a91c2", "Maker", "Model"].map(str::to_owned),
        mechanism: "aes-gcm".into(),
        why: "it does".into(),
        witness: vec![7; 92],
        verifier_key: None,
        keys: vec![key(Use::Wrap, "root-1", "AES-256"), key(Use::Sign, "ledger-1", "ed25519")],
        approvals: Vec::new(),
    }
}

/// A release that knows one mechanism more, a configuration that was tightened to what the key is, the token's other name.
#[test]
fn the_same_keys_are_the_same_in_other_words() {
    for now in [
        planned("token label cofre", "aes-gcm or aes-kwp", "ed25519"),
        planned("token label cofre", "aes-xts or aes-gcm or aes-kwp", "ml-dsa-65 or ed25519"),
        planned("token label cofre", "aes-gcm", "ed25519"),
        planned("token serial 0f3a91c2", "aes-gcm", "ed25519"),
    ] {
        assert_eq!(unlike(&body(), &now), None, "{now:?}");
    }
    let mut by_serial = body();
    by_serial.plan.place = "token serial 0f3a91c2".into();
    assert_eq!(unlike(&by_serial, &planned("token label cofre", "aes-gcm", "ed25519")), None);
}

#[test]
fn other_keys_are_named_as_each_side_says_them() {
    let good = || planned("token label cofre", "aes-gcm", "ed25519");
    let differs = |now: Plan, then: &str, words: &str| {
        assert_eq!(unlike(&body(), &now), Some((then.to_owned(), words.to_owned())));
    };
    let place = |place: &str| Plan { place: place.into(), ..good() };
    differs(place("token label other"), "place token label cofre", "place token label other");
    differs(place("token serial 0f3a91c3"), "place token label cofre", "place token serial 0f3a91c3");
    differs(place("transit https://bao"), "place token label cofre", "place transit https://bao");
    let wraps = planned("token label cofre", "aes-kwp or rsa-oaep-sha256", "ed25519");
    differs(wraps, "key wrap root-1 mechanism aes-gcm", "key wrap root-1 mechanism aes-kwp or rsa-oaep-sha256");
    let signs = planned("token label cofre", "aes-gcm", "ecdsa-p256-sha256");
    differs(signs, "key sign ledger-1 mechanism ed25519", "key sign ledger-1 mechanism ecdsa-p256-sha256");
    let with = |change: fn(&mut Vec<PlannedKey>)| {
        let mut plan = good();
        change(&mut plan.keys);
        plan
    };
    differs(with(|keys| drop(keys.pop())), "key sign ledger-1", "no more keys");
    differs(with(|keys| keys[0].label = "root-2".into()), "key wrap root-1", "key wrap root-2");
    differs(with(|keys| keys.swap(0, 1)), "key wrap root-1", "key sign ledger-1");
    differs(with(|keys| keys.push(keys[1].clone())), "no more keys", "key sign ledger-1");
    // A service is named by its address, and by nothing that it says of itself.
    let mut service = body();
    service.plan.place = "transit https://bao".into();
    assert!(unlike(&service, &good()).is_some());
}

/// The public half of one key, and the private one of another.
#[derive(Debug)]
struct TwoHalves(VerifyingKey, std::sync::Arc<Signs>);

impl Signer for TwoHalves {
    fn public_key(&self) -> &VerifyingKey {
        &self.0
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        self.1.sign(message)
    }
}

#[tokio::test]
async fn a_public_half_that_was_put_there_signs_nothing() {
    let id = CustodianId::try_from("hsm-1").expect("a name");
    let (recorded, other) = (Signs::new(id.clone(), &[1; 32]), Signs::new(id.clone(), &[2; 32]));
    seen_to_sign(&id, &*recorded).await.expect("the key");
    let why = seen_to_sign(&id, &TwoHalves(*recorded.public_key(), other)).await.expect_err("another");
    assert!(format!("{why:#}").contains("KEY_MISSING"), "{why:#}");
    recorded.take_away();
    assert!(seen_to_sign(&id, &*recorded).await.is_err());
}
