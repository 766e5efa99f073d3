//! The C side: the function list, and entry points that turn pointers into values and go through `guard`.
//! Only the files of this module use `unsafe`; what a function means is in `fns`.
#![expect(unsafe_code, reason = "the one exported symbol, and the list of C entry points")]

mod general;
mod objects;
mod operations;
mod raw;
mod session;
mod unsupported;

use cryptoki_sys::*;

pub(crate) use raw::Output;

macro_rules! function_list {
    ($($name:ident: $entry:path,)*) => {
        /// All 68 functions of PKCS#11 2.40.
        static FUNCTIONS: CK_FUNCTION_LIST =
            CK_FUNCTION_LIST { version: CK_VERSION { major: 2, minor: 40 }, $($name: Some($entry)),* };

        /// Whether a fault rule may name this function. `C_GetFunctionList` has no fault plan: it comes before the folder.
        pub(crate) fn knows(function: &str) -> bool {
            [$(stringify!($name)),*].contains(&function) && function != "C_GetFunctionList"
        }
    };
}

function_list! {
    C_Initialize: general::initialize,
    C_Finalize: general::finalize,
    C_GetInfo: general::get_info,
    C_GetFunctionList: C_GetFunctionList,
    C_GetSlotList: general::get_slot_list,
    C_GetSlotInfo: general::get_slot_info,
    C_GetTokenInfo: general::get_token_info,
    C_GetMechanismList: general::get_mechanism_list,
    C_GetMechanismInfo: general::get_mechanism_info,
    C_InitToken: general::init_token,
    C_InitPIN: session::init_pin,
    C_SetPIN: session::set_pin,
    C_OpenSession: session::open,
    C_CloseSession: session::close,
    C_CloseAllSessions: session::close_all,
    C_GetSessionInfo: session::info,
    C_Login: session::log_in,
    C_Logout: session::log_out,
    C_CreateObject: objects::create,
    C_DestroyObject: objects::destroy,
    C_GetAttributeValue: objects::attributes,
    C_SetAttributeValue: objects::set_attributes,
    C_FindObjectsInit: objects::find_init,
    C_FindObjects: objects::find,
    C_FindObjectsFinal: objects::find_final,
    C_EncryptInit: operations::encrypt_init,
    C_Encrypt: operations::encrypt,
    C_DecryptInit: operations::decrypt_init,
    C_Decrypt: operations::decrypt,
    C_SignInit: operations::sign_init,
    C_Sign: operations::sign,
    C_VerifyInit: operations::verify_init,
    C_Verify: operations::verify,
    C_GenerateKey: operations::generate_key,
    C_GenerateKeyPair: operations::generate_key_pair,
    C_WrapKey: operations::wrap_key,
    C_UnwrapKey: operations::unwrap_key,
    C_SeedRandom: session::seed_random,
    C_GenerateRandom: session::generate_random,
    C_GetFunctionStatus: session::get_function_status,
    C_CancelFunction: session::cancel_function,
    C_GetOperationState: unsupported::get_operation_state,
    C_SetOperationState: unsupported::set_operation_state,
    C_CopyObject: unsupported::copy_object,
    C_GetObjectSize: unsupported::get_object_size,
    C_EncryptUpdate: unsupported::encrypt_update,
    C_EncryptFinal: unsupported::encrypt_final,
    C_DecryptUpdate: unsupported::decrypt_update,
    C_DecryptFinal: unsupported::decrypt_final,
    C_DigestInit: unsupported::digest_init,
    C_Digest: unsupported::digest,
    C_DigestUpdate: unsupported::digest_update,
    C_DigestKey: unsupported::digest_key,
    C_DigestFinal: unsupported::digest_final,
    C_SignUpdate: unsupported::sign_update,
    C_SignFinal: unsupported::sign_final,
    C_SignRecoverInit: unsupported::sign_recover_init,
    C_SignRecover: unsupported::sign_recover,
    C_VerifyUpdate: unsupported::verify_update,
    C_VerifyFinal: unsupported::verify_final,
    C_VerifyRecoverInit: unsupported::verify_recover_init,
    C_VerifyRecover: unsupported::verify_recover,
    C_DigestEncryptUpdate: unsupported::digest_encrypt_update,
    C_DecryptDigestUpdate: unsupported::decrypt_digest_update,
    C_SignEncryptUpdate: unsupported::sign_encrypt_update,
    C_DecryptVerifyUpdate: unsupported::decrypt_verify_update,
    C_DeriveKey: unsupported::derive_key,
    C_WaitForSlotEvent: unsupported::wait_for_slot_event,
}

/// The one symbol a caller looks up; every other function is reached through the list.
///
/// # Safety
/// A non-NULL `list` must be writable for a pointer.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not NULL, and writable by contract. Callers read the list and never write it, as in every PKCS#11 module.
    unsafe { list.write_unaligned(std::ptr::from_ref(&FUNCTIONS).cast_mut()) };
    CKR_OK
}
