//! Creating, destroying and reading objects and their attributes. Secrets enter in clear only as session objects, for
//! known-answer tests: a key that lasts is made inside or unwrapped.

use cryptoki_sys::*;

use crate::crypto::{self, Secret};
use crate::object::template::{self, Kind, Origin, Template};
use crate::object::{Home, octet_string_body};
use crate::rv::{Answer, Rv, fail};
use crate::sim::Sim;

pub(crate) fn create(sim: &mut Sim, session: CK_SESSION_HANDLE, mut given: Template) -> Answer<CK_OBJECT_HANDLE> {
    sim.sessions.at(session)?;
    let number = |cka| {
        let value = given.iter().find(|(known, _)| *known == cka).map(|(_, value)| value.as_slice());
        let bytes = value.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?.try_into().or(fail(CKR_ATTRIBUTE_VALUE_INVALID))?;
        Answer::Ok(CK_ULONG::from_ne_bytes(bytes))
    };
    let kind = Kind { class: number(CKA_CLASS)?, key_type: number(CKA_KEY_TYPE)? };
    let secret = match (kind.class, kind.key_type) {
        (CKO_PUBLIC_KEY, CKK_EC | CKK_EC_EDWARDS) => {
            check_public(&given, kind.key_type)?;
            Secret::default()
        }
        (CKO_SECRET_KEY, CKK_AES) => {
            let value = template::take(&mut given, CKA_VALUE).map(Secret::new).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
            if value.len() != crypto::AES_KEY_LEN {
                return fail(CKR_ATTRIBUTE_VALUE_INVALID);
            }
            value
        }
        // What a caller wraps that is no key of this token: bytes, with no usage of their own.
        (CKO_SECRET_KEY, CKK_GENERIC_SECRET) => {
            let value = template::take(&mut given, CKA_VALUE).map(Secret::new).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
            if !crypto::SECRET_LEN.contains(&value.len()) {
                return fail(CKR_ATTRIBUTE_VALUE_INVALID);
            }
            value
        }
        // The standard has no better word for "this token does not import that".
        _ => return fail(CKR_TEMPLATE_INCONSISTENT),
    };
    let mut attributes = template::complete(&given, kind, Origin::Brought)?;
    if kind.class == CKO_SECRET_KEY {
        if attributes.flag(CKA_TOKEN) {
            return fail(CKR_TEMPLATE_INCONSISTENT);
        }
        attributes.set_number(CKA_VALUE_LEN, secret.len() as CK_ULONG);
    }
    sim.keep(session, attributes, secret)
}

fn check_public(given: &Template, key_type: CK_KEY_TYPE) -> Answer {
    let point = given.iter().find(|(cka, _)| *cka == CKA_EC_POINT).map(|(_, value)| value.as_slice());
    let body = octet_string_body(point.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?);
    let fits = match (key_type, template::curve(given)?) {
        (CKK_EC, template::P256) => body.is_some_and(|point| point.len() == 65),
        (CKK_EC_EDWARDS, template::ED25519) => body.is_some_and(|point| point.len() == 32),
        _ => return fail(CKR_TEMPLATE_INCONSISTENT),
    };
    if fits { Ok(()) } else { fail(CKR_ATTRIBUTE_VALUE_INVALID) }
}

pub(crate) fn destroy(sim: &mut Sim, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE) -> Answer {
    sim.sessions.at(session)?;
    let object = sim.objects.at(handle)?;
    if !object.attributes.flag(CKA_DESTROYABLE) {
        return fail(CKR_ACTION_PROHIBITED);
    }
    sim.may_change(session, &object.attributes)?;
    let mut there = true;
    if let Home::Token(id) = object.home {
        // A public object is destroyed by somebody logged in only, as it was made.
        sim.token_key()?;
        let held = sim.folder.hold()?;
        there = sim.token()?.remove_object(&held, id)?;
    }
    sim.objects.remove(handle);
    if there { Ok(()) } else { fail(CKR_OBJECT_HANDLE_INVALID) }
}

/// One attribute as `C_GetAttributeValue` sees it.
pub(crate) fn attribute(
    sim: &Sim,
    session: CK_SESSION_HANDLE,
    handle: CK_OBJECT_HANDLE,
    cka: CK_ATTRIBUTE_TYPE,
) -> Answer<Secret> {
    sim.sessions.at(session)?;
    let object = sim.objects.at(handle)?;
    if cka == CKA_VALUE && object.class() != Some(CKO_PUBLIC_KEY) {
        return if object.readable() { Ok(object.secret.clone()) } else { fail(CKR_ATTRIBUTE_SENSITIVE) };
    }
    let value = object.attributes.value(cka).ok_or(Rv(CKR_ATTRIBUTE_TYPE_INVALID))?;
    Ok(Secret::new(value.to_vec()))
}

/// Whether session and object exist at all, which is another answer than a missing attribute.
pub(crate) fn check(sim: &Sim, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE) -> Answer {
    sim.sessions.at(session)?;
    sim.objects.at(handle).map(drop)
}

pub(crate) fn set_attributes(
    sim: &mut Sim,
    session: CK_SESSION_HANDLE,
    handle: CK_OBJECT_HANDLE,
    given: &Template,
) -> Answer {
    sim.sessions.at(session)?;
    let object = sim.objects.at(handle)?;
    sim.may_change(session, &object.attributes)?;
    let attributes = template::change(&object.attributes, given)?;
    if let Home::Token(id) = object.home {
        let held = sim.folder.hold()?;
        sim.token()?.write_object(&held, sim.token_key()?, id, (&attributes, &object.secret))?;
    }
    sim.objects.replace(handle, attributes)
}
