//! Entry points: encryption, decryption, signatures, keys.
#![expect(unsafe_code, reason = "C entry points")]

use cryptoki_sys::*;

use super::raw::{Output, Place, bytes, mechanism, template};
use crate::fns::{cipher, keys, signature};
use crate::guard::{About, guard, guard_operation};
use crate::session::Kind;

macro_rules! begin {
    ($($entry:ident $name:literal $kind:ident;)*) => {$(
        pub(super) unsafe extern "C" fn $entry(
            session: CK_SESSION_HANDLE,
            given: *mut CK_MECHANISM,
            key: CK_OBJECT_HANDLE,
        ) -> CK_RV {
            guard($name, About::Session, |sim| {
                // SAFETY: the caller's mechanism with the parameter its type demands.
                let given = unsafe { mechanism(given)? };
                cipher::begin(sim, session, Kind::$kind, given, key)
            })
        }
    )*};
}

begin! {
    encrypt_init "C_EncryptInit" Encrypt;
    decrypt_init "C_DecryptInit" Decrypt;
    sign_init "C_SignInit" Sign;
    verify_init "C_VerifyInit" Verify;
}

macro_rules! finish {
    ($($entry:ident $name:literal $kind:ident $work:path;)*) => {$(
        pub(super) unsafe extern "C" fn $entry(
            session: CK_SESSION_HANDLE,
            data: *mut u8,
            data_len: CK_ULONG,
            out: *mut u8,
            out_len: *mut CK_ULONG,
        ) -> CK_RV {
            guard_operation($name, session, Kind::$kind, |sim| {
                // SAFETY: the caller's input with its length, and its output buffer with the length it holds.
                let (data, out) = unsafe { (bytes(data, data_len)?, Output::over(out, out_len)?) };
                $work(sim, session, &data, out)
            })
        }
    )*};
}

finish! {
    encrypt "C_Encrypt" Encrypt cipher::encrypt;
    decrypt "C_Decrypt" Decrypt cipher::decrypt;
    sign "C_Sign" Sign signature::sign;
}

pub(super) unsafe extern "C" fn verify(
    session: CK_SESSION_HANDLE,
    data: *mut u8,
    data_len: CK_ULONG,
    signature: *mut u8,
    signature_len: CK_ULONG,
) -> CK_RV {
    guard_operation("C_Verify", session, Kind::Verify, |sim| {
        // SAFETY: the caller's message and signature with their lengths.
        let (data, signature) = unsafe { (bytes(data, data_len)?, bytes(signature, signature_len)?) };
        signature::verify(sim, session, &data, &signature)
    })
}

pub(super) unsafe extern "C" fn generate_key(
    session: CK_SESSION_HANDLE,
    given: *mut CK_MECHANISM,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    guard("C_GenerateKey", About::Session, |sim| {
        // SAFETY: the caller's mechanism, template and place for the handle.
        let (given, attributes, place) = unsafe { (mechanism(given)?, template(attributes, count)?, Place::at(key)?) };
        place.put(keys::generate(sim, session, &given, &attributes)?);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn generate_key_pair(
    session: CK_SESSION_HANDLE,
    given: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    guard("C_GenerateKeyPair", About::Session, |sim| {
        // SAFETY: the caller's mechanism, its two templates and its two places for handles.
        let (given, public, private, public_place, private_place) = unsafe {
            (
                mechanism(given)?,
                template(public, public_count)?,
                template(private, private_count)?,
                Place::at(public_key)?,
                Place::at(private_key)?,
            )
        };
        let (public, private) = keys::generate_pair(sim, session, &given, &public, &private)?;
        public_place.put(public);
        private_place.put(private);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn wrap_key(
    session: CK_SESSION_HANDLE,
    given: *mut CK_MECHANISM,
    wrapping: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    out: *mut u8,
    out_len: *mut CK_ULONG,
) -> CK_RV {
    guard("C_WrapKey", About::Session, |sim| {
        // SAFETY: the caller's mechanism, and its output buffer with the length it holds.
        let (given, out) = unsafe { (mechanism(given)?, Output::over(out, out_len)?) };
        keys::wrap(sim, session, &given, (wrapping, key), out)
    })
}

pub(super) unsafe extern "C" fn unwrap_key(
    session: CK_SESSION_HANDLE,
    given: *mut CK_MECHANISM,
    unwrapping: CK_OBJECT_HANDLE,
    wrapped: *mut u8,
    wrapped_len: CK_ULONG,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    guard("C_UnwrapKey", About::Session, |sim| {
        // SAFETY: the caller's mechanism, wrapped key, template and place for the handle.
        let (given, wrapped, attributes, place) =
            unsafe { (mechanism(given)?, bytes(wrapped, wrapped_len)?, template(attributes, count)?, Place::at(key)?) };
        place.put(keys::unwrap(sim, session, &given, unwrapping, (&wrapped, &attributes))?);
        Ok(())
    })
}
