//! The export of the register: JSON Lines that `cofre verify` reads offline, up to the newest checkpoint.

use cofre_ledger::checkpoint::Checkpoint as Signed;
use cofre_ledger::export::ExportWriter;
use cofre_ledger::tree::Frontier;
use cofre_model::caller::Caller;
use cofre_model::reason::Reason;
use cofre_store::Records;

use super::{NO_CHECKPOINT, Register, span};
use crate::error::Error;
use crate::tiles;

/// Bytes of a chunk. Chunks cut lines wherever they come to.
const CHUNK: usize = 32 * 1024;
/// Entries read at a time.
const PAGE: u64 = 100;

/// An export under way.
#[derive(Debug)]
pub struct Export {
    records: Records,
    writer: Option<ExportWriter>,
    next: u64,
    end: u64,
    waiting: Vec<u8>,
}

impl Register {
    /// Begins an export of the entries from `from` on, up to the newest checkpoint. The beginning is an entry.
    ///
    /// # Errors
    /// WRONG_STATE before the first checkpoint; BAD_REQUEST where `from` lies behind the newest one;
    /// AUDIT_UNAVAILABLE where the read cannot be recorded.
    pub async fn export(&self, caller: &Caller, from: u64) -> Result<Export, Error> {
        let newest = self.records.checkpoint().await?.ok_or(NO_CHECKPOINT)?;
        let end = Signed::open(&newest.note, &self.key)?.size;
        if from > end {
            return Err(Error::field(Reason::BadRequest, "from_index", "must not lie behind the newest checkpoint"));
        }
        let edge = tiles::edges(&self.records, &[from]).await?;
        let before = Frontier::read(from, &edge)?;
        let (writer, header) = ExportWriter::begin(&self.key, &before, &newest.note)?;
        self.note_read(caller, "Export", span(from, end), end.saturating_sub(from)).await?;
        Ok(Export {
            records: self.records.clone(),
            writer: Some(writer),
            next: from,
            end,
            waiting: header.into_bytes(),
        })
    }
}

impl Export {
    /// The next chunk; nothing once the trailer was given.
    ///
    /// # Errors
    /// The store's; [`Error::Missing`] where an entry under the checkpoint is not there. The export is then not
    /// complete, and its reader notices: the trailer is missing.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while self.waiting.len() < CHUNK && self.writer.is_some() {
            if self.next < self.end {
                self.page().await?;
            } else if let Some(writer) = self.writer.take() {
                self.waiting.extend(writer.finish()?.into_bytes());
            }
        }
        let rest = self.waiting.split_off(self.waiting.len().min(CHUNK));
        let chunk = std::mem::replace(&mut self.waiting, rest);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    async fn page(&mut self) -> Result<(), Error> {
        let until = self.end.min(self.next.saturating_add(PAGE));
        let rows = self.records.entries(self.next, until).await?;
        let Some(writer) = self.writer.as_mut().filter(|_| !rows.is_empty()) else { return Err(Error::Missing) };
        for row in rows {
            self.waiting.extend(writer.entry(row.index, &row.bytes, None)?.into_bytes());
            self.next = row.index.saturating_add(1);
        }
        Ok(())
    }
}
