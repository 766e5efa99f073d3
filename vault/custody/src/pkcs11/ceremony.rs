//! Making tokens and keys: ceremonies, and what development and tests make without one. Always asked for, never part of
//! a start; nothing that exists is overwritten or deleted. These calls block: run them where blocking is allowed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cofre_envelope::Slab;
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::session::UserType;
use cryptoki::slot::Slot;

use super::login::{Login, Standing};
use super::message::Note;
use super::trouble::Trouble;
use super::{Pin, Place, Recorded, Settings, Token, TokenName, host, keys, module};
use crate::custodian::{CustodianId, Mechanism, VerifyingKey};
use crate::fault::{Cause, Fault, Operation};

mod performing;
mod wishes;

pub(super) use performing::perform as perform_here;
use wishes::{Curve, Stays, Wish};

/// What is done of a ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Performance {
    /// Keys are made.
    Keys,
    /// Everything before that: the token has room, and shows on keys of a session what it can do.
    Rehearsal,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Wrapping shares.
    Wrap,
    /// Signing.
    Sign,
}

/// An object of a key, as the token told it after it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeObject {
    /// `secret`, `private` or `public`.
    pub class: String,
    /// Names and values of its attributes.
    pub attributes: Vec<(String, String)>,
}

/// A key that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKey {
    /// What it is for.
    pub used_to: Use,
    /// Its label; its id is the same bytes.
    pub label: String,
    /// What it is, such as `AES-256` or `ed25519`.
    pub kind: String,
    /// The public half: 32 bytes of Ed25519, an uncompressed point, or an RSA modulus.
    pub public: Option<Vec<u8>>,
    /// The token's own check value of a secret key, where it has one.
    pub check_value: Option<Vec<u8>>,
    /// Its objects.
    pub objects: Vec<MadeObject>,
}

/// How far a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The token was told to make it. It may be there.
    Asked,
    /// The token said that it made it.
    Made,
    /// It was read back, and is as asked.
    ReadBack,
}

/// A key that the token was told to make. Of one that was not read back, use and label are known and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// How far it came.
    pub reached: Reached,
    /// What is known of it.
    pub key: MadeKey,
}

/// A ceremony that did not come to its end, and what it leaves on the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub fault: Fault,
    /// The keys that the token was told to make, as far as they came; none where it was told nothing.
    pub begun: Vec<Begun>,
    /// All of it, where the keys were made and the token did not open on them.
    pub performed: Option<Performed>,
}

/// What a ceremony made, and of which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// The token's label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Its maker.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// How the wrapping key wraps.
    pub mechanism: Mechanism,
    /// What showed it.
    pub why: String,
    /// A throw-away value, wrapped by the new key; empty after a rehearsal.
    pub witness: Vec<u8>,
    /// The public half of the signing key, where the settings name one and it was made.
    pub signer: Option<VerifyingKey>,
    /// The keys; none after a rehearsal.
    pub keys: Vec<MadeKey>,
}

/// Makes the keys that the settings name, all of them new, reads back what they became, tries them, and opens the token
/// as a vault does that has the record. Done where the module runs; `slab` says from where locked memory comes. A PIN that
/// the token refuses is tried once.
///
/// `heard` gets all that the token was told to make so far, each time that is more: before the token is told where the
/// module runs in this process, and at once where it runs in a host. It is called where blocking is allowed.
///
/// # Errors
/// As [`rehearse`], before anything was made; [`Cause::KeyUnsafe`] where the token made another key than was asked, which
/// stays on it; and the [`Fault`] of any other step. Each with what is on the token now.
pub async fn perform(
    settings: Settings,
    pin: Pin,
    slab: &Arc<Slab>,
    heard: impl Fn(&[Begun]) + Send + 'static,
) -> Result<(Performed, Arc<Token>), Box<Failed>> {
    let again = Pin(pin.0.clone());
    let (performed, begun) = blocking(settings.clone(), pin, slab, Performance::Keys, heard).await;
    let performed = match performed {
        Ok(performed) => performed,
        Err(fault) => return Err(Box::new(Failed { fault, begun, performed: None })),
    };
    let recorded =
        Recorded { witness: performed.witness.clone(), signer: performed.signer, mechanism: performed.mechanism };
    match Token::open_recorded(settings, again, slab, recorded).await {
        Ok(token) => Ok((performed, token)),
        Err(fault) => Err(Box::new(Failed { fault, begun, performed: Some(performed) })),
    }
}

/// Everything before keys are made: the token has room for them, and shows on keys of a session what it can do. Nothing
/// stays on it.
///
/// # Errors
/// [`Cause::KeyExists`] where anything on the token has one of the labels, [`Cause::TokenReadOnly`],
/// [`Cause::Unsupported`] where no mechanism goes; and the [`Fault`] of any other step.
pub async fn rehearse(settings: Settings, pin: Pin, slab: &Arc<Slab>) -> Result<Performed, Fault> {
    blocking(settings, pin, slab, Performance::Rehearsal, |_| {}).await.0
}

/// What became of it, and what the token was told to make meanwhile: kept here as it is said, and passed on, so that it is
/// known also where whoever makes it crashes. What this process knows ends with it: `heard` is who writes it down.
async fn blocking(
    settings: Settings,
    pin: Pin,
    slab: &Arc<Slab>,
    what: Performance,
    heard: impl Fn(&[Begun]) + Send + 'static,
) -> (Result<Performed, Fault>, Vec<Begun>) {
    let (id, slab) = (settings.id.clone(), Arc::clone(slab));
    let begun = Arc::new(Mutex::new(Vec::<Begun>::new()));
    let keeping = Arc::clone(&begun);
    let work = move || {
        let notes = |note| match note {
            Note::Key(key) => {
                let mut begun = keeping.lock().unwrap_or_else(PoisonError::into_inner);
                begun.retain(|known| known.key.used_to != key.key.used_to);
                begun.push(*key);
                heard(&begun);
            }
            other => other.log(settings.id.as_str()),
        };
        match &settings.place {
            Place::Inside => perform_here(&settings, pin, what, &notes),
            Place::Child(hosting) => host::perform(&settings, hosting, &pin, (&slab, what), &notes),
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    let performed = done.unwrap_or_else(|_| Err(Trouble::of(Operation::MakeKey, Cause::Crashed)));
    let begun = std::mem::take(&mut *begun.lock().unwrap_or_else(PoisonError::into_inner));
    (performed.map_err(|trouble| trouble.into_fault(id, None)), begun)
}

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
        || {
            let how = settings.mechanism.unwrap_or(Mechanism::AesGcm);
            Wish::wrapping(&settings.key_label, how, Stays::Lasting)?.make(&session).map(drop)
        },
    )?;
    let signer = match &settings.signer_label {
        None => None,
        Some(label) => {
            let found = found_or_made(
                || keys::signer(&session, label).map(drop),
                || Wish::signing(label, Curve::of(&module, slot)?, Stays::Lasting).make(&session).map(drop),
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
