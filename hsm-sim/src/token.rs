//! What survives a restart: the token's identity and PINs, and its objects, as files that a crash cannot tear.
//! Nothing here knows sessions, handles or the C side; whether somebody may do a thing is decided in `fns`.

mod disk;
mod objects;
mod pin;

use std::path::{Path, PathBuf};

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};

use crate::PIN_TRIES;
use crate::crypto::{self, Secret};
use crate::rv::{Answer, Rv, fail};

pub(crate) use disk::{Folder, Held};
pub(crate) use objects::ObjectId;
use pin::PinRecord;

const FILE: &str = "token.json";
const FORMAT: u32 = 1;

/// Whose PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The security officer: may set the user's PIN, sees no private object.
    So,
    /// The normal user.
    User,
}

/// The token's own file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    format: u32,
    label: String,
    serial: String,
    so: PinRecord,
    user: Option<PinRecord>,
}

/// An initialised token as it was when last read.
pub(crate) struct Token {
    folder: PathBuf,
    file: TokenFile,
}

impl Token {
    /// Reads the token of a folder; `None` when it was never initialised.
    ///
    /// # Errors
    /// `CKR_DEVICE_ERROR` when the file is there and is not a token file: it is never taken for an empty slot.
    pub(crate) fn load(folder: &Folder) -> Answer<Option<Self>> {
        let Some(bytes) = folder.read(Path::new(FILE))? else { return Ok(None) };
        let file: TokenFile = serde_json::from_slice(&bytes).or(fail(CKR_DEVICE_ERROR))?;
        if file.format != FORMAT {
            return fail(CKR_DEVICE_ERROR);
        }
        Ok(Some(Self { folder: folder.path().to_owned(), file }))
    }

    /// Makes a new, empty token: new serial number, new token key, the given SO PIN, no user PIN.
    /// Objects of an earlier token lie in a folder named by its serial number and are removed with [`Self::sweep`].
    pub(crate) fn create(held: &Held, label: &str, so_pin: &[u8]) -> Answer<Self> {
        let serial = format!("DEV{}", hex::encode_upper(crypto::random_array::<6>()?));
        let key = crypto::aes_key()?;
        let so = PinRecord::seal(&serial, Role::So, so_pin, &key)?;
        let file = TokenFile { format: FORMAT, label: label.to_owned(), serial, so, user: None };
        held.make_folder(&objects::folder(&file.serial))?;
        let token = Self { folder: held.folder().path().to_owned(), file };
        token.save(held)?;
        Ok(token)
    }

    /// Removes what crashes and earlier tokens left behind.
    pub(crate) fn sweep(&self, held: &Held) -> Answer {
        held.sweep(Path::new(""), |name| name.starts_with("objects-") && Path::new(name) != self.objects_folder())?;
        held.make_folder(&self.objects_folder())?;
        held.sweep(&self.objects_folder(), |_| false)
    }

    fn save(&self, held: &Held) -> Answer {
        let bytes = serde_json::to_vec_pretty(&self.file).or(fail(CKR_DEVICE_ERROR))?;
        held.replace(Path::new(FILE), &bytes)
    }

    pub(crate) fn label(&self) -> &str {
        &self.file.label
    }

    pub(crate) fn serial(&self) -> &str {
        &self.file.serial
    }

    fn objects_folder(&self) -> PathBuf {
        objects::folder(&self.file.serial)
    }

    /// Whether this is the token that `other` was read from, possibly at another time.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.folder == other.folder && self.file.serial == other.file.serial
    }

    /// `CK_TOKEN_INFO.flags` that speak of PINs.
    pub(crate) fn pin_flags(&self) -> CK_FLAGS {
        let mut flags =
            tries_flags(self.file.so.failures, [CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED]);
        if let Some(user) = &self.file.user {
            flags |= CKF_USER_PIN_INITIALIZED;
            flags |= tries_flags(user.failures, [CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED]);
        }
        flags
    }

    /// Checks a PIN and answers the token key. The failure is on disk before the check begins and taken back after
    /// a success, so that killing the process between guesses buys no further guess.
    ///
    /// # Errors
    /// `CKR_PIN_INCORRECT`; `CKR_PIN_LOCKED` once [`PIN_TRIES`] wrong ones came in a row;
    /// `CKR_USER_PIN_NOT_INITIALIZED`.
    pub(crate) fn try_pin(&mut self, held: &Held, role: Role, pin: &[u8]) -> Answer<Secret> {
        let record = self.record(role)?;
        if record.failures >= PIN_TRIES {
            return fail(CKR_PIN_LOCKED);
        }
        record.failures += 1;
        self.save(held)?;
        let serial = self.file.serial.clone();
        let record = self.record(role)?;
        let key = record.open(&serial, role, pin)?;
        record.failures = 0;
        self.save(held)?;
        Ok(key)
    }

    /// Seals the token key under a new PIN, which also unlocks it.
    pub(crate) fn set_pin(&mut self, held: &Held, role: Role, pin: &[u8], key: &Secret) -> Answer {
        let record = PinRecord::seal(&self.file.serial, role, pin, key)?;
        match role {
            Role::So => self.file.so = record,
            Role::User => self.file.user = Some(record),
        }
        self.save(held)
    }

    fn record(&mut self, role: Role) -> Answer<&mut PinRecord> {
        match role {
            Role::So => Ok(&mut self.file.so),
            Role::User => self.file.user.as_mut().ok_or(Rv(CKR_USER_PIN_NOT_INITIALIZED)),
        }
    }
}

fn tries_flags(failures: u32, [low, last, locked]: [CK_FLAGS; 3]) -> CK_FLAGS {
    match PIN_TRIES.saturating_sub(failures) {
        0 => low | locked,
        1 => low | last,
        _ if failures > 0 => low,
        _ => 0,
    }
}
