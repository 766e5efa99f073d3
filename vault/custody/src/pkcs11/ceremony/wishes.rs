//! What a key is asked to be: one list, from which its template is made and by which it is held afterwards. Tokens exist
//! that allow what a template leaves out, or make what it forbids, so every usage is said, and everything is read back.

use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use cryptoki::types::Ulong;

use super::MadeObject;
use crate::custodian::Mechanism as How;
use crate::fault::{Cause, Operation};
use crate::pkcs11::keys;
use crate::pkcs11::trouble::{self, Trouble};

/// RSA of 3072 bits: as strong as the AES-128 that nothing here is weaker than (SP 800-57 part 1, table 2).
const MODULUS_BITS: u64 = 3072;

/// How long a key is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    /// On the token.
    Lasting,
    /// In this session, to see what the token can do.
    Session,
}

/// A curve of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    Ed25519,
    P256,
}

impl Curve {
    /// Ed25519 where the token lists it, else P-256.
    pub(super) fn of(module: &Pkcs11, slot: Slot) -> Result<Self, Trouble> {
        let offered = module.get_mechanism_list(slot).map_err(|error| Trouble::answered(Operation::MakeKey, &error))?;
        let edwards = [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA];
        Ok(if edwards.iter().all(|wanted| offered.contains(wanted)) { Self::Ed25519 } else { Self::P256 })
    }
}

/// A key as it is asked for.
pub(super) struct Wish {
    mechanism: Mechanism<'static>,
    /// The public half of a pair.
    public: Option<Vec<Attribute>>,
    /// The secret key, or the private half.
    secret: Vec<Attribute>,
}

/// The objects of a key that was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Born {
    pub(super) public: Option<ObjectHandle>,
    /// The secret key, or the private half.
    pub(super) secret: ObjectHandle,
}

fn named(label: &str, stays: Stays, private: bool) -> Vec<Attribute> {
    vec![
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(label.as_bytes().to_vec()),
        Attribute::Token(stays == Stays::Lasting),
        Attribute::Private(private),
        Attribute::Modifiable(false),
        Attribute::Derive(false),
    ]
}

impl Wish {
    /// A key of the kind that goes with the mechanism, and of no more usages than it needs.
    pub(super) fn wrapping(label: &str, how: How, stays: Stays) -> Result<Self, Trouble> {
        let [encrypt, wrap] = match how {
            How::AesGcm => [true, false],
            How::AesKwp => [false, true],
            How::RsaOaepSha256 => return Ok(Self::rsa(label, stays)),
            // Keys of services are made with the services' own tools.
            How::AwsKms | How::GcpKms | How::TransitAead | How::TransitDerived => {
                return Err(Trouble::of(Operation::MakeKey, Cause::Unsupported));
            }
        };
        let mut secret = named(label, stays, true);
        secret.extend([
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(encrypt),
            Attribute::Decrypt(encrypt),
            Attribute::Wrap(wrap),
            Attribute::Unwrap(wrap),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::ValueLen(Ulong::from(32)),
        ]);
        Ok(Self { mechanism: Mechanism::AesKeyGen, public: None, secret })
    }

    fn rsa(label: &str, stays: Stays) -> Self {
        let mut public = named(label, stays, false);
        public.extend([
            Attribute::ModulusBits(Ulong::from(MODULUS_BITS)),
            Attribute::PublicExponent(vec![1, 0, 1]),
            Attribute::Encrypt(true),
            Attribute::Verify(false),
            Attribute::Wrap(false),
        ]);
        let mut secret = named(label, stays, true);
        secret.extend([
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Decrypt(true),
            Attribute::Sign(false),
            Attribute::Unwrap(false),
        ]);
        Self { mechanism: Mechanism::RsaPkcsKeyPairGen, public: Some(public), secret }
    }

    /// A pair that signs and does nothing else.
    pub(super) fn signing(label: &str, curve: Curve, stays: Stays) -> Self {
        let (mechanism, curve) = match curve {
            Curve::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, keys::ED25519),
            Curve::P256 => (Mechanism::EccKeyPairGen, keys::P256),
        };
        let mut public = named(label, stays, false);
        public.extend([
            Attribute::EcParams(curve.to_vec()),
            Attribute::Verify(true),
            Attribute::Encrypt(false),
            Attribute::Wrap(false),
        ]);
        let mut secret = named(label, stays, true);
        secret.extend([
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
        ]);
        Self { mechanism, public: Some(public), secret }
    }

    /// Makes it.
    pub(super) fn make(&self, session: &Session) -> Result<Born, Trouble> {
        let answered = |error: Error| Trouble::answered(Operation::MakeKey, &error);
        match &self.public {
            None => {
                let secret = session.generate_key(&self.mechanism, &self.secret).map_err(answered)?;
                Ok(Born { public: None, secret })
            }
            Some(public) => {
                let made = session.generate_key_pair(&self.mechanism, public, &self.secret);
                let (public, secret) = made.map_err(answered)?;
                Ok(Born { public: Some(public), secret })
            }
        }
    }

    /// Reads back what was made and holds it to what was asked. The key stays either way: nothing is deleted here.
    pub(super) fn held(&self, session: &Session, born: Born) -> Result<Vec<MadeObject>, Trouble> {
        let class = if self.public.is_some() { "private" } else { "secret" };
        let inside = [AttributeType::Local, AttributeType::AlwaysSensitive, AttributeType::NeverExtractable];
        let mut objects = vec![MadeObject {
            class: class.to_owned(),
            attributes: held(session, born.secret, &self.secret, &inside)?,
        }];
        if let (Some(asked), Some(handle)) = (&self.public, born.public) {
            let attributes = held(session, handle, asked, &[AttributeType::Local])?;
            objects.push(MadeObject { class: "public".to_owned(), attributes });
        }
        Ok(objects)
    }
}

/// The attributes of one object as the token gives them; each that was asked for is as it was asked, and it says that it
/// was `made` inside, was never anywhere else and cannot go.
fn held(
    session: &Session,
    object: ObjectHandle,
    asked: &[Attribute],
    made: &[AttributeType],
) -> Result<Vec<(String, String)>, Trouble> {
    let mut read = Vec::new();
    for wish in asked {
        let kind = wish.attribute_type();
        let Some(wanted) = text(wish) else { continue };
        let said = said(session, object, kind)?;
        // A usage that a token does not know of is one that the key does not have.
        let unknown = said.is_none() && wanted == "false" && is_usage(kind);
        if said.as_deref() != Some(&*wanted) && !unknown {
            return Err(otherwise(kind, said.as_deref(), &wanted));
        }
        read.push((kind.to_string(), said.unwrap_or_else(|| "unknown".to_owned())));
    }
    for kind in made {
        let said = said(session, object, *kind)?;
        if said.as_deref() != Some("true") {
            return Err(otherwise(*kind, said.as_deref(), "true"));
        }
        read.push((kind.to_string(), "true".to_owned()));
    }
    Ok(read)
}

fn otherwise(kind: AttributeType, said: Option<&str>, wanted: &str) -> Trouble {
    let said = said.unwrap_or("nothing");
    let text = format!(
        "a key was made and says {said} of its {kind}, not {wanted}; it stays on the token: remove it with the vendor's \
         tool, and use another token"
    );
    Trouble::told(Operation::MakeKey, Cause::KeyUnsafe, trouble::Session::Sound, Some(text))
}

/// What the token says of one attribute; one at a time, because some modules answer a list with one error for one member.
fn said(session: &Session, object: ObjectHandle, kind: AttributeType) -> Result<Option<String>, Trouble> {
    let answered = |error: Error| Trouble::answered(Operation::FindKey, &error);
    let read = session.get_attributes(object, &[kind]).map_err(answered)?;
    Ok(read.iter().find(|attribute| attribute.attribute_type() == kind).and_then(text))
}

const fn is_usage(kind: AttributeType) -> bool {
    use AttributeType as A;
    matches!(kind, A::Encrypt | A::Decrypt | A::Wrap | A::Unwrap | A::Sign | A::Verify | A::Derive)
}

/// An attribute in words; none of those that tokens spell in ways of their own, which finding the key judges.
fn text(attribute: &Attribute) -> Option<String> {
    use Attribute as A;
    match attribute {
        A::Token(yes)
        | A::Private(yes)
        | A::Modifiable(yes)
        | A::Sensitive(yes)
        | A::Extractable(yes)
        | A::Encrypt(yes)
        | A::Decrypt(yes)
        | A::Wrap(yes)
        | A::Unwrap(yes)
        | A::Sign(yes)
        | A::Verify(yes)
        | A::Derive(yes)
        | A::Local(yes)
        | A::AlwaysSensitive(yes)
        | A::NeverExtractable(yes) => Some(yes.to_string()),
        A::Label(bytes) | A::Id(bytes) => Some(hex::encode(bytes)),
        A::ValueLen(bytes) => Some(bytes.to_string()),
        _ => None,
    }
}

/// The check value that the token itself gives of a secret key, where it gives one.
pub(super) fn check_value(session: &Session, born: Born) -> Option<Vec<u8>> {
    // Nothing depends on it: a token that fails here is asked nothing more about it.
    let read = session.get_attributes(born.secret, &[AttributeType::CheckValue]).ok()?;
    read.into_iter().find_map(|attribute| match attribute {
        Attribute::CheckValue(bytes) if !bytes.is_empty() => Some(bytes),
        _ => None,
    })
}

/// The modulus of an RSA pair, without zeros before it.
pub(super) fn modulus(session: &Session, born: Born) -> Option<Vec<u8>> {
    let read = session.get_attributes(born.public?, &[AttributeType::Modulus]).ok()?;
    read.into_iter().find_map(|attribute| match attribute {
        Attribute::Modulus(bytes) => Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect()),
        _ => None,
    })
}
