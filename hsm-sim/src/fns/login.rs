//! Login, logout and PINs. Every PIN check is counted on disk before it is made; see `token`.

use cryptoki_sys::*;

use super::slots::PIN_LEN;
use crate::crypto::Secret;
use crate::rv::{Answer, fail};
use crate::sim::{Login, Sim};
use crate::token::{Held, Role};

pub(crate) fn log_in(sim: &mut Sim, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &[u8]) -> Answer {
    sim.sessions.at(session)?;
    let role = match user {
        CKU_SO => Role::So,
        CKU_USER => Role::User,
        // Nothing here asks for a second login per operation.
        CKU_CONTEXT_SPECIFIC => return fail(CKR_OPERATION_NOT_INITIALIZED),
        _ => return fail(CKR_USER_TYPE_INVALID),
    };
    match sim.role() {
        Some(now) if now == role => return fail(CKR_USER_ALREADY_LOGGED_IN),
        Some(_) => return fail(CKR_USER_ANOTHER_ALREADY_LOGGED_IN),
        None => {}
    }
    if role == Role::So && sim.sessions.count().0 > 0 {
        return fail(CKR_SESSION_READ_ONLY_EXISTS);
    }
    let held = sim.folder.hold()?;
    let token_key = try_pin(sim, session, &held, (role, pin))?;
    drop(held);
    sim.log_in(Login { role, token_key })
}

pub(crate) fn log_out(sim: &mut Sim, session: CK_SESSION_HANDLE) -> Answer {
    sim.sessions.at(session)?;
    if sim.login.is_none() {
        return fail(CKR_USER_NOT_LOGGED_IN);
    }
    sim.log_out();
    Ok(())
}

/// The SO gives the user a PIN, which also ends a lock-out.
pub(crate) fn init_pin(sim: &mut Sim, session: CK_SESSION_HANDLE, pin: &[u8]) -> Answer {
    sim.sessions.at(session)?;
    if sim.role() != Some(Role::So) {
        return fail(CKR_USER_NOT_LOGGED_IN);
    }
    check_len(pin)?;
    let held = sim.folder.hold()?;
    let token_key = sim.token_key()?.clone();
    sim.reload_token()?;
    sim.sessions.at(session)?;
    sim.token_mut()?.set_pin(&held, Role::User, pin, &token_key)
}

/// Changes the PIN of whoever is logged in, or the user's when nobody is. The old PIN is asked for, and counted.
pub(crate) fn set_pin(sim: &mut Sim, session: CK_SESSION_HANDLE, old: &[u8], new: &[u8]) -> Answer {
    if !sim.sessions.at(session)?.read_write {
        return fail(CKR_SESSION_READ_ONLY);
    }
    check_len(new)?;
    let role = sim.role().unwrap_or(Role::User);
    let held = sim.folder.hold()?;
    let token_key = try_pin(sim, session, &held, (role, old))?;
    sim.token_mut()?.set_pin(&held, role, new, &token_key)
}

/// Reads the counters afresh under the lock, so that guesses of several processes add up.
fn try_pin(sim: &mut Sim, session: CK_SESSION_HANDLE, held: &Held, (role, pin): (Role, &[u8])) -> Answer<Secret> {
    sim.reload_token()?;
    // If another process has made the token anew, this session is closed and the PIN is not even tried.
    sim.sessions.at(session)?;
    sim.token_mut()?.try_pin(held, role, pin)
}

fn check_len(pin: &[u8]) -> Answer {
    if PIN_LEN.contains(&pin.len()) { Ok(()) } else { fail(CKR_PIN_LEN_RANGE) }
}
