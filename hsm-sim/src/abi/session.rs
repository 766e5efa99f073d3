//! Entry points: sessions, login, PINs, random bytes.
#![expect(unsafe_code, reason = "C entry points")]

use std::os::raw::c_void;

use cryptoki_sys::*;

use super::raw::{Place, bytes, fill};
use crate::fns::{login, sessions};
use crate::guard::{About, guard};
use crate::rv::{Rv, fail};

pub(super) unsafe extern "C" fn init_pin(session: CK_SESSION_HANDLE, pin: *mut CK_UTF8CHAR, len: CK_ULONG) -> CK_RV {
    guard("C_InitPIN", About::Session, |sim| {
        // SAFETY: the caller's PIN and its length.
        login::init_pin(sim, session, &unsafe { bytes(pin, len)? })
    })
}

pub(super) unsafe extern "C" fn set_pin(
    session: CK_SESSION_HANDLE,
    old: *mut CK_UTF8CHAR,
    old_len: CK_ULONG,
    new: *mut CK_UTF8CHAR,
    new_len: CK_ULONG,
) -> CK_RV {
    guard("C_SetPIN", About::Session, |sim| {
        // SAFETY: the caller's PINs and their lengths.
        let (old, new) = unsafe { (bytes(old, old_len)?, bytes(new, new_len)?) };
        login::set_pin(sim, session, &old, &new)
    })
}

pub(super) unsafe extern "C" fn open(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _application: *mut c_void,
    _notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    guard("C_OpenSession", About::Token, |sim| {
        // SAFETY: the caller's place for the handle.
        let place = unsafe { Place::at(session)? };
        place.put(sessions::open(sim, slot, flags)?);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn close(session: CK_SESSION_HANDLE) -> CK_RV {
    guard("C_CloseSession", About::Session, |sim| sim.close_session(session))
}

pub(super) unsafe extern "C" fn close_all(slot: CK_SLOT_ID) -> CK_RV {
    guard("C_CloseAllSessions", About::Token, |sim| sessions::close_all(sim, slot))
}

pub(super) unsafe extern "C" fn info(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    guard("C_GetSessionInfo", About::Session, |sim| {
        // SAFETY: the caller's place for the answer.
        unsafe { Place::at(info)? }.put(sessions::info(sim, session)?);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn log_in(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    len: CK_ULONG,
) -> CK_RV {
    guard("C_Login", About::Session, |sim| {
        // SAFETY: the caller's PIN and its length.
        login::log_in(sim, session, user, &unsafe { bytes(pin, len)? })
    })
}

pub(super) unsafe extern "C" fn log_out(session: CK_SESSION_HANDLE) -> CK_RV {
    guard("C_Logout", About::Session, |sim| login::log_out(sim, session))
}

pub(super) unsafe extern "C" fn seed_random(session: CK_SESSION_HANDLE, _seed: *mut u8, _len: CK_ULONG) -> CK_RV {
    guard("C_SeedRandom", About::Session, |sim| sessions::seed_random(sim, session))
}

pub(super) unsafe extern "C" fn generate_random(session: CK_SESSION_HANDLE, out: *mut u8, len: CK_ULONG) -> CK_RV {
    guard("C_GenerateRandom", About::Session, |sim| {
        let len = usize::try_from(len).map_err(|_| Rv(CKR_ARGUMENTS_BAD))?;
        let random = sessions::random(sim, session, len)?;
        // SAFETY: the caller's buffer, writable for the length it named.
        unsafe { fill(out, &random) }
    })
}

/// `C_GetFunctionStatus` and `C_CancelFunction` are left over from parallel sessions and answer just this (2.40, 5.16).
pub(super) unsafe extern "C" fn get_function_status(_session: CK_SESSION_HANDLE) -> CK_RV {
    guard("C_GetFunctionStatus", About::Session, |_| fail(CKR_FUNCTION_NOT_PARALLEL))
}

/// See [`get_function_status`].
pub(super) unsafe extern "C" fn cancel_function(_session: CK_SESSION_HANDLE) -> CK_RV {
    guard("C_CancelFunction", About::Session, |_| fail(CKR_FUNCTION_NOT_PARALLEL))
}
