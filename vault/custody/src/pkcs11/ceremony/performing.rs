//! The ceremony itself, where the module runs: nothing is made before the token was seen to have room for it and to be
//! able to do what its keys are for; nothing that was made is called good before it was read back and tried.

use cryptoki::object::Attribute;
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};

use super::wishes::{Curve, Stays, Wish, check_value, modulus};
use super::{Begun, MadeKey, Performance, Performed, Reached, Use};
use crate::custodian::{Mechanism as How, VerifyingKey};
use crate::fault::{Cause, Operation};
use crate::pkcs11::keys::{self, SigningKey, WrappingKey};
use crate::pkcs11::login::{Login, Standing};
use crate::pkcs11::message::Note;
use crate::pkcs11::trouble::{self, Trouble};
use crate::pkcs11::wrapping::{Proven, Root};
use crate::pkcs11::{Pin, Settings, module};
use crate::recorded::PROBE;

/// The mechanisms a wrapping key may go with, best first.
const WAYS: [How; 3] = [How::AesGcm, How::AesKwp, How::RsaOaepSha256];
/// The label of keys that live in a session only.
const REHEARSED: &str = "cofre-rehearsal";

pub(in crate::pkcs11) fn perform(
    settings: &Settings,
    pin: Pin,
    what: Performance,
    notes: &dyn Fn(Note),
) -> Result<Performed, Trouble> {
    let module = module::load(&settings.module, settings.module_sha256.as_ref())?;
    let (slot, info) = module::find(&module, &settings.token)?;
    if info.write_protected() {
        return Err(Trouble::of(Operation::MakeKey, Cause::TokenReadOnly));
    }
    let session = module.open_rw_session(slot).map_err(|error| Trouble::answered(Operation::Connect, &error))?;
    let token = || module::find(&module, &settings.token).map(|(_, info)| info);
    Login::new(pin, Standing::Untried).ensure(&session, token, notes)?;
    for label in std::iter::once(&settings.key_label).chain(&settings.signer_label) {
        free(&session, label)?;
    }
    let (how, why) = way(&session, settings.mechanism)?;
    let curve = settings.signer_label.as_ref().map(|_| curve(&module, slot, &session)).transpose()?;
    let mut performed = told(&info, how, why);
    if what == Performance::Keys {
        make(settings, &session, curve, &mut performed, notes)?;
    }
    Ok(performed)
}

fn told(info: &TokenInfo, how: How, why: String) -> Performed {
    Performed {
        label: info.label().to_owned(),
        serial: info.serial_number().to_owned(),
        manufacturer: info.manufacturer_id().to_owned(),
        model: info.model().to_owned(),
        mechanism: how,
        why,
        witness: Vec::new(),
        signer: None,
        keys: Vec::new(),
    }
}

/// No object of the token has this label or id, of whatever kind.
fn free(session: &Session, label: &str) -> Result<(), Trouble> {
    let bytes = || label.as_bytes().to_vec();
    for (name, by) in [("label", Attribute::Label(bytes())), ("id", Attribute::Id(bytes()))] {
        let found = session.find_objects(&[Attribute::Token(true), by]);
        let found = found.map_err(|error| Trouble::answered(Operation::FindKey, &error))?;
        if !found.is_empty() {
            let said = format!("{} of the {name} {label} on the token", found.len());
            return Err(Trouble::told(Operation::MakeKey, Cause::KeyExists, trouble::Session::Sound, Some(said)));
        }
    }
    Ok(())
}

/// The best mechanism that the token shows on a key of this session, or the one that is wanted. Nothing of it stays.
fn way(session: &Session, wanted: Option<How>) -> Result<(How, String), Trouble> {
    let ways = wanted.map_or_else(|| WAYS.to_vec(), |wanted| vec![wanted]);
    let mut refused = Vec::new();
    for how in ways {
        match rehearsed(session, how) {
            Ok(why) => return Ok((how, why)),
            Err(trouble) if trouble.cause == Cause::Unsupported => {
                refused.push(format!("{}: {}", how.as_str(), trouble.detail().unwrap_or("no reason")));
            }
            Err(trouble) => return Err(trouble),
        }
    }
    let said = Some(refused.join("; "));
    Err(Trouble::told(Operation::MakeKey, Cause::Unsupported, trouble::Session::Sound, said))
}

fn rehearsed(session: &Session, how: How) -> Result<String, Trouble> {
    let born = Wish::wrapping(REHEARSED, how, Stays::Session)?.make(session)?;
    let key = match (how, born.public) {
        (How::AesKwp, _) => WrappingKey::Wrapper(born.secret),
        (_, Some(public)) => {
            let modulus = modulus(session, born).map_or(0, |modulus| modulus.len());
            WrappingKey::Rsa { public, private: born.secret, modulus }
        }
        (_, None) => WrappingKey::Cipher(born.secret),
    };
    // The key ends with its session: nothing here deletes anything, not even that.
    Root::prove(session, key, Some(how)).map(|proven| proven.why)
}

/// The curve of the signing key, and that a key of it signs.
fn curve(module: &cryptoki::context::Pkcs11, slot: Slot, session: &Session) -> Result<Curve, Trouble> {
    let curve = Curve::of(module, slot)?;
    let born = Wish::signing(REHEARSED, curve, Stays::Session).make(session)?;
    // Which kind of key it is, is all that signing looks at.
    let public = match curve {
        Curve::Ed25519 => VerifyingKey::Ed25519([0; 32]),
        Curve::P256 => VerifyingKey::P256([0; 65]),
    };
    SigningKey { private: born.secret, public }.sign(session, PROBE).map(|_| curve)
}

/// Makes the keys, one after the other. How far each came is said before the next step is taken.
fn make(
    settings: &Settings,
    session: &Session,
    curve: Option<Curve>,
    performed: &mut Performed,
    notes: &dyn Fn(Note),
) -> Result<(), Trouble> {
    let say = |reached, key: &MadeKey| notes(Note::Key(Box::new(Begun { reached, key: key.clone() })));
    let mut made = unmade(Use::Wrap, &settings.key_label);
    let wish = Wish::wrapping(&made.label, performed.mechanism, Stays::Lasting)?;
    say(Reached::Asked, &made);
    let born = wish.make(session)?;
    say(Reached::Made, &made);
    made.objects = wish.held(session, born)?;
    made.public = modulus(session, born);
    made.kind = match &made.public {
        Some(modulus) => format!("RSA-{}", modulus.len() * 8),
        None => "AES-256".to_owned(),
    };
    made.check_value = check_value(session, born);
    say(Reached::ReadBack, &made);
    performed.keys.push(made);
    let key = keys::root(session, &settings.key_label)?;
    let Proven { sealed, why, .. } = Root::prove(session, key, Some(performed.mechanism))?;
    (performed.witness, performed.why) = (sealed, why);

    let Some((label, curve)) = settings.signer_label.as_ref().zip(curve) else { return Ok(()) };
    let mut made = unmade(Use::Sign, label);
    let wish = Wish::signing(label, curve, Stays::Lasting);
    say(Reached::Asked, &made);
    let born = wish.make(session)?;
    say(Reached::Made, &made);
    made.objects = wish.held(session, born)?;
    let key = keys::signer(session, label)?;
    made.kind = key.public.algorithm().to_owned();
    made.public = Some(key.public.as_bytes().to_vec());
    say(Reached::ReadBack, &made);
    key.sign(session, PROBE)?;
    performed.signer = Some(key.public);
    performed.keys.push(made);
    Ok(())
}

fn unmade(used_to: Use, label: &str) -> MadeKey {
    MadeKey {
        used_to,
        label: label.to_owned(),
        kind: String::new(),
        public: None,
        check_value: None,
        objects: Vec::new(),
    }
}
