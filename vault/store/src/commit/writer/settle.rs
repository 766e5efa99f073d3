//! What the writer owes: whether a group stands whose commit was not answered, what such a group changed, and the
//! outcome of grants that nobody will deliver.

use cofre_model::permit::SendBy;
use sqlx::Connection as _;

use super::{HANGS, Writer};
use crate::commit::change::Change;
use crate::commit::submit::Work;
use crate::error::{CommitError, Error};

/// A group that may stand.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) id: [u8; 24],
    /// The index of the grant it holds, if it is one.
    pub(super) grant: Option<u64>,
    pub(super) changes: Vec<Change>,
}

impl Writer {
    pub(super) fn owes(&self) -> bool {
        !self.doubts.is_empty() || !self.unheard.is_empty()
    }

    /// Tries to settle all that is owed; what cannot be settled stays owed.
    pub(super) async fn settle(&mut self) {
        match tokio::time::timeout(HANGS, self.pay()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::warn!(%cause, "the fate of a commit is not settled yet"),
            Err(_) => tracing::warn!("the fate of a commit is not settled yet: the store hangs"),
        }
    }

    async fn pay(&mut self) -> Result<(), CommitError> {
        if !self.doubts.is_empty() {
            self.resolve().await?;
        }
        if !self.unheard.is_empty() {
            let grants = self.unheard.clone();
            let send_by = SendBy::from_submission(self.config.clock.monotonic());
            self.serve(Work::Undelivered(grants), send_by).await?;
            self.unheard.clear();
        }
        Ok(())
    }

    /// Reads the group ids back. Under the write lock, because it is had only once whatever hung is over.
    async fn resolve(&mut self) -> Result<(), Error> {
        let mut connection = self.database.connect().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        while let Some(doubt) = self.doubts.first() {
            let row = sqlx::query("SELECT 1 FROM ledger_entries WHERE group_id = ? LIMIT 1")
                .bind(doubt.id.to_vec())
                .fetch_optional(&mut *transaction)
                .await?;
            let doubt = self.doubts.remove(0);
            if row.is_some() {
                tracing::warn!("a commit that was not answered stands");
                self.unheard.extend(doubt.grant);
                self.tell(doubt.changes);
            }
        }
        transaction.rollback().await?;
        Ok(())
    }

    /// Stands for a commit that goes through while its answer is lost.
    #[cfg(test)]
    pub(super) async fn lose_answer(&mut self) {
        if let Some(left) = self.lost_answers.checked_sub(1) {
            self.lost_answers = left;
            std::future::pending::<()>().await;
        }
    }
}
