//! One challenge: PRESENTED → ANSWERED → DELIVERED → concluded by the worker; or over before that.

use std::sync::Arc;

use cofre_model::caller::{Caller, Role};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{ChallengeId, CredentialId, JobId, TenantId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::{ChallengeRequest, SealedAnswer};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Attendance;
use cofre_store::{OpenGrant, Operation};
use tokio::sync::{Notify, broadcast};

use crate::board::{Challenge, Ended, Limits, Shown, Stage};
use crate::{Error, Relay, guard};

/// No challenge lives longer, whatever the institution says.
const LONGEST: Span = Span::minutes(5);

/// What a waiting worker gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The answer, sealed to the worker. It is handed over once.
    Answer(SealedAnswer),
    /// No answer will come.
    Ended(Ended),
}

/// A place on the board, given back when dropped before its challenge was shown: also where the caller went away.
struct Place<'a> {
    relay: &'a Relay,
    id: ChallengeId,
    kept: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.relay.board().release(&self.id);
        }
    }
}

impl Relay {
    /// Opens a challenge under a live lease of an attended job.
    ///
    /// # Errors
    /// NOT_FOUND without such a lease; ATTENDANCE_INVALID for an unattended job, so that nobody is sent an SMS they did
    /// not ask for; TRANSACTION_CHALLENGE where the text speaks of an order; WRONG_STATE while another is open or once
    /// the institution's lock-out is one wrong answer away; RATE_LIMITED beyond five of one lease, three SMS of a login
    /// in an hour, or what a node holds; CHALLENGE_ENDED where it was ended while it was being recorded.
    pub async fn open(&self, caller: &Caller, request: ChallengeRequest) -> Result<EntryRef, Error> {
        let (id, credential, job) = (request.id, request.credential, request.job);
        let (grant, lease_until) = self.live_grant(caller, &credential, &job).await?;
        let mut entry = self.entry(EntryKind::ChallengeOpened, caller, "cofre.v1.RelayService/Open")?;
        about(&mut entry, &id, &grant);
        if grant.attendance == Attendance::Unattended {
            return Err(Error::Refused(Reason::AttendanceInvalid));
        }
        if guard::looks_like_an_order(&request.text) {
            return Err(Error::Refused(Reason::TransactionChallenge));
        }
        let limits = self.limits(&grant, lease_until).await?;
        let now = self.clock.now();
        if request.expires <= now {
            return Err(Error::Field { field: "expires_us", advice: "must lie in the future" });
        }
        let expires = request.expires.min(now.plus(LONGEST)).min(lease_until);
        self.board().reserve(challenge(request, &grant, expires), limits, now).map_err(Error::Refused)?;
        let mut place = Place { relay: self, id, kept: false };
        let at = self.records.apply(entry, Operation::Note).await?;
        // SECURITY: what ended the lease up to here may have been told before the place was taken; what ends it from
        // here on finds the challenge on the board.
        self.live_grant(caller, &credential, &job).await?;
        let shown = self.board().present(&id, at.index).ok_or(Error::Refused(Reason::ChallengeEnded))?;
        place.kept = true;
        // Nobody watching is no error: a front end that comes later is shown what is open.
        let _ = self.opened.send(shown);
        Ok(at)
    }

    async fn live_grant(
        &self,
        caller: &Caller,
        credential: &CredentialId,
        job: &JobId,
    ) -> Result<(OpenGrant, Timestamp), Error> {
        let grant = self.records.grant(credential, job).await?;
        let now = self.clock.now();
        let grant = grant.filter(|grant| grant.worker == caller.identity().to_string());
        let live = grant.and_then(|grant| grant.lease_until.filter(|until| *until > now).map(|until| (grant, until)));
        live.ok_or(Error::Refused(Reason::NotFound))
    }

    /// Wrong answers stop one short of the institution's own lock-out.
    async fn limits(&self, grant: &OpenGrant, lease_until: Timestamp) -> Result<Limits, Error> {
        let record = self.records.credential(&grant.tenant, &grant.credential).await?;
        let record = record.ok_or(Error::Refused(Reason::NotFound))?;
        let institution = self.records.institution(&record.claimed.institution).await?;
        let lockout_threshold = institution.map_or(1, |institution| institution.lockout_threshold);
        Ok(Limits { lockout_threshold, secret_version: record.claimed.secret_version, lease_until })
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
                if let Some(answer) = challenge.hand_over() {
                    return Ok(Awaited::Answer(answer));
                }
                match challenge.stage {
                    Stage::Over(how, _) => return Ok(Awaited::Ended(how)),
                    Stage::Delivered => return Err(Error::Refused(Reason::ChallengeEnded)),
                    Stage::Opening | Stage::Presented | Stage::Answered(_) => {}
                }
                (Arc::clone(&challenge.changed), challenge.expires.since(self.clock.now()).to_std())
            };
            if tokio::time::timeout(left, changed.notified()).await.is_err() {
                let now = self.clock.now();
                self.board().end_where(Ended::Expired, now, |challenge| {
                    challenge.shown.id == *id
                        && challenge.worker == worker
                        && !matches!(challenge.stage, Stage::Delivered)
                });
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
        let opened_at = {
            let board = self.board();
            let challenge = board.challenges.get(id).filter(|challenge| challenge.shown.tenant == tenant);
            // One that is opening is not shown to anybody yet.
            let challenge = challenge.filter(|challenge| !matches!(challenge.stage, Stage::Opening));
            let challenge = challenge.ok_or(Error::Refused(Reason::NotFound))?;
            if !matches!(challenge.stage, Stage::Presented) || challenge.expires <= self.clock.now() {
                return Err(Error::Refused(Reason::ChallengeEnded));
            }
            follow_up(&mut entry, challenge);
            challenge.opened_at
        };
        // The entry first, so that no answer is handed over that the ledger does not know of.
        let at = self.records.apply(entry, Operation::Note).await?;
        let mut board = self.board();
        // The same challenge, not a later one under its id.
        let challenge = board.challenges.get_mut(id).filter(|challenge| challenge.opened_at == opened_at);
        let challenge = challenge.filter(|challenge| matches!(challenge.stage, Stage::Presented));
        let challenge = challenge.ok_or(Error::Refused(Reason::ChallengeEnded))?;
        challenge.stage = Stage::Answered(answer);
        challenge.changed.notify_one();
        Ok(at)
    }

    /// The worker says how the institution took the answer.
    ///
    /// # Errors
    /// NOT_FOUND for another worker's challenge, or none.
    pub async fn conclude(&self, caller: &Caller, id: &ChallengeId, succeeded: bool) -> Result<EntryRef, Error> {
        let worker = caller.identity().to_string();
        let mut entry = self.entry(EntryKind::ChallengeEnded, caller, "cofre.v1.RelayService/Conclude")?;
        {
            let mut board = self.board();
            let challenge = board.challenges.get(id).filter(|challenge| challenge.worker == worker);
            let challenge = challenge.filter(|challenge| !matches!(challenge.stage, Stage::Opening));
            follow_up(&mut entry, challenge.ok_or(Error::Refused(Reason::NotFound))?);
            board.conclude(id, succeeded);
        }
        entry.count = Some(u64::from(succeeded));
        Ok(self.records.apply(entry, Operation::Note).await?)
    }

    /// Ends a challenge; the worker that waits is told and has to cancel at the institution.
    ///
    /// # Errors
    /// NOT_FOUND for a challenge that is neither this worker's nor of this front end's tenant; CHALLENGE_ENDED for one
    /// that is over, so that each ends once in the ledger.
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
                Some(tenant) => challenge.shown.tenant == tenant,
                None => challenge.worker == worker,
            });
            let own = own.filter(|challenge| !matches!(challenge.stage, Stage::Opening));
            let own = own.ok_or(Error::Refused(Reason::NotFound))?;
            if matches!(own.stage, Stage::Over(..)) {
                return Err(Error::Refused(Reason::ChallengeEnded));
            }
            follow_up(&mut entry, own);
            board.end_where(Ended::Cancelled, self.clock.now(), |challenge| challenge.shown.id == *id);
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
            .filter(|challenge| challenge.shown.tenant == tenant && challenge.expires > now)
            .filter(|challenge| matches!(challenge.stage, Stage::Presented))
            .map(|challenge| challenge.shown.clone())
            .collect();
        Ok((tenant, open, coming))
    }
}

fn challenge(request: ChallengeRequest, grant: &OpenGrant, expires: Timestamp) -> Challenge {
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
    Challenge {
        job: request.job,
        worker: grant.worker.clone(),
        expires,
        granted_at: grant.index,
        secret_version: grant.secret_version,
        opened_at: 0,
        stage: Stage::Opening,
        handed_over: false,
        counted: false,
        shown,
        changed: Arc::new(Notify::new()),
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
    entry.tenant = Some(challenge.shown.tenant);
    entry.credential = Some(challenge.shown.credential);
    entry.owner = Some(challenge.shown.owner);
    entry.job = Some(challenge.job);
    entry.reference = Some(challenge.shown.id.to_string());
    entry.follows = Some(challenge.opened_at);
}
