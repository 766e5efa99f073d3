//! What a certificate says, that anybody can verify it, and that a missing signature delays nothing else.

use cofre_ledger::jws;
use cofre_model::id::ErasureId;
use cofre_model::reason::Reason;
use cofre_model::request::Person;
use cofre_model::time::Span;
use cofre_privacy::{SCHEMA, TYPE};
use cofre_store::ErasureState;
use serde_json::Value;

use crate::support::{NOW, Node, SIGNER, auditor, front_end, node, officer, other_front_end};

fn open(node: &Node, token: &str) -> Value {
    let verified = jws::verify(token, &node.verifying_key()).expect("the signature holds");
    assert_eq!((verified.kid.as_str(), verified.typ.as_str()), (SIGNER, TYPE));
    let payload: Value = serde_json::from_slice(&verified.payload).expect("JSON");
    // Canonical: the members stand in alphabetical order.
    assert_eq!(serde_json::to_vec(&payload).expect("JSON"), verified.payload);
    payload
}

#[tokio::test]
async fn a_certificate_says_what_was_destroyed_and_what_remains() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let consent = node.consent(&gone).await;
    let erased = node.erasures().erase(&officer(), Person::Id(gone.subject)).await.expect("erased");
    let payload = open(&node, &erased.certificate.expect("signed"));
    assert_eq!(payload["schema"], SCHEMA);
    assert_eq!(payload["deployment"], "test-vault");
    assert_eq!(payload["erasure_id"], erased.id.to_string());
    assert_eq!(payload["tenant"], node.tenant().to_string());
    assert_eq!(payload["subject"], gone.subject.to_string());
    assert_eq!(payload["requested_by"], "PRIVACY_OFFICER");
    assert_eq!(payload["credentials"][0]["credential"], gone.credential.to_string());
    assert_eq!(payload["credentials"][0]["up_to_version"], 1);
    assert_eq!(payload["keys"]["count"], 2);
    assert_eq!(payload["keys"]["counted"], "AT_DESTRUCTION");
    assert_eq!(payload["accepted"]["index"], erased.entry.index);
    let hash = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(payload["accepted"]["leaf_hash"], hash(&erased.entry.leaf_hash));
    let destroyed = node.stores.records.entry(erased.entry.index + 1).await.expect("records").expect("an entry");
    assert_eq!(payload["keys_destroyed"]["leaf_hash"], hash(&destroyed.leaf_hash));
    assert_eq!(payload["backup_horizon"], NOW.plus(Span::days(30)).date());
    assert_eq!(payload["remains"]["blocked_until"], NOW.plus(Span::days(1_827)).date());
    assert_eq!(payload["remains"]["consents"], serde_json::json!([consent.to_string()]));
    assert_eq!(payload["remains"]["receipts"], 0);
    let row = node.stores.records.erasure(&erased.id).await.expect("records").expect("the row");
    assert_eq!(row.horizon, Some(NOW.plus(Span::days(30))));
    assert!(!payload.to_string().contains("inv-1"), "no pseudonym in a certificate");
}

#[tokio::test]
async fn without_the_token_everything_is_destroyed_and_the_certificate_follows() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let erasures = node.erasures();
    node.token.take_away();
    let erased = erasures.erase(&front_end(), Person::Id(gone.subject)).await.expect("erased");
    assert_eq!(erased.certificate, None);
    assert_eq!(node.opens(&gone).await, None);
    assert!(node.stores.keyring.destroyed(&gone.subject).await.expect("keyring").is_some());
    let row = node.stores.records.erasure(&erased.id).await.expect("records").expect("the row");
    assert_eq!(row.state, ErasureState::KeysDestroyed);
    let owed = erasures.certificate(&front_end(), &erased.id).await.expect_err("still away");
    assert_eq!(owed.reason(), Reason::KeyServiceUnavailable);
    let early = erasures.certificate(&auditor(), &erased.id).await.expect_err("an auditor changes nothing");
    assert_eq!(early.reason(), Reason::WrongState);
    assert_eq!(erasures.resume().await.expect("the list"), 1);

    node.token.bring_back();
    let certificate = erasures.certificate(&front_end(), &erased.id).await.expect("signed now");
    open(&node, &certificate);
    assert_eq!(erasures.certificate(&auditor(), &erased.id).await.expect("the same"), certificate);
    assert_eq!(erasures.resume().await.expect("the list"), 0);
}

#[tokio::test]
async fn a_foreign_certificate_is_as_absent_as_one_that_never_was() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let erasures = node.erasures();
    let erased = erasures.erase(&front_end(), Person::Id(gone.subject)).await.expect("erased");
    let foreign = erasures.certificate(&other_front_end(), &erased.id).await.expect_err("foreign");
    let nothing = ErasureId::from_parts(NOW.millis(), [0xee; 10]);
    let absent = erasures.certificate(&other_front_end(), &nothing).await.expect_err("absent");
    assert_eq!(foreign.reason(), Reason::NotFound);
    assert_eq!((foreign.to_string(), foreign.advice()), (absent.to_string(), absent.advice()));
    assert!(erasures.certificate(&officer(), &erased.id).await.is_ok());
}

#[tokio::test]
async fn a_changed_certificate_is_found() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let erased = node.erasures().erase(&front_end(), Person::Id(gone.subject)).await.expect("erased");
    let token = erased.certificate.expect("signed");
    let key = node.verifying_key();
    for place in (0..token.len()).step_by(token.len() / 30) {
        let mut bytes = token.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("text");
        assert!(jws::verify(&changed, &key).is_err(), "character {place} changed unseen");
    }
}
