//! Entry points of functions this token does not have. They too pass the guard, so that the fault plan and the call
//! log know them, and answer `CKR_FUNCTION_NOT_SUPPORTED`.
#![expect(unsafe_code, reason = "C entry points; none of them touches its arguments")]

use std::os::raw::c_void;

use cryptoki_sys::*;

use crate::guard::{About, guard};
use crate::rv::fail;

macro_rules! unsupported {
    ($($name:ident $entry:ident($($argument:ty),*);)*) => {$(
        pub(super) unsafe extern "C" fn $entry($(_: $argument),*) -> CK_RV {
            guard(stringify!($name), About::Session, |_| fail(CKR_FUNCTION_NOT_SUPPORTED))
        }
    )*};
}

unsupported! {
    C_GetOperationState get_operation_state(CK_SESSION_HANDLE, *mut u8, *mut CK_ULONG);
    C_SetOperationState set_operation_state(CK_SESSION_HANDLE, *mut u8, CK_ULONG, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE);
    C_CopyObject copy_object(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG, *mut CK_OBJECT_HANDLE);
    C_GetObjectSize get_object_size(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, *mut CK_ULONG);
    C_EncryptUpdate encrypt_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_EncryptFinal encrypt_final(CK_SESSION_HANDLE, *mut u8, *mut CK_ULONG);
    C_DecryptUpdate decrypt_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_DecryptFinal decrypt_final(CK_SESSION_HANDLE, *mut u8, *mut CK_ULONG);
    C_DigestInit digest_init(CK_SESSION_HANDLE, *mut CK_MECHANISM);
    C_Digest digest(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_DigestUpdate digest_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG);
    C_DigestKey digest_key(CK_SESSION_HANDLE, CK_OBJECT_HANDLE);
    C_DigestFinal digest_final(CK_SESSION_HANDLE, *mut u8, *mut CK_ULONG);
    C_SignUpdate sign_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG);
    C_SignFinal sign_final(CK_SESSION_HANDLE, *mut u8, *mut CK_ULONG);
    C_SignRecoverInit sign_recover_init(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE);
    C_SignRecover sign_recover(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_VerifyUpdate verify_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG);
    C_VerifyFinal verify_final(CK_SESSION_HANDLE, *mut u8, CK_ULONG);
    C_VerifyRecoverInit verify_recover_init(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE);
    C_VerifyRecover verify_recover(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_DigestEncryptUpdate digest_encrypt_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_DecryptDigestUpdate decrypt_digest_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_SignEncryptUpdate sign_encrypt_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_DecryptVerifyUpdate decrypt_verify_update(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG);
    C_DeriveKey derive_key(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG, *mut CK_OBJECT_HANDLE);
}

pub(super) unsafe extern "C" fn wait_for_slot_event(_: CK_FLAGS, _: *mut CK_SLOT_ID, _: *mut c_void) -> CK_RV {
    guard("C_WaitForSlotEvent", About::Library, |_| fail(CKR_FUNCTION_NOT_SUPPORTED))
}
