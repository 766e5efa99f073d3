//! One PIN: the token key sealed under Argon2id(PIN). The PIN is right when the key opens; no hash of it is kept.

use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_PIN_INCORRECT};
use serde::{Deserialize, Serialize};

use super::Role;
use crate::crypto::{self, PinCost, Secret};
use crate::rv::{Answer, Rv, fail};

/// What the token file holds for one role.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinRecord {
    #[serde(with = "hex::serde")]
    salt: [u8; 16],
    cost: PinCost,
    #[serde(with = "hex::serde")]
    nonce: [u8; crypto::NONCE_LEN],
    #[serde(with = "hex::serde")]
    sealed_key: Vec<u8>,
    /// Wrong PINs since the last right one.
    pub(super) failures: u32,
}

impl PinRecord {
    pub(super) fn seal(serial: &str, role: Role, pin: &[u8], token_key: &Secret) -> Answer<Self> {
        let salt = crypto::random_array()?;
        let nonce = crypto::random_array()?;
        let cost = PinCost::DEFAULT;
        let pin_key = crypto::pin_key(pin, &salt, cost)?;
        let sealed_key = crypto::seal(&pin_key, nonce, &context(serial, role), token_key)?;
        Ok(Self { salt, cost, nonce, sealed_key, failures: 0 })
    }

    /// # Errors
    /// `CKR_PIN_INCORRECT` when the token key does not open.
    pub(super) fn open(&self, serial: &str, role: Role, pin: &[u8]) -> Answer<Secret> {
        let pin_key = crypto::pin_key(pin, &self.salt, self.cost)?;
        let key = crypto::open(&pin_key, self.nonce, &context(serial, role), &self.sealed_key, Rv(CKR_PIN_INCORRECT))?;
        if key.len() != crypto::AES_KEY_LEN {
            return fail(CKR_DEVICE_ERROR);
        }
        Ok(key)
    }
}

/// A record moved to another token or role does not open.
fn context(serial: &str, role: Role) -> Vec<u8> {
    let role = match role {
        Role::So => "so",
        Role::User => "user",
    };
    format!("cofre-hsm-sim/v1/pin/{role}/{serial}").into_bytes()
}
