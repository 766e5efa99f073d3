//! Search over the ledger by facets, for auditors and for the investor's own history. Every parameter is bound;
//! the statement itself never changes.

use cofre_model::entry::EntryKind;
use cofre_model::id::{CredentialId, SubjectId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;

use crate::error::Error;
use crate::records::Records;
use crate::row::{Cells, Row, column, instant};
use crate::statement::{Statement, statement};

/// The most rows one page holds.
const PAGE: u32 = 1_000;

/// What to look for. An empty field matches everything.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// What happened.
    pub kind: Option<EntryKind>,
    /// The tenant concerned.
    pub tenant: Option<TenantId>,
    /// The login concerned.
    pub credential: Option<CredentialId>,
    /// Its holder.
    pub owner: Option<SubjectId>,
    /// Who called, as SPIFFE id text.
    pub caller: Option<String>,
    /// The exact reason.
    pub reason: Option<Reason>,
    /// Entries that follow up this index.
    pub follows: Option<u64>,
    /// The first index to give; the `next` of the page before.
    pub start: u64,
    /// Rows wanted, at most 1,000; 0 gives the count alone.
    pub limit: u32,
}

/// One page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of the ledger.
    pub rows: Vec<Found>,
    /// How many match in all, this page's and others'.
    pub total: u64,
    /// Where the next page starts, if there is one.
    pub next: Option<u64>,
}

/// An entry with its facets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its index.
    pub index: u64,
    /// Its time.
    pub at: Timestamp,
    /// What happened.
    pub kind: EntryKind,
    /// The tenant concerned.
    pub tenant: Option<TenantId>,
    /// The login concerned.
    pub credential: Option<CredentialId>,
    /// Its holder.
    pub owner: Option<SubjectId>,
    /// Who called.
    pub caller: Option<String>,
    /// The exact reason.
    pub reason: Option<Reason>,
    /// The leaf.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub leaf_hash: [u8; 32],
}

macro_rules! matching {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM ledger_facets f WHERE ($1 IS NULL OR f.at >= $1) AND ($2 IS NULL OR f.at < $2) AND ($3 IS NULL OR f.kind = $3)
               AND ($4 IS NULL OR f.tenant = $4) AND ($5 IS NULL OR f.credential = $5) AND ($6 IS NULL OR f.owner = $6)
               AND ($7 IS NULL OR f.caller = $7) AND ($8 IS NULL OR f.reason = $8) AND ($9 IS NULL OR f.follows = $9)",
            $rest
        )
    };
}

const COUNT: &str = matching!("SELECT COUNT(*) AS total", "");
const ROWS: &str = matching!(
    r#"SELECT f.*, (SELECT bytes FROM ledger_entries e WHERE e."index" = f."index") AS bytes,
       (SELECT leaf_hash FROM ledger_entries e WHERE e."index" = f."index") AS leaf_hash"#,
    r#" AND f."index" >= $10 ORDER BY f."index" LIMIT $11"#
);

fn bound(text: &'static str, search: &Search) -> Statement {
    statement(text)
        .bind(search.from.map(instant))
        .bind(search.until.map(instant))
        .bind(search.kind.map(EntryKind::as_str))
        .bind(search.tenant.map(|id| id.to_string()))
        .bind(search.credential.map(|id| id.to_string()))
        .bind(search.owner.map(|id| id.to_string()))
        .bind(search.caller.clone())
        .bind(search.reason.map(Reason::as_str))
        .bind(search.follows.map(column))
}

fn found(row: &Row) -> Result<Found, Error> {
    let cells = Cells::of("ledger_facets", row);
    Ok(Found {
        index: cells.int("index")?,
        at: cells.time("at")?,
        kind: cells.word("kind", EntryKind::from_text)?,
        tenant: cells.optional("tenant", Cells::id)?,
        credential: cells.optional("credential", Cells::id)?,
        owner: cells.optional("owner", Cells::id)?,
        caller: cells.optional("caller", Cells::string)?,
        reason: cells.optional("reason", |cells, column| cells.word(column, Reason::from_text))?,
        bytes: cells.blob("bytes")?.to_vec(),
        leaf_hash: cells.bytes("leaf_hash")?,
    })
}

impl Records {
    /// Searches the ledger by its facets.
    ///
    /// # Errors
    /// The store's.
    pub async fn search(&self, search: &Search) -> Result<Page, Error> {
        let mut snapshot = self.engine().snapshot().await?;
        let total = bound(COUNT, search).fetch_one(&mut snapshot).await?;
        let total = Cells::of("ledger_facets", &total).int("total")?;
        let limit = search.limit.min(PAGE);
        // One row more than the page tells whether there is a next one.
        let rows =
            bound(ROWS, search).bind(column(search.start)).bind(i64::from(limit) + 1).fetch_all(&mut snapshot).await?;
        snapshot.roll_back().await?;
        let mut rows = rows.iter().map(found).collect::<Result<Vec<_>, _>>()?;
        let width = usize::try_from(limit).unwrap_or(usize::MAX);
        let next = rows.get(width).map(|row| row.index);
        rows.truncate(width);
        Ok(Page { rows, total, next })
    }
}
