//! Entry points: library, slots, token, mechanisms.
#![expect(unsafe_code, reason = "C entry points")]

use std::os::raw::c_void;

use cryptoki_sys::*;

use super::raw::{Output, Place, bytes, check_initialize_args};
use crate::fns::slots;
use crate::guard::{About, Ending, guard, guard_finalize, guard_initialize};
use crate::mechanism;
use crate::rv::{Answer, fail};
use zeroize::Zeroizing;

pub(super) unsafe extern "C" fn initialize(args: *mut c_void) -> CK_RV {
    // SAFETY: NULL or a CK_C_INITIALIZE_ARGS, by the contract of C_Initialize.
    guard_initialize(|| unsafe { check_initialize_args(args.cast_const().cast()) })
}

pub(super) unsafe extern "C" fn finalize(reserved: *mut c_void) -> CK_RV {
    guard_finalize(|| if reserved.is_null() { Ok(()) } else { fail(CKR_ARGUMENTS_BAD) })
}

pub(super) unsafe extern "C" fn get_info(info: *mut CK_INFO) -> CK_RV {
    guard("C_GetInfo", About::Library, |_| {
        // SAFETY: the caller's place for the answer.
        unsafe { Place::at(info)? }.put(slots::library());
        Ok(())
    })
}

pub(super) unsafe extern "C" fn get_slot_list(
    with_token: CK_BBOOL,
    list: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    guard("C_GetSlotList", About::Library, |sim| {
        // SAFETY: the caller's buffer and its length in entries.
        emit_list(unsafe { Output::over(list, count)? }, slots::list(sim, with_token != CK_FALSE))
    })
}

pub(super) unsafe extern "C" fn get_slot_info(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    guard("C_GetSlotInfo", About::Library, |sim| {
        // SAFETY: the caller's place for the answer.
        unsafe { Place::at(info)? }.put(slots::slot(sim, slot)?);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn get_token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    guard("C_GetTokenInfo", About::Token, |sim| {
        // SAFETY: the caller's place for the answer.
        unsafe { Place::at(info)? }.put(slots::token(sim, slot)?);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn get_mechanism_list(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    guard("C_GetMechanismList", About::Token, |_| {
        slots::check(slot)?;
        // SAFETY: the caller's buffer and its length in entries.
        emit_list(unsafe { Output::over(list, count)? }, mechanism::all())
    })
}

pub(super) unsafe extern "C" fn get_mechanism_info(
    slot: CK_SLOT_ID,
    wanted: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    guard("C_GetMechanismInfo", About::Token, |_| {
        slots::check(slot)?;
        // SAFETY: the caller's place for the answer.
        unsafe { Place::at(info)? }.put(mechanism::info(wanted)?);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn init_token(
    slot: CK_SLOT_ID,
    pin: *mut CK_UTF8CHAR,
    pin_len: CK_ULONG,
    label: *mut CK_UTF8CHAR,
) -> CK_RV {
    guard("C_InitToken", About::Token, |sim| {
        // SAFETY: the caller's PIN and its length, and a label of 32 bytes, by the contract of C_InitToken.
        let (pin, label) = unsafe { (bytes(pin, pin_len)?, bytes(label, 32)?) };
        let label = label.as_slice().try_into().or(fail(CKR_ARGUMENTS_BAD))?;
        slots::init_token(sim, slot, &pin, label)
    })
}

fn emit_list(out: Output<CK_ULONG>, list: Vec<CK_ULONG>) -> Answer {
    out.emit(list.len(), || Ok(Zeroizing::new(list))).map(|_: Ending| ())
}
