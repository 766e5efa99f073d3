//! The open challenges of this node, in memory, and what is counted about them. Every rule that two calls could race
//! for is decided here, under one lock; nothing here waits or asks the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofre_model::id::{ChallengeId, CredentialId, JobId, SubjectId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::request::{ChallengeKey, SealedAnswer};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::ScaKind;
use tokio::sync::Notify;

/// Challenges that one lease may open, whatever becomes of them.
const PER_LEASE: usize = 5;
/// SMS that one login may cause in [`COUNTED_FOR`].
const SENT_PER_HOUR: usize = 3;
const COUNTED_FOR: Span = Span::hours(1);
/// What is over is kept this long, so that who waits hears of it.
const HEARD_FOR: Span = Span::minutes(1);
/// A worker that was handed an answer has this long after the end to conclude.
const CONCLUDED_WITHIN: Span = Span::minutes(1);
/// Challenges on the board of one node; what comes beyond is refused, not queued.
const MOST: usize = 10_000;

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

/// Where a challenge stands.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Its place is taken; its entry is being written, and nobody is shown it.
    Opening,
    /// The investor is asked.
    Presented,
    /// An answer waits for the worker.
    Answered(SealedAnswer),
    /// The answer was handed over, and may have been tried.
    Delivered,
    /// It is over since then; the worker that waits is still to be told.
    Over(Ended, Timestamp),
}

/// A challenge on the board.
#[derive(Debug)]
pub(crate) struct Challenge {
    pub(crate) job: JobId,
    pub(crate) worker: String,
    pub(crate) expires: Timestamp,
    /// Ledger index of the grant under which it is opened.
    pub(crate) granted_at: u64,
    /// The secret that was released.
    pub(crate) secret_version: u32,
    /// Ledger index of its own entry; 0 while it is opening.
    pub(crate) opened_at: u64,
    pub(crate) stage: Stage,
    /// Its code was handed over, and may have been tried.
    pub(crate) handed_over: bool,
    /// How that went is accounted for.
    pub(crate) counted: bool,
    pub(crate) shown: Shown,
    pub(crate) changed: Arc<Notify>,
}

impl Challenge {
    /// Hands the answer over, if one waits.
    pub(crate) fn hand_over(&mut self) -> Option<SealedAnswer> {
        if !matches!(self.stage, Stage::Answered(_)) {
            return None;
        }
        let Stage::Answered(answer) = std::mem::replace(&mut self.stage, Stage::Delivered) else { return None };
        self.handed_over = true;
        Some(answer)
    }

    /// Whether the login has to wait for this one.
    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Presented | Stage::Answered(_))
    }
}

/// Codes that an institution may have found wrong.
#[derive(Debug, Default, Clone, Copy)]
struct Wrong {
    count: u8,
    secret_version: u32,
}

/// A challenge that was opened, for the limits.
#[derive(Debug)]
struct Recent {
    id: ChallengeId,
    job: JobId,
    kind: ScaKind,
    at: Timestamp,
    lease_until: Timestamp,
}

/// What opening a challenge is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Wrong answers after which the institution locks the login.
    pub(crate) lockout_threshold: u8,
    /// The secret that rests now.
    pub(crate) secret_version: u32,
    /// The end of the lease.
    pub(crate) lease_until: Timestamp,
}

/// All of them, the wrong answers per login since its last success, and what was opened lately.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) challenges: BTreeMap<ChallengeId, Challenge>,
    wrong: BTreeMap<CredentialId, Wrong>,
    opened: BTreeMap<CredentialId, Vec<Recent>>,
}

impl Board {
    /// Takes the place of a challenge, for its id and its login at once, before anything is waited for.
    ///
    /// # Errors
    /// WRONG_STATE where the id is taken, the login has one open, or the institution's lock-out is one wrong answer
    /// away; RATE_LIMITED beyond the limits of a lease, of an hour, or of this node.
    pub(crate) fn reserve(&mut self, challenge: Challenge, limits: Limits, now: Timestamp) -> Result<(), Reason> {
        self.tidy(now);
        let (id, credential) = (challenge.shown.id, challenge.shown.credential);
        let open = self.challenges.values().any(|other| other.shown.credential == credential && other.is_open());
        if open || self.challenges.contains_key(&id) {
            return Err(Reason::WrongState);
        }
        // A code handed over and not accounted for may have been tried: asking on counts it.
        self.end_where(Ended::Cancelled, now, |other| other.shown.credential == credential);
        if self.wrong.get(&credential).is_some_and(|wrong| wrong.secret_version < limits.secret_version) {
            self.wrong.remove(&credential);
        }
        let wrong = self.wrong.get(&credential).map_or(0, |wrong| wrong.count);
        if wrong >= limits.lockout_threshold.saturating_sub(1).max(1) {
            return Err(Reason::WrongState);
        }
        if self.challenges.len() >= MOST {
            tracing::warn!(most = MOST, "the board of challenges is full");
            return Err(Reason::RateLimited);
        }
        self.count_opening(&challenge, limits.lease_until, now)?;
        self.challenges.insert(id, challenge);
        Ok(())
    }

    fn count_opening(&mut self, challenge: &Challenge, lease_until: Timestamp, now: Timestamp) -> Result<(), Reason> {
        let Shown { id, credential, kind, .. } = challenge.shown;
        let opened = self.opened.entry(credential).or_default();
        let of_lease = opened.iter().filter(|other| other.job == challenge.job).count();
        let sends = |other: &&Recent| other.kind == ScaKind::SmsOtp && other.at.plus(COUNTED_FOR) > now;
        let sent = opened.iter().filter(sends).count();
        if of_lease >= PER_LEASE || (kind == ScaKind::SmsOtp && sent >= SENT_PER_HOUR) {
            return Err(Reason::RateLimited);
        }
        opened.push(Recent { id, job: challenge.job, kind, at: now, lease_until });
        Ok(())
    }

    /// Gives up a place whose challenge was never shown to anybody.
    pub(crate) fn release(&mut self, id: &ChallengeId) {
        if let Some(challenge) = self.challenges.remove(id) {
            wake(&challenge);
            if let Some(opened) = self.opened.get_mut(&challenge.shown.credential) {
                opened.retain(|other| other.id != *id);
            }
        }
    }

    /// Shows a reserved challenge, unless it was ended meanwhile.
    pub(crate) fn present(&mut self, id: &ChallengeId, opened_at: u64) -> Option<Shown> {
        let challenge = self.challenges.get_mut(id).filter(|it| matches!(it.stage, Stage::Opening))?;
        challenge.stage = Stage::Presented;
        challenge.opened_at = opened_at;
        Some(challenge.shown.clone())
    }

    /// Ends every challenge that `which` picks and wakes whoever waits; an answer that waited is dropped, and a code
    /// that was handed over counts as wrong unless its worker says otherwise.
    pub(crate) fn end_where(&mut self, how: Ended, now: Timestamp, which: impl Fn(&Challenge) -> bool) {
        for challenge in self.challenges.values_mut().filter(|challenge| which(challenge)) {
            if challenge.handed_over && !std::mem::replace(&mut challenge.counted, true) {
                count_wrong(&mut self.wrong, challenge);
            }
            if !matches!(challenge.stage, Stage::Over(..)) {
                challenge.stage = Stage::Over(how, now);
                wake(challenge);
            }
        }
    }

    /// Takes a challenge off and counts how its code was taken.
    pub(crate) fn conclude(&mut self, id: &ChallengeId, succeeded: bool) {
        let Some(challenge) = self.challenges.remove(id) else { return };
        wake(&challenge);
        // Nothing was got right with a code that was never handed over.
        if succeeded && challenge.handed_over {
            self.wrong.remove(&challenge.shown.credential);
        }
        if !succeeded && !challenge.counted {
            count_wrong(&mut self.wrong, &challenge);
        }
    }

    /// A job reported on a login: its lease is over. Where it got in, the institution counts from nought again.
    /// Challenges of a later grant are not concerned.
    pub(crate) fn reported(&mut self, credential: &CredentialId, index: u64, got_in: bool, now: Timestamp) {
        if got_in {
            self.wrong.remove(credential);
        }
        let concerned =
            |challenge: &Challenge| challenge.shown.credential == *credential && challenge.granted_at < index;
        for challenge in self.challenges.values_mut().filter(|challenge| concerned(challenge)) {
            challenge.counted |= got_in;
        }
        self.end_where(Ended::Cancelled, now, concerned);
    }

    /// Ends what is past its time, forgets what is over and was told, and what no limit counts any more.
    pub(crate) fn tidy(&mut self, now: Timestamp) {
        self.end_where(Ended::Expired, now, |challenge| match challenge.stage {
            Stage::Opening | Stage::Presented | Stage::Answered(_) => challenge.expires <= now,
            Stage::Delivered => challenge.expires.plus(CONCLUDED_WITHIN) <= now,
            Stage::Over(..) => false,
        });
        self.challenges.retain(|_, challenge| match challenge.stage {
            Stage::Over(_, since) => since.plus(HEARD_FOR) > now,
            _ => true,
        });
        self.opened.retain(|_, opened| {
            opened.retain(|other| other.at.plus(COUNTED_FOR) > now || other.lease_until > now);
            !opened.is_empty()
        });
    }
}

fn wake(challenge: &Challenge) {
    challenge.changed.notify_waiters();
    challenge.changed.notify_one();
}

fn count_wrong(all: &mut BTreeMap<CredentialId, Wrong>, challenge: &Challenge) {
    let wrong = all.entry(challenge.shown.credential).or_default();
    if wrong.secret_version < challenge.secret_version {
        wrong.count = 0;
    }
    wrong.secret_version = wrong.secret_version.max(challenge.secret_version);
    wrong.count = wrong.count.saturating_add(1);
}

#[cfg(test)]
mod tests;
