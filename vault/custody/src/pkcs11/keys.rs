//! Finding keys by label and refusing those that may leave the token or do more than their purpose.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use sha2::{Digest as _, Sha256};

use super::trouble::{self, Trouble};
use crate::custodian::VerifyingKey;
use crate::fault::{Cause, Operation};

/// DER of the OID 1.3.101.112, Ed25519 (RFC 8410).
pub(super) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// DER of the OID 1.2.840.10045.3.1.7, P-256.
pub(super) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A signing key pair on the token.
#[derive(Debug, Clone, Copy)]
pub(super) struct SigningKey {
    pub(super) private: ObjectHandle,
    pub(super) public: VerifyingKey,
}

impl SigningKey {
    /// Signs `message`: 64 bytes, R ‖ S or r ‖ s.
    pub(super) fn sign(&self, session: &Session, message: &[u8]) -> Result<[u8; 64], Trouble> {
        let signature = match self.public {
            VerifyingKey::Ed25519(_) => {
                let scheme = EddsaParams::new(EddsaSignatureScheme::Pure);
                session.sign(&Mechanism::Eddsa(scheme), self.private, message)
            }
            // Not every module has CKM_ECDSA_SHA256: the digest is made here.
            VerifyingKey::P256(_) => session.sign(&Mechanism::Ecdsa, self.private, &Sha256::digest(message)),
        };
        let signature = signature.map_err(|error| Trouble::answered(Operation::Sign, &error))?;
        signature.try_into().map_err(|_| Trouble::of(Operation::Sign, Cause::Unsupported))
    }
}

fn answered(error: Error) -> Trouble {
    Trouble::answered(Operation::FindKey, &error)
}

const fn refused(cause: Cause) -> Trouble {
    Trouble::of(Operation::FindKey, cause)
}

/// The only object of this class and label.
pub(super) fn only(session: &Session, class: ObjectClass, label: &str) -> Result<ObjectHandle, Trouble> {
    let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Label(label.as_bytes().to_vec())];
    match session.find_objects(&template).map_err(answered)?.as_slice() {
        [] => Err(refused(Cause::KeyMissing)),
        [one] => Ok(*one),
        _ => Err(refused(Cause::KeyAmbiguous)),
    }
}

/// A key that wraps, by what it is and may do. Whatever it is, it stays in the token and does nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) enum WrappingKey {
    /// AES-256 that encrypts and decrypts.
    Cipher(ObjectHandle),
    /// AES-256 that wraps and unwraps.
    Wrapper(ObjectHandle),
    /// RSA of 2048 bits or more: the public half encrypts, the private one decrypts. The modulus in bytes.
    Rsa { public: ObjectHandle, private: ObjectHandle, modulus: usize },
}

impl WrappingKey {
    /// What it is, and what it may do, in words.
    pub(super) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Cipher(_) => ("AES-256", "encrypts and decrypts"),
            Self::Wrapper(_) => ("AES-256", "wraps and unwraps"),
            Self::Rsa { .. } => ("RSA", "encrypts and decrypts"),
        }
    }
}

/// The wrapping key of this label. A secret key is looked for first: a pair of the same label is then another key.
pub(super) fn root(session: &Session, label: &str) -> Result<WrappingKey, Trouble> {
    match only(session, ObjectClass::SECRET_KEY, label) {
        Ok(key) => secret(session, key),
        Err(trouble) if trouble.cause == Cause::KeyMissing => {
            let private = only(session, ObjectClass::PRIVATE_KEY, label)?;
            pair(session, private, half(session, label)?)
        }
        Err(trouble) => Err(trouble),
    }
}

fn secret(session: &Session, key: ObjectHandle) -> Result<WrappingKey, Trouble> {
    let facts = Attributes::of(session, key)?;
    if facts.key_type != Some(KeyType::AES) || facts.length.is_some_and(|bytes| bytes != 32) {
        return Err(refused(Cause::KeyUnsafe));
    }
    let wraps = [AttributeType::Wrap, AttributeType::Unwrap];
    let ciphers = [AttributeType::Encrypt, AttributeType::Decrypt];
    // A key that may do some of either is held to the first: it says what it lacks, or that it may do too much.
    if facts.usages.iter().any(|usage| wraps.contains(usage)) && !facts.usages.iter().any(|u| ciphers.contains(u)) {
        facts.stays_and_is_allowed_only(&wraps)?;
        return Ok(WrappingKey::Wrapper(key));
    }
    facts.stays_and_is_allowed_only(&ciphers)?;
    Ok(WrappingKey::Cipher(key))
}

fn pair(session: &Session, private: ObjectHandle, public: ObjectHandle) -> Result<WrappingKey, Trouble> {
    let facts = Attributes::of(session, private)?;
    if facts.key_type != Some(KeyType::RSA) {
        return Err(refused(Cause::KeyUnsafe));
    }
    facts.stays_and_is_allowed_only(&[AttributeType::Decrypt])?;
    let modulus = number(session, private, AttributeType::Modulus)?;
    let exponent = number(session, public, AttributeType::PublicExponent)?;
    // SECURITY: whoever has no PIN may put a public object on some tokens. Shares are wrapped with this one: it must be
    // the other half of the key that opens them, and one that hides what it wraps.
    if modulus.len() < 256 || number(session, public, AttributeType::Modulus)? != modulus || exponent != [1, 0, 1] {
        let said = "the public half is of another key, of under 2048 bits, or of another exponent than 65537";
        return Err(Trouble::told(
            Operation::FindKey,
            Cause::KeyUnsafe,
            trouble::Session::Sound,
            Some(said.to_owned()),
        ));
    }
    Ok(WrappingKey::Rsa { public, private, modulus: modulus.len() })
}

/// A big number of a key, without leading zeros; empty where the token does not say it.
fn number(session: &Session, key: ObjectHandle, which: AttributeType) -> Result<Vec<u8>, Trouble> {
    let said = session.get_attributes(key, &[which]).map_err(answered)?;
    let bytes = said.into_iter().find_map(|attribute| match attribute {
        Attribute::Modulus(bytes) | Attribute::PublicExponent(bytes) => Some(bytes),
        _ => None,
    });
    Ok(bytes.unwrap_or_default().into_iter().skip_while(|byte| *byte == 0).collect())
}

/// The public half of a pair whose private half is there. A pair that lost it is not made anew beside what is left.
fn half(session: &Session, label: &str) -> Result<ObjectHandle, Trouble> {
    only(session, ObjectClass::PUBLIC_KEY, label).map_err(|trouble| match trouble.cause {
        Cause::KeyMissing => {
            let said = Some("the private half is there, and the public one of the same label is not".to_owned());
            Trouble::told(Operation::FindKey, Cause::KeyDisabled, trouble::Session::Sound, said)
        }
        _ => trouble,
    })
}

/// The signing pair: stays in the token, signs and nothing else.
pub(super) fn signer(session: &Session, label: &str) -> Result<SigningKey, Trouble> {
    let private = only(session, ObjectClass::PRIVATE_KEY, label)?;
    let facts = Attributes::of(session, private)?;
    facts.stays_and_is_allowed_only(&[AttributeType::Sign])?;
    let public = half(session, label)?;
    let point = session.get_attributes(public, &[AttributeType::EcPoint]).map_err(answered)?;
    let [Attribute::EcPoint(point)] = point.as_slice() else { return Err(refused(Cause::Unsupported)) };
    let public = match facts.key_type {
        Some(KeyType::EC_EDWARDS) => bare(point).map(VerifyingKey::Ed25519),
        Some(KeyType::EC) => bare(point).map(VerifyingKey::P256),
        _ => None,
    };
    let public = public.ok_or(refused(Cause::Unsupported))?;
    Ok(SigningKey { private, public })
}

/// A point as bytes: tokens give it as it is, or as a DER OCTET STRING (2.40, 2.3.3).
fn bare<const N: usize>(point: &[u8]) -> Option<[u8; N]> {
    match point {
        [0x04, len, rest @ ..] if usize::from(*len) == N && rest.len() == N => rest.try_into().ok(),
        _ => point.try_into().ok(),
    }
}

/// Usages a key may have; all but those wanted must be absent.
const USAGES: &[AttributeType] = &[
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Sign,
    AttributeType::Verify,
    AttributeType::Wrap,
    AttributeType::Unwrap,
    AttributeType::Derive,
];

/// What a key says about itself.
#[derive(Debug, Default)]
struct Attributes {
    key_type: Option<KeyType>,
    length: Option<u64>,
    sensitive: bool,
    extractable: bool,
    usages: Vec<AttributeType>,
}

impl Attributes {
    fn of(session: &Session, key: ObjectHandle) -> Result<Self, Trouble> {
        // A token that does not say whether a key may leave is not believed to keep it.
        let mut facts = Self { extractable: true, ..Self::default() };
        for wanted in
            [AttributeType::KeyType, AttributeType::ValueLen, AttributeType::Sensitive, AttributeType::Extractable]
                .iter()
                .chain(USAGES)
        {
            // One at a time: some modules answer a whole list with one error for its one unknown member.
            for attribute in session.get_attributes(key, &[*wanted]).map_err(answered)? {
                match attribute {
                    Attribute::KeyType(key_type) => facts.key_type = Some(key_type),
                    Attribute::ValueLen(bytes) => facts.length = Some(*bytes),
                    Attribute::Sensitive(yes) => facts.sensitive = yes,
                    Attribute::Extractable(yes) => facts.extractable = yes,
                    Attribute::Encrypt(true)
                    | Attribute::Decrypt(true)
                    | Attribute::Sign(true)
                    | Attribute::Verify(true)
                    | Attribute::Wrap(true)
                    | Attribute::Unwrap(true)
                    | Attribute::Derive(true) => facts.usages.push(*wanted),
                    _ => {}
                }
            }
        }
        Ok(facts)
    }

    fn stays_and_is_allowed_only(&self, wanted: &[AttributeType]) -> Result<(), Trouble> {
        let more = self.usages.iter().any(|usage| !wanted.contains(usage));
        if !self.sensitive || self.extractable || more {
            return Err(refused(Cause::KeyUnsafe));
        }
        let less = wanted.iter().any(|usage| !self.usages.contains(usage));
        if less { Err(refused(Cause::KeyDisabled)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_bare_and_as_an_octet_string() {
        let mut der = vec![0x04, 32];
        der.extend([7; 32]);
        assert_eq!(bare::<32>(&der), Some([7; 32]));
        assert_eq!(bare::<32>(&[7; 32]), Some([7; 32]));
        assert_eq!(bare::<32>(&[7; 33]), None);
        let mut point = [1; 65];
        point[0] = 0x04;
        assert_eq!(bare::<65>(&point), Some(point));
    }
}
