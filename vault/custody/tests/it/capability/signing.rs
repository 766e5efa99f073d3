//! Probes of signatures; each is verified by another make of cryptography.

use cryptoki::error::Error;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use p256::ecdsa::signature::Verifier;
use sha2::Digest;

use super::probes::{Bench, Found, YES};

/// DER of the curves' names (RFC 8410, section 3; RFC 5480, 2.1.1.1).
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const MESSAGE: &[u8] = b"a message";

/// A throw-away pair: the public point as the token gives it, and the private key.
fn pair(bench: &Bench, make: &Mechanism<'_>, curve: &[u8]) -> Result<(Vec<u8>, ObjectHandle), Error> {
    let public = [Attribute::Token(false), Attribute::EcParams(curve.to_vec()), Attribute::Verify(true)];
    let private = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    let (public, private) = bench.session.generate_key_pair(make, &public, &private)?;
    match bench.session.get_attributes(public, &[AttributeType::EcPoint])?.as_slice() {
        [Attribute::EcPoint(point)] => Ok((point.clone(), private)),
        other => panic!("no point: {other:?}"),
    }
}

/// The last bytes of a point: an OCTET STRING around it is left off.
fn tail<const N: usize>(point: &[u8]) -> [u8; N] {
    *point.last_chunk().expect("a point of the curve")
}

fn verified(good: bool) -> Found {
    Ok(if good { YES } else { "does not verify" }.to_owned())
}

pub(super) fn ed25519(bench: &Bench) -> Found {
    let (point, key) = pair(bench, &Mechanism::EccEdwardsKeyPairGen, ED25519)?;
    let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
    let signature = bench.session.sign(&mechanism, key, MESSAGE)?;
    let public = ed25519_dalek::VerifyingKey::from_bytes(&tail(&point)).expect("a point");
    let signature = ed25519_dalek::Signature::from_slice(&signature).expect("64 bytes");
    verified(public.verify_strict(MESSAGE, &signature).is_ok())
}

/// Whether the token lists what the driver looks for before it makes an Ed25519 pair.
pub(super) fn ed25519_is_listed(bench: &Bench) -> Found {
    let listed = bench.module.get_mechanism_list(bench.slot)?;
    let wanted = [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA];
    Ok(if wanted.iter().all(|one| listed.contains(one)) { YES } else { "no" }.to_owned())
}

pub(super) fn p256_of_a_digest(bench: &Bench) -> Found {
    p256(bench, &Mechanism::Ecdsa, &sha2::Sha256::digest(MESSAGE))
}

pub(super) fn p256_of_a_message(bench: &Bench) -> Found {
    p256(bench, &Mechanism::EcdsaSha256, MESSAGE)
}

fn p256(bench: &Bench, mechanism: &Mechanism<'_>, signed: &[u8]) -> Found {
    let (point, key) = pair(bench, &Mechanism::EccKeyPairGen, P256)?;
    let signature = bench.session.sign(mechanism, key, signed)?;
    let public = p256::ecdsa::VerifyingKey::from_sec1_bytes(&tail::<65>(&point)).expect("a point");
    let signature = p256::ecdsa::Signature::from_slice(&signature).expect("r and s");
    verified(public.verify(MESSAGE, &signature).is_ok())
}

/// In which of the two forms a point is given (2.40 asks for the second).
pub(super) fn form_of_a_point(bench: &Bench) -> Found {
    let (point, _) = pair(bench, &Mechanism::EccKeyPairGen, P256)?;
    match point.len() {
        65 => Ok("bare".to_owned()),
        67 => Ok("OCTET STRING".to_owned()),
        other => panic!("a point of {other} bytes"),
    }
}
