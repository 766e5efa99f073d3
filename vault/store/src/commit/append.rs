//! Appending an entry: its bytes at the next index, its leaf hash, and the facets it is found by.

use cofre_ledger::entry::{self, Leaf};
use cofre_model::entry::Entry;
use cofre_model::permit::EntryRef;

use crate::commit::change::Change;
use crate::commit::group::Group;
use crate::error::Error;
use crate::row::{column, instant};
use crate::statement::statement;

impl Group<'_> {
    /// Appends `entry` at the next index with the group's time, as this node.
    pub(crate) async fn append(&mut self, mut entry: Entry) -> Result<EntryRef, Error> {
        let unfit = |cause: entry::EntryError| Error::Entry(cause.to_string());
        entry.node = Some(self.node.clone());
        let body = entry::encode(&entry).map_err(unfit)?;
        let bytes = Leaf { index: self.head.size, time: self.at(), body }.to_bytes().map_err(unfit)?;
        let at = EntryRef { index: self.head.size, leaf_hash: entry::leaf_hash(&bytes), time: self.at() };
        self.write_entry(&at, &bytes).await?;
        self.write_facets(&at, &entry).await?;
        self.changes.push(Change::Entry { at, kind: entry.kind, tenant: entry.tenant, credential: entry.credential });
        self.advance(at);
        Ok(at)
    }

    async fn write_entry(&mut self, at: &EntryRef, bytes: &[u8]) -> Result<(), Error> {
        let (group, incarnation) = (self.id.to_vec(), self.node.incarnation.to_vec());
        statement("INSERT INTO ledger_entries VALUES (?, ?, ?, ?, ?)")
            .bind(column(at.index))
            .bind(bytes)
            .bind(at.leaf_hash.to_vec())
            .bind(group)
            .bind(incarnation)
            .execute(self.rows())
            .await?;
        statement("UPDATE ledger_head SET size = ?, last_time = ?")
            .bind(column(at.index.saturating_add(1)))
            .bind(instant(at.time))
            .execute(self.rows())
            .await?;
        Ok(())
    }

    async fn write_facets(&mut self, at: &EntryRef, entry: &Entry) -> Result<(), Error> {
        statement("INSERT INTO ledger_facets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(column(at.index))
            .bind(instant(at.time))
            .bind(entry.kind.as_str())
            .bind(entry.tenant.map(|id| id.to_string()))
            .bind(entry.credential.map(|id| id.to_string()))
            .bind(entry.owner.map(|id| id.to_string()))
            .bind(entry.caller.as_ref().map(|caller| caller.identity.as_str()))
            .bind(entry.reason.map(|reason| reason.as_str()))
            .bind(entry.follows.map(column))
            .execute(self.rows())
            .await?;
        Ok(())
    }
}
