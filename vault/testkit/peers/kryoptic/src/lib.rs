//! The three symbols by which a program finds a PKCS#11 module, each handed on to Kryoptic. Nothing else is here: what
//! the tests load is Kryoptic as its authors wrote it, never shipped and never changed.

use kryoptic_lib::fns::general::{fn_get_function_list, fn_get_interface, fn_get_interface_list};
use kryoptic_lib::pkcs11::{
    CK_FLAGS, CK_FUNCTION_LIST_PTR_PTR, CK_INTERFACE_PTR, CK_INTERFACE_PTR_PTR, CK_RV, CK_ULONG_PTR, CK_UTF8CHAR_PTR,
    CK_VERSION_PTR,
};

/// `C_GetFunctionList` (PKCS#11 3.1, 5.4.4).
// SAFETY: the name is the one the standard gives this function, and nothing else in this library carries it.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    fn_get_function_list(list)
}

/// `C_GetInterfaceList` (PKCS#11 3.1, 5.4.5).
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetInterfaceList(list: CK_INTERFACE_PTR, count: CK_ULONG_PTR) -> CK_RV {
    fn_get_interface_list(list, count)
}

/// `C_GetInterface` (PKCS#11 3.1, 5.4.6).
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetInterface(
    name: CK_UTF8CHAR_PTR,
    version: CK_VERSION_PTR,
    interface: CK_INTERFACE_PTR_PTR,
    flags: CK_FLAGS,
) -> CK_RV {
    fn_get_interface(name, version, interface, flags)
}
