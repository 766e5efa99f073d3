//! One challenge: PRESENTED → ANSWERED → DELIVERED → concluded by the worker; or over before that.

use std::sync::Arc;

use cofre_model::caller::{Caller, Role};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{ChallengeId, TenantId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::{ChallengeRequest, SealedAnswer};
use cofre_model::time::Span;
use cofre_model::wording::Attendance;
use cofre_store::{OpenGrant, Operation};
use tokio::sync::{Notify, broadcast};

use crate::board::{Challenge, Ended, Shown, Stage};
use crate::{Error, Relay, guard};

/// No challenge lives longer, whatever the institution says.
const LONGEST: Span = Span::minutes(5);
/// A concluded or expired challenge is forgotten after this.
const FORGOTTEN_AFTER: Span = Span::minutes(15);

/// What a waiting worker gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The answer, sealed to the worker. It is handed over once.
    Answer(SealedAnswer),
    /// No answer will come.
    Ended(Ended),
}

impl Relay {
    /// Opens a challenge under a live lease of an attended job.
    ///
    /// # Errors
    /// NOT_FOUND without such a lease; ATTENDANCE_INVALID for an unattended job, so that nobody is sent an SMS they did
    /// not ask for; TRANSACTION_CHALLENGE where the text speaks of an order; WRONG_STATE while another is open or once
    /// the institution's lock-out is one wrong answer away.
    pub async fn open(&self, caller: &Caller, request: ChallengeRequest) -> Result<EntryRef, Error> {
        let grant = self.live_grant(caller, &request).await?;
        let mut entry = self.entry(EntryKind::ChallengeOpened, caller, "cofre.v1.RelayService/Open")?;
        about(&mut entry, &request.id, &grant);
        if grant.attendance == Attendance::Unattended {
            return Err(Error::Refused(Reason::AttendanceInvalid));
        }
        if guard::looks_like_an_order(&request.text) {
            return Err(Error::Refused(Reason::TransactionChallenge));
        }
        self.lockout_left(&grant).await?;
        let now = self.clock.now();
        let lease_end = grant.lease_until.unwrap_or(now);
        let expires = request.expires.min(now.plus(LONGEST)).min(lease_end);
        if request.expires <= now {
            return Err(Error::Field { field: "expires_us", advice: "must lie in the future" });
        }
        if self.board().is_open(&request.credential, now) || self.board().challenges.contains_key(&request.id) {
            return Err(Error::Refused(Reason::WrongState));
        }
        let at = self.records.apply(entry, Operation::Note).await?;
        let shown = Shown {
            id: request.id,
            tenant: grant.tenant,
            credential: request.credential,
            owner: grant.owner,
            kind: request.kind,
            code_length: request.code_length,
            attempt: request.attempt,
            // What the worker signed; the relay's own, earlier end is enforced when the answer comes.
            expires: request.expires,
            key: request.key,
        };
        let challenge = Challenge {
            tenant: grant.tenant,
            credential: request.credential,
            job: request.job,
            worker: grant.worker,
            expires,
            opened_at: at.index,
            stage: Stage::Presented,
            shown: shown.clone(),
            changed: Arc::new(Notify::new()),
        };
        {
            let mut board = self.board();
            board.forget_before(now.minus(FORGOTTEN_AFTER));
            board.challenges.insert(request.id, challenge);
        }
        // Nobody watching is no error: a front end that comes later is shown what is open.
        let _ = self.opened.send(shown);
        Ok(at)
    }

    async fn live_grant(&self, caller: &Caller, request: &ChallengeRequest) -> Result<OpenGrant, Error> {
        let grant = self.records.grant(&request.credential, &request.job).await?;
        let now = self.clock.now();
        grant
            .filter(|grant| grant.worker == caller.identity().to_string())
            .filter(|grant| grant.lease_until.is_some_and(|until| until > now))
            .ok_or(Error::Refused(Reason::NotFound))
    }

    /// Wrong answers stop one short of the institution's own lock-out.
    async fn lockout_left(&self, grant: &OpenGrant) -> Result<(), Error> {
        let wrong = self.board().wrong.get(&grant.credential).copied().unwrap_or(0);
        let record = self.records.credential(&grant.tenant, &grant.credential).await?;
        let record = record.ok_or(Error::Refused(Reason::NotFound))?;
        let institution = self.records.institution(&record.claimed.institution).await?;
        let threshold = institution.map_or(1, |institution| institution.lockout_threshold);
        if wrong >= threshold.saturating_sub(1).max(1) { Err(Error::Refused(Reason::WrongState)) } else { Ok(()) }
    }

    /// Waits for the answer of this worker's challenge.
    ///
    /// # Errors
    /// NOT_FOUND for another worker's challenge, or none.
    pub async fn await_answer(&self, caller: &Caller, id: &ChallengeId) -> Result<Awaited, Error> {
        let worker = caller.identity().to_string();
        loop {
            let (changed, left) = {
                let mut board = self.board();
                let challenge = board.challenges.get_mut(id).filter(|challenge| challenge.worker == worker);
                let challenge = challenge.ok_or(Error::Refused(Reason::NotFound))?;
                match std::mem::replace(&mut challenge.stage, Stage::Delivered) {
                    Stage::Answered(answer) => return Ok(Awaited::Answer(answer)),
                    Stage::Over(how) => {
                        challenge.stage = Stage::Over(how);
                        return Ok(Awaited::Ended(how));
                    }
                    Stage::Delivered => return Err(Error::Refused(Reason::ChallengeEnded)),
                    Stage::Presented => challenge.stage = Stage::Presented,
                }
                (Arc::clone(&challenge.changed), challenge.expires.since(self.clock.now()).to_std())
            };
            if tokio::time::timeout(left, changed.notified()).await.is_err() {
                self.board().end_where(Ended::Expired, |challenge| challenge.shown.id == *id);
            }
        }
    }

    /// Takes a sealed answer from a front end of the challenge's tenant.
    ///
    /// # Errors
    /// NOT_FOUND for another tenant's challenge, or none; CHALLENGE_ENDED once it was answered or is over.
    pub async fn answer(&self, caller: &Caller, id: &ChallengeId, answer: SealedAnswer) -> Result<EntryRef, Error> {
        let tenant = self.tenant(caller).await?;
        let mut entry = self.entry(EntryKind::ChallengeAnswered, caller, "cofre.v1.RelayService/Answer")?;
        {
            let board = self.board();
            let challenge = board.challenges.get(id).filter(|challenge| challenge.tenant == tenant);
            let challenge = challenge.ok_or(Error::Refused(Reason::NotFound))?;
            if !matches!(challenge.stage, Stage::Presented) || challenge.expires <= self.clock.now() {
                return Err(Error::Refused(Reason::ChallengeEnded));
            }
            follow_up(&mut entry, challenge);
        }
        // The entry first, so that no answer is handed over that the ledger does not know of.
        let at = self.records.apply(entry, Operation::Note).await?;
        let mut board = self.board();
        let challenge = board.challenges.get_mut(id).ok_or(Error::Refused(Reason::ChallengeEnded))?;
        match challenge.stage {
            Stage::Presented => {
                challenge.stage = Stage::Answered(answer);
                challenge.changed.notify_one();
                Ok(at)
            }
            Stage::Answered(_) | Stage::Delivered | Stage::Over(_) => Err(Error::Refused(Reason::ChallengeEnded)),
        }
    }

    /// The worker says how the institution took the answer.
    ///
    /// # Errors
    /// NOT_FOUND for another worker's challenge, or none.
    pub async fn conclude(&self, caller: &Caller, id: &ChallengeId, succeeded: bool) -> Result<EntryRef, Error> {
        let worker = caller.identity().to_string();
        let mut entry = self.entry(EntryKind::ChallengeEnded, caller, "cofre.v1.RelayService/Conclude")?;
        let credential = {
            let mut board = self.board();
            let challenge = board.challenges.get(id).filter(|challenge| challenge.worker == worker);
            let challenge = challenge.ok_or(Error::Refused(Reason::NotFound))?;
            follow_up(&mut entry, challenge);
            let credential = challenge.credential;
            board.challenges.remove(id);
            credential
        };
        entry.count = Some(u64::from(succeeded));
        {
            let mut board = self.board();
            if succeeded {
                board.wrong.remove(&credential);
            } else {
                let wrong = board.wrong.entry(credential).or_default();
                *wrong = wrong.saturating_add(1);
            }
        }
        Ok(self.records.apply(entry, Operation::Note).await?)
    }

    /// Ends a challenge; the worker that waits is told and has to cancel at the institution.
    ///
    /// # Errors
    /// NOT_FOUND for a challenge that is neither this worker's nor of this front end's tenant.
    pub async fn cancel(&self, caller: &Caller, id: &ChallengeId) -> Result<EntryRef, Error> {
        let mut entry = self.entry(EntryKind::ChallengeEnded, caller, "cofre.v1.RelayService/Cancel")?;
        let tenant = match caller.identity().role() {
            Role::FrontEnd => Some(self.tenant(caller).await?),
            _ => None,
        };
        let worker = caller.identity().to_string();
        {
            let mut board = self.board();
            let challenge = board.challenges.get(id);
            let own = challenge.filter(|challenge| match tenant {
                Some(tenant) => challenge.tenant == tenant,
                None => challenge.worker == worker,
            });
            follow_up(&mut entry, own.ok_or(Error::Refused(Reason::NotFound))?);
            board.end_where(Ended::Cancelled, |challenge| challenge.shown.id == *id);
        }
        Ok(self.records.apply(entry, Operation::Note).await?)
    }

    /// The open challenges of the front end's tenant, and a receiver of those to come. The receiver carries every
    /// tenant's; `Shown::tenant` is compared before anything is shown.
    ///
    /// # Errors
    /// NOT_FOUND for a caller of no tenant.
    pub async fn watch(&self, caller: &Caller) -> Result<(TenantId, Vec<Shown>, broadcast::Receiver<Shown>), Error> {
        let tenant = self.tenant(caller).await?;
        let coming = self.opened.subscribe();
        let now = self.clock.now();
        let open = self
            .board()
            .challenges
            .values()
            .filter(|challenge| challenge.tenant == tenant && challenge.expires > now)
            .filter(|challenge| matches!(challenge.stage, Stage::Presented))
            .map(|challenge| challenge.shown.clone())
            .collect();
        Ok((tenant, open, coming))
    }
}

fn about(entry: &mut Entry, id: &ChallengeId, grant: &OpenGrant) {
    entry.tenant = Some(grant.tenant);
    entry.credential = Some(grant.credential);
    entry.owner = Some(grant.owner);
    entry.job = Some(grant.job);
    entry.attendance = Some(grant.attendance);
    entry.reference = Some(id.to_string());
    entry.follows = Some(grant.index);
}

fn follow_up(entry: &mut Entry, challenge: &Challenge) {
    entry.tenant = Some(challenge.tenant);
    entry.credential = Some(challenge.credential);
    entry.owner = Some(challenge.shown.owner);
    entry.job = Some(challenge.job);
    entry.reference = Some(challenge.shown.id.to_string());
    entry.follows = Some(challenge.opened_at);
}
