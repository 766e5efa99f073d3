//! The work of a rewrap: one key after the other, each claimed, opened under a permit of its own, wrapped, recorded, and
//! only then put in the place of what was there.

use std::collections::HashSet;
use std::time::Duration;

use cofre_custody::{CustodySet, RequestId, Rewrapped, TenantRef, WrappedTenantKey};
use cofre_envelope::random;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState};
use cofre_model::permit::{Permit, Rewrap};
use cofre_model::reason::Reason;
use cofre_model::time::Span;
use cofre_store::{CommitError, Due, KeyVersion, Operation, RewrapRequest};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::Error;
use crate::keys::{KeyJobs, entry, no_looser, rows};

/// A key that a node has claimed and not moved is free again after this long.
pub(super) const CLAIM: Span = Span::secs(30);
/// A key that could not be moved is left alone for this long: trying costs entries, and calls of a custodian.
pub(super) const AGAIN: Span = Span::secs(60);
/// Keys read at once, and keys that are left alone for a while.
const PAGE: u32 = 256;
pub(super) const RESTING: u32 = 100_000;

/// Why a key stays with the custodian's key it was to leave.
const STILL: &str =
    "the custodian still wraps by the key that shall wrap nothing any more; have it use a newer one first";

/// What one pass over what is due came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Keys moved.
    pub moved: u64,
    /// Keys that could not be moved; each is listed with its cause.
    pub failed: u64,
    /// Keys that another node is at work on, or has moved meanwhile.
    pub others: u64,
    /// Keys of nobody: their registration was broken off. They stay as they are, and hold nothing up.
    pub nobodys: u64,
    /// Whether the job was ended because nothing is left.
    pub done: bool,
}

/// What became of one key.
pub(super) enum One {
    Moved,
    Failed,
    Others,
    /// It is nobody's key.
    Nobodys,
    /// The job runs no more.
    Over,
}

/// What came of asking for a key.
enum Anew<T> {
    Wrapped(T),
    /// Why not.
    Failed(String),
    /// The job runs no more.
    Over,
}

/// A key as it is wrapped now.
struct Found {
    tenant: TenantRef,
    wrapped: WrappedTenantKey,
    wrapping: u32,
}

impl KeyJobs {
    /// Works on the jobs of a kind that run. To be called again and again by every node, for each kind apart, so that none
    /// waits for another; `ended` says that the node is to stop.
    ///
    /// # Errors
    /// The stores', and those of a job that is not the one that was ordered. What was moved stays moved, and the next call
    /// goes on.
    pub async fn resume(&self, kind: KeyJobKind, ended: &(dyn Fn() -> bool + Sync)) -> Result<(), Error> {
        for job in self.records.key_jobs_running().await?.into_iter().filter(|job| job.kind == kind) {
            match kind {
                KeyJobKind::Rewrap => _ = self.rewrap(&job, ended).await?,
                KeyJobKind::Rotate => _ = self.rotate(&job, ended).await?,
            }
        }
        Ok(())
    }

    /// One pass over what is due. Ends the job where nothing is left after it.
    ///
    /// # Errors
    /// The stores'. What was moved stays moved, and the next pass goes on.
    pub async fn rewrap(&self, job: &KeyJob, ended: &(dyn Fn() -> bool + Sync)) -> Result<Pass, Error> {
        if !self.ordered(job).await? {
            return Ok(Pass::default());
        }
        let target: CustodySet = job.target.parse().map_err(|_| corrupt())?;
        // Also where another node, or an older configuration, let it be ordered.
        no_looser(&self.floor, &target)?;
        let due = Due { target: &job.target, from_key: job.from_key.as_deref() };
        let (mut pass, mut after, mut pace) = (Pass::default(), None, job.rate.map(paced));
        let now = self.clock.now();
        let resting = self.keyring.keys_resting(&job.id, now.minus(AGAIN), now, RESTING).await?;
        let resting: HashSet<_> = resting.into_iter().collect();
        loop {
            let page = self.keyring.keys_due(due, after, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for key in page {
                if ended() {
                    return Ok(pass);
                }
                after = Some(key);
                if resting.contains(&key.to_string()) {
                    match self.is_surely_nobodys(key).await? {
                        true => pass.nobodys += 1,
                        false => pass.failed += 1,
                    }
                    continue;
                }
                // The first one of a pass shows whether the new custodians open what they wrap, as this node has them.
                match self.one(job, key, &target, pass.moved == 0).await? {
                    One::Moved => pass.moved += 1,
                    One::Failed => pass.failed += 1,
                    One::Others => pass.others += 1,
                    One::Nobodys => pass.nobodys += 1,
                    One::Over => return Ok(pass),
                }
                if let Some(pace) = &mut pace {
                    pace.tick().await;
                }
            }
        }
        if self.keyring.keys_due_count(due).await? == pass.nobodys {
            pass.done = self.end(job, super::REWRAP).await?;
        }
        Ok(pass)
    }

    /// Whether a job is to be worked on; not where it has ended meanwhile.
    ///
    /// SECURITY: rows of jobs carry no MAC. A job moves what the newest entry that opened one says, as long as none says
    /// that it ended, or nothing.
    pub(super) async fn ordered(&self, job: &KeyJob) -> Result<bool, Error> {
        if self.records.key_job_stands(job).await? {
            return Ok(true);
        }
        if self.runs(job).await? { Err(corrupt()) } else { Ok(false) }
    }

    /// Whether the row of a job still says that it runs.
    async fn runs(&self, job: &KeyJob) -> Result<bool, Error> {
        Ok(self.records.key_job(&job.id).await?.is_some_and(|job| !job.state.ends()))
    }

    async fn one(&self, job: &KeyJob, key: KeyVersion, target: &CustodySet, first: bool) -> Result<One, Error> {
        let item = format!("wrapping {key}");
        let now = self.clock.now();
        if !self.keyring.claim(&item, &self.holder, now, now.plus(CLAIM)).await? {
            return Ok(One::Others);
        }
        let one = match self.claimed(job, key, target, first).await {
            // What cannot be read of one key holds up no other.
            Err(Error::Store(cause @ cofre_store::Error::Corrupt { .. })) => {
                self.failed(job, key, &cause.to_string()).await
            }
            one => one,
        };
        // Also after a failure: the next pass, of whatever node, need not wait.
        self.keyring.give_back(&item, &self.holder).await?;
        one
    }

    async fn claimed(&self, job: &KeyJob, key: KeyVersion, target: &CustodySet, first: bool) -> Result<One, Error> {
        let found = match self.found(key).await? {
            Ok(found) => found,
            Err(cause) => return self.failed(job, key, cause).await,
        };
        // Read again under the claim: another node may have moved it after it was listed.
        let by_key = |share: &cofre_custody::WrappedShare| job.from_key.as_ref() == Some(&share.custodian_key);
        if found.wrapped.set == *target && !found.wrapped.shares.iter().any(by_key) {
            return self.settled(job, key).await;
        }
        let wrapped = match self.anew(job, key, &found, target).await? {
            Anew::Wrapped(wrapped) => wrapped,
            Anew::Failed(cause) => return self.failed(job, key, &cause).await,
            Anew::Over => return Ok(One::Over),
        };
        if wrapped.shares.iter().any(by_key) {
            // Put in force, it would be due again at once, and for ever.
            return self.failed(job, key, STILL).await;
        }
        if first {
            let cause = match self.opens(job, &found.tenant, &wrapped).await? {
                Anew::Wrapped(()) => None,
                Anew::Failed(cause) => Some(cause),
                Anew::Over => return Ok(One::Over),
            };
            if let Some(cause) = cause {
                return self
                    .failed(job, key, &format!("the new custodians do not open what they wrapped: {cause}"))
                    .await;
            }
        }
        // A job that was stopped meanwhile moves nothing more.
        if !self.runs(job).await? {
            return Ok(One::Over);
        }
        // Not before the job by any clock: what it moved is told by this instant.
        let now = self.clock.now().max(job.opened_at);
        match self.keyring.replace_wrapping(key, found.wrapping, rows::stored(key, wrapped), now).await {
            Err(cause @ cofre_store::Error::Retired) => return self.failed(job, key, &cause.to_string()).await,
            Ok(false) => return Ok(One::Others),
            put => put?,
        };
        // The next use asks the new custodians, so that one who cannot open is noticed while the old ones still can.
        self.keys.wipe(&key.tenant);
        self.keyring.note_failure(&job.id, &key.to_string(), None, now).await?;
        Ok(One::Moved)
    }

    /// A key that is where it shall be, by its newest wrapping. Due all the same is one with an older wrapping in force
    /// beside, which somebody put back: that is closed once the newest was seen to open.
    async fn settled(&self, job: &KeyJob, key: KeyVersion) -> Result<One, Error> {
        if self.keyring.doubled(key).await? {
            if let Err(cause) = self.prove(key).await {
                return self.failed(job, key, &cause.to_string()).await;
            }
            self.keyring.close_older(key, self.clock.now()).await?;
            self.keyring.note_failure(&job.id, &key.to_string(), None, self.clock.now()).await?;
        }
        Ok(One::Others)
    }

    /// Wraps a key anew, from what is in force; where that does not open, from what it replaced.
    async fn anew(
        &self,
        job: &KeyJob,
        key: KeyVersion,
        found: &Found,
        target: &CustodySet,
    ) -> Result<Anew<WrappedTenantKey>, Error> {
        // Also what was replaced would open by the looser rule of what is in force.
        if target.stricter_than(&found.wrapped.set) {
            return Ok(Anew::Failed(cofre_custody::Error::Stricter.to_string()));
        }
        let cause = match self.wrapped_from(job, &found.tenant, &found.wrapped, target).await? {
            Anew::Failed(cause) => cause,
            other => return Ok(other),
        };
        // Those that were retired at last, as long as they are there: what replaced them opened when they were.
        for before in self.keyring.replaced_wrappings(key).await?.into_iter().filter_map(rows::wrapped) {
            match self.wrapped_from(job, &found.tenant, &before, target).await? {
                Anew::Failed(_) => {}
                other => return Ok(other),
            }
        }
        // What is in force is what has to be mended.
        Ok(Anew::Failed(cause))
    }

    async fn wrapped_from(
        &self,
        job: &KeyJob,
        tenant: &TenantRef,
        from: &WrappedTenantKey,
        target: &CustodySet,
    ) -> Result<Anew<WrappedTenantKey>, Error> {
        let permit = match self.permit(job, tenant).await? {
            Anew::Wrapped(permit) => permit,
            Anew::Failed(cause) => return Ok(Anew::Failed(cause)),
            Anew::Over => return Ok(Anew::Over),
        };
        let done = self.rewrapping.rewrap(permit, tenant, from, target).await;
        self.answered(done).await
    }

    /// Whether every new share opens, on this node, and gives the key.
    async fn opens(&self, job: &KeyJob, tenant: &TenantRef, wrapped: &WrappedTenantKey) -> Result<Anew<()>, Error> {
        let permit = match self.permit(job, tenant).await? {
            Anew::Wrapped(permit) => permit,
            Anew::Failed(cause) => return Ok(Anew::Failed(cause)),
            Anew::Over => return Ok(Anew::Over),
        };
        let done = self.rewrapping.opens(permit, tenant, wrapped).await;
        self.answered(done).await
    }

    async fn permit(&self, job: &KeyJob, tenant: &TenantRef) -> Result<Anew<Permit<Rewrap>>, Error> {
        match self.records.rewrap(request(job, tenant)?).await {
            Ok(permit) => Ok(Anew::Wrapped(permit)),
            Err(CommitError::Refused(Reason::WrongState)) => Ok(Anew::Over),
            Err(CommitError::Refused(reason)) => Ok(Anew::Failed(reason.as_str().to_owned())),
            Err(CommitError::Store(cause)) => Err(cause.into()),
        }
    }

    /// Records what the custodians answered. A call that is not on record serves nobody: without this entry nothing is
    /// put anywhere.
    async fn answered<T>(&self, done: Rewrapped<T>) -> Result<Anew<T>, Error> {
        self.records.apply(outcome(&done)?, Operation::Note).await?;
        Ok(done.result.map_or_else(|cause| Anew::Failed(cause.to_string()), Anew::Wrapped))
    }

    /// The key as it is wrapped, or why it cannot be opened.
    async fn found(&self, key: KeyVersion) -> Result<Result<Found, &'static str>, Error> {
        let Some(tenant) = self.tenant(key).await? else {
            return Ok(Err("the records know no such version of this tenant's key"));
        };
        let rows = self.keyring.tenant_key(&key.tenant, key.version).await?;
        let wrapping = rows.first().map_or(0, |row| row.wrapping);
        Ok(match rows::wrapped(rows) {
            Some(wrapped) => Ok(Found { tenant, wrapped, wrapping }),
            None => Err("the keyring's rows of this key do not belong together"),
        })
    }

    /// A version of a tenant's key, with the id the records say it must have; nothing where they know of no such version.
    pub(super) async fn tenant(&self, key: KeyVersion) -> Result<Option<TenantRef>, Error> {
        let Some(record) = self.records.tenant(&key.tenant).await? else { return Ok(None) };
        let version = self.records.tenant_key_version(&key.tenant, key.version).await?;
        Ok(version.map(|version| TenantRef { key_id: version.key_id, ..TenantRef::of(&record.tenant, key.version) }))
    }

    /// A key that could not be moved, for whatever cause, is noted and rests: to try it again costs as much. One of nobody keeps
    /// no job from its end; whoever comes by meanwhile counts it without a claim, a permit or a call.
    async fn failed(&self, job: &KeyJob, key: KeyVersion, cause: &str) -> Result<One, Error> {
        let nobodys = self.is_surely_nobodys(key).await?;
        if !nobodys {
            tracing::warn!(job = %job.id, key = %key, error = cause, "a tenant key could not be wrapped anew");
        }
        self.keyring.note_failure(&job.id, &key.to_string(), Some(cause), self.clock.now()).await?;
        Ok(if nobodys { One::Nobodys } else { One::Failed })
    }

    /// Whichever node comes first ends it.
    pub(super) async fn end(&self, job: &KeyJob, method: &'static str) -> Result<bool, Error> {
        let entry = entry(EntryKind::KeyJobEnded, None, method)?;
        let moved = self.moved(job).await?;
        let done = Operation::EndKeyJob { job: job.id, to: KeyJobState::Done, moved };
        match self.records.apply(entry, done).await {
            Ok(_) => Ok(true),
            Err(CommitError::Refused(Reason::WrongState)) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }
}

pub(super) fn corrupt() -> Error {
    Error::field(Reason::IntegrityFailure, "job", "is not the one that was ordered; stop it and order another")
}

/// One key at once, the next ones no sooner than the rate allows.
pub(super) fn paced(rate: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.clamp(1, KeyJob::FASTEST));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is always due; the pace is held after each key.
    pace.reset();
    pace
}

fn request(job: &KeyJob, tenant: &TenantRef) -> Result<RewrapRequest, Error> {
    let mut entry = Entry::new(EntryKind::Rewrap, random::array()?);
    entry.tenant = Some(tenant.tenant);
    entry.region = Some(tenant.region.to_string());
    entry.tenant_key = Some((tenant.key_id, tenant.key_version));
    Ok(RewrapRequest {
        job: job.id,
        target: job.target.clone(),
        tenant: tenant.tenant,
        tenant_key_version: tenant.key_version,
        tenant_key_id: tenant.key_id,
        entry,
    })
}

/// What the custodians answered: every call by its id, so that it can be found in their own logs.
fn outcome<T>(done: &Rewrapped<T>) -> Result<Entry, Error> {
    let warrant = &done.entry.warrant;
    let mut entry = Entry::new(EntryKind::Rewrapped, random::array()?);
    entry.tenant = Some(warrant.tenant);
    entry.tenant_key = Some((warrant.tenant_key_id, warrant.tenant_key_version));
    entry.follows = Some(done.entry.at.index);
    let asked = || done.calls.iter().filter_map(|call| call.request.as_ref());
    let requests: Vec<&str> = asked().map(RequestId::as_str).collect();
    entry.custodian_request = (!requests.is_empty()).then(|| requests.join(","));
    entry.custodian_us = Some(done.calls.iter().map(|call| call.took_us).sum());
    // Each try: the custodian's own log shows those too whose answers were lost.
    entry.count = Some(asked().map(|request| u64::from(request.tries())).sum());
    if let Some(failed) = done.failed() {
        entry.reason = Some(match failed {
            cofre_custody::Failed::Integrity => Reason::IntegrityFailure,
            _ => Reason::KeyServiceUnavailable,
        });
        entry.reference = Some(failed.as_str().to_owned());
    }
    Ok(entry)
}
