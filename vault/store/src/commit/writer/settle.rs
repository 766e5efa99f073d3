//! What the writer owes: whether a group stands whose commit was not answered, what such a group changed, and the
//! outcome of grants that nobody will deliver.

use cofre_model::permit::SendBy;

use super::{HANGS, Writer};
use crate::commit::submit::Work;
use crate::error::{CommitError, Error};

impl Writer {
    pub(in crate::commit) fn owes(&self) -> bool {
        !self.doubts.is_empty() || !self.unheard.is_empty()
    }

    /// Tries to settle all that is owed; what cannot be settled stays owed.
    pub(in crate::commit) async fn settle(&mut self) {
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

    /// Has the group ids read back, one by one: what is known is done with, whatever comes of the next one.
    async fn resolve(&mut self) -> Result<(), Error> {
        let clock = self.config.clock.clone();
        loop {
            let id = self.group_id();
            let Some(doubt) = self.doubts.first() else { return Ok(()) };
            let doubted = doubt.id;
            let stood = self.carrier.stood(doubt, id, &self.node, clock.as_ref()).await?;
            self.doubts.over(&doubted);
            if let Some(traces) = stood {
                tracing::warn!("a commit that was not answered stands");
                self.unheard.extend(traces.grant);
                self.tell(traces.changes);
            }
        }
    }
}
