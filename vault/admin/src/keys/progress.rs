//! How far a job over keys has come, as the rows say, and which custodian wraps what.

use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState};
use cofre_store::{CustodianShares, Due, KeyFailure};

use crate::Error;
use crate::keys::KeyJobs;
use crate::keys::rotate::{ITEM, whose};

/// Jobs that are shown, and failures of each: all of it has to fit into one message.
const SHOWN: (u32, u32) = (8, 32);

/// Owners' keys that are counted of what a rotation has left, and tenants that are looked at for it: to look costs no more,
/// however many there are.
const COUNTED: u32 = 100_000;
const LOOKED_AT: u32 = 128;

/// The owners' keys of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnersKeys {
    /// Brought under their tenants' next keys, by all nodes together.
    pub moved: u64,
    /// Still to be brought there.
    pub left: u64,
    /// Whether there are more than `left` says.
    pub more: bool,
    /// Moved in a thousand seconds, on average while it ran.
    pub per_thousand_secs: u64,
}

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The job.
    pub job: KeyJob,
    /// Tenant keys it moved; of a rotation, tenants whose key is new and has all that lay under the one before.
    pub moved: u64,
    /// Keys it could not move so far; of a rotation, tenants.
    pub failed: u64,
    /// Keys that are due, those that failed among them. Nothing is due of a job that has ended.
    pub left: u64,
    /// Keys moved in a thousand seconds, on average while it ran.
    pub per_thousand_secs: u64,
    /// Of a rotation, the owners' keys that lie under the tenants'.
    pub owners_keys: Option<OwnersKeys>,
    /// How long the rest takes at that rate, or at that of owners' keys where all that are left were counted; none where
    /// nothing was moved yet. Nothing is left of a job that has ended.
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
        // Keys of owners that failed are listed, and their tenant among those that did.
        let of = if job.kind == KeyJobKind::Rotate { ITEM } else { "" };
        let failed = self.keyring.key_failures_count(&job.id, of).await?;
        let failures = self.keyring.key_failures(&job.id, SHOWN.1).await?;
        let until = job.ended.map_or_else(|| self.clock.now(), |end| end.at);
        let micros = until.since(job.opened_at).as_micros().max(1);
        let per_thousand = |moved: u64| moved.saturating_mul(1_000_000_000) / micros;
        let per_thousand_secs = per_thousand(moved);
        let owners_keys = match job.kind {
            KeyJobKind::Rewrap => None,
            KeyJobKind::Rotate => {
                let moved = self.keyring.owners_moved_count(&job.id).await?;
                let (left, more) = if job.state.ends() { (0, false) } else { self.owners_left(&job).await? };
                Some(OwnersKeys { moved, left, more, per_thousand_secs: per_thousand(moved) })
            }
        };
        let (units, rate) = match owners_keys.filter(|keys| keys.moved > 0 && keys.left > 0 && !keys.more) {
            Some(keys) => (keys.left, keys.per_thousand_secs),
            None => (left, per_thousand_secs),
        };
        let secs_left = match units {
            0 => Some(0),
            left => left.saturating_mul(1_000).checked_div(rate),
        };
        Ok(Progress { job, moved, failed, left, per_thousand_secs, owners_keys, secs_left, failures })
    }

    /// How many owners' keys a rotation has to bring under another version, as far as they are counted, and whether there are
    /// more.
    async fn owners_left(&self, job: &KeyJob) -> Result<(u64, bool), Error> {
        let tenants = self.records.tenants_to_rotate(whose(job)?.as_ref(), job.opened_entry, None, LOOKED_AT).await?;
        let mut left: u64 = 0;
        for record in &tenants {
            let (tenant, version) = (&record.tenant.id, record.key_version);
            let in_force = self.records.tenant_key_version(tenant, version).await?;
            let is_next = in_force.is_some_and(|in_force| in_force.state_entry > job.opened_entry);
            let below = if is_next { version } else { version.saturating_add(1) };
            let at_most = COUNTED.saturating_sub(u32::try_from(left).unwrap_or(u32::MAX));
            left += self.keyring.owners_under_count(tenant, below, at_most).await?;
            if left >= u64::from(COUNTED) {
                return Ok((left, true));
            }
        }
        Ok((left, tenants.len() >= LOOKED_AT as usize))
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
