//! How far a job over keys has come, as the rows say, and which custodian wraps what.

use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState};
use cofre_store::{CustodianShares, Due, KeyFailure};

use crate::Error;
use crate::keys::KeyJobs;
use crate::keys::rotate::whose;

/// Jobs that are shown, and failures of each: all of it has to fit into one message.
const SHOWN: (u32, u32) = (8, 32);

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The job.
    pub job: KeyJob,
    /// Tenant keys it moved; of a rotation, tenants whose key is new and has all that lay under the one before.
    pub moved: u64,
    /// Keys it could not move so far.
    pub failed: u64,
    /// Keys that are due, those that failed among them. Nothing is due of a job that has ended.
    pub left: u64,
    /// Keys moved in a thousand seconds, on average while it ran.
    pub per_thousand_secs: u64,
    /// How long the rest takes at that rate; none where nothing was moved yet. Nothing is left of a job that has ended.
    pub secs_left: Option<u64>,
    /// What failed and why, the first 32. Each failure also stands in the ledger.
    pub failures: Vec<KeyFailure>,
}

/// What an operator sees of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// What each key of each custodian wraps.
    pub custodians: Vec<CustodianShares>,
    /// The newest jobs, newest first.
    pub jobs: Vec<Progress>,
}

impl KeyJobs {
    /// Which custodian wraps what, and how far jobs have come.
    ///
    /// # Errors
    /// The stores'.
    pub async fn status(&self) -> Result<KeyStatus, Error> {
        let custodians = self.keyring.custodian_shares().await?;
        let mut jobs = Vec::new();
        for job in self.records.key_jobs(SHOWN.0).await? {
            jobs.push(self.progress(job).await?);
        }
        Ok(KeyStatus { custodians, jobs })
    }

    /// How far a job has come.
    ///
    /// # Errors
    /// The stores'.
    pub async fn progress(&self, job: KeyJob) -> Result<Progress, Error> {
        let left = match job.state {
            KeyJobState::Running => self.left(&job).await?,
            KeyJobState::Done | KeyJobState::Stopped => 0,
        };
        let moved = self.moved(&job).await?;
        let failed = self.keyring.key_failures_count(&job.id).await?;
        let failures = self.keyring.key_failures(&job.id, SHOWN.1).await?;
        let until = job.ended.map_or_else(|| self.clock.now(), |end| end.at);
        let micros = until.since(job.opened_at).as_micros().max(1);
        let per_thousand_secs = moved.saturating_mul(1_000_000_000) / micros;
        let secs_left = match left {
            0 => Some(0),
            left => left.saturating_mul(1_000).checked_div(per_thousand_secs),
        };
        Ok(Progress { job, moved, failed, left, per_thousand_secs, secs_left, failures })
    }

    /// Keys that a job has moved: what the rows say while it runs, and what they said when it ended.
    pub(super) async fn moved(&self, job: &KeyJob) -> Result<u64, Error> {
        Ok(match (job.ended, job.kind) {
            (Some(end), _) => end.moved,
            (None, KeyJobKind::Rewrap) => self.keyring.keys_moved_since(&job.target, job.opened_at).await?,
            (None, KeyJobKind::Rotate) => {
                self.records.tenants_rotated_count(whose(job)?.as_ref(), job.opened_entry).await?
            }
        })
    }

    /// Keys that are due of a rewrap, tenants of a rotation.
    async fn left(&self, job: &KeyJob) -> Result<u64, Error> {
        Ok(match job.kind {
            KeyJobKind::Rewrap => {
                let due = Due { target: &job.target, from_key: job.from_key.as_deref() };
                self.keyring.keys_due_count(due).await?
            }
            KeyJobKind::Rotate => self.records.tenants_to_rotate_count(whose(job)?.as_ref(), job.opened_entry).await?,
        })
    }
}
