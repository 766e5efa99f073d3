//! The one source of randomness of the vault: the operating system. Ids, salts and keys all come from here.
//! It never falls back to anything: no randomness is an error.

use crate::error::Error;

/// Fills `bytes` with randomness.
///
/// # Errors
/// [`Error::Randomness`] where the system gives none; `bytes` is then not to be used.
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|_| Error::Randomness)
}

/// `N` random bytes, for what is not secret: ids, nonces of protocols, salts.
///
/// # Errors
/// [`Error::Randomness`] where the system gives none.
pub fn array<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
