//! What the PKCS#11 functions do, one family per file, on owned values and plain references. The C side is in `abi`,
//! faults and panics in `guard`; here only the standard's rules remain.

pub(crate) mod cipher;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod objects;
pub(crate) mod search;
pub(crate) mod sessions;
pub(crate) mod signature;
pub(crate) mod slots;
