//! Keys of services as the configuration has them, opened against a peer that speaks their wire form.

use cofre_envelope::{Backing, Room};
use cofre_testkit::kms::{CALLER, Kind, Kms, MOUNT};

use super::super::tokens::{self, Driver};
use super::*;
use crate::clock::SystemClock;
use crate::config::{SecretRef, TransitKey};

async fn opened(kms: &Kms, key: &str) -> Result<Driver> {
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    std::fs::write(&token, CALLER)?;
    let configured = Configured::Transit(TransitKey {
        address: kms.endpoint(),
        ca: None,
        mount: MOUNT.into(),
        key: key.into(),
        signer_key: Some(("ledger-1".into(), 1)),
        token: SecretRef::File(token),
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let slab = Slab::with_room(Backing::Mlock, Room { small: 16, large: 1 })?;
    let opened = open(&CustodianId::try_from("bao-1")?, &configured, &clock, &slab).await?;
    Ok(Driver::new(tokens::Kind::Service(opened), &clock))
}

#[tokio::test]
async fn a_key_of_a_service_opens_signs_and_closes_as_configured() {
    let kms = Kms::start().await.expect("a port");
    kms.make("root-1", Kind::Aes).expect("a key");
    kms.make("ledger-1", Kind::Ed25519).expect("a key");
    let driver = opened(&kms, "root-1").await.expect("opens");
    let is = driver.custodian().describe();
    assert_eq!((is.custodian.as_str(), is.mechanism.as_str(), is.signer), ("bao-1", "transit-aead", Some("ed25519")));
    assert!(!is.is_simulator());
    driver.custodian().check().await.expect("ready");
    driver.close().await.expect("closes");
    let closed = driver.custodian().check().await.expect_err("closed");
    assert_eq!(closed.cause, cofre_custody::Cause::Stopped);
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_what_to_do() {
    let kms = Kms::start().await.expect("a port");
    kms.make("ledger-1", Kind::Ed25519).expect("a key");
    let error = opened(&kms, "root-9").await.map(drop).expect_err("no such key").to_string();
    assert!(
        error.contains("bao-1") && error.contains("KEY_MISSING") && error.contains("nothing was deleted"),
        "{error}"
    );
}
