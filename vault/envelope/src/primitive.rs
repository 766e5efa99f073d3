//! The primitives, each one a thin function over one library call. Everything above goes through here, and so do the
//! published test vectors. Nothing here chooses a nonce, a salt or a label, and nothing here is a construction of ours.

#[cfg(test)]
mod tests;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use ed25519_dalek::Signer;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;

/// Runs `work` in a stack frame of its own, then overwrites `WORDS` times 8 bytes of the stack it stood on.
///
/// SECURITY: the libraries wipe what they drop, but not what they move: a hash that is finished by value leaves its
/// last block of input, which can be a login's field or a key, in a dead frame. `tests/it/residue.rs` finds it there
/// when this is taken out.
pub(crate) fn scrubbed<const WORDS: usize, R>(work: impl FnOnce() -> R) -> R {
    #[inline(never)]
    fn apart<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
    #[inline(never)]
    fn overwrite<const WORDS: usize>() {
        let mut dead = [0u64; WORDS];
        dead.zeroize();
        std::hint::black_box(&dead);
    }
    let result = apart(work);
    overwrite::<WORDS>();
    result
}

/// More stack than hashing, one cipher call or one signature uses: 8 KiB.
const SHALLOW: usize = 1024;
/// More stack than encapsulation and decapsulation of ML-KEM use: 96 KiB.
pub(crate) const DEEP: usize = 12 * 1024;

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// HKDF-SHA-512 (RFC 5869), extract and expand; `info` is the concatenation of its parts.
pub(crate) fn hkdf_sha512(ikm: &[u8], salt: &[u8], info: &[&[u8]], okm: &mut [u8]) -> Result<(), Error> {
    scrubbed::<SHALLOW, _>(|| Hkdf::<Sha512>::new(Some(salt), ikm).expand_multi_info(info, okm))
        .map_err(|_| Error::TooLong)
}

/// HMAC-SHA-256 (RFC 2104) over the concatenation of the parts.
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    scrubbed::<SHALLOW, _>(|| {
        // The type's own key length is the block's; 32 bytes are padded with zeros, as the RFC says.
        let mut block = Zeroizing::new([0u8; 64]);
        block.split_at_mut(32).0.copy_from_slice(key);
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    })
}

/// AES-256-GCM (SP 800-38D) with a 12-byte nonce: encrypts in place, returns the tag.
pub(crate) fn aes256gcm_seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[&[u8]; 2],
    body: &mut [u8],
) -> Result<[u8; 16], Error> {
    let aad = aad.concat();
    scrubbed::<SHALLOW, _>(|| {
        let cipher = Aes256Gcm::new(key.into());
        cipher.encrypt_inout_detached(nonce.into(), &aad, InOutBuf::from(body)).map(Into::into)
    })
    .map_err(|_| Error::TooLong)
}

/// AES-256-GCM: checks the tag, then decrypts in place. On failure the body is not plaintext; the caller wipes it.
pub(crate) fn aes256gcm_open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[&[u8]; 2],
    body: &mut [u8],
    tag: &[u8; 16],
) -> Result<(), Error> {
    let aad = aad.concat();
    scrubbed::<SHALLOW, _>(|| {
        let cipher = Aes256Gcm::new(key.into());
        cipher.decrypt_inout_detached(nonce.into(), &aad, InOutBuf::from(body), tag.into())
    })
    .map_err(|_| Error::Tag)
}

/// Ed25519 (RFC 8032): the public half of a seed.
pub(crate) fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    scrubbed::<SHALLOW, _>(|| ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes())
}

/// Ed25519 (RFC 8032): signs. Verification lives in the ledger.
pub(crate) fn ed25519_sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    scrubbed::<SHALLOW, _>(|| ed25519_dalek::SigningKey::from_bytes(seed).sign(message).to_bytes())
}
