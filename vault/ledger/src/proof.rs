//! The offline proof of one entry: a `c2sp.org/tlog-proof@v1` file. With the verifier key it proves that a leaf stands
//! in the ledger at an index.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::Hash;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::NoteKey;
use crate::text::{base64, decimal, from_base64, hash_from_base64};
use crate::tree::{ProofError, verify_inclusion};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Why a proof file is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// It is not of the format; the text says which line.
    #[error("proof file is malformed: {0}")]
    Malformed(&'static str),
    /// Its checkpoint is not believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Its hashes do not lead from the leaf to the checkpoint's root.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

/// A proof file, parsed; nothing in it is believed before [`ProofFile::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Opaque bytes the proof does not cover.
    pub extra: Option<Vec<u8>>,
    /// Index of the entry.
    pub index: u64,
    /// The audit path, leaf's sibling first.
    pub path: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", base64(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl ProofFile {
    /// Parses a proof file.
    ///
    /// # Errors
    /// [`ProofFileError::Malformed`]. The checkpoint is parsed by [`ProofFile::verify`].
    pub fn parse(text: &str) -> Result<Self, ProofFileError> {
        let bad = ProofFileError::Malformed;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(bad("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(bad("first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => Some(line.strip_prefix("extra ").and_then(from_base64).ok_or(bad("extra is not base64"))?),
            None => None,
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal)
            .ok_or(bad("index line is missing or not a plain decimal"))?;
        let path = lines
            .map(|line| hash_from_base64(line).ok_or(bad("a hash is not 32 bytes of base64")))
            .collect::<Result<Vec<_>, _>>()?;
        if path.len() > 63 {
            return Err(bad("more than 63 hashes"));
        }
        Ok(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies that the leaf with this hash stands at [`ProofFile::index`] of the ledger `key` signs for.
    ///
    /// # Errors
    /// [`ProofFileError::Checkpoint`], [`ProofFileError::Inclusion`].
    pub fn verify(&self, leaf_hash: &Hash, key: &NoteKey) -> Result<Checkpoint, ProofFileError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        verify_inclusion(leaf_hash, self.index, checkpoint.size, &self.path, &checkpoint.root)?;
        Ok(checkpoint)
    }
}
