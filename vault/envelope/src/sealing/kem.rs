//! The two suites over the HPKE library: set up a direction, then seal or open in place, message after message.
//! Randomness is drawn from our own source first, so that its absence is an error and not a panic in a library.

use std::convert::Infallible;

use hpke::aead::{Aead, AeadCtxR, AeadCtxS, AeadTag, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::Suite;
use crate::error::Error;
use crate::primitive::{DEEP, scrubbed};
use crate::random;

/// Both suites use HKDF-SHA-256 (RFC 9180, 7.2).
type Sealing<A, K> = AeadCtxS<A, HkdfSha256, K>;
type Opening<A, K> = AeadCtxR<A, HkdfSha256, K>;

/// The most randomness an encapsulation draws: X-Wing's 64 bytes.
const ENCAPSULATION: usize = 64;

/// Randomness drawn before, handed to the library byte by byte.
pub(super) struct Drawn {
    bytes: Zeroizing<[u8; ENCAPSULATION]>,
    used: usize,
    short: bool,
}

impl Drawn {
    pub(super) fn fresh() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; ENCAPSULATION]);
        random::fill(&mut *bytes)?;
        Ok(Self { bytes, used: 0, short: false })
    }

    /// Chosen randomness: only for published vectors.
    #[cfg(test)]
    pub(super) fn chosen(chosen: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; ENCAPSULATION]);
        bytes[..chosen.len()].copy_from_slice(chosen);
        Self { bytes, used: 0, short: false }
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        match self.bytes.get(self.used..self.used + into.len()) {
            Some(bytes) => into.copy_from_slice(bytes),
            // SECURITY: a library that asks for more than the standard says must not go on with zeros: the set-up that
            // drew them is thrown away by `setup_sender`.
            None => self.short = true,
        }
        self.used += into.len();
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

/// Sets up the sending side for one suite. Generic over the AEAD so that published vectors with another one run too.
pub(super) fn setup_sender<A: Aead, K: Kem>(
    public: &[u8],
    info: &[u8],
    mut drawn: Drawn,
) -> Result<(Vec<u8>, Sealing<A, K>), Error> {
    let public = K::PublicKey::from_bytes(public).map_err(|_| Error::PublicKey)?;
    let (encapsulated, context) =
        hpke::setup_sender_with_rng::<A, HkdfSha256, K>(&OpModeS::Base, &public, info, &mut drawn)
            .map_err(|_| Error::PublicKey)?;
    if drawn.short {
        return Err(Error::Randomness);
    }
    Ok((encapsulated.to_bytes().to_vec(), context))
}

/// Sets up the receiving side for one suite. The library's copy of the private key is wiped when it is dropped.
pub(super) fn setup_receiver<A: Aead, K: Kem>(
    private: &[u8; 32],
    encapsulated: &[u8],
    info: &[u8],
) -> Result<Opening<A, K>, Error> {
    let private = K::PrivateKey::from_bytes(private).map_err(|_| Error::Truncated)?;
    let encapsulated = K::EncappedKey::from_bytes(encapsulated).map_err(|_| Error::Encapsulation)?;
    hpke::setup_receiver(&OpModeR::Base, &private, &encapsulated, info).map_err(|_| Error::Encapsulation)
}

fn generate_with<K: Kem>(ikm: &[u8; 32], private: &mut [u8; 32]) -> Vec<u8> {
    let (secret, public) = K::derive_keypair(ikm);
    secret.write_exact(private);
    public.to_bytes().to_vec()
}

fn public_with<K: Kem>(private: &[u8; 32]) -> Result<Vec<u8>, Error> {
    let private = K::PrivateKey::from_bytes(private).map_err(|_| Error::Truncated)?;
    Ok(K::sk_to_pk(&private).to_bytes().to_vec())
}

/// DeriveKeyPair (RFC 9180, 7.1.3) from 32 random bytes: writes the private key, returns the public one.
pub(super) fn derive(suite: Suite, ikm: &[u8; 32], private: &mut [u8; 32]) -> Vec<u8> {
    scrubbed::<DEEP, _>(|| match suite {
        Suite::MlKem768X25519 => generate_with::<XWing>(ikm, private),
        Suite::X25519 => generate_with::<X25519HkdfSha256>(ikm, private),
    })
}

/// The public half of a private key.
pub(super) fn public_of(suite: Suite, private: &[u8; 32]) -> Result<Vec<u8>, Error> {
    scrubbed::<DEEP, _>(|| match suite {
        Suite::MlKem768X25519 => public_with::<XWing>(private),
        Suite::X25519 => public_with::<X25519HkdfSha256>(private),
    })
}

/// Points of order 1, 2, 4 and 8 on Curve25519 and their spellings of 255 bits: with any of them the shared secret is
/// zero, and encapsulation refuses (RFC 7748, section 6.1; RFC 9180, section 7.1.4). Known before a grant is spent.
pub(super) const SMALL_ORDER: [[u8; 32]; 7] = [
    edge_point(0x00, 0x00, 0x00),
    edge_point(0x01, 0x00, 0x00),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    edge_point(0xec, 0xff, 0x7f),
    edge_point(0xed, 0xff, 0x7f),
    edge_point(0xee, 0xff, 0x7f),
];

/// A coordinate with the same byte all through but at its two ends.
const fn edge_point(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut point = [middle; 32];
    point[0] = first;
    point[31] = last;
    point
}

fn small_order(public: &[u8]) -> bool {
    let Ok(mut point) = <[u8; 32]>::try_from(public) else { return false };
    // The curve's function ignores the highest bit (RFC 7748, section 5).
    point[31] &= 0x7f;
    SMALL_ORDER.contains(&point)
}

/// Whether the bytes are a public key of the suite.
pub(super) fn check_public(suite: Suite, public: &[u8]) -> Result<(), Error> {
    let fits = match suite {
        Suite::MlKem768X25519 => <XWing as Kem>::PublicKey::from_bytes(public).is_ok(),
        Suite::X25519 => <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public).is_ok() && !small_order(public),
    };
    if fits { Ok(()) } else { Err(Error::PublicKey) }
}

/// The sending side of one encapsulation. Messages carry sequence numbers of their own (RFC 9180, 5.2).
pub(super) enum Sender {
    Hybrid(Box<Sealing<AesGcm256, XWing>>),
    Classic(Box<Sealing<AesGcm256, X25519HkdfSha256>>),
}

impl Sender {
    pub(super) fn new(suite: Suite, public: &[u8], info: &[u8], drawn: Drawn) -> Result<(Vec<u8>, Self), Error> {
        scrubbed::<DEEP, _>(|| match suite {
            Suite::MlKem768X25519 => {
                setup_sender(public, info, drawn).map(|(enc, ctx)| (enc, Self::Hybrid(Box::new(ctx))))
            }
            Suite::X25519 => setup_sender(public, info, drawn).map(|(enc, ctx)| (enc, Self::Classic(Box::new(ctx)))),
        })
    }

    /// Seals in place; returns ciphertext and tag.
    pub(super) fn seal(&mut self, aad: &[u8], body: &mut [u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Hybrid(ctx) => seal(ctx, aad, body),
            Self::Classic(ctx) => seal(ctx, aad, body),
        }
    }
}

/// The receiving side of one encapsulation.
pub(super) enum Receiver {
    Hybrid(Box<Opening<AesGcm256, XWing>>),
    Classic(Box<Opening<AesGcm256, X25519HkdfSha256>>),
}

impl Receiver {
    pub(super) fn new(suite: Suite, private: &[u8; 32], encapsulated: &[u8], info: &[u8]) -> Result<Self, Error> {
        scrubbed::<DEEP, _>(|| match suite {
            Suite::MlKem768X25519 => setup_receiver(private, encapsulated, info).map(|ctx| Self::Hybrid(Box::new(ctx))),
            Suite::X25519 => setup_receiver(private, encapsulated, info).map(|ctx| Self::Classic(Box::new(ctx))),
        })
    }

    /// Opens in place what [`split_tag`] has split. On failure the body is to be wiped.
    pub(super) fn open(&mut self, aad: &[u8], body: &mut [u8], tag: &[u8; 16]) -> Result<(), Error> {
        match self {
            Self::Hybrid(ctx) => open(ctx, aad, body, tag),
            Self::Classic(ctx) => open(ctx, aad, body, tag),
        }
    }
}

pub(super) fn seal<A: Aead, K: Kem>(ctx: &mut Sealing<A, K>, aad: &[u8], body: &mut [u8]) -> Result<Vec<u8>, Error> {
    let tag = ctx.seal_inout_detached(InOutBuf::from(&mut *body), aad).map_err(|_| Error::TooLong)?;
    Ok([&*body, &tag.to_bytes()].concat())
}

pub(super) fn open<A: Aead, K: Kem>(
    ctx: &mut Opening<A, K>,
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; 16],
) -> Result<(), Error> {
    let tag = AeadTag::from_bytes(tag).map_err(|_| Error::Truncated)?;
    ctx.open_inout_detached(InOutBuf::from(body), aad, &tag).map_err(|_| Error::Tag)
}

/// Splits a sealed message into ciphertext and tag.
pub(super) fn split_tag(sealed: &[u8]) -> Result<(&[u8], &[u8; 16]), Error> {
    sealed.split_last_chunk::<16>().ok_or(Error::Truncated)
}
