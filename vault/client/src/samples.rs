//! Keys and parties of this crate's tests.

use cofre_ledger::note::NoteKey;
use cofre_ledger::signed::VerifyingKey;
use cofre_model::time::{Clock, Monotonic, Timestamp};
use ed25519_dalek::SigningKey;

pub(crate) const ORIGIN: &str = "cofre.test/ledger";
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

/// A clock that stands.
#[derive(Debug)]
pub(crate) struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        NOW
    }
    fn monotonic(&self) -> Monotonic {
        Monotonic::default()
    }
}

pub(crate) fn ed25519(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The deployment's signer of seed 1 is the pinned one.
pub(crate) fn signer(seed: u8) -> NoteKey {
    let key = VerifyingKey::ed25519(ed25519(seed).verifying_key().as_bytes()).expect("a key");
    NoteKey::new(ORIGIN, key).expect("a name")
}
