//! Envelope v1: the one construction that seals fields and wraps keys at rest.
//!
//! ```text
//! sealed = suite(1) ‖ salt(32) ‖ commitment(32) ‖ ciphertext ‖ tag(16)
//! okm    = HKDF-SHA-512(key, salt, "cofre/v1" ‖ suite ‖ context, 76) = aead key(32) ‖ nonce(12) ‖ commitment(32)
//! ```
//! Both directions work in place in one slot of locked memory. Nothing is handed on before its tag was checked, and
//! a slot that failed is wiped by being dropped.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::error::Error;
use crate::keys::KeyBytes;
use crate::primitive::{aes256gcm_open, aes256gcm_seal, hkdf_sha512};
use crate::random;
use crate::slab::{Slab, Slot};

/// HKDF-SHA-512, AES-256-GCM, committed.
pub(crate) const SUITE: u8 = 0x01;
/// What a sealed thing is longer than its plaintext.
pub(crate) const OVERHEAD: usize = 1 + 32 + 32 + 16;
const LABEL: &[u8] = b"cofre/v1";

/// What one key gives for one salt and context, in locked memory.
struct Derived(Slot);

/// The parts of a [`Derived`], borrowed from its slot.
struct Parts<'a> {
    key: &'a [u8; 32],
    nonce: &'a [u8; 12],
    commitment: &'a [u8; 32],
}

impl Derived {
    fn new(key: &KeyBytes, salt: &[u8; 32], context: &[u8]) -> Result<Self, Error> {
        let mut okm = key.slab().take(76)?;
        hkdf_sha512(key.expose(), salt, &[LABEL, &[SUITE], context], okm.bytes_mut())?;
        Ok(Self(okm))
    }

    fn parts(&self) -> Result<Parts<'_>, Error> {
        let (key, rest) = self.0.bytes().split_first_chunk().ok_or(Error::Truncated)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(Error::Truncated)?;
        let commitment = rest.first_chunk().ok_or(Error::Truncated)?;
        Ok(Parts { key, nonce, commitment })
    }
}

/// Seals what stands in `body`, in place, under a fresh salt. The slot is consumed: afterwards it held ciphertext only.
pub(crate) fn seal(key: &KeyBytes, context: &[u8], body: Slot) -> Result<Vec<u8>, Error> {
    seal_with_salt(key, context, body, &random::array()?)
}

/// Seals under a given salt. Apart from [`seal`], only the pinned vectors may choose one.
fn seal_with_salt(key: &KeyBytes, context: &[u8], mut body: Slot, salt: &[u8; 32]) -> Result<Vec<u8>, Error> {
    let derived = Derived::new(key, salt, context)?;
    let Parts { key, nonce, commitment } = derived.parts()?;
    let tag = aes256gcm_seal(key, nonce, &[&[SUITE], context], body.bytes_mut())?;
    let mut sealed = Vec::with_capacity(OVERHEAD + body.bytes().len());
    sealed.push(SUITE);
    sealed.extend_from_slice(salt);
    sealed.extend_from_slice(commitment);
    sealed.extend_from_slice(body.bytes());
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens into a fresh slot, in place. On any failure the slot is wiped before the error is seen.
pub(crate) fn open(key: &KeyBytes, context: &[u8], sealed: &[u8], slab: &Arc<Slab>) -> Result<Slot, Error> {
    let (suite, rest) = sealed.split_first().ok_or(Error::Truncated)?;
    if *suite != SUITE {
        return Err(Error::UnknownSuite);
    }
    let (salt, rest) = rest.split_first_chunk::<32>().ok_or(Error::Truncated)?;
    let (claimed, rest) = rest.split_first_chunk::<32>().ok_or(Error::Truncated)?;
    let (ciphertext, tag) = rest.split_last_chunk::<16>().ok_or(Error::Truncated)?;

    let derived = Derived::new(key, salt, context)?;
    let Parts { key, nonce, commitment } = derived.parts()?;
    // SECURITY: GCM alone does not commit to its key; without this check one ciphertext could open under two keys.
    if !bool::from(commitment.ct_eq(claimed)) {
        return Err(Error::Commitment);
    }
    let mut body = slab.take(ciphertext.len())?;
    body.bytes_mut().copy_from_slice(ciphertext);
    aes256gcm_open(key, nonce, &[&[SUITE], context], body.bytes_mut(), tag)?;
    Ok(body)
}
