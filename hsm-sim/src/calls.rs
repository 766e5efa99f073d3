//! The call log: what the token saw, for a person or a demonstration to read while the module runs.
//!
//! One line per finished call is appended to [`CALLS_FILE`] with a single write: `C_Encrypt CKR_OK`. Appending needs
//! no timer and no rewrite, loses nothing when the process dies, and several processes may share the file. It holds
//! function names and return codes, never data, keys or PINs. At `C_Initialize` a log above 16 MiB becomes
//! `calls.log.old`. It is not the module's state: a log that cannot be written is no reason to fail a call.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::CALLS_FILE;

const ROTATE_AT: u64 = 16 << 20;

/// How often one function was called, and with which outcomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All finished calls.
    pub calls: u64,
    /// Calls that answered something other than `CKR_OK`, by the name of the code.
    pub refused: BTreeMap<String, u64>,
}

/// Counts the call log of a token folder by function. A folder without a log has seen no calls.
///
/// # Errors
/// The log exists and cannot be read.
pub fn tally(token_folder: &Path) -> io::Result<BTreeMap<String, Tally>> {
    let text = match std::fs::read_to_string(token_folder.join(CALLS_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut all: BTreeMap<String, Tally> = BTreeMap::new();
    // A last line without its newline is still being written.
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    for (function, code) in whole.lines().filter_map(|line| line.split_once(' ')) {
        let tally = all.entry(function.to_owned()).or_default();
        tally.calls += 1;
        if code != "CKR_OK" {
            *tally.refused.entry(code.to_owned()).or_default() += 1;
        }
    }
    Ok(all)
}

/// The open log of one initialised module.
pub(crate) struct CallLog {
    file: Option<File>,
}

impl CallLog {
    /// Opens the log for appending, after moving a very long one aside.
    pub(crate) fn open(token_folder: &Path) -> Self {
        let path = token_folder.join(CALLS_FILE);
        if path.metadata().is_ok_and(|meta| meta.len() > ROTATE_AT) {
            // Best effort by design: see the module's first lines.
            let _ = std::fs::rename(&path, token_folder.join(format!("{CALLS_FILE}.old")));
        }
        Self { file: OpenOptions::new().create(true).append(true).open(path).ok() }
    }

    /// Appends one line.
    pub(crate) fn note(&mut self, function: &str, outcome: &str) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{function} {outcome}\n").as_bytes());
        }
    }
}
