//! What a key has to be, by its use and its mechanism: kind, public half, objects, and every attribute of each object once.
//! A record is held to this whoever wrote it: before it is signed, by each who verifies it, and at a start.

use super::approval::hash;
use super::{Body, CeremonyError, Key, Object, Plan, PlannedKey, Use};
use crate::checkpoint::origin;
use crate::signed::VerifyingKey;
use crate::text::decimal;

#[cfg(test)]
mod tests;

/// What an attribute has to say.
enum Says {
    /// This.
    Is(String),
    /// That the key has not this usage; a token that does not know of a usage gives it to none.
    Not,
    /// That it is not so; a service that does not know of it does not say.
    NotSaid,
    /// Something: it is written down, and judged by whoever reads it.
    Any,
    /// A version of this key, behind this.
    Version(String),
    /// A SHA-256.
    Hash,
}

type Attributes = Vec<(&'static str, Says)>;

/// How a wrapping key wraps, as far as it decides what the key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Cipher,
    Wrapper,
    Rsa,
    Aws,
    Gcp,
    Transit { derived: bool },
}

/// Those that say together that a key was made in its token and never leaves it.
const STAYS: [&str; 5] =
    ["CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_LOCAL", "CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE"];
/// Bytes of the modulus of an RSA key of 3072 bits.
const MODULUS: usize = 384;
/// Longest that a service makes of a throw-away value.
const LONGEST: usize = 64 * 1024;

impl Way {
    fn of(mechanism: &str) -> Option<Self> {
        Some(match mechanism {
            "aes-gcm" => Self::Cipher,
            "aes-kwp" => Self::Wrapper,
            "rsa-oaep-sha256" => Self::Rsa,
            "aws-kms" => Self::Aws,
            "gcp-kms" => Self::Gcp,
            "transit-aead" => Self::Transit { derived: false },
            "transit-derived" => Self::Transit { derived: true },
            _ => return None,
        })
    }

    const fn is_of_token(self) -> bool {
        matches!(self, Self::Cipher | Self::Wrapper | Self::Rsa)
    }

    /// What a plan says of where such keys live.
    fn places(self) -> &'static [&'static str] {
        match self {
            Self::Cipher | Self::Wrapper | Self::Rsa => &["token label ", "token serial "],
            Self::Aws => &["aws-kms "],
            Self::Gcp => &["gcp-kms "],
            Self::Transit { .. } => &["transit "],
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Cipher | Self::Wrapper => "AES-256",
            Self::Rsa => "RSA-3072",
            Self::Aws => "SYMMETRIC_DEFAULT",
            Self::Gcp => "GOOGLE_SYMMETRIC_ENCRYPTION",
            Self::Transit { .. } => "aes256-gcm96",
        }
    }

    /// Whether a throw-away value of 64 bytes has this length once it is wrapped.
    fn fits(self, witness: &[u8]) -> bool {
        match self {
            Self::Cipher => witness.len() == 12 + 64 + 16,
            Self::Wrapper => witness.len() == 72,
            Self::Rsa => witness.len() == MODULUS,
            Self::Aws | Self::Gcp | Self::Transit { .. } => (64..=LONGEST).contains(&witness.len()),
        }
    }
}

/// What was made is what was to be made, in every respect.
pub(super) fn held(body: &Body) -> Result<(), CeremonyError> {
    let off = |line: &'static str, fits: bool| if fits { Ok(()) } else { Err(CeremonyError::OffPlan(line)) };
    let plan = &body.plan;
    let planned = |key: &PlannedKey| (key.used_to, key.label.clone());
    let uses: Vec<Use> = plan.keys.iter().map(|key| key.used_to).collect();
    off("plan", uses == [Use::Wrap] || uses == [Use::Wrap, Use::Sign])?;
    off("keys", body.keys.iter().map(|key| (key.used_to, key.label.clone())).eq(plan.keys.iter().map(planned)))?;
    let way = Way::of(&body.mechanism).ok_or(CeremonyError::OffPlan("mechanism"))?;
    off("place", way.places().iter().any(|place| plan.place.starts_with(place)))?;
    let [label, serial, ..] = &body.token;
    off("token-label", plan.place.strip_prefix("token label ").is_none_or(|planned| planned == label))?;
    off("token-serial", plan.place.strip_prefix("token serial ").is_none_or(|planned| planned == serial))?;
    off("module-sha256", is_module(plan, way))?;
    off("witness", way.fits(&body.witness))?;
    let public = body.verifier_key.as_ref().map(|key| key.key().to_bytes());
    let signs = body.keys.iter().find(|key| key.used_to == Use::Sign);
    let named = body.verifier_key.as_ref().is_none_or(|key| key.name() == origin(&plan.deployment));
    off("verifier-key", named && signs.is_some() == public.is_some() && signs.is_none_or(|key| key.public == public))?;
    for (key, planned) in body.keys.iter().zip(&plan.keys) {
        let mechanism = match (key.used_to, &body.verifier_key) {
            (Use::Wrap, _) => body.mechanism.as_str(),
            (Use::Sign, signer) => signer.as_ref().map_or("", |signer| algorithm(signer.key())),
        };
        off("mechanism", planned.may_become(mechanism))?;
        key_held(key, way, mechanism)?;
    }
    Ok(())
}

fn is_module(plan: &Plan, way: Way) -> bool {
    if way.is_of_token() { hash(&plan.module_sha256).is_some() } else { plan.module_sha256 == "-" }
}

const fn algorithm(key: &VerifyingKey) -> &'static str {
    match key {
        VerifyingKey::Ed25519(_) => "ed25519",
        VerifyingKey::P256(_) => "ecdsa-p256-sha256",
    }
}

fn key_held(key: &Key, way: Way, mechanism: &str) -> Result<(), CeremonyError> {
    let unlike = |what: String| CeremonyError::Unlike { label: key.label.clone(), what };
    let kind = if key.used_to == Use::Wrap { way.kind() } else { mechanism };
    if key.kind != kind {
        return Err(unlike(format!("its kind is not {kind}")));
    }
    let modulus = way == Way::Rsa && key.public.as_ref().is_some_and(|modulus| modulus.len() == MODULUS);
    if key.used_to == Use::Wrap && !modulus && (way == Way::Rsa || key.public.is_some()) {
        return Err(unlike("its public half is not that of such a key".to_owned()));
    }
    let secret = key.used_to == Use::Wrap && matches!(way, Way::Cipher | Way::Wrapper);
    if key.check_value.is_some() && !secret {
        return Err(unlike("it has a check value, and is no secret key of a token".to_owned()));
    }
    let wanted = objects(key, way);
    let classes = key.objects.iter().map(|object| object.class.as_str());
    if !classes.eq(wanted.iter().map(|(class, _)| *class)) {
        let classes: Vec<_> = wanted.iter().map(|(class, _)| *class).collect();
        return Err(unlike(format!("its objects are not: {}", classes.join(", "))));
    }
    key.objects.iter().zip(&wanted).try_for_each(|(object, (_, attributes))| object_held(key, object, attributes))
}

/// Each attribute is there once and says what it has to, and there is no other.
fn object_held(key: &Key, object: &Object, wanted: &[(&'static str, Says)]) -> Result<(), CeremonyError> {
    let unlike = |what: String| CeremonyError::Unlike { label: key.label.clone(), what };
    for (name, says) in wanted {
        let mut said = object.attributes.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let holds = said.next().is_some_and(|said| says.is_met_by(said)) && said.next().is_none();
        if !holds && STAYS.contains(name) {
            return Err(CeremonyError::Loose(key.label.clone()));
        }
        if !holds {
            return Err(unlike(format!("{name} of its {} object is missing, twice, or another", object.class)));
        }
    }
    let known = |name: &str| wanted.iter().any(|(wanted, _)| *wanted == name);
    match object.attributes.iter().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(unlike(format!("{name} is no attribute of its {} object", object.class))),
        None => Ok(()),
    }
}

impl Says {
    fn is_met_by(&self, said: &str) -> bool {
        match self {
            Self::Is(wanted) => said == wanted,
            Self::Not => ["false", "unknown"].contains(&said),
            Self::NotSaid => ["false", "not said"].contains(&said),
            Self::Any => !said.is_empty(),
            Self::Hash => hash(said).is_some(),
            Self::Version(of) => {
                let number = said.strip_prefix(of.as_str()).and_then(decimal);
                number.is_some_and(|number| number > 0)
            }
        }
    }
}

fn is(text: impl Into<String>) -> Says {
    Says::Is(text.into())
}

fn objects(key: &Key, way: Way) -> Vec<(&'static str, Attributes)> {
    match (key.used_to, way) {
        (Use::Sign, way) if way.is_of_token() => {
            let mut private = private(&key.label);
            private.extend([("CKA_SIGN", is("true")), ("CKA_DECRYPT", Says::Not), ("CKA_UNWRAP", Says::Not)]);
            let mut public = public(&key.label);
            public.extend([("CKA_VERIFY", is("true")), ("CKA_ENCRYPT", Says::Not), ("CKA_WRAP", Says::Not)]);
            vec![("private", private), ("public", public)]
        }
        // What is to be known of it is its public half.
        (Use::Sign, _) => vec![("service", Vec::new())],
        (Use::Wrap, Way::Cipher | Way::Wrapper) => vec![("secret", secret(&key.label, way == Way::Cipher))],
        (Use::Wrap, Way::Rsa) => {
            let mut private = private(&key.label);
            private.extend([("CKA_DECRYPT", is("true")), ("CKA_SIGN", Says::Not), ("CKA_UNWRAP", Says::Not)]);
            let mut public = public(&key.label);
            public.extend([("CKA_ENCRYPT", is("true")), ("CKA_VERIFY", Says::Not), ("CKA_WRAP", Says::Not)]);
            vec![("private", private), ("public", public)]
        }
        (Use::Wrap, way) => vec![("service", service(&key.label, way))],
    }
}

/// An object of a token that lasts.
fn lasting(label: &str, private: bool) -> Attributes {
    vec![
        ("CKA_LABEL", is(hex::encode(label))),
        ("CKA_ID", is(hex::encode(label))),
        ("CKA_TOKEN", is("true")),
        ("CKA_PRIVATE", is(private.to_string())),
        ("CKA_MODIFIABLE", is("false")),
        ("CKA_DERIVE", Says::Not),
        ("CKA_LOCAL", is("true")),
    ]
}

fn public(label: &str) -> Attributes {
    lasting(label, false)
}

fn private(label: &str) -> Attributes {
    let mut attributes = lasting(label, true);
    attributes.extend([
        ("CKA_SENSITIVE", is("true")),
        ("CKA_EXTRACTABLE", is("false")),
        ("CKA_ALWAYS_SENSITIVE", is("true")),
        ("CKA_NEVER_EXTRACTABLE", is("true")),
    ]);
    attributes
}

/// An AES key that encrypts and decrypts, or one that wraps and unwraps, and does nothing else.
fn secret(label: &str, encrypts: bool) -> Attributes {
    let usage = |has: bool| if has { is("true") } else { Says::Not };
    let mut attributes = private(label);
    attributes.extend([
        ("CKA_ENCRYPT", usage(encrypts)),
        ("CKA_DECRYPT", usage(encrypts)),
        ("CKA_WRAP", usage(!encrypts)),
        ("CKA_UNWRAP", usage(!encrypts)),
        ("CKA_SIGN", Says::Not),
        ("CKA_VERIFY", Says::Not),
        ("CKA_VALUE_LEN", is("32")),
    ]);
    attributes
}

/// What a service says of its wrapping key, and what ties the throw-away value to it.
fn service(label: &str, way: Way) -> Attributes {
    let google = || Says::Version(format!("{label}/cryptoKeyVersions/"));
    let mut attributes = match way {
        Way::Gcp => vec![
            ("purpose", is("ENCRYPT_DECRYPT")),
            ("primary", google()),
            ("state", is("ENABLED")),
            ("protectionLevel", Says::Any),
            ("importOnly", is("false")),
            ("importJob", is("none")),
            ("rotates", Says::Any),
            (WITNESS_KEY, google()),
        ],
        Way::Transit { derived } => vec![
            ("type", is("aes256-gcm96")),
            ("derived", is(derived.to_string())),
            ("exportable", is("false")),
            ("allow_plaintext_backup", is("false")),
            ("imported_key", Says::NotSaid),
            (WITNESS_KEY, Says::Version(format!("{label}:v"))),
        ],
        _ => vec![
            ("KeyState", is("Enabled")),
            ("KeyUsage", is("ENCRYPT_DECRYPT")),
            // Of material that was imported, or is kept elsewhere, it says another.
            ("Origin", is("AWS_KMS")),
            ("KeyManager", Says::Any),
            ("MultiRegion", Says::Any),
            (WITNESS_KEY, is(label)),
        ],
    };
    attributes.push((WITNESS_SHA256, Says::Hash));
    attributes
}

/// The attribute of a service's key that names the key, with its version where it has versions, that wrapped the witness.
pub const WITNESS_KEY: &str = "witness-key";
/// The attribute that has the SHA-256 of the value that was wrapped.
pub const WITNESS_SHA256: &str = "witness-sha256";

/// The SHA-256 of the value behind the witness, where the record is of a service's keys.
pub(super) fn witness_sha256(body: &Body) -> Option<crate::Hash> {
    let attributes = body.keys.iter().flat_map(|key| &key.objects).flat_map(|object| &object.attributes);
    attributes.filter(|(name, _)| name == WITNESS_SHA256).find_map(|(_, value)| hash(value))
}
