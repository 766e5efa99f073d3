//! Who works on which row of a job over keys, and what a job could not move. Neither says what is to be done: a claim that
//! is lost costs a pass, and nothing else.

use cofre_model::id::KeyJobId;
use cofre_model::time::{Span, Timestamp};

use crate::error::Error;
use crate::keyring::Keyring;
use crate::row::{Cells, instant};
use crate::statement::statement;

/// Characters that are kept of why a row could not be moved.
const CAUSE: usize = 1_000;

/// A row that a job could not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFailure {
    /// The row.
    pub item: String,
    /// Why.
    pub cause: String,
    /// When it was last tried.
    pub at: Timestamp,
}

impl Keyring {
    /// Takes a row for `holder` until `until`, unless somebody else has it; says whether it was had. Nobody has a row for
    /// longer than that and an hour, by which clocks may differ.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim(&self, item: &str, holder: &[u8; 16], now: Timestamp, until: Timestamp) -> Result<bool, Error> {
        let mut transaction = self.engine().begin(item).await?;
        let had = statement(
            "INSERT INTO key_claims AS c VALUES ($1, $2, $3) ON CONFLICT (item) DO UPDATE
               SET holder = excluded.holder, until = excluded.until WHERE c.until <= $4 OR c.holder = $2 OR c.until > $5",
        )
        .bind(item)
        .bind(holder.to_vec())
        .bind(instant(until))
        .bind(instant(now))
        .bind(instant(until.plus(Span::hours(1))))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(had == 1)
    }

    /// Gives a row back. One that somebody else has taken meanwhile is left alone.
    ///
    /// # Errors
    /// The store's; the claim ends by time then.
    pub async fn give_back(&self, item: &str, holder: &[u8; 16]) -> Result<(), Error> {
        let mut transaction = self.engine().begin(item).await?;
        statement("DELETE FROM key_claims WHERE item = $1 AND holder = $2")
            .bind(item)
            .bind(holder.to_vec())
            .execute(&mut transaction)
            .await?;
        transaction.commit().await
    }

    /// Notes why a job could not move a row, or, with no cause, that it has. Of a cause the first thousand characters are
    /// kept.
    ///
    /// # Errors
    /// The store's.
    pub async fn note_failure(
        &self,
        job: &KeyJobId,
        item: &str,
        cause: Option<&str>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut transaction = self.engine().begin(item).await?;
        let noted = match cause {
            Some(cause) => statement(
                "INSERT INTO key_failures VALUES ($1, $2, $3, $4) ON CONFLICT (job, item) DO UPDATE
                   SET cause = excluded.cause, at = excluded.at",
            )
            .bind(job.to_string())
            .bind(item)
            .bind(cause.chars().take(CAUSE).collect::<String>())
            .bind(instant(at)),
            None => statement("DELETE FROM key_failures WHERE job = $1 AND item = $2").bind(job.to_string()).bind(item),
        };
        noted.execute(&mut transaction).await?;
        transaction.commit().await
    }

    /// The rows a job could not move, at most `at_most` of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn key_failures(&self, job: &KeyJobId, at_most: u32) -> Result<Vec<KeyFailure>, Error> {
        let rows = statement("SELECT item, cause, at FROM key_failures WHERE job = $1 ORDER BY item LIMIT $2")
            .bind(job.to_string())
            .bind(i64::from(at_most))
            .fetch_all(&mut self.engine().read().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("key_failures", row);
                Ok(KeyFailure { item: cells.string("item")?, cause: cells.string("cause")?, at: cells.time("at")? })
            })
            .collect()
    }

    /// The rows that a job could not move since an instant, at most `at_most` of them. One from an hour ahead of `now`, by
    /// whatever clock, is tried again.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_resting(
        &self,
        job: &KeyJobId,
        since: Timestamp,
        now: Timestamp,
        at_most: u32,
    ) -> Result<Vec<String>, Error> {
        let rows =
            statement("SELECT item FROM key_failures WHERE job = $1 AND at > $2 AND at <= $3 ORDER BY item LIMIT $4")
                .bind(job.to_string())
                .bind(instant(since))
                .bind(instant(now.plus(Span::hours(1))))
                .bind(i64::from(at_most))
                .fetch_all(&mut self.engine().read().await?)
                .await?;
        rows.iter().map(|row| Cells::of("key_failures", row).string("item")).collect()
    }

    /// How many rows a job could not move, of those whose names begin with `what`.
    ///
    /// # Errors
    /// The store's.
    pub async fn key_failures_count(&self, job: &KeyJobId, what: &str) -> Result<u64, Error> {
        let row = statement("SELECT COUNT(*) AS failed FROM key_failures WHERE job = $1 AND item >= $2 AND item < $3")
            .bind(job.to_string())
            .bind(what)
            // No name goes on with the last character there is.
            .bind(format!("{what}{}", char::MAX))
            .fetch_one(&mut self.engine().read().await?)
            .await?;
        Cells::of("key_failures", &row).int("failed")
    }
}
