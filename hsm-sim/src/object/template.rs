//! What a caller's template may say about a new or changed object, and what the token adds. Strict on purpose: an
//! attribute this token does not implement is refused, a usage that was not asked for is not granted, and keys are
//! sensitive and not extractable unless the template says otherwise.

use cryptoki_sys::*;

use super::Attributes;
use crate::rv::{Answer, Rv, fail};

/// Attribute types and raw values as the caller gave them.
pub(crate) type Template = Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>;

/// DER of the named curve P-256 (OID 1.2.840.10045.3.1.7).
pub(crate) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// DER of the curve Ed25519, as OID 1.3.101.112 (RFC 8410).
pub(crate) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// The same curve as PKCS#11 3.0 also allows it: PrintableString "edwards25519".
const ED25519_NAMED: &[u8] = b"\x13\x0cedwards25519";

const FLAGS: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_MODIFIABLE,
    CKA_DESTROYABLE,
    CKA_COPYABLE,
    CKA_DERIVE,
    CKA_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_VERIFY,
    CKA_WRAP,
    CKA_UNWRAP,
];
const NUMBERS: &[CK_ATTRIBUTE_TYPE] = &[CKA_CLASS, CKA_KEY_TYPE, CKA_VALUE_LEN];
const BYTES: &[CK_ATTRIBUTE_TYPE] = &[CKA_LABEL, CKA_ID, CKA_SUBJECT, CKA_EC_PARAMS, CKA_EC_POINT];
/// Facts that only the token states.
const READ_ONLY: &[CK_ATTRIBUTE_TYPE] =
    &[CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_KEY_GEN_MECHANISM, CKA_ALWAYS_AUTHENTICATE];

/// How the secret part came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made inside the token by this mechanism.
    Generated(CK_MECHANISM_TYPE),
    /// Brought in from outside, in clear or wrapped.
    Brought,
}

/// The kind of object a function makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) class: CK_OBJECT_CLASS,
    pub(crate) key_type: CK_KEY_TYPE,
}

/// Checks a template and completes it to the attributes of a new key.
///
/// # Errors
/// `CKR_ATTRIBUTE_TYPE_INVALID`, `CKR_ATTRIBUTE_READ_ONLY`, `CKR_ATTRIBUTE_VALUE_INVALID`, `CKR_TEMPLATE_INCONSISTENT`.
pub(crate) fn complete(template: &Template, kind: Kind, origin: Origin) -> Answer<Attributes> {
    let mut attributes = checked(template)?;
    for (cka, own) in [(CKA_CLASS, kind.class), (CKA_KEY_TYPE, kind.key_type)] {
        if attributes.number(cka).is_some_and(|given| given != own) {
            return fail(CKR_TEMPLATE_INCONSISTENT);
        }
        attributes.set_number(cka, own);
    }
    for cka in foreign_to(kind.class) {
        if attributes.value(*cka).is_some() {
            return fail(CKR_TEMPLATE_INCONSISTENT);
        }
    }
    let secret = kind.class != CKO_PUBLIC_KEY;
    attributes.or_set(CKA_TOKEN, &[CK_FALSE]);
    attributes.or_set(CKA_PRIVATE, &[if secret { CK_TRUE } else { CK_FALSE }]);
    attributes.or_set(CKA_MODIFIABLE, &[CK_TRUE]);
    attributes.or_set(CKA_DESTROYABLE, &[CK_TRUE]);
    attributes.or_set(CKA_COPYABLE, &[CK_FALSE]);
    attributes.or_set(CKA_LABEL, b"");
    attributes.or_set(CKA_ID, b"");
    for usage in usages(kind.class) {
        attributes.or_set(*usage, &[CK_FALSE]);
    }
    let generated = matches!(origin, Origin::Generated(_));
    if secret {
        attributes.or_set(CKA_SENSITIVE, &[CK_TRUE]);
        attributes.or_set(CKA_EXTRACTABLE, &[CK_FALSE]);
        attributes.set_flag(CKA_ALWAYS_SENSITIVE, generated && attributes.flag(CKA_SENSITIVE));
        attributes.set_flag(CKA_NEVER_EXTRACTABLE, generated && !attributes.flag(CKA_EXTRACTABLE));
        attributes.set_flag(CKA_ALWAYS_AUTHENTICATE, false);
    }
    attributes.set_flag(CKA_LOCAL, generated);
    attributes.set_number(
        CKA_KEY_GEN_MECHANISM,
        match origin {
            Origin::Generated(mechanism) => mechanism,
            Origin::Brought => CK_UNAVAILABLE_INFORMATION,
        },
    );
    Ok(attributes)
}

/// Applies `C_SetAttributeValue`: label and id freely, secrecy in the stricter direction only.
pub(crate) fn change(old: &Attributes, template: &Template) -> Answer<Attributes> {
    if !old.flag(CKA_MODIFIABLE) {
        return fail(CKR_ACTION_PROHIBITED);
    }
    let mut new = old.clone();
    for (cka, value) in checked(template)?.iter() {
        let allowed = match cka {
            CKA_LABEL | CKA_ID => true,
            CKA_SENSITIVE => value == [CK_TRUE] && old.value(cka).is_some(),
            CKA_EXTRACTABLE => value == [CK_FALSE] && old.value(cka).is_some(),
            _ => false,
        };
        if !allowed {
            return fail(CKR_ATTRIBUTE_READ_ONLY);
        }
        new.set(cka, value);
    }
    Ok(new)
}

/// Takes one attribute out of a template, such as `CKA_VALUE` of an imported key.
pub(crate) fn take(template: &mut Template, cka: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
    let at = template.iter().position(|(given, _)| *given == cka)?;
    Some(template.swap_remove(at).1)
}

/// A number that a template gives; none where it gives none.
pub(crate) fn number(template: &Template, cka: CK_ATTRIBUTE_TYPE) -> Answer<Option<CK_ULONG>> {
    let Some((_, value)) = template.iter().find(|(given, _)| *given == cka) else { return Ok(None) };
    let bytes = value.as_slice().try_into().or(fail(CKR_ATTRIBUTE_VALUE_INVALID))?;
    Ok(Some(CK_ULONG::from_ne_bytes(bytes)))
}

/// The curve a template names, in the one form this token stores.
pub(crate) fn curve(attributes: &Template) -> Answer<&'static [u8]> {
    let given = attributes.iter().find(|(cka, _)| *cka == CKA_EC_PARAMS).map(|(_, value)| value.as_slice());
    match given.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))? {
        P256 => Ok(P256),
        ED25519 | ED25519_NAMED => Ok(ED25519),
        _ => fail(CKR_CURVE_NOT_SUPPORTED),
    }
}

fn checked(template: &Template) -> Answer<Attributes> {
    let mut attributes = Attributes::default();
    for (cka, value) in template {
        let fits = match cka {
            cka if READ_ONLY.contains(cka) => return fail(CKR_ATTRIBUTE_READ_ONLY),
            cka if FLAGS.contains(cka) => matches!(value.as_slice(), [CK_TRUE | CK_FALSE]),
            cka if NUMBERS.contains(cka) => value.len() == size_of::<CK_ULONG>(),
            cka if BYTES.contains(cka) => true,
            _ => return fail(CKR_ATTRIBUTE_TYPE_INVALID),
        };
        if !fits {
            return fail(CKR_ATTRIBUTE_VALUE_INVALID);
        }
        if attributes.value(*cka).is_some() {
            return fail(CKR_TEMPLATE_INCONSISTENT);
        }
        attributes.set(*cka, value);
    }
    Ok(attributes)
}

fn usages(class: CK_OBJECT_CLASS) -> &'static [CK_ATTRIBUTE_TYPE] {
    match class {
        CKO_SECRET_KEY => &[CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE],
        CKO_PRIVATE_KEY => &[CKA_DECRYPT, CKA_SIGN, CKA_UNWRAP, CKA_DERIVE],
        _ => &[CKA_ENCRYPT, CKA_VERIFY, CKA_WRAP, CKA_DERIVE],
    }
}

/// Attributes that make no sense for a class.
fn foreign_to(class: CK_OBJECT_CLASS) -> &'static [CK_ATTRIBUTE_TYPE] {
    match class {
        CKO_SECRET_KEY => &[CKA_SUBJECT, CKA_EC_PARAMS, CKA_EC_POINT],
        CKO_PRIVATE_KEY => &[CKA_VALUE_LEN, CKA_ENCRYPT, CKA_VERIFY, CKA_WRAP],
        _ => &[CKA_VALUE_LEN, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_DECRYPT, CKA_SIGN, CKA_UNWRAP],
    }
}
