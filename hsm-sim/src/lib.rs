//! A PKCS#11 2.40 module for development and for fault tests: one slot, one persistent token, and a fault plan that
//! can make every call slow, failing, or answered by an absent token. Programs load it through the C ABI like any
//! vendor's module; nothing links it, nothing ships it, and it names itself so that production can refuse it.
//!
//! # The token folder (environment variable [`DIR_ENV`], read at `C_Initialize`)
//! | file | what it is |
//! |---|---|
//! | `token.json` | label, serial number, the token key sealed once under the SO PIN and once under the user PIN, PIN-failure counters |
//! | `objects-<serial>/*.json` | one object each: attributes in clear, secret part sealed with AES-256-GCM, attributes as associated data |
//! | `lock` | held while `token.json` or an object is written, so that several processes may share the folder |
//! | [`FAULTS_FILE`] | the fault plan, written by people and tests; see [`faults`] |
//! | [`CALLS_FILE`] | one line per finished call, `<function> <CKR name>`; see [`calls`] |
//! | `faults.error` | why the plan could not be read, while it cannot; every call then fails with `CKR_GENERAL_ERROR` |
//!
//! A file is replaced by writing a new one, fsync, rename, fsync of the folder; a `.new-*` left by a crash is removed.
//!
//! # How the production side recognises it
//! `C_GetInfo` and `C_GetTokenInfo` both answer [`MANUFACTURER`]; the token model is [`MODEL`].

mod abi;
mod attempts;
pub mod calls;
mod crypto;
pub mod faults;
mod fns;
mod guard;
mod mechanism;
mod object;
mod rv;
mod session;
mod sim;
mod token;

/// Environment variable that names the token folder. The folder must exist; `C_Initialize` never makes it.
pub const DIR_ENV: &str = "COFRE_HSM_SIM_DIR";
/// Manufacturer of library, slot and token: production refuses a module that answers this.
pub const MANUFACTURER: &str = "Cofre hsm-sim";
/// Token model.
pub const MODEL: &str = "development";
/// Name of the fault plan inside the token folder.
pub const FAULTS_FILE: &str = "faults.toml";
/// Name of the call log inside the token folder.
pub const CALLS_FILE: &str = "calls.log";
/// Wrong PINs in a row after which a PIN is locked (`CKR_PIN_LOCKED`), for the SO and for the user.
pub const PIN_TRIES: u32 = 5;
