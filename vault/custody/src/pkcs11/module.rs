//! Loading modules and finding tokens. A module is loaded and initialised once per process and stays: the standard
//! gives the whole process one initialisation and one login per token.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::{Slot, TokenInfo};
use sha2::{Digest, Sha256};

use super::TokenName;
use super::trouble::Trouble;
use crate::fault::{Cause, Operation};

static LOADED: OnceLock<Mutex<HashMap<PathBuf, Pkcs11>>> = OnceLock::new();

/// The module at `path`, loaded now or before.
pub(super) fn load(path: &Path, pinned: Option<&[u8; 32]>) -> Result<Pkcs11, Trouble> {
    let unusable = || Trouble::of(Operation::Load, Cause::ModuleUnusable);
    let path = path.canonicalize().map_err(|_| unusable())?;
    if let Some(pinned) = pinned {
        let bytes = std::fs::read(&path).map_err(|_| unusable())?;
        if Sha256::digest(&bytes).as_slice() != pinned {
            return Err(unusable());
        }
    }
    let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = loaded.get(&path) {
        return Ok(module.clone());
    }
    let answered = |error: Error| Trouble::answered(Operation::Load, &error);
    let module = Pkcs11::new(&path).map_err(answered)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another library of this process uses the same module; it is as good as ours.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(answered(error).but(Cause::ModuleUnusable, super::trouble::Session::Sound)),
    }
    loaded.insert(path, module.clone());
    Ok(module)
}

/// The slot in which the named token is now.
pub(super) fn find(module: &Pkcs11, name: &TokenName) -> Result<(Slot, TokenInfo), Trouble> {
    let answered = |error: Error| Trouble::answered(Operation::Connect, &error);
    let mut found = None;
    for slot in module.get_slots_with_token().map_err(answered)? {
        // A token that leaves while the list is walked is just not the one.
        let Ok(info) = module.get_token_info(slot) else { continue };
        let fits = match name {
            TokenName::Label(label) => info.token_initialized() && info.label() == label,
            TokenName::Serial(serial) => info.serial_number() == serial,
        };
        if fits && found.replace((slot, info)).is_some() {
            return Err(Trouble::of(Operation::Connect, Cause::KeyAmbiguous));
        }
    }
    found.ok_or(Trouble::of(Operation::Connect, Cause::TokenAbsent))
}
