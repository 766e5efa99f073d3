//! Checkpoints as C2SP `tlog-checkpoint` v1.0.0 has them: origin, size and root, each on a line, under a signed note.
//! A checkpoint of ours has no further lines; one that has them is refused.

#[cfg(test)]
mod tests;

use crate::Hash;
use crate::note::{Note, NoteError, NoteKey, SignError};
use crate::text::{base64, decimal, hash_from_base64};

/// The state of the ledger that a signature vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger, `<deployment>/ledger`.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Its note is malformed or not signed by a known key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is not origin, size and root.
    #[error("checkpoint is not origin, size and root on three lines")]
    Body,
    /// It speaks of another ledger than the key it was checked with.
    #[error("checkpoint is of another origin than expected")]
    Origin,
}

/// The origin of a deployment's ledger.
#[must_use]
pub fn origin(deployment: &str) -> String {
    format!("{deployment}/ledger")
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64(&self.root))
    }

    /// Parses the text of a checkpoint. Nothing about signatures is checked here.
    ///
    /// # Errors
    /// [`CheckpointError::Body`].
    pub fn parse_body(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Body)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Body);
        };
        if origin.is_empty() {
            return Err(CheckpointError::Body);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: decimal(size).ok_or(CheckpointError::Body)?,
            root: hash_from_base64(root).ok_or(CheckpointError::Body)?,
        })
    }

    /// Signs it as a note. `sign` is as for [`Note::sign`]; the key's name should be the origin.
    ///
    /// # Errors
    /// As [`Note::sign`]; [`SignError::Faulty`] also where the origin cannot stand in a note.
    pub fn sign<E>(&self, key: &NoteKey, sign: impl FnMut(&[u8]) -> Result<Vec<u8>, E>) -> Result<Note, SignError<E>> {
        let mut note = Note::new(&self.body()).map_err(|_| SignError::Faulty)?;
        note.sign(key, sign)?;
        Ok(note)
    }

    /// Opens a note as a checkpoint of the ledger that `key` signs for: the key's name is the origin expected.
    ///
    /// # Errors
    /// Each variant of [`CheckpointError`].
    pub fn open(note: &str, key: &NoteKey) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        note.verify(std::slice::from_ref(key))?;
        let checkpoint = Self::parse_body(note.text())?;
        if checkpoint.origin == key.name() { Ok(checkpoint) } else { Err(CheckpointError::Origin) }
    }
}
