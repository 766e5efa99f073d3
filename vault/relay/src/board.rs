//! The open challenges of this node, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofre_model::id::{ChallengeId, CredentialId, JobId, SubjectId, TenantId};
use cofre_model::request::{ChallengeKey, SealedAnswer};
use cofre_model::time::Timestamp;
use cofre_model::wording::ScaKind;
use tokio::sync::Notify;

/// How a challenge ended for the worker that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nobody answered in time.
    Expired,
    /// The investor, the worker, a revocation or a stop button ended it.
    Cancelled,
}

/// A challenge as a front end is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: ChallengeId,
    /// The tenant; only its front ends are shown it.
    pub tenant: TenantId,
    /// The login.
    pub credential: CredentialId,
    /// The investor who is asked.
    pub owner: SubjectId,
    /// What for.
    pub kind: ScaKind,
    /// How many characters.
    pub code_length: u8,
    /// Which try.
    pub attempt: u8,
    /// Until when.
    pub expires: Timestamp,
    /// The worker's signed key; the front end verifies it before sealing.
    pub key: ChallengeKey,
}

/// Where an open challenge stands.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The investor is asked.
    Presented,
    /// An answer waits for the worker.
    Answered(SealedAnswer),
    /// The answer was handed over.
    Delivered,
    /// It is over; the worker that waits is still to be told.
    Over(Ended),
}

/// An open challenge.
#[derive(Debug)]
pub(crate) struct Challenge {
    pub(crate) tenant: TenantId,
    pub(crate) credential: CredentialId,
    pub(crate) job: JobId,
    pub(crate) worker: String,
    pub(crate) expires: Timestamp,
    pub(crate) opened_at: u64,
    pub(crate) stage: Stage,
    pub(crate) shown: Shown,
    pub(crate) changed: Arc<Notify>,
}

/// All of them, and the wrong answers per login since its last success.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) challenges: BTreeMap<ChallengeId, Challenge>,
    pub(crate) wrong: BTreeMap<CredentialId, u8>,
}

impl Board {
    /// Ends every challenge that `which` picks and wakes whoever waits; an answer that waited is dropped.
    pub(crate) fn end_where(&mut self, how: Ended, which: impl Fn(&Challenge) -> bool) {
        for challenge in self.challenges.values_mut().filter(|challenge| which(challenge)) {
            if !matches!(challenge.stage, Stage::Over(_)) {
                challenge.stage = Stage::Over(how);
                challenge.changed.notify_waiters();
                challenge.changed.notify_one();
            }
        }
    }

    /// Forgets what expired an hour ago or earlier and was never concluded.
    pub(crate) fn forget_before(&mut self, instant: Timestamp) {
        self.challenges.retain(|_, challenge| challenge.expires >= instant);
    }

    /// Whether this login has a challenge that still waits for its end.
    pub(crate) fn is_open(&self, credential: &CredentialId, now: Timestamp) -> bool {
        self.challenges.values().any(|challenge| {
            challenge.credential == *credential
                && challenge.expires > now
                && matches!(challenge.stage, Stage::Presented | Stage::Answered(_))
        })
    }
}
