//! Second-factor codes and random tokens: one-time codes for SMS, RFC 6238 codes for apps and devices.
//! Says what the code of a moment is; what has been used already is the books' business.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Why no code or token could be made.
#[derive(Debug, thiserror::Error)]
pub enum CodesError {
    /// The operating system gave no randomness.
    #[error("the system gave no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// A key shared by the bank and the investor's app or device.
pub(super) struct Seed(pub(super) [u8; 20]);

/// SHA-256.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Fresh random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], CodesError> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(CodesError::Randomness)?;
    Ok(bytes)
}

/// A random code of `length` digits, for an SMS.
pub(super) fn random_code(length: u32) -> Result<String, CodesError> {
    let number = u64::from_be_bytes(random::<8>()?);
    Ok(digits(number, length))
}

/// The time step a moment lies in (RFC 6238 section 4.2, T0 = 0).
pub(super) fn step(now: u64, step_seconds: u64) -> u64 {
    now.checked_div(step_seconds).unwrap_or(0)
}

impl Seed {
    /// The code of a time step: HOTP over SHA-1 with the step as counter (RFC 6238 section 4, RFC 4226 section 5.3).
    pub(super) fn code(&self, step: u64, length: u32) -> String {
        // INVARIANT: HMAC takes keys of any length, so the fallback is never used.
        let Ok(mac) = Hmac::<Sha1>::new_from_slice(&self.0) else {
            return String::new();
        };
        let hash: [u8; 20] = mac.chain_update(step.to_be_bytes()).finalize().into_bytes().into();
        let offset = usize::from(hash.last().copied().unwrap_or(0) & 0x0f);
        let number = hash.iter().skip(offset).take(4).fold(0u32, |n, byte| n << 8 | u32::from(*byte));
        digits(u64::from(number & 0x7fff_ffff), length)
    }
}

/// The last `length` digits of a number, with leading zeros.
fn digits(number: u64, length: u32) -> String {
    let modulus = 10u64.checked_pow(length).unwrap_or(u64::MAX);
    format!("{:0width$}", number % modulus, width = usize::try_from(length).unwrap_or(0))
}

/// A salted digest of what an investor knows. The bank keeps no password.
pub(super) struct KnownSecret {
    salt: [u8; 32],
    digest: [u8; 32],
}

impl KnownSecret {
    /// Digests the values, in order, under a fresh salt.
    pub(super) fn remember<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Self, CodesError> {
        let salt = random()?;
        let digest = keyed(&salt, values).finalize().into_bytes().into();
        Ok(Self { salt, digest })
    }

    /// Whether these are the values, in constant time.
    pub(super) fn is<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> bool {
        keyed(&self.salt, values).verify_slice(&self.digest).is_ok()
    }
}

fn keyed<'a>(salt: &[u8; 32], values: impl Iterator<Item = &'a [u8]>) -> Hmac<Sha256> {
    let mut key = [0u8; 64];
    key.iter_mut().zip(salt).for_each(|(k, s)| *k = *s);
    let mut mac = Hmac::<Sha256>::new(&key.into());
    for value in values {
        mac.update(&(value.len() as u64).to_be_bytes());
        mac.update(value);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6238_appendix_b_sha1() {
        let seed = Seed(*b"12345678901234567890");
        let cases = [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ];
        for (time, code) in cases {
            assert_eq!(seed.code(step(time, 30), 8), code, "at {time}");
            assert!(code.ends_with(&seed.code(step(time, 30), 6)), "at {time}");
        }
        assert_eq!(cases.len(), 6);
    }

    #[test]
    fn known_secrets_compare_whole_lists() {
        let known = KnownSecret::remember([b"ab".as_slice(), b"c"].into_iter()).unwrap();
        assert!(known.is([b"ab".as_slice(), b"c"].into_iter()));
        assert!(!known.is([b"a".as_slice(), b"bc"].into_iter()));
        assert!(!known.is([b"ab".as_slice()].into_iter()));
    }

    #[test]
    fn codes_have_their_length() {
        for length in [4, 6, 8] {
            let code = random_code(length).unwrap();
            assert_eq!(code.len(), length as usize);
            assert!(code.bytes().all(|b| b.is_ascii_digit()));
        }
    }
}
