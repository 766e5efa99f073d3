//! Entry points: objects, attributes, search.
#![expect(unsafe_code, reason = "C entry points")]

use cryptoki_sys::*;

use super::raw::{Place, fill, put_attribute, template};
use crate::fns::{objects, search};
use crate::guard::{About, guard};
use crate::rv::{Rv, fail};

pub(super) unsafe extern "C" fn create(
    session: CK_SESSION_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    guard("C_CreateObject", About::Session, |sim| {
        // SAFETY: the caller's template, and its place for the handle.
        let (given, place) = unsafe { (template(attributes, count)?, Place::at(object)?) };
        place.put(objects::create(sim, session, given)?);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn destroy(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    guard("C_DestroyObject", About::Session, |sim| objects::destroy(sim, session, object))
}

/// Every attribute is served even when an earlier one could not be; the code is that of the first refusal.
pub(super) unsafe extern "C" fn attributes(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    guard("C_GetAttributeValue", About::Session, |sim| {
        objects::check(sim, session, object)?;
        let count = usize::try_from(count).map_err(|_| Rv(CKR_ARGUMENTS_BAD))?;
        if attributes.is_null() {
            return fail(CKR_ARGUMENTS_BAD);
        }
        let mut outcome = Ok(());
        for index in 0..count {
            // SAFETY: the caller's template holds `count` attributes, each with room for the length it states.
            let served = unsafe {
                let attribute = attributes.add(index);
                let wanted = (&raw const (*attribute).type_).read_unaligned();
                put_attribute(attribute, objects::attribute(sim, session, object, wanted))
            };
            outcome = outcome.and(served);
        }
        outcome
    })
}

pub(super) unsafe extern "C" fn set_attributes(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    guard("C_SetAttributeValue", About::Session, |sim| {
        // SAFETY: the caller's template.
        let given = unsafe { template(attributes, count)? };
        objects::set_attributes(sim, session, object, &given)
    })
}

pub(super) unsafe extern "C" fn find_init(
    session: CK_SESSION_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    guard("C_FindObjectsInit", About::Session, |sim| {
        // SAFETY: the caller's template.
        let wanted = unsafe { template(attributes, count)? };
        search::begin(sim, session, &wanted)
    })
}

pub(super) unsafe extern "C" fn find(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    guard("C_FindObjects", About::Session, |sim| {
        // SAFETY: the caller's place for the count.
        let place = unsafe { Place::at(count)? };
        if objects.is_null() && most > 0 {
            return fail(CKR_ARGUMENTS_BAD);
        }
        let found = search::next(sim, session, usize::try_from(most).unwrap_or(usize::MAX))?;
        // SAFETY: the caller's buffer has room for `most` handles, and no more were found.
        unsafe { fill(objects, &found)? };
        place.put(found.len() as CK_ULONG);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn find_final(session: CK_SESSION_HANDLE) -> CK_RV {
    guard("C_FindObjectsFinal", About::Session, |sim| search::end(sim, session))
}
