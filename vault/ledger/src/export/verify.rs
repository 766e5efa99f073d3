//! Offline verification of an export, in one pass and without keeping entries.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

use cofre_model::entry::EntryKind;
use cofre_model::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::pairing::Pairing;
use super::{EXPORT_VERSION, EntryLine, HeaderLine, OpenIntent, PairingFault, TrailerLine};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::entry::{EntryError, Leaf};
use crate::note::{NoteError, NoteKey};
use crate::text::{from_base64, hash_from_base64};
use crate::tree::{Frontier, ProofError, leaf_hash, verify_inclusion};

/// The longest line taken: a header with the largest note, or an entry with a path, is shorter.
const MAX_LINE: u64 = 2 << 20;

/// Why an export is not believed. Line numbers count from 1.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It could not be read.
    #[error("line {line}: could not be read: {source}")]
    Read {
        /// The line.
        line: u64,
        /// What the reader said.
        source: std::io::Error,
    },
    /// It ends before its trailer, or within a line.
    #[error("line {line}: the export is cut off here")]
    Truncated {
        /// The line that is missing or cut.
        line: u64,
    },
    /// A line is not the one spelling of a header, entry or trailer.
    #[error("line {line}: {what}")]
    Malformed {
        /// The line.
        line: u64,
        /// What it should be.
        what: &'static str,
    },
    /// The verifier key of the header is malformed.
    #[error("header: {0}")]
    Key(NoteError),
    /// The header's verifier key is not the trusted one.
    #[error("header: verifier key is not the trusted one")]
    OtherKey,
    /// The checkpoint is not believed.
    #[error("header: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The known checkpoint cannot be compared with this export.
    #[error("known checkpoint: {0}")]
    Known(&'static str),
    /// The ledger is shorter than the known checkpoint.
    #[error("ledger has {size} entries, the known checkpoint had {known}: entries were taken away")]
    Shrunk {
        /// The size of the export's checkpoint.
        size: u64,
        /// The size of the known one.
        known: u64,
    },
    /// The first entries are not those of the known checkpoint.
    #[error("the first {known} entries are not those of the known checkpoint: history was rewritten")]
    Inconsistent {
        /// The size of the known checkpoint.
        known: u64,
    },
    /// An entry is missing, repeated or out of order.
    #[error("line {line}: expected entry {expected}, found {found}")]
    Order {
        /// The line.
        line: u64,
        /// The index expected.
        expected: u64,
        /// The index found.
        found: u64,
    },
    /// A leaf is not an entry.
    #[error("entry {index}: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// Why.
        source: EntryError,
    },
    /// The index inside a leaf is not that of its line.
    #[error("entry {index}: its bytes say it is entry {inside}")]
    Index {
        /// The index of the line.
        index: u64,
        /// The index in the bytes.
        inside: u64,
    },
    /// Time went back or stood still.
    #[error("entry {index}: its time is not after that of the entry before")]
    Time {
        /// Its index.
        index: u64,
    },
    /// An entry's own path does not lead to the root.
    #[error("entry {index}: {source}")]
    Path {
        /// Its index.
        index: u64,
        /// Why.
        source: ProofError,
    },
    /// The entries end before the checkpoint's size.
    #[error("entries end at {found}, the checkpoint covers {size}")]
    Missing {
        /// How far they go.
        found: u64,
        /// How far they should.
        size: u64,
    },
    /// The entries do not hash to the signed root: at least one was altered.
    #[error("entries do not hash to the signed root: at least one was altered")]
    Root,
    /// Count or SHA-256 of the trailer are not those of what stands before it.
    #[error("trailer does not fit what stands before it")]
    Trailer,
}

/// What a verified export holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The key everything hangs on.
    pub key: NoteKey,
    /// Whether the caller brought that key. If not, compare it with one from another source.
    pub key_was_trusted: bool,
    /// The signed checkpoint.
    pub checkpoint: Checkpoint,
    /// The size of the known checkpoint that this ledger was found to continue.
    pub continues: Option<u64>,
    /// The index of the first entry.
    pub from: u64,
    /// How many entries.
    pub entries: u64,
    /// The time of the first entry.
    pub first_time: Option<Timestamp>,
    /// The time of the last entry.
    pub last_time: Option<Timestamp>,
    /// How many entries of each kind.
    pub kinds: BTreeMap<EntryKind, u64>,
    /// Intents that nothing followed up.
    pub open: Vec<OpenIntent>,
    /// Follow-ups that do not fit what they follow: faults of the vault, signed by it.
    pub faults: Vec<PairingFault>,
}

/// Verifies an export: order, gaps, truncation, every leaf hashed up to the signed root, the signature, time, paths,
/// consistency with a checkpoint known from before, and the pairing of intents with what followed.
///
/// `trusted` is the verifier key the caller got from elsewhere; without it the header's own is used and the report
/// says so. `known` is a checkpoint seen earlier; the export must begin at or before its size.
///
/// # Errors
/// The first thing found wrong, as [`ExportError`].
pub fn verify_export(
    reader: impl BufRead,
    trusted: Option<&NoteKey>,
    known: Option<&Checkpoint>,
) -> Result<Report, ExportError> {
    let mut lines = Lines { reader, number: 0, hash: Sha256::new() };
    let first = lines.next()?;
    let header: HeaderLine =
        first.parse().ok_or_else(|| first.malformed("is not the header of an export of version 1"))?;
    let (key, checkpoint, frontier) = open_header(&header, &first, trusted)?;
    refuse_incomparable(known, &checkpoint, frontier.size())?;

    let mut walk = Walk {
        pairing: Pairing::from(frontier.size()),
        from: frontier.size(),
        frontier,
        checkpoint,
        first_time: None,
        last_time: None,
        kinds: BTreeMap::new(),
    };
    walk.compare(known)?;
    while walk.frontier.size() < walk.checkpoint.size {
        let line = lines.next()?;
        match line.parse() {
            Some(entry) => walk.entry(&line, &entry)?,
            None if line.parse::<TrailerLine>().is_some() => {
                return Err(ExportError::Missing { found: walk.frontier.size(), size: walk.checkpoint.size });
            }
            None => return Err(line.malformed("is not the line of an entry")),
        }
        walk.compare(known)?;
    }
    if walk.frontier.root() != walk.checkpoint.root {
        return Err(ExportError::Root);
    }
    lines.trailer(walk.frontier.size() - walk.from)?;
    let (open, faults) = walk.pairing.finish();
    Ok(Report {
        key_was_trusted: trusted.is_some(),
        key,
        continues: known.map(|known| known.size),
        from: walk.from,
        entries: walk.frontier.size() - walk.from,
        checkpoint: walk.checkpoint,
        first_time: walk.first_time,
        last_time: walk.last_time,
        kinds: walk.kinds,
        open,
        faults,
    })
}

fn open_header(
    header: &HeaderLine,
    line: &Line,
    trusted: Option<&NoteKey>,
) -> Result<(NoteKey, Checkpoint, Frontier), ExportError> {
    if header.cofre_export != EXPORT_VERSION {
        return Err(line.malformed("is of another version than 1"));
    }
    let key = NoteKey::parse(&header.verifier_key).map_err(ExportError::Key)?;
    if key.to_string() != header.verifier_key || trusted.is_some_and(|trusted| *trusted != key) {
        return Err(ExportError::OtherKey);
    }
    let checkpoint = Checkpoint::open(&header.checkpoint, &key)?;
    if checkpoint.origin != header.origin {
        return Err(ExportError::Checkpoint(CheckpointError::Origin));
    }
    let peaks = header.frontier.iter().map(|text| hash_from_base64(text)).collect::<Option<Vec<_>>>();
    let frontier = peaks
        .and_then(|peaks| Frontier::from_parts(header.from, peaks))
        .filter(|frontier| frontier.size() <= checkpoint.size)
        .ok_or_else(|| line.malformed("has a frontier that does not fit its `from`"))?;
    Ok((key, checkpoint, frontier))
}

fn refuse_incomparable(known: Option<&Checkpoint>, checkpoint: &Checkpoint, from: u64) -> Result<(), ExportError> {
    let Some(known) = known else { return Ok(()) };
    if known.origin != checkpoint.origin {
        return Err(ExportError::Known("it is of another ledger"));
    }
    if known.size > checkpoint.size {
        return Err(ExportError::Shrunk { size: checkpoint.size, known: known.size });
    }
    if known.size < from {
        return Err(ExportError::Known("it lies before the first entry; export from an index at or below its size"));
    }
    Ok(())
}

/// The state of the one pass.
struct Walk {
    from: u64,
    frontier: Frontier,
    checkpoint: Checkpoint,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
    kinds: BTreeMap<EntryKind, u64>,
    pairing: Pairing,
}

impl Walk {
    /// Compares the tree so far with the known checkpoint when its size is reached.
    fn compare(&self, known: Option<&Checkpoint>) -> Result<(), ExportError> {
        match known {
            Some(known) if known.size == self.frontier.size() && known.root != self.frontier.root() => {
                Err(ExportError::Inconsistent { known: known.size })
            }
            _ => Ok(()),
        }
    }

    fn entry(&mut self, line: &Line, raw: &EntryLine) -> Result<(), ExportError> {
        let index = self.frontier.size();
        if raw.index != index {
            return Err(ExportError::Order { line: line.number, expected: index, found: raw.index });
        }
        let bytes = from_base64(&raw.leaf).ok_or_else(|| line.malformed("has a leaf that is not base64"))?;
        let leaf = Leaf::parse(&bytes).map_err(|source| ExportError::Entry { index, source })?;
        if leaf.index != index {
            return Err(ExportError::Index { index, inside: leaf.index });
        }
        if self.last_time.is_some_and(|last| leaf.time <= last) {
            return Err(ExportError::Time { index });
        }
        let entry = leaf.entry().map_err(|source| ExportError::Entry { index, source })?;
        let hash = leaf_hash(&bytes);
        if let Some(path) = &raw.path {
            let path = path
                .iter()
                .map(|text| hash_from_base64(text))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| line.malformed("has a path that is not base64 hashes"))?;
            verify_inclusion(&hash, index, self.checkpoint.size, &path, &self.checkpoint.root)
                .map_err(|source| ExportError::Path { index, source })?;
        }
        self.frontier.append(hash);
        self.first_time.get_or_insert(leaf.time);
        self.last_time = Some(leaf.time);
        *self.kinds.entry(entry.kind).or_default() += 1;
        self.pairing.read(index, leaf.time, &entry);
        Ok(())
    }
}

struct Line {
    number: u64,
    text: String,
}

impl Line {
    /// Parses the line and refuses any other spelling of the same content.
    fn parse<T: Serialize + DeserializeOwned>(&self) -> Option<T> {
        let value: T = serde_json::from_str(&self.text).ok()?;
        (serde_json::to_string(&value).ok()? == self.text).then_some(value)
    }

    const fn malformed(&self, what: &'static str) -> ExportError {
        ExportError::Malformed { line: self.number, what }
    }
}

struct Lines<R> {
    reader: R,
    number: u64,
    /// Over all lines before the one read last.
    hash: Sha256,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Line, ExportError> {
        let line = self.raw()?;
        self.hash.update(line.text.as_bytes());
        self.hash.update(b"\n");
        Ok(line)
    }

    fn trailer(mut self, entries: u64) -> Result<(), ExportError> {
        let sha256 = hex::encode(self.hash.clone().finalize());
        let line = self.raw()?;
        if line.parse::<EntryLine>().is_some() {
            return Err(line.malformed("is an entry beyond the checkpoint"));
        }
        let trailer: TrailerLine = line.parse().ok_or_else(|| line.malformed("is not the trailer"))?;
        if trailer.entries != entries || trailer.sha256 != sha256 {
            return Err(ExportError::Trailer);
        }
        let number = line.number.saturating_add(1);
        match self.reader.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(ExportError::Malformed { line: number, what: "stands after the trailer" }),
            Err(source) => Err(ExportError::Read { line: number, source }),
        }
    }

    fn raw(&mut self) -> Result<Line, ExportError> {
        self.number = self.number.saturating_add(1);
        let number = self.number;
        let mut bytes = Vec::new();
        self.reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| ExportError::Read { line: number, source })?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len == MAX_LINE) {
            return Err(ExportError::Malformed { line: number, what: "is longer than 2 MiB" });
        }
        if bytes.pop() != Some(b'\n') {
            return Err(ExportError::Truncated { line: number });
        }
        let text =
            String::from_utf8(bytes).map_err(|_| ExportError::Malformed { line: number, what: "is not UTF-8" })?;
        Ok(Line { number, text })
    }
}
