//! The token's arithmetic, all of it by aws-lc-rs (and Argon2id for PINs): another make than the one inside the vault,
//! so that each checks the other. It knows no handles, attributes, logins or files; callers decide who may use a key.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    UnparsedPublicKey,
};
use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_KEY_SIZE_RANGE};
use zeroize::Zeroizing;

use crate::rv::{Answer, Rv, fail};

/// Length of every symmetric key of this token.
pub(crate) const AES_KEY_LEN: usize = 32;
/// Lengths of a secret that is no key of this token and only comes to be wrapped.
pub(crate) const SECRET_LEN: std::ops::RangeInclusive<usize> = 1..=512;
/// Length of an AES-GCM nonce. Other lengths exist in the standard; this token refuses them.
pub(crate) const NONCE_LEN: usize = 12;
/// Length of an AES-GCM tag.
pub(crate) const TAG_LEN: usize = 16;
/// Length of both signature forms, r ‖ s and Ed25519.
pub(crate) const SIGNATURE_LEN: usize = 64;

/// Bytes that are wiped when dropped. No Debug, no comparison.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// A new private key with its public half.
pub(crate) struct Pair {
    /// Ed25519 seed or P-256 scalar, 32 bytes.
    pub(crate) private: Secret,
    /// Ed25519 public key (32 bytes) or uncompressed P-256 point (65 bytes).
    pub(crate) public: Vec<u8>,
}

/// Fills `out` from the system's generator.
pub(crate) fn random(out: &mut [u8]) -> Answer {
    SystemRandom::new().fill(out).or(fail(CKR_DEVICE_ERROR))
}

/// A fresh array of random bytes, for nonces, salts and names.
pub(crate) fn random_array<const N: usize>() -> Answer<[u8; N]> {
    let mut out = [0; N];
    random(&mut out)?;
    Ok(out)
}

/// A fresh AES-256 key.
pub(crate) fn aes_key() -> Answer<Secret> {
    let mut key = Zeroizing::new(vec![0; AES_KEY_LEN]);
    random(&mut key)?;
    Ok(key)
}

fn gcm(key: &[u8]) -> Answer<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).or(fail(CKR_KEY_SIZE_RANGE))
}

/// AES-256-GCM: ciphertext ‖ tag.
pub(crate) fn seal(key: &[u8], nonce: [u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Answer<Vec<u8>> {
    let mut text = plaintext.to_vec();
    gcm(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .or(fail(CKR_FUNCTION_FAILED))?;
    Ok(text)
}

/// The reverse of [`seal`]. `refused` is the code of a failed check, which depends on who asked.
pub(crate) fn open(key: &[u8], nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &[u8], refused: Rv) -> Answer<Secret> {
    let mut text = Zeroizing::new(sealed.to_vec());
    let len = gcm(key)?
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .map_err(|_| refused)?
        .len();
    text.truncate(len);
    Ok(text)
}

/// RFC 5649 key wrap with padding.
pub(crate) fn wrap_padded(key: &[u8], target: &[u8]) -> Answer<Vec<u8>> {
    let mut out = vec![0; wrapped_len(target.len())];
    let kek = AesKek::new(&AES_256, key).or(fail(CKR_KEY_SIZE_RANGE))?;
    let len = kek.wrap_with_padding(target, &mut out).or(fail(CKR_FUNCTION_FAILED))?.len();
    out.truncate(len);
    Ok(out)
}

/// Length of [`wrap_padded`]'s answer: the key rounded up to 8 bytes, and 8 bytes of check value.
pub(crate) fn wrapped_len(key_len: usize) -> usize {
    key_len.next_multiple_of(8) + 8
}

/// The reverse of [`wrap_padded`].
pub(crate) fn unwrap_padded(key: &[u8], wrapped: &[u8], refused: Rv) -> Answer<Secret> {
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    let kek = AesKek::new(&AES_256, key).or(fail(CKR_KEY_SIZE_RANGE))?;
    let len = kek.unwrap_with_padding(wrapped, &mut out).map_err(|_| refused)?.len();
    out.truncate(len);
    Ok(out)
}

/// A fresh Ed25519 pair.
pub(crate) fn ed25519_pair() -> Answer<Pair> {
    let private = aes_key()?; // a seed is 32 random bytes too
    let pair = Ed25519KeyPair::from_seed_unchecked(&private).or(fail(CKR_FUNCTION_FAILED))?;
    Ok(Pair { public: pair.public_key().as_ref().to_vec(), private })
}

/// Ed25519 over the message itself.
pub(crate) fn ed25519_sign(seed: &[u8], message: &[u8]) -> Answer<Vec<u8>> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).or(fail(CKR_FUNCTION_FAILED))?;
    let signature = pair.try_sign(message).or(fail(CKR_FUNCTION_FAILED))?;
    Ok(signature.as_ref().to_vec())
}

/// Whether an Ed25519 signature holds.
pub(crate) fn ed25519_verifies(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// A fresh P-256 pair.
pub(crate) fn p256_pair() -> Answer<Pair> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).or(fail(CKR_FUNCTION_FAILED))?;
    let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().or(fail(CKR_FUNCTION_FAILED))?;
    Ok(Pair { private: Zeroizing::new(scalar.as_ref().to_vec()), public: pair.public_key().as_ref().to_vec() })
}

/// ECDSA over a SHA-256 digest, as r ‖ s.
pub(crate) fn p256_sign(scalar: &[u8], point: &[u8], digest: &[u8]) -> Answer<Vec<u8>> {
    let digest = sha256_digest(digest)?;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, scalar, point)
        .or(fail(CKR_FUNCTION_FAILED))?;
    let signature = pair.sign_digest(&digest).or(fail(CKR_FUNCTION_FAILED))?;
    Ok(signature.as_ref().to_vec())
}

/// Whether an ECDSA signature over a SHA-256 digest holds.
pub(crate) fn p256_verifies(point: &[u8], digest: &[u8], signature: &[u8]) -> Answer<bool> {
    let digest = sha256_digest(digest)?;
    Ok(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify_digest(&digest, signature).is_ok())
}

/// SHA-256.
pub(crate) fn sha256(message: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&SHA256, message).as_ref().to_vec()
}

fn sha256_digest(bytes: &[u8]) -> Answer<Digest> {
    Digest::import_less_safe(bytes, &SHA256).or(fail(cryptoki_sys::CKR_DATA_LEN_RANGE))
}

/// Cost of one PIN check. Written beside each PIN record, so that old tokens keep opening when the default changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinCost {
    /// Memory in KiB.
    pub(crate) memory_kib: u32,
    /// Passes over the memory.
    pub(crate) passes: u32,
}

impl PinCost {
    /// About 50 ms on one core: a login happens once per process, a guess should hurt.
    pub(crate) const DEFAULT: Self = Self { memory_kib: 19 * 1024, passes: 4 };
}

/// The key that a PIN stands for: Argon2id, one lane, 32 bytes.
pub(crate) fn pin_key(pin: &[u8], salt: &[u8], cost: PinCost) -> Answer<Secret> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(AES_KEY_LEN)).or(fail(CKR_DEVICE_ERROR))?;
    let mut key = Zeroizing::new(vec![0; AES_KEY_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(pin, salt, &mut key)
        .or(fail(CKR_DEVICE_ERROR))?;
    Ok(key)
}
