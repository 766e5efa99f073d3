//! The export: JSON Lines that anybody with the public key verifies offline.
//!
//! A header line names origin, verifier key and signed checkpoint, and gives the right edge of the tree before the
//! first entry; then one line per entry up to the checkpoint's size, then a trailer with count and SHA-256 of
//! everything before it. Each line has one spelling (members in order, no spaces), so that no byte can change
//! unseen. The trailer finds accidents; what finds an adversary is that every leaf is hashed up to the signed root.

mod pairing;
#[cfg(test)]
mod tests;
mod verify;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Hash;
use crate::note::NoteKey;
use crate::text::base64;
use crate::tree::Frontier;

pub use pairing::{OpenIntent, PairingFault, PairingFaultKind};
pub use verify::{ExportError, Report, verify_export};

/// The format's version, in the header line.
pub const EXPORT_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    cofre_export: u32,
    origin: String,
    verifier_key: String,
    from: u64,
    frontier: Vec<String>,
    checkpoint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine {
    index: u64,
    leaf: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrailerLine {
    entries: u64,
    sha256: String,
}

/// An export could not be written as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Entries must follow one another from the header's `from` on.
    #[error("export expects entry {expected} next, not {given}")]
    Order {
        /// The next index.
        expected: u64,
        /// The index given.
        given: u64,
    },
    /// A line could not be written as JSON.
    #[error("line could not be written as JSON")]
    Json,
}

/// Writes an export line by line. Each call returns a line with its newline, for whatever stream takes it.
#[derive(Debug)]
pub struct ExportWriter {
    hash: Sha256,
    next: u64,
    entries: u64,
}

impl ExportWriter {
    /// Begins an export of the entries from `before.size()` up to the size of the checkpoint, and returns the header
    /// line. `before` is the frontier of the tree at the first index ([`Frontier::empty`] for a whole export);
    /// `checkpoint` is the signed note.
    ///
    /// # Errors
    /// [`WriteError::Json`].
    pub fn begin(key: &NoteKey, before: &Frontier, checkpoint: &str) -> Result<(Self, String), WriteError> {
        let mut writer = Self { hash: Sha256::new(), next: before.size(), entries: 0 };
        let line = writer.line(&HeaderLine {
            cofre_export: EXPORT_VERSION,
            origin: key.name().to_owned(),
            verifier_key: key.to_string(),
            from: before.size(),
            frontier: before.peaks().iter().map(|hash| base64(hash)).collect(),
            checkpoint: checkpoint.to_owned(),
        })?;
        Ok((writer, line))
    }

    /// The line of the next entry: the bytes of its leaf and, if wished, its audit path in the checkpoint's tree.
    ///
    /// # Errors
    /// [`WriteError::Order`] where `index` is not the next one.
    pub fn entry(&mut self, index: u64, leaf: &[u8], path: Option<&[Hash]>) -> Result<String, WriteError> {
        if index != self.next {
            return Err(WriteError::Order { expected: self.next, given: index });
        }
        let path = path.map(|path| path.iter().map(|hash| base64(hash)).collect());
        let line = self.line(&EntryLine { index, leaf: base64(leaf), path })?;
        self.next = self.next.saturating_add(1);
        self.entries = self.entries.saturating_add(1);
        Ok(line)
    }

    /// The trailer line. Nothing may follow it.
    ///
    /// # Errors
    /// [`WriteError::Json`].
    pub fn finish(mut self) -> Result<String, WriteError> {
        let sha256 = hex::encode(self.hash.clone().finalize());
        self.line(&TrailerLine { entries: self.entries, sha256 })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<String, WriteError> {
        let mut line = serde_json::to_string(value).map_err(|_| WriteError::Json)?;
        line.push('\n');
        self.hash.update(line.as_bytes());
        Ok(line)
    }
}
