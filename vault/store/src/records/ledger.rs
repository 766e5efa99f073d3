//! The ledger's rows: entries, head, hash tiles, checkpoints. Bytes and hashes are the ledger crate's; this room
//! keeps them.

use cofre_ledger::tile::{TileSet, tiles_for};
use cofre_ledger::tree::NodeId;
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::row::{Cells, Row, column};
use crate::statement::statement;

/// The most entries one read gives.
const ENTRIES: u64 = 1_000;
/// The most leaf hashes one read gives.
const HASHES: u64 = 10_000;

/// Where the ledger ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Entries so far; the next one gets this index.
    pub size: u64,
    /// The time of the newest entry; 1970 while there is none.
    pub last_time: Timestamp,
}

/// An entry as it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Its index.
    pub index: u64,
    /// The leaf, exactly as hashed.
    pub bytes: Vec<u8>,
    /// RFC 6962 leaf hash of those bytes.
    pub leaf_hash: [u8; 32],
    /// The incarnation of the node that committed it.
    pub incarnation: [u8; 16],
    /// The group it was committed in.
    pub group_id: Vec<u8>,
}

/// A tile of hashes (C2SP tlog-tiles). A partial tile of width w is the first 32·w bytes of the stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Its level, from 0.
    pub level: u8,
    /// Its place in the level.
    pub n: u64,
    /// Hashes in it, 1 to 256.
    pub width: u16,
    /// The hashes, 32 bytes each.
    pub hashes: Vec<u8>,
}

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Entries under it.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

pub(crate) async fn head(session: &mut Session<'_>) -> Result<Head, Error> {
    let row = statement("SELECT size, last_time FROM ledger_head").fetch_one(session).await?;
    let cells = Cells::of("ledger_head", &row);
    Ok(Head { size: cells.int("size")?, last_time: cells.time("last_time")? })
}

fn record(row: &Row) -> Result<LedgerRow, Error> {
    let cells = Cells::of("ledger_entries", row);
    Ok(LedgerRow {
        index: cells.int("index")?,
        bytes: cells.blob("bytes")?.to_vec(),
        leaf_hash: cells.bytes("leaf_hash")?,
        incarnation: cells.bytes("incarnation")?,
        group_id: cells.blob("group_id")?.to_vec(),
    })
}

fn checkpoint(row: &Row) -> Result<Checkpoint, Error> {
    let cells = Cells::of("ledger_checkpoints", row);
    Ok(Checkpoint { size: cells.int("size")?, note: cells.string("note")? })
}

impl Records {
    /// Where the ledger ends.
    ///
    /// # Errors
    /// The store's.
    pub async fn head(&self) -> Result<Head, Error> {
        head(&mut self.reader().await?).await
    }

    /// The entry at `index`.
    ///
    /// # Errors
    /// The store's.
    pub async fn entry(&self, index: u64) -> Result<Option<LedgerRow>, Error> {
        Ok(self.entries(index, index.saturating_add(1)).await?.pop())
    }

    /// Entries from `from` on, before `until`, at most 1,000 of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn entries(&self, from: u64, until: u64) -> Result<Vec<LedgerRow>, Error> {
        let until = until.min(from.saturating_add(ENTRIES));
        let rows = statement(r#"SELECT * FROM ledger_entries WHERE "index" >= $1 AND "index" < $2 ORDER BY "index""#)
            .bind(column(from))
            .bind(column(until))
            .fetch_all(&mut self.reader().await?)
            .await?;
        rows.iter().map(record).collect()
    }

    /// Leaf hashes from `from` on, before `until`, at most 10,000 of them: of the bytes as they rest.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the bytes of an entry are not those that were promised; the store's.
    pub async fn leaf_hashes(&self, from: u64, until: u64) -> Result<Vec<[u8; 32]>, Error> {
        let until = until.min(from.saturating_add(HASHES));
        let rows = statement(
            r#"SELECT bytes, leaf_hash FROM ledger_entries WHERE "index" >= $1 AND "index" < $2 ORDER BY "index""#,
        )
        .bind(column(from))
        .bind(column(until))
        .fetch_all(&mut self.reader().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("ledger_entries", row);
                let hash = cofre_ledger::entry::leaf_hash(cells.blob("bytes")?);
                // SECURITY: the root that is signed has to speak of the very bytes that auditors will be given.
                if cells.bytes::<32>("leaf_hash")? == hash {
                    Ok(hash)
                } else {
                    Err(Error::corrupt("ledger_entries", "bytes"))
                }
            })
            .collect()
    }

    /// The tiles that hold these nodes. One that is not stored stays out: the reader names it when it is asked for.
    /// `None` where what is stored is no tile.
    ///
    /// # Errors
    /// The store's.
    pub async fn tiles_holding(&self, nodes: &[NodeId]) -> Result<Option<TileSet>, Error> {
        let mut set = TileSet::new();
        for id in tiles_for(nodes) {
            if let Some(tile) = self.tile(id.level, id.n).await?
                && set.insert(id, &tile.hashes).is_none()
            {
                return Ok(None);
            }
        }
        Ok(Some(set))
    }

    /// One tile, as wide as it is by now.
    ///
    /// # Errors
    /// The store's.
    pub async fn tile(&self, level: u8, n: u64) -> Result<Option<Tile>, Error> {
        let row = statement("SELECT * FROM ledger_tiles WHERE level = $1 AND n = $2")
            .bind(i64::from(level))
            .bind(column(n))
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref()
            .map(|row| {
                let cells = Cells::of("ledger_tiles", row);
                let hashes = cells.blob("hashes")?.to_vec();
                Ok(Tile { level: cells.int("level")?, n: cells.int("n")?, width: cells.int("width")?, hashes })
            })
            .transpose()
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// The store's.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let row = statement("SELECT * FROM ledger_checkpoints ORDER BY size DESC LIMIT 1")
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref().map(checkpoint).transpose()
    }

    /// The oldest checkpoint with at least `size` entries under it.
    ///
    /// # Errors
    /// The store's.
    pub async fn checkpoint_at_least(&self, size: u64) -> Result<Option<Checkpoint>, Error> {
        let row = statement("SELECT * FROM ledger_checkpoints WHERE size >= $1 ORDER BY size LIMIT 1")
            .bind(column(size))
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref().map(checkpoint).transpose()
    }
}
