//! Envelope v1, opened from `docs/formats.md` alone and with another make of cryptography than the vault's: whoever
//! has the keys needs nothing of ours.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Salt};
use zeroize::Zeroizing;

/// The one suite there is.
const SUITE: u8 = 1;

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Opens `suite ‖ salt ‖ commitment ‖ ciphertext ‖ tag` under a key and a context.
///
/// # Errors
/// Where it is cut short, of another suite, not committed to this key, or not true.
pub fn open(key: &[u8], context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let (suite, rest) = sealed.split_first().context("empty")?;
    ensure!(*suite == SUITE, "unknown suite");
    let (salt, rest) = rest.split_at_checked(32).context("no salt")?;
    let (commitment, ciphertext) = rest.split_at_checked(32).context("no commitment")?;
    let mut okm = Zeroizing::new([0u8; 76]);
    let (label, suite) = (b"cofre/v1".as_slice(), [SUITE]);
    Salt::new(HKDF_SHA512, salt)
        .extract(key)
        .expand(&[label, &suite, context], Length(76))
        .and_then(|okm_source| okm_source.fill(&mut *okm))
        .ok()
        .context("derivation")?;
    let (aead_key, rest) = okm.split_at(32);
    let (nonce, committed) = rest.split_at(12);
    ensure!(committed == commitment, "another key");
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, aead_key).ok().context("key")?);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok().context("nonce")?;
    let aad = [&suite, context].concat();
    let mut text = Zeroizing::new(ciphertext.to_vec());
    let length = aead.open_in_place(nonce, Aad::from(aad), &mut text).ok().context("not true")?.len();
    text.truncate(length);
    Ok(text)
}

/// Takes the padding of a field off: u16 length, value, zeros up to a multiple of 64.
///
/// # Errors
/// Where the length lies.
pub fn unpad(padded: &[u8]) -> Result<&[u8]> {
    let (length, rest) = padded.split_at_checked(2).context("no length")?;
    let length = usize::from(u16::from_be_bytes(length.try_into()?));
    rest.get(..length).context("length beyond the end")
}
