//! Signing and verifying, in one part: Ed25519, and ECDSA on P-256 with or without hashing here.

use cryptoki_sys::*;

use crate::abi::Output;
use crate::crypto::{self, SIGNATURE_LEN};
use crate::guard::Ending;
use crate::mechanism::Mechanism;
use crate::rv::{Answer, fail};
use crate::session::Kind;
use crate::sim::Sim;

pub(crate) fn sign(sim: &Sim, session: CK_SESSION_HANDLE, message: &[u8], out: Output<u8>) -> Answer<Ending> {
    let operation = sim.sessions.at(session)?.active(Kind::Sign)?;
    let key = sim.objects.at(operation.key).or(fail(CKR_KEY_HANDLE_INVALID))?;
    out.emit(SIGNATURE_LEN, || {
        let signature = match operation.mechanism {
            Mechanism::Eddsa => crypto::ed25519_sign(&key.secret, message)?,
            Mechanism::Ecdsa => crypto::p256_sign(&key.secret, key.point()?, message)?,
            Mechanism::EcdsaSha256 => crypto::p256_sign(&key.secret, key.point()?, &crypto::sha256(message))?,
            _ => return fail(CKR_MECHANISM_INVALID),
        };
        Ok(zeroize::Zeroizing::new(signature))
    })
}

pub(crate) fn verify(sim: &Sim, session: CK_SESSION_HANDLE, message: &[u8], signature: &[u8]) -> Answer<Ending> {
    let operation = sim.sessions.at(session)?.active(Kind::Verify)?;
    let key = sim.objects.at(operation.key).or(fail(CKR_KEY_HANDLE_INVALID))?;
    if signature.len() != SIGNATURE_LEN {
        return fail(CKR_SIGNATURE_LEN_RANGE);
    }
    let point = key.point()?;
    let holds = match operation.mechanism {
        Mechanism::Eddsa => crypto::ed25519_verifies(point, message, signature),
        Mechanism::Ecdsa => crypto::p256_verifies(point, message, signature)?,
        Mechanism::EcdsaSha256 => crypto::p256_verifies(point, &crypto::sha256(message), signature)?,
        _ => return fail(CKR_MECHANISM_INVALID),
    };
    if holds { Ok(Ending::Ended) } else { fail(CKR_SIGNATURE_INVALID) }
}
