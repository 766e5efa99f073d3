//! Making tokens and keys, for `cofred init`, development and tests. Always asked for, never part of a start; nothing
//! that exists is overwritten or deleted. These calls block: run them where blocking is allowed.

use std::path::Path;

use cofre_envelope::Slab;
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::Ulong;

use super::login::{Login, Standing};
use super::message::Note;
use super::trouble::Trouble;
use super::{Pin, Place, Settings, TokenName, host, keys, module};
use crate::custodian::{CustodianId, Mechanism as How};
use crate::fault::{Cause, Fault, Operation};

/// Whether a key had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was there.
    There,
    /// It was made now.
    Made,
}

/// What [`ensure_keys`] found and made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ensured {
    /// The wrapping key.
    pub root: Found,
    /// The signing pair and its algorithm, where the settings name one.
    pub signer: Option<(Found, &'static str)>,
}

/// Initialises the one blank token of a module, sets both PINs and answers its serial number.
///
/// # Errors
/// [`Cause::TokenExists`] when a token of that label is there already, [`Cause::TokenAbsent`] when no blank one is,
/// [`Cause::PinUnusable`] for a PIN the token does not take.
pub fn init_token(
    custodian: &CustodianId,
    module: &Path,
    label: &str,
    so_pin: &Pin,
    user_pin: &Pin,
) -> Result<String, Fault> {
    make_token(module, label, so_pin, user_pin).map_err(|trouble| trouble.into_fault(custodian.clone(), None))
}

fn make_token(module: &Path, label: &str, so_pin: &Pin, user_pin: &Pin) -> Result<String, Trouble> {
    let answered = |error: Error| Trouble::answered(Operation::MakeToken, &error);
    let module = module::load(module, None)?;
    let name = TokenName::Label(label.to_owned());
    match module::find(&module, &name) {
        Ok(_) => return Err(Trouble::of(Operation::MakeToken, Cause::TokenExists)),
        Err(trouble) if trouble.cause == Cause::TokenAbsent => {}
        Err(trouble) => return Err(trouble),
    }
    module.init_token(blank(&module)?, &so_pin.0, label).map_err(answered)?;
    // The number of the slot may have changed with that.
    let (slot, info) = module::find(&module, &name)?;
    let session = module.open_rw_session(slot).map_err(answered)?;
    session.login(UserType::So, Some(&so_pin.0)).map_err(answered)?;
    session.init_pin(&user_pin.0).map_err(answered)?;
    session.logout().map_err(answered)?;
    Ok(info.serial_number().to_owned())
}

fn blank(module: &Pkcs11) -> Result<Slot, Trouble> {
    let slots = module.get_slots_with_token().map_err(|error| Trouble::answered(Operation::MakeToken, &error))?;
    let blank = |slot: &Slot| module.get_token_info(*slot).is_ok_and(|info| !info.token_initialized());
    slots.into_iter().find(blank).ok_or(Trouble::of(Operation::MakeToken, Cause::TokenAbsent))
}

/// Makes the wrapping key, and the signing pair if the settings name one, where they are absent. Keys that are there
/// are checked as at a start. Done where the module runs; `slab` says from where locked memory comes.
///
/// # Errors
/// [`Fault`]; keys made before it stay, and a second call goes on from there.
pub fn ensure_keys(settings: &Settings, pin: Pin, slab: &Slab) -> Result<Ensured, Fault> {
    let ensured = match &settings.place {
        Place::Inside => ensure(settings, pin, &|note| note.log(settings.id.as_str())),
        Place::Child(hosting) => host::make_keys(settings, hosting, &pin, slab),
    };
    ensured.map_err(|trouble| trouble.into_fault(settings.id.clone(), None))
}

pub(super) fn ensure(settings: &Settings, pin: Pin, notes: &dyn Fn(Note)) -> Result<Ensured, Trouble> {
    let module = module::load(&settings.module, settings.module_sha256.as_ref())?;
    let (slot, _) = module::find(&module, &settings.token)?;
    let session = module.open_rw_session(slot).map_err(|error| Trouble::answered(Operation::Connect, &error))?;
    let token = || module::find(&module, &settings.token).map(|(_, info)| info);
    Login::new(pin, Standing::Untried).ensure(&session, token, notes)?;
    let root = found_or_made(
        || keys::root(&session, &settings.key_label).map(drop),
        || make_root(&session, &settings.key_label, settings.mechanism.unwrap_or(How::AesGcm)),
    )?;
    let signer = match &settings.signer_label {
        None => None,
        Some(label) => {
            let found = found_or_made(
                || keys::signer(&session, label).map(drop),
                || make_signer(&module, slot, &session, label),
            )?;
            Some((found, keys::signer(&session, label)?.public.algorithm()))
        }
    };
    Ok(Ensured { root, signer })
}

fn found_or_made(
    find: impl Fn() -> Result<(), Trouble>,
    make: impl FnOnce() -> Result<(), Trouble>,
) -> Result<Found, Trouble> {
    match find() {
        Ok(()) => Ok(Found::There),
        Err(trouble) if trouble.cause == Cause::KeyMissing => {
            make()?;
            find().map(|()| Found::Made)
        }
        Err(trouble) => Err(trouble),
    }
}

/// A key of the kind that goes with the mechanism, and of no more usages than it needs.
fn make_root(session: &Session, label: &str, how: How) -> Result<(), Trouble> {
    let answered = |error: Error| Trouble::answered(Operation::MakeKey, &error);
    let stays = |usages: [bool; 4]| {
        let [encrypt, decrypt, wrap, unwrap] = usages;
        vec![
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(label.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
            // Said in so many words: what a template leaves out, some tokens allow.
            Attribute::Encrypt(encrypt),
            Attribute::Decrypt(decrypt),
            Attribute::Wrap(wrap),
            Attribute::Unwrap(unwrap),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Derive(false),
        ]
    };
    let usages = match how {
        How::AesGcm => [true, true, false, false],
        How::AesKwp => [false, false, true, true],
        How::RsaOaepSha256 => return make_pair(session, label),
        // Keys of services are made with the services' own tools.
        How::AwsKms | How::GcpKms | How::TransitAead | How::TransitDerived => {
            return Err(Trouble::of(Operation::MakeKey, Cause::Unsupported));
        }
    };
    let mut template = stays(usages);
    template.push(Attribute::ValueLen(Ulong::from(32)));
    session.generate_key(&Mechanism::AesKeyGen, &template).map(drop).map_err(answered)
}

/// RSA of 3072 bits: as strong as the AES-128 that nothing here is weaker than (SP 800-57 part 1, table 2).
fn make_pair(session: &Session, label: &str) -> Result<(), Trouble> {
    let name = |private: bool| {
        vec![
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(label.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(private),
            Attribute::Modifiable(false),
            Attribute::Derive(false),
        ]
    };
    let mut public = name(false);
    public.extend([
        Attribute::ModulusBits(Ulong::from(3072)),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(true),
        Attribute::Verify(false),
        Attribute::Wrap(false),
    ]);
    let mut private = name(true);
    private.extend([
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
        Attribute::Sign(false),
        Attribute::Unwrap(false),
    ]);
    let made = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private);
    made.map(drop).map_err(|error| Trouble::answered(Operation::MakeKey, &error))
}

/// Ed25519 where the token has it, else ECDSA on P-256.
fn make_signer(module: &Pkcs11, slot: Slot, session: &Session, label: &str) -> Result<(), Trouble> {
    let answered = |error: Error| Trouble::answered(Operation::MakeKey, &error);
    let offered = module.get_mechanism_list(slot).map_err(answered)?;
    let edwards = [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA];
    let (mechanism, curve) = if edwards.iter().all(|wanted| offered.contains(wanted)) {
        (Mechanism::EccEdwardsKeyPairGen, keys::ED25519)
    } else {
        (Mechanism::EccKeyPairGen, keys::P256)
    };
    let name = |token_private: bool| {
        [
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(label.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(token_private),
            Attribute::Modifiable(false),
            Attribute::Derive(false),
        ]
    };
    let mut public = name(false).to_vec();
    public.extend([
        Attribute::EcParams(curve.to_vec()),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
    ]);
    let mut private = name(true).to_vec();
    private.extend([
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
    ]);
    session.generate_key_pair(&mechanism, &public, &private).map(drop).map_err(answered)
}
