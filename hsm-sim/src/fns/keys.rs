//! Making keys, and moving them in wrapped form (RFC 5649).

use cryptoki_sys::*;

use crate::abi::Output;
use crate::crypto::{self, Secret};
use crate::guard::Ending;
use crate::mechanism::Mechanism;
use crate::object::template::{self, Kind, Origin, Template};
use crate::object::{Attributes, Object, octet_string};
use crate::rv::{Answer, Rv, fail};
use crate::sim::Sim;

const AES: Kind = Kind { class: CKO_SECRET_KEY, key_type: CKK_AES };
const GENERIC: Kind = Kind { class: CKO_SECRET_KEY, key_type: CKK_GENERIC_SECRET };

pub(crate) fn generate(
    sim: &mut Sim,
    session: CK_SESSION_HANDLE,
    mechanism: &Mechanism,
    given: &Template,
) -> Answer<CK_OBJECT_HANDLE> {
    sim.sessions.at(session)?;
    if *mechanism != Mechanism::AesKeyGen {
        return fail(CKR_MECHANISM_INVALID);
    }
    let mut attributes = template::complete(given, AES, Origin::Generated(CKM_AES_KEY_GEN))?;
    disobey(sim, &mut attributes);
    match attributes.number(CKA_VALUE_LEN) {
        Some(len) if len == crypto::AES_KEY_LEN as CK_ULONG => {}
        Some(_) => return fail(CKR_KEY_SIZE_RANGE),
        None => return fail(CKR_TEMPLATE_INCOMPLETE),
    }
    sim.keep(session, attributes, crypto::aes_key()?)
}

/// What the fault plan has this token do with a template.
fn disobey(sim: &Sim, attributes: &mut Attributes) {
    if sim.faults.quirks().makes_extractable {
        attributes.set_flag(CKA_EXTRACTABLE, true);
        attributes.set_flag(CKA_NEVER_EXTRACTABLE, false);
    }
}

/// Makes a pair and answers public and private handle. If the private half cannot be kept, the public one is taken
/// back, so that a failed call leaves nothing.
pub(crate) fn generate_pair(
    sim: &mut Sim,
    session: CK_SESSION_HANDLE,
    mechanism: &Mechanism,
    public: &Template,
    private: &Template,
) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
    sim.sessions.at(session)?;
    let curve = template::curve(public)?;
    let (key_type, number) = match (mechanism, curve) {
        (Mechanism::EcKeyPairGen, template::P256) => (CKK_EC, CKM_EC_KEY_PAIR_GEN),
        (Mechanism::EdwardsKeyPairGen, template::ED25519) => (CKK_EC_EDWARDS, CKM_EC_EDWARDS_KEY_PAIR_GEN),
        (Mechanism::EcKeyPairGen | Mechanism::EdwardsKeyPairGen, _) => return fail(CKR_CURVE_NOT_SUPPORTED),
        _ => return fail(CKR_MECHANISM_INVALID),
    };
    if public.iter().chain(private).any(|(cka, _)| *cka == CKA_EC_POINT) {
        return fail(CKR_TEMPLATE_INCONSISTENT);
    }
    let origin = Origin::Generated(number);
    let mut public = template::complete(public, Kind { class: CKO_PUBLIC_KEY, key_type }, origin)?;
    let mut private = template::complete(private, Kind { class: CKO_PRIVATE_KEY, key_type }, origin)?;
    disobey(sim, &mut private);
    sim.may_change(session, &private)?;
    let pair = if key_type == CKK_EC { crypto::p256_pair()? } else { crypto::ed25519_pair()? };
    for half in [&mut public, &mut private] {
        half.set(CKA_EC_PARAMS, curve);
        half.set(CKA_EC_POINT, &octet_string(&pair.public));
    }
    let public = sim.keep(session, public, Secret::default())?;
    match sim.keep(session, private, pair.private) {
        Ok(private) => Ok((public, private)),
        Err(rv) => {
            // The first failure is the answer; a public half that stays after a second one opens nothing.
            let _ = super::objects::destroy(sim, session, public);
            Err(rv)
        }
    }
}

pub(crate) fn wrap(
    sim: &Sim,
    session: CK_SESSION_HANDLE,
    mechanism: &Mechanism,
    (wrapping, target): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    out: Output<u8>,
) -> Answer {
    sim.sessions.at(session)?;
    check_kwp(mechanism)?;
    let key = sim.objects.at(wrapping).or(fail(CKR_WRAPPING_KEY_HANDLE_INVALID))?;
    check_kek(key, CKA_WRAP, CKR_WRAPPING_KEY_TYPE_INCONSISTENT)?;
    let target = sim.objects.at(target).or(fail(CKR_KEY_HANDLE_INVALID))?;
    if target.class() != Some(CKO_SECRET_KEY) {
        return fail(CKR_KEY_NOT_WRAPPABLE);
    }
    if !target.attributes.flag(CKA_EXTRACTABLE) {
        return fail(CKR_KEY_UNEXTRACTABLE);
    }
    let wrapped = || crypto::wrap_padded(&key.secret, &target.secret).map(Secret::new);
    out.emit(crypto::wrapped_len(target.secret.len()), wrapped).map(|_: Ending| ())
}

pub(crate) fn unwrap(
    sim: &mut Sim,
    session: CK_SESSION_HANDLE,
    mechanism: &Mechanism,
    unwrapping: CK_OBJECT_HANDLE,
    (wrapped, given): (&[u8], &Template),
) -> Answer<CK_OBJECT_HANDLE> {
    sim.sessions.at(session)?;
    check_kwp(mechanism)?;
    let key = sim.objects.at(unwrapping).or(fail(CKR_UNWRAPPING_KEY_HANDLE_INVALID))?;
    check_kek(key, CKA_UNWRAP, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT)?;
    let (kind, lengths) = match template::number(given, CKA_KEY_TYPE)? {
        Some(CKK_GENERIC_SECRET) => (GENERIC, crypto::SECRET_LEN),
        // Anything else is refused below, when the template is completed.
        _ => (AES, crypto::AES_KEY_LEN..=crypto::AES_KEY_LEN),
    };
    let wrapped_lengths = crypto::wrapped_len(*lengths.start())..=crypto::wrapped_len(*lengths.end());
    if !wrapped_lengths.contains(&wrapped.len()) {
        return fail(CKR_WRAPPED_KEY_LEN_RANGE);
    }
    let secret = crypto::unwrap_padded(&key.secret, wrapped, Rv(CKR_WRAPPED_KEY_INVALID))?;
    if !lengths.contains(&secret.len()) {
        return fail(CKR_WRAPPED_KEY_INVALID);
    }
    let mut attributes = template::complete(given, kind, Origin::Brought)?;
    // Bytes that are no key of this token do not stay on it, brought in wrapped or in clear.
    if kind == GENERIC && attributes.flag(CKA_TOKEN) {
        return fail(CKR_TEMPLATE_INCONSISTENT);
    }
    if attributes.number(CKA_VALUE_LEN).is_some_and(|len| len != secret.len() as CK_ULONG) {
        return fail(CKR_TEMPLATE_INCONSISTENT);
    }
    attributes.set_number(CKA_VALUE_LEN, secret.len() as CK_ULONG);
    sim.keep(session, attributes, secret)
}

fn check_kwp(mechanism: &Mechanism) -> Answer {
    if *mechanism == Mechanism::AesKwp { Ok(()) } else { fail(CKR_MECHANISM_INVALID) }
}

fn check_kek(key: &Object, usage: CK_ATTRIBUTE_TYPE, wrong_type: CK_RV) -> Answer {
    if key.class() != Some(CKO_SECRET_KEY) || key.key_type() != Some(CKK_AES) {
        return fail(wrong_type);
    }
    if key.attributes.flag(usage) { Ok(()) } else { fail(CKR_KEY_FUNCTION_NOT_PERMITTED) }
}
