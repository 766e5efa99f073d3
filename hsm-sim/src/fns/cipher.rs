//! Encryption and decryption, in one part, with AES-GCM and associated data.

use cryptoki_sys::*;

use crate::abi::Output;
use crate::crypto;
use crate::guard::Ending;
use crate::mechanism::Mechanism;
use crate::rv::{Answer, Rv, fail};
use crate::session::{Kind, Operation};
use crate::sim::Sim;

/// Begins an operation of any kind: the key must exist, suit the mechanism and be allowed this use.
pub(crate) fn begin(
    sim: &mut Sim,
    session: CK_SESSION_HANDLE,
    kind: Kind,
    mechanism: Mechanism,
    key: CK_OBJECT_HANDLE,
) -> Answer {
    sim.sessions.at(session)?;
    let (class, key_type, usage) = mechanism.demands(kind).ok_or(Rv(CKR_MECHANISM_INVALID))?;
    let object = sim.objects.at(key).or(fail(CKR_KEY_HANDLE_INVALID))?;
    if object.class() != Some(class) || object.key_type() != Some(key_type) {
        return fail(CKR_KEY_TYPE_INCONSISTENT);
    }
    if !object.attributes.flag(usage) {
        return fail(CKR_KEY_FUNCTION_NOT_PERMITTED);
    }
    sim.sessions.at_mut(session)?.begin(kind, Operation { mechanism, key })
}

pub(crate) fn encrypt(sim: &Sim, session: CK_SESSION_HANDLE, data: &[u8], out: Output<u8>) -> Answer<Ending> {
    let operation = sim.sessions.at(session)?.active(Kind::Encrypt)?;
    let Mechanism::AesGcm { nonce, aad } = &operation.mechanism else { return fail(CKR_MECHANISM_INVALID) };
    let key = sim.objects.at(operation.key).or(fail(CKR_KEY_HANDLE_INVALID))?;
    out.emit(data.len() + crypto::TAG_LEN, || crypto::seal(&key.secret, *nonce, aad, data).map(zeroize::Zeroizing::new))
}

pub(crate) fn decrypt(sim: &Sim, session: CK_SESSION_HANDLE, sealed: &[u8], out: Output<u8>) -> Answer<Ending> {
    let operation = sim.sessions.at(session)?.active(Kind::Decrypt)?;
    let Mechanism::AesGcm { nonce, aad } = &operation.mechanism else { return fail(CKR_MECHANISM_INVALID) };
    let key = sim.objects.at(operation.key).or(fail(CKR_KEY_HANDLE_INVALID))?;
    let refused = sim.faults.quirks().open_failure.unwrap_or(CKR_ENCRYPTED_DATA_INVALID);
    let len = sealed.len().checked_sub(crypto::TAG_LEN).ok_or(Rv(CKR_ENCRYPTED_DATA_LEN_RANGE))?;
    out.emit(len, || crypto::open(&key.secret, *nonce, aad, sealed, Rv(refused)))
}
