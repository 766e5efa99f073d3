//! How the wrapping key of a token wraps: found from what the key is and may do, proven by wrapping a throw-away value,
//! and said with its reason. A key has one mechanism for life; which one, the row of every share it wrapped says.

use cryptoki::error::Error;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism as Called, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use zeroize::{Zeroize as _, Zeroizing};

use super::keys::WrappingKey;
use super::trouble::Trouble;
use crate::custodian::Mechanism;
use crate::fault::{Cause, Operation};
use crate::recorded::PROBE;

const NONCE: usize = 12;
const TAG_BITS: u64 = 128;
/// A bound share: 32 bytes of key, 32 of digest.
const SHARE: usize = 64;
/// What RFC 5649 makes of one.
const SHARE_IN_KWP: usize = SHARE + 8;
const OTHER: &[u8] = b"cofre/v1/custody-probe/other";

/// The two numbers under which tokens offer RFC 5649: that of PKCS#11 3.0, and that of drafts before it.
const KWP: [std::ffi::c_ulong; 2] = [0x210B, 0x210A];

/// The wrapping key and the way it wraps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    way: Way,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Gcm(ObjectHandle),
    Kwp(ObjectHandle, std::ffi::c_ulong),
    Oaep { public: ObjectHandle, private: ObjectHandle, modulus: usize },
}

/// A way that was seen to work, and what showed it.
pub(super) struct Proven {
    pub(super) root: Root,
    /// The throw-away value, wrapped.
    pub(super) sealed: Vec<u8>,
    pub(super) why: String,
}

impl Root {
    /// The ways a key may go, best first.
    fn candidates(key: WrappingKey) -> Vec<Self> {
        let ways = match key {
            WrappingKey::Cipher(key) => vec![Way::Gcm(key)],
            WrappingKey::Wrapper(key) => KWP.map(|number| Way::Kwp(key, number)).to_vec(),
            WrappingKey::Rsa { public, private, modulus } => vec![Way::Oaep { public, private, modulus }],
        };
        ways.into_iter().map(|way| Self { way }).collect()
    }

    /// The way that opens a value that was wrapped before.
    pub(super) fn that_opens(session: &Session, key: WrappingKey, known: &[u8]) -> Result<Self, Trouble> {
        let mut unknown = Trouble::of(Operation::Probe, Cause::Unsupported);
        for root in Self::candidates(key) {
            match root.open(session, Operation::Probe, PROBE, known) {
                Ok(_) => return Ok(root),
                // A number that the token does not know says nothing about the key.
                Err(trouble) if trouble.cause == Cause::Unsupported => unknown = trouble,
                Err(trouble) => return Err(trouble),
            }
        }
        Err(unknown)
    }

    /// Whether a value that was wrapped before opens now.
    pub(super) fn opens(&self, session: &Session, known: &[u8]) -> bool {
        self.open(session, Operation::Probe, PROBE, known).is_ok()
    }

    /// Tries the ways a key may go on a throw-away value, and holds them to the mechanism that is wanted, if one is.
    pub(super) fn prove(session: &Session, key: WrappingKey, wanted: Option<Mechanism>) -> Result<Proven, Trouble> {
        let (is, may) = key.words();
        let mut refused = Vec::new();
        for root in Self::candidates(key) {
            if wanted.is_some_and(|wanted| wanted != root.mechanism()) {
                let said = format!("the key is {is} that {may}: it goes with {}", root.mechanism().as_str());
                return Err(Trouble::told(
                    Operation::Probe,
                    Cause::Unsupported,
                    super::trouble::Session::Sound,
                    Some(said),
                ));
            }
            match root.probe(session) {
                Ok(sealed) => {
                    let before = if refused.is_empty() { String::new() } else { format!("; {}", refused.join("; ")) };
                    let why = format!(
                        "the key is {is} that {may}, and a throw-away value came back {}{before}",
                        root.words()
                    );
                    return Ok(Proven { root, sealed, why });
                }
                Err(trouble) if trouble.cause == Cause::Unsupported => {
                    refused.push(format!("{} was refused: {}", root.words(), trouble.detail().unwrap_or("no reason")));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        let said = Some(refused.join("; "));
        Err(Trouble::told(Operation::Probe, Cause::Unsupported, super::trouble::Session::Replace, said))
    }

    /// Proves that the mechanism wraps, unwraps, and refuses what was changed; where it has associated data, also
    /// another context.
    fn probe(&self, session: &Session) -> Result<Vec<u8>, Trouble> {
        let mut value = Zeroizing::new([0; SHARE]);
        random(session, Operation::Probe, value.as_mut_slice())?;
        let sealed = self.seal(session, Operation::Probe, PROBE, value.as_slice())?;
        let opened = self.open(session, Operation::Probe, PROBE, &sealed)?;
        let refuses = match self.way {
            Way::Gcm(_) => self.open(session, Operation::Probe, OTHER, &sealed).is_err(),
            Way::Kwp(..) | Way::Oaep { .. } => {
                let mut changed = sealed.clone();
                if let Some(byte) = changed.last_mut() {
                    *byte ^= 1;
                }
                self.open(session, Operation::Probe, PROBE, &changed).is_err()
            }
        };
        // The failed opening in between must not have harmed the session.
        if opened.as_slice() == value.as_slice() && refuses && self.opens(session, &sealed) {
            Ok(sealed)
        } else {
            Err(Trouble::of(Operation::Probe, Cause::Unsupported))
        }
    }

    /// What rows say of it.
    pub(super) const fn mechanism(&self) -> Mechanism {
        match self.way {
            Way::Gcm(_) => Mechanism::AesGcm,
            Way::Kwp(..) => Mechanism::AesKwp,
            Way::Oaep { .. } => Mechanism::RsaOaepSha256,
        }
    }

    fn words(&self) -> String {
        match self.way {
            Way::Gcm(_) => "through CKM_AES_GCM".to_owned(),
            Way::Kwp(_, number) => format!("through AES-KWP as {number:#x}"),
            Way::Oaep { .. } => "through CKM_RSA_PKCS_OAEP with SHA-256".to_owned(),
        }
    }

    /// The wrapping key itself.
    pub(super) const fn key(&self) -> ObjectHandle {
        match self.way {
            Way::Gcm(key) | Way::Kwp(key, _) | Way::Oaep { private: key, .. } => key,
        }
    }

    /// Wraps 64 bytes. `context` is associated data where the mechanism has any; elsewhere the second half of a share
    /// binds it.
    pub(super) fn seal(
        &self,
        session: &Session,
        operation: Operation,
        context: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, Trouble> {
        let answered = |error: Error| Trouble::answered(operation, &error);
        match self.way {
            // nonce ‖ ciphertext ‖ tag. The nonce is the token's own random number: 96 bits for a key that wraps tenant
            // keys only stay far below the bound of SP 800-38D, 8.3.
            Way::Gcm(key) => {
                let mut nonce = [0; NONCE];
                random(session, operation, &mut nonce)?;
                let mut sealed = nonce.to_vec();
                let mechanism = Called::AesGcm(gcm(operation, &mut nonce, context)?);
                let body = session.encrypt(&mechanism, key, plain).map_err(answered)?;
                if body.len() != plain.len() + 16 {
                    return Err(Trouble::of(operation, Cause::Unsupported));
                }
                sealed.extend(body);
                Ok(sealed)
            }
            Way::Kwp(key, number) => {
                let carrier = session.create_object(&Carrier::of(Some(plain)).0).map_err(answered)?;
                let wrapped = session.wrap_key(&kwp(number), key, carrier);
                // A session object dies with its session; sooner is better.
                let gone = session.destroy_object(carrier);
                let wrapped = wrapped.map_err(answered)?;
                gone.map_err(|error| beside(operation, &error))?;
                Ok(wrapped)
            }
            Way::Oaep { public, .. } => session.encrypt(&oaep(), public, plain).map_err(answered),
        }
    }

    /// Opens what [`Root::seal`] wrapped.
    pub(super) fn open(
        &self,
        session: &Session,
        operation: Operation,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let answered = |error: Error| Trouble::answered(operation, &error);
        match self.way {
            Way::Gcm(key) => {
                let Some((nonce, body)) = sealed.split_first_chunk::<NONCE>() else {
                    return Err(Trouble::of(operation, Cause::Integrity));
                };
                let mut nonce = *nonce;
                let mechanism = Called::AesGcm(gcm(operation, &mut nonce, context)?);
                session.decrypt(&mechanism, key, body).map(Zeroizing::new).map_err(answered)
            }
            Way::Kwp(key, number) => {
                if sealed.len() != SHARE_IN_KWP {
                    return Err(Trouble::of(operation, Cause::Integrity));
                }
                let carrier = session.unwrap_key(&kwp(number), key, sealed, &Carrier::of(None).0).map_err(answered)?;
                let value = session.get_attributes(carrier, &[AttributeType::Value]);
                let gone = session.destroy_object(carrier);
                let value = value.map_err(|error| beside(operation, &error))?;
                let value = value.into_iter().find_map(|attribute| match attribute {
                    Attribute::Value(bytes) => Some(Zeroizing::new(bytes)),
                    _ => None,
                });
                gone.map_err(|error| beside(operation, &error))?;
                value.ok_or(Trouble::of(operation, Cause::Unsupported))
            }
            Way::Oaep { private, modulus, .. } => {
                if sealed.len() != modulus {
                    return Err(Trouble::of(operation, Cause::Integrity));
                }
                session.decrypt(&oaep(), private, sealed).map(Zeroizing::new).map_err(answered)
            }
        }
    }
}

/// What failed once the token had opened the bytes, or wrapped them: never about the bytes. A session that may still hold
/// the carrier is given up, and the carrier with it.
fn beside(operation: Operation, error: &Error) -> Trouble {
    let trouble = Trouble::answered(operation, error);
    match trouble.cause {
        Cause::Unsupported => trouble,
        _ => trouble.but(Cause::Transient, super::trouble::Session::Replace),
    }
}

/// The secret that carries a share through a token's wrapping calls: of this session, readable, and nothing else.
struct Carrier(Vec<Attribute>);

impl Carrier {
    fn of(value: Option<&[u8]>) -> Self {
        let mut template = vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ];
        template.extend(value.map(|bytes| Attribute::Value(bytes.to_vec())));
        Self(template)
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        for attribute in &mut self.0 {
            if let Attribute::Value(bytes) = attribute {
                bytes.zeroize();
            }
        }
    }
}

/// AES-KWP under the number the token knows it by. The binding has no name for 0x210B.
fn kwp(number: std::ffi::c_ulong) -> Called<'static> {
    if number == 0x210A {
        return Called::AesKeyWrapPad;
    }
    // SAFETY: MechanismType is `repr(transparent)` over this integer, and every value of it is a valid one.
    #[expect(unsafe_code, reason = "the binding offers no other way to say 0x210B")]
    let mechanism = unsafe { std::mem::transmute::<std::ffi::c_ulong, MechanismType>(number) };
    Called::VendorDefined(VendorDefinedMechanism::new::<()>(mechanism, None))
}

fn oaep() -> Called<'static> {
    let params = PkcsOaepParams::new(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, PkcsOaepSource::empty());
    Called::RsaPkcsOaep(params)
}

fn gcm<'a>(operation: Operation, nonce: &'a mut [u8], context: &'a [u8]) -> Result<GcmParams<'a>, Trouble> {
    GcmParams::new(nonce, context, Ulong::from(TAG_BITS)).map_err(|error| Trouble::answered(operation, &error))
}

fn random(session: &Session, operation: Operation, into: &mut [u8]) -> Result<(), Trouble> {
    session.generate_random_slice(into).map_err(|error| Trouble::answered(operation, &error))
}
