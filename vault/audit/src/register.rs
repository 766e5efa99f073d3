//! The register as its readers have it: checkpoint, tiles, proofs; entries, searches and exports for auditors.
//!
//! Checkpoints and hash tiles are open to every caller: anybody can compute a proof from them. Entries are not: an
//! auditor reads all, and each such read is an entry; a worker gets proofs of its own entries. Auditors are
//! deployment-wide. Who may call a method at all is the gate's business at the counter.

mod entries;
mod export;

pub use entries::{EntryView, Found};
pub use export::Export;

use cofre_ledger::checkpoint::Checkpoint as Signed;
use cofre_ledger::entry::Leaf;
use cofre_ledger::note::NoteKey;
use cofre_ledger::proof::ProofFile;
use cofre_ledger::tile::{FULL, TilePath, encode_bundle};
use cofre_ledger::tree;
use cofre_model::caller::{Caller, Role};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::reason::Reason;
use cofre_store::{LedgerRow, Operation, Records};

use crate::error::Error;
use crate::tiles;

/// What an answer may hold, so that it fits one message of 64 KiB.
const ANSWER_BYTES: usize = 60 * 1024;

/// What `server` hands to the register.
#[derive(Debug)]
pub struct Register {
    /// Entries, tiles and checkpoints.
    pub records: Records,
    /// The signer's public half under the ledger's origin: see [`crate::note_key`].
    pub key: NoteKey,
}

/// The newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The signed note.
    pub note: String,
    /// The text of the key to verify it with.
    pub verifier_key: String,
}

impl Register {
    /// The newest signed checkpoint.
    ///
    /// # Errors
    /// WRONG_STATE before the first one.
    pub async fn checkpoint(&self) -> Result<Published, Error> {
        let newest = self.records.checkpoint().await?.ok_or(NO_CHECKPOINT)?;
        Ok(Published { note: newest.note, verifier_key: self.key.to_string() })
    }

    /// A tile by its path. Hash tiles are open; entry bundles are for auditors, and reading one is an entry.
    ///
    /// # Errors
    /// BAD_REQUEST for a path that names no tile; NOT_FOUND for a tile no checkpoint covers, and for bundles to
    /// anybody but auditors; WRONG_STATE for a bundle that does not fit an answer.
    pub async fn tile(&self, caller: &Caller, path: &str) -> Result<Vec<u8>, Error> {
        let malformed = Error::field(
            Reason::BadRequest,
            "path",
            "must be such as tile/0/x001/234 or tile/0/x001/234.p/8 (C2SP tlog-tiles)",
        );
        match TilePath::try_from(path).map_err(|_| malformed)? {
            TilePath::Hashes { tile, width } => {
                let stored = self.records.tile(tile.level, tile.n).await?;
                let hashes = stored.ok_or(NO_TILE)?.hashes;
                let wanted = hashes.get(..usize::from(width).saturating_mul(32)).ok_or(NO_TILE)?;
                Ok(wanted.to_vec())
            }
            TilePath::Entries { n, width } => {
                if caller.identity().role() != Role::Auditor {
                    return Err(NO_TILE);
                }
                self.bundle(caller, n, width).await
            }
        }
    }

    async fn bundle(&self, caller: &Caller, n: u64, width: u16) -> Result<Vec<u8>, Error> {
        let from = n.checked_mul(u64::from(FULL)).ok_or(NO_TILE)?;
        let until = from.saturating_add(u64::from(width));
        let newest = self.records.checkpoint().await?.filter(|newest| until <= newest.size).ok_or(NO_TILE)?;
        tracing::debug!(size = newest.size, "entry bundle");
        let rows = self.records.entries(from, until).await?;
        if rows.len() != usize::from(width) {
            return Err(Error::Missing);
        }
        let bytes = encode_bundle(rows.iter().map(|row| row.bytes.as_slice())).ok_or(Error::Missing)?;
        if bytes.len() > ANSWER_BYTES {
            return Err(Error::field(Reason::WrongState, "path", "does not fit an answer; read it with Export"));
        }
        self.note_read(caller, "Tile", span(from, until), u64::from(width)).await?;
        Ok(bytes)
    }

    /// The inclusion proof of an entry in the newest checkpoint, as a proof file. Auditors get any; everybody else
    /// gets those of entries that name them as the caller.
    ///
    /// # Errors
    /// NOT_FOUND where there is no such entry for this caller; WRONG_STATE while no checkpoint covers it.
    pub async fn prove(&self, caller: &Caller, index: u64) -> Result<String, Error> {
        let row = self.records.entry(index).await?.ok_or(NO_ENTRY)?;
        if caller.identity().role() != Role::Auditor {
            let (_, entry) = read(&row)?;
            let identity = caller.identity().to_string();
            entry.caller.filter(|named| named.identity == identity).ok_or(NO_ENTRY)?;
        }
        let newest = self.records.checkpoint().await?.filter(|newest| index < newest.size).ok_or(NOT_YET)?;
        let signed = Signed::open(&newest.note, &self.key)?;
        let nodes = tree::inclusion_nodes(index, signed.size);
        let tiles = tiles::holding(&self.records, &nodes).await?;
        let path = tree::inclusion_proof(index, signed.size, &tiles).map_err(|_| Error::Missing)?;
        let proof = ProofFile { extra: None, index, path, checkpoint: newest.note };
        // SECURITY: a proof that does not hold is an integrity failure here, not a surprise at the reader's.
        proof.verify(&row.leaf_hash, &self.key).map_err(|_| Error::Missing)?;
        Ok(proof.to_string())
    }

    /// Records that a person read entries. Comes before the answer: no record, no reading.
    async fn note_read(&self, caller: &Caller, method: &str, what: String, entries: u64) -> Result<(), Error> {
        let mut entry = self.read_entry(caller, method)?;
        entry.reference = Some(what);
        entry.count = Some(entries);
        self.records.apply(entry, Operation::Note).await?;
        Ok(())
    }

    fn read_entry(&self, caller: &Caller, method: &str) -> Result<Entry, Error> {
        let mut entry = crate::entry(EntryKind::AuditRead)?.by(caller);
        entry.method = Some(format!("cofre.v1.AuditService/{method}").into());
        Ok(entry)
    }
}

const NOT_YET: Error =
    Error::field(Reason::WrongState, "index", "is not under a checkpoint yet; try again in a second");
const NO_CHECKPOINT: Error = Error::field(Reason::WrongState, "checkpoint", "is not there yet; try again in a second");
const NO_ENTRY: Error = Error::refused(Reason::NotFound);
const NO_TILE: Error = Error::refused(Reason::NotFound);

/// The body of a stored entry, with its place.
fn read(row: &LedgerRow) -> Result<(Leaf, Entry), Error> {
    let damaged = |cause| Error::Entry { index: row.index, cause };
    let leaf = Leaf::parse(&row.bytes).map_err(damaged)?;
    let entry = leaf.entry().map_err(damaged)?;
    Ok((leaf, entry))
}

fn span(from: u64, until: u64) -> String {
    format!("entries {from}..{until}")
}
