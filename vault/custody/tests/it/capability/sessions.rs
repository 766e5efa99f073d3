//! Probes of sessions, logins and PINs.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::UserType;
use cryptoki::slot::Limit;

use super::probes::{Bench, CONTEXT, Found, PLAIN, YES, gcm, refused, same};
use crate::contract::KEY;

/// More than the driver holds at its default, and a wrong PIN is tried no oftener than this.
const MANY: usize = 64;
const TRIES: usize = 12;

pub(super) fn version(bench: &Bench) -> Found {
    Ok(bench.module.get_library_info()?.cryptoki_version().to_string())
}

pub(super) fn stated_limit(bench: &Bench) -> Found {
    Ok(match bench.module.get_token_info(bench.slot)?.max_session_count() {
        Limit::Max(sessions) => sessions.to_string(),
        Limit::Unavailable => "does not say".to_owned(),
        Limit::Infinite => "none".to_owned(),
    })
}

/// Whether the count follows what is opened and closed.
pub(super) fn counted(bench: &Bench) -> Found {
    let count = || Ok::<_, Error>(bench.module.get_token_info(bench.slot)?.session_count());
    let Some(before) = count()? else { return Ok("does not say".to_owned()) };
    let two = [bench.module.open_ro_session(bench.slot)?, bench.module.open_ro_session(bench.slot)?];
    let with = count()?;
    drop(two);
    let after = count()?;
    Ok(match (with, after) {
        (Some(with), Some(after)) if (with, after) == (before + 2, before) => YES.to_owned(),
        (Some(with), Some(after)) if with == before && after == before => format!("says {before} whatever is open"),
        (with, after) => format!("{before}, then {with:?}, then {after:?}"),
    })
}

pub(super) fn many_sessions(bench: &Bench) -> Found {
    let open: Vec<_> = (0..MANY).map(|_| bench.module.open_ro_session(bench.slot)).collect::<Result<_, _>>()?;
    for session in &open {
        session.get_session_info()?;
    }
    Ok(YES.to_owned())
}

/// The key that the ceremony put on the token.
fn root(bench: &Bench) -> Result<ObjectHandle, Error> {
    let found = bench.session.find_objects(&[Attribute::Token(true), Attribute::Label(KEY.into())])?;
    found.first().copied().ok_or(Error::Pkcs11(RvError::KeyHandleInvalid, cryptoki::context::Function::FindObjects))
}

/// A handle found in one session serves in another.
pub(super) fn shared_handles(bench: &Bench) -> Found {
    let key = root(bench)?;
    let sealed = bench.seal(key, CONTEXT)?;
    let other = bench.module.open_ro_session(bench.slot)?;
    same(&other.decrypt(&gcm(&mut super::probes::NONCE.to_owned(), CONTEXT)?, key, &sealed)?, PLAIN)
}

pub(super) fn key_in_a_read_only_session(bench: &Bench) -> Found {
    let session = bench.module.open_ro_session(bench.slot)?;
    let template = [Attribute::Token(true), Attribute::ValueLen(32.into()), Attribute::Label("never".into())];
    refused(session.generate_key(&Mechanism::AesKeyGen, &template))
}

pub(super) fn second_login(bench: &Bench) -> Found {
    refused(bench.log_in())
}

pub(super) fn use_after_logout(bench: &Bench) -> Found {
    let key = root(bench)?;
    let sealed = bench.seal(key, CONTEXT)?;
    bench.session.logout()?;
    let answer = refused(bench.open(key, CONTEXT, &sealed));
    bench.log_in()?;
    answer
}

pub(super) fn attributes_after_logout(bench: &Bench) -> Found {
    let key = root(bench)?;
    bench.session.logout()?;
    let answer = refused(bench.session.get_attributes(key, &[AttributeType::Label]));
    bench.log_in()?;
    answer
}

pub(super) fn same_handle_after_login(bench: &Bench) -> Found {
    let key = root(bench)?;
    let sealed = bench.seal(key, CONTEXT)?;
    bench.session.logout()?;
    bench.log_in()?;
    same(&bench.open(key, CONTEXT, &sealed)?, PLAIN)
}

pub(super) fn wrong_pin(bench: &Bench) -> Found {
    bench.session.logout()?;
    let answer = refused(wrong(bench));
    bench.log_in()?;
    answer
}

fn wrong(bench: &Bench) -> Result<(), Error> {
    bench.session.login(UserType::User, Some(&"0000-wrong-pin".to_owned().into()))
}

/// After how many wrong PINs the right one is refused. The token is of no use after it: the last row of the table.
pub(super) fn locks(bench: &Bench) -> Found {
    bench.session.logout()?;
    for tried in 1..=TRIES {
        let answer = wrong(bench).expect_err("a wrong PIN");
        // Some say with the last try that it locked, some with the next.
        let locked = bench.module.get_token_info(bench.slot)?.user_pin_locked();
        match answer {
            _ if locked => return right_is_refused(bench, tried),
            Error::Pkcs11(RvError::PinIncorrect, _) => {}
            Error::Pkcs11(RvError::PinLocked, _) => return right_is_refused(bench, tried - 1),
            other => return Err(other),
        }
    }
    match bench.log_in() {
        Ok(()) => Ok("never".to_owned()),
        Err(_) => right_is_refused(bench, TRIES),
    }
}

fn right_is_refused(bench: &Bench, after: usize) -> Found {
    match bench.log_in() {
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Ok(format!("after {after}")),
        Err(other) => Err(other),
        Ok(()) => Ok(format!("says so after {after}, yet takes the right one")),
    }
}
