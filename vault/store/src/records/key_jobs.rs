//! Jobs over keys, and signed counts of what is still wrapped.

use cofre_model::id::KeyJobId;
use cofre_model::keys::{KeyJob, KeyJobEnd, KeyJobKind, KeyJobState};
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::row::{Cells, Row};
use crate::statement::statement;

/// A signed count of what a custodian still wraps, or of what lies under closed versions of tenants' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCount {
    /// How many shares were in force.
    pub remaining: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The statement and its signature.
    pub statement: Vec<u8>,
    /// The index of its entry.
    pub entry_index: u64,
    /// The index of the entry of the retirement that used it up.
    pub retired_entry: Option<u64>,
}

impl KeyCount {
    /// What is counted where it is what lies under closed versions of tenants' keys.
    pub const OF_TENANT_KEYS: &'static str = "tenant keys";
}

fn record(row: &Row) -> Result<KeyJob, Error> {
    let cells = Cells::of("key_jobs", row);
    Ok(KeyJob {
        id: cells.id("id")?,
        kind: cells.word("kind", KeyJobKind::from_text)?,
        target: cells.string("target")?,
        from_key: cells.optional("from_key", Cells::string)?,
        rate: cells.optional("rate", Cells::int)?,
        state: cells.word("state", KeyJobState::from_text)?,
        opened_at: cells.time("opened_at")?,
        opened_entry: cells.int("opened_entry")?,
        ended: cells
            .optional("ended_at", Cells::time)?
            .map(|at| Ok::<_, Error>(KeyJobEnd { at, moved: cells.int("moved")? }))
            .transpose()?,
    })
}

pub(crate) async fn job(session: &mut Session<'_>, id: &KeyJobId) -> Result<Option<KeyJob>, Error> {
    let row = statement("SELECT * FROM key_jobs WHERE id = $1").bind(id.to_string()).fetch_optional(session).await?;
    row.as_ref().map(record).transpose()
}

pub(crate) async fn count(session: &mut Session<'_>, subject: &str) -> Result<Option<KeyCount>, Error> {
    let row = statement("SELECT * FROM key_counts WHERE subject = $1 ORDER BY entry_index DESC LIMIT 1")
        .bind(subject)
        .fetch_optional(session)
        .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("key_counts", row);
            Ok(KeyCount {
                remaining: cells.int("remaining")?,
                at: cells.time("at")?,
                statement: cells.blob("statement")?.to_vec(),
                entry_index: cells.int("entry_index")?,
                retired_entry: cells.optional("retired_entry", Cells::int)?,
            })
        })
        .transpose()
}

impl Records {
    /// The job of this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn key_job(&self, id: &KeyJobId) -> Result<Option<KeyJob>, Error> {
        job(&mut self.reader().await?, id).await
    }

    /// The newest jobs, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn key_jobs(&self, at_most: u32) -> Result<Vec<KeyJob>, Error> {
        let rows = statement("SELECT * FROM key_jobs ORDER BY opened_entry DESC LIMIT $1")
            .bind(i64::from(at_most))
            .fetch_all(&mut self.reader().await?)
            .await?;
        rows.iter().map(record).collect()
    }

    /// The jobs that are to be worked on, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn key_jobs_running(&self) -> Result<Vec<KeyJob>, Error> {
        let rows = statement("SELECT * FROM key_jobs WHERE state = 'RUNNING' ORDER BY opened_entry")
            .fetch_all(&mut self.reader().await?)
            .await?;
        rows.iter().map(record).collect()
    }

    /// The newest signed count of what a custodian wraps. It is kept after a retirement used it up.
    ///
    /// # Errors
    /// The store's.
    pub async fn key_count(&self, subject: &str) -> Result<Option<KeyCount>, Error> {
        count(&mut self.reader().await?, subject).await
    }
}
