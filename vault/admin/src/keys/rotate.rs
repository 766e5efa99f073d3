//! The work of a rotation: a tenant gets the next version of its key, and what lies directly under older ones is wrapped
//! under it. What has been done is read from the rows, so any node goes on where another ended.

use std::collections::{BTreeMap, HashSet};

use cofre_custody::{Broken, Held, MovedKey as Anew, TenantRef, UnderKey};
use cofre_envelope::{Suite, random};
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{KeyJobId, SubjectId, TenantId};
use cofre_model::keys::{KeyJob, KeyJobKind, TenantKeyState, TenantKeyVersion};
use cofre_model::permit::{EntryRef, Move, Permit};
use cofre_model::reason::Reason;
use cofre_model::sealed::WrappedKey;
use cofre_model::time::Span;
use cofre_store::{
    CommitError, KeyVersion, MoveRequest, MovedKey, NewKeyJob, Operation, StoredDepositKey, StoredSubjectKey,
    TenantRecord,
};

use crate::Error;
use crate::keys::rewrap::{AGAIN, One, Pass, RESTING, corrupt};
use crate::keys::{KeyJobs, ROTATE, entry, rows};

/// What was granted under the key before is over by then, also where clocks differ: a grant lives for milliseconds.
const SETTLES: Span = Span::secs(5);
/// A tenant that a node has claimed is free again after this long; a claim is renewed with every list of keys. Whoever still
/// works on it then loses nothing: each key goes to whoever moves it first.
const CLAIM: Span = Span::secs(10);
/// Keys moved under one permit, in one transaction.
const BATCH: u32 = 1_000;
/// Tenants read at once.
const PAGE: u32 = 256;

/// A rotation as an operator asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotateOrder {
    /// Whose key; every tenant's where nobody is named.
    pub tenant: Option<TenantId>,
    /// Keys a second that one node may move at most.
    pub rate: Option<u32>,
}

/// One tenant's way from an older version to the one in force.
struct Way {
    from: TenantRef,
    to: TenantRef,
    held: Held,
}

/// What a job is to do with a tenant now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Give it a new key.
    Open,
    /// Move what lies under older ones.
    Move,
}

impl KeyJobs {
    /// How many tenants a rotation would give a new key. Nothing is made by it.
    ///
    /// # Errors
    /// NOT_FOUND for a tenant there is not; else the stores'.
    pub async fn to_rotate(&self, order: &RotateOrder) -> Result<u64, Error> {
        self.known(order).await?;
        Ok(self.records.tenants_to_rotate_count(order.tenant.as_ref(), u64::MAX >> 1).await?)
    }

    /// Opens a rotation. Every node takes it up within a second.
    ///
    /// # Errors
    /// NOT_FOUND for a tenant there is not; BAD_REQUEST for a rate of zero or beyond [`KeyJob::FASTEST`]; WRONG_STATE
    /// while another rotation runs.
    pub async fn open_rotation(&self, caller: &Caller, order: &RotateOrder) -> Result<(KeyJob, EntryRef), Error> {
        self.known(order).await?;
        Self::rated(order.rate)?;
        let id = KeyJobId::from_parts(self.clock.now().millis(), random::array()?);
        let target = order.tenant.map_or_else(|| KeyJob::ALL.to_owned(), |tenant| tenant.to_string());
        let job = NewKeyJob { id, kind: KeyJobKind::Rotate, target, from_key: None, rate: order.rate };
        let entry = entry(EntryKind::KeyJobOpened, Some(caller), ROTATE)?;
        self.opened(entry, job, ("tenant_id", "another rotation is running; stop it first, or wait until it is done"))
            .await
    }

    async fn known(&self, order: &RotateOrder) -> Result<(), Error> {
        let Some(tenant) = &order.tenant else { return Ok(()) };
        let known = self.records.tenant(tenant).await?.map(drop);
        known.ok_or(Error::field(Reason::NotFound, "tenant_id", "names no tenant of this vault"))
    }

    /// One pass over the tenants that are due. Ends the job where nothing is left after it.
    ///
    /// # Errors
    /// The stores'. What was moved stays moved, and the next pass goes on.
    pub async fn rotate(&self, job: &KeyJob, ended: &(dyn Fn() -> bool + Sync)) -> Result<Pass, Error> {
        if !self.ordered(job).await? {
            return Ok(Pass::default());
        }
        let target = whose(job)?;
        let mut pass = Pass::default();
        // Every tenant first gets its new key: when the last one has it, the grants of most are over.
        for step in [Step::Open, Step::Move] {
            if !self.step(job, target.as_ref(), step, ended, &mut pass).await? {
                return Ok(pass);
            }
        }
        if self.records.tenants_to_rotate_count(target.as_ref(), job.opened_entry).await? > 0 {
            return Ok(pass);
        }
        // SECURITY: what records say of this carries no MAC: the keyring is asked as well.
        if self.left_under(target.as_ref()).await? == 0 {
            pass.done = self.end(job, ROTATE).await?;
        } else {
            tracing::error!(job = %job.id, "incident: records say that a rotation is done, and the keyring has keys left");
        }
        Ok(pass)
    }

    /// How many keys lie under versions that take no new ones.
    async fn left_under(&self, target: Option<&TenantId>) -> Result<u64, Error> {
        let Some(tenant) = target else { return Ok(self.keyring.keys_under_closed_count().await?) };
        let Some(record) = self.records.tenant(tenant).await? else { return Ok(0) };
        Ok(self.keyring.keys_under_count(Some(tenant), record.key_version).await?)
    }

    /// One step of every tenant that is due for it; says whether the pass goes on.
    async fn step(
        &self,
        job: &KeyJob,
        target: Option<&TenantId>,
        step: Step,
        ended: &(dyn Fn() -> bool + Sync),
        pass: &mut Pass,
    ) -> Result<bool, Error> {
        let now = self.clock.now();
        let resting = self.keyring.keys_resting(&job.id, now.minus(AGAIN), now, RESTING).await?;
        let resting: HashSet<_> = resting.into_iter().collect();
        let mut after = None;
        loop {
            let page = self.records.tenants_to_rotate(target, job.opened_entry, after.as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(true);
            }
            for record in page {
                if ended() {
                    return Ok(false);
                }
                let tenant = record.tenant.id;
                after = Some(tenant);
                if resting.contains(&item(&tenant)) {
                    pass.failed += u64::from(step == Step::Move);
                    continue;
                }
                match self.claimed_tenant(job, &tenant, step, ended).await? {
                    One::Moved => pass.moved += 1,
                    One::Failed => pass.failed += 1,
                    One::Others | One::Nobodys => pass.others += u64::from(step == Step::Move),
                    One::Over => return Ok(false),
                }
            }
        }
    }

    async fn claimed_tenant(
        &self,
        job: &KeyJob,
        tenant: &TenantId,
        step: Step,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<One, Error> {
        let item = item(tenant);
        if !self.claimed_until(&item).await? {
            return Ok(One::Others);
        }
        let one = match self.one_tenant(job, tenant, step, ended).await {
            Err(cause) if is_its_own(&cause) => self.tenant_failed(job, tenant, &cause.to_string()).await,
            one => one,
        };
        self.keyring.give_back(&item, &self.holder).await?;
        one
    }

    async fn claimed_until(&self, item: &str) -> Result<bool, Error> {
        let now = self.clock.now();
        Ok(self.keyring.claim(item, &self.holder, now, now.plus(CLAIM)).await?)
    }

    async fn one_tenant(
        &self,
        job: &KeyJob,
        tenant: &TenantId,
        step: Step,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<One, Error> {
        // Read again under the claim: another node may have done it after it was listed.
        let Some(record) = self.records.tenant(tenant).await? else { return Ok(One::Others) };
        let versions = self.records.tenant_key_versions(tenant).await?;
        let named = |version: &&TenantKeyVersion| {
            (version.version, version.key_id) == (record.key_version, record.tenant.tenant_key_id)
        };
        let Some(in_force) = versions.iter().find(named) else {
            return self.tenant_failed(job, tenant, "the records know no version of the key that is in force").await;
        };
        match step {
            Step::Open if in_force.state_entry < job.opened_entry => self.next(job, &record, &versions).await,
            Step::Move
                if in_force.state_entry >= job.opened_entry && record.oldest_key_version < record.key_version =>
            {
                self.move_all(job, &record, in_force, ended).await
            }
            Step::Open | Step::Move => Ok(One::Others),
        }
    }

    /// Gives a tenant its next key: made, wrapped, recorded, opened by every custodian, and only then put in force.
    async fn next(&self, job: &KeyJob, record: &TenantRecord, versions: &[TenantKeyVersion]) -> Result<One, Error> {
        let tenant = record.tenant.id;
        let of_this_job = |version: &&TenantKeyVersion| {
            version.state == TenantKeyState::Made && version.state_entry > job.opened_entry
        };
        // What an earlier life made is gone on with.
        let next = match versions.iter().rev().find(of_this_job) {
            Some(made) => reference(record, made.version, made.key_id),
            None => match self.make(job, record, versions).await? {
                Some(next) => next,
                None => return Ok(One::Over),
            },
        };
        // SECURITY: nothing is wrapped under a key that its custodians have not given back, or that was not made beside the
        // one in force.
        self.prove(KeyVersion { tenant, version: next.key_version }).await?;
        self.rotating.hold(&reference(record, record.key_version, record.tenant.tenant_key_id), &next).await?;
        let mut entry = self.said(EntryKind::TenantKeyOpened, job, &next)?;
        entry.region = Some(record.tenant.home_region.to_string());
        let open = Operation::OpenTenantKey { job: job.id, tenant, version: next.key_version };
        if !self.stands(self.records.apply(entry, open).await)? {
            return Ok(One::Over);
        }
        // From here on the keyring takes nothing new under older versions; before a move this is done again.
        self.keyring.close_tenant_keys(&tenant, next.key_version, self.clock.now()).await?;
        self.keyring.note_failure(&job.id, &item(&tenant), None, self.clock.now()).await?;
        Ok(One::Others)
    }

    /// Makes and records a version; nothing where the job runs no more.
    async fn make(
        &self,
        job: &KeyJob,
        record: &TenantRecord,
        versions: &[TenantKeyVersion],
    ) -> Result<Option<TenantRef>, Error> {
        let tenant = record.tenant.id;
        let held = rows::wrapped(self.keyring.tenant_key(&tenant, record.key_version).await?);
        let set = held.ok_or(cofre_custody::Error::Incomplete)?.set;
        // A version that was wrapped and not recorded, by a life that ended in between, is left out.
        let known = versions.iter().map(|version| version.version).max().unwrap_or_default();
        let newest = known.max(self.keyring.newest_tenant_key(&tenant).await?);
        let version = newest.checked_add(1).ok_or(cofre_custody::Error::Integrity(Broken::TenantKey))?;
        let in_force = reference(record, record.key_version, record.tenant.tenant_key_id);
        let mut made = self.rotating.next_tenant_key(&in_force, version, &set).await?;
        let carried = made.wrapped.carried.take().map(rows::carried_rows).unwrap_or_default();
        let shares = rows::stored(KeyVersion { tenant, version }, made.wrapped);
        self.keyring.put_tenant_key(&shares, &carried, self.clock.now()).await?;
        let next = reference(record, version, made.key_id);
        let entry = self.said(EntryKind::TenantKeyMade, job, &next)?;
        let make = Operation::MakeTenantKey { job: job.id, tenant, version, key_id: made.key_id };
        Ok(self.stands(self.records.apply(entry, make).await)?.then_some(next))
    }

    /// Moves what lies under older versions of a tenant's key to the one in force.
    async fn move_all(
        &self,
        job: &KeyJob,
        record: &TenantRecord,
        in_force: &TenantKeyVersion,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<One, Error> {
        if self.clock.now() < in_force.state_at.plus(SETTLES) {
            return Ok(One::Others);
        }
        let tenant = record.tenant.id;
        self.keyring.close_tenant_keys(&tenant, in_force.version, self.clock.now()).await?;
        for pair in self.keyring.deposit_keys_under(&tenant, in_force.version).await? {
            let Some(way) = self.way(record, in_force, pair.tenant_key_version).await? else {
                return self.tenant_failed(job, &tenant, UNKNOWN).await;
            };
            let Some(moved) = self.under(job, &way, vec![under_deposit(&pair)?]).await? else { return Ok(One::Over) };
            self.put_deposit(job, &pair, &way, moved).await?;
            if ended() || !self.claimed_until(&item(&tenant)).await? {
                return Ok(One::Others);
            }
        }
        let (mut moved, mut after): (u64, Option<(SubjectId, u32)>) = (0, None);
        let mut pace = job.rate.map(super::rewrap::paced);
        let batch = job.rate.map_or(BATCH, |rate| rate.min(BATCH));
        loop {
            let page = self.keyring.subject_keys_under(&tenant, in_force.version, after, batch).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.owner, last.version));
            let mut parts: BTreeMap<u32, Vec<_>> = BTreeMap::new();
            for row in &page {
                parts.entry(row.tenant_key_version).or_default().push(under_subject(row));
            }
            for (from, part) in parts {
                // Asked for again with each list, which costs nothing while they are warm: no key is held for longer.
                let Some(way) = self.way(record, in_force, from).await? else {
                    return self.tenant_failed(job, &tenant, UNKNOWN).await;
                };
                let Some(anew) = self.under(job, &way, part).await? else { return Ok(One::Over) };
                moved += self.put_subjects(job, &way, anew).await?;
            }
            if ended() || !self.claimed_until(&item(&tenant)).await? {
                return Ok(One::Others);
            }
            if let Some(pace) = &mut pace {
                for _ in &page {
                    pace.tick().await;
                }
            }
        }
        self.all_moved(job, (record, in_force), moved).await
    }

    /// Says that nothing is left under older versions, where nothing is; and how many owners' keys this pass moved.
    async fn all_moved(
        &self,
        job: &KeyJob,
        (record, in_force): (&TenantRecord, &TenantKeyVersion),
        moved: u64,
    ) -> Result<One, Error> {
        let tenant = record.tenant.id;
        let left = self.keyring.keys_under_count(Some(&tenant), in_force.version).await?;
        if left > 0 {
            let cause = format!("{left} keys still lie under older versions; see `keys status`, and the node's log");
            return self.tenant_failed(job, &tenant, &cause).await;
        }
        let to = reference(record, in_force.version, in_force.key_id);
        let entry = self.said(EntryKind::TenantKeyMoved, job, &to)?;
        let done = Operation::TenantKeyMoved { job: job.id, tenant, version: in_force.version, moved };
        if !self.stands(self.records.apply(entry, done).await)? {
            return Ok(One::Over);
        }
        self.keys.wipe(&tenant);
        // All of its keys are where they shall be: what was noted of one before was mended.
        self.keyring.note_failure(&job.id, &item(&tenant), None, self.clock.now()).await?;
        Ok(One::Moved)
    }

    /// Both keys of a way; nothing where the records know no such version.
    async fn way(&self, record: &TenantRecord, in_force: &TenantKeyVersion, from: u32) -> Result<Option<Way>, Error> {
        let Some(older) = self.records.tenant_key_version(&record.tenant.id, from).await? else { return Ok(None) };
        let from = reference(record, older.version, older.key_id);
        let to = reference(record, in_force.version, in_force.key_id);
        let held = self.rotating.hold(&from, &to).await?;
        Ok(Some(Way { from, to, held }))
    }

    /// Wraps keys anew under a permit of their own; nothing where the job runs no more.
    async fn under(
        &self,
        job: &KeyJob,
        way: &Way,
        keys: Vec<(UnderKey, WrappedKey)>,
    ) -> Result<Option<Vec<Anew>>, Error> {
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let Some(permit) = self.move_permit(job, way, count).await? else { return Ok(None) };
        let (rotating, held) = (self.rotating.clone(), way.held.clone());
        let moved = tokio::task::spawn_blocking(move || rotating.move_keys(permit, &held, keys)).await;
        moved.map_err(|_| corrupt())?.map(Some).map_err(Error::from)
    }

    async fn move_permit(&self, job: &KeyJob, way: &Way, count: u32) -> Result<Option<Permit<Move>>, Error> {
        let entry = self.said(EntryKind::KeysMove, job, &way.to)?;
        let request = MoveRequest {
            job: job.id,
            tenant: way.to.tenant,
            from_version: way.from.key_version,
            from_id: way.from.key_id,
            to_version: way.to.key_version,
            to_id: way.to.key_id,
            count,
            entry,
        };
        match self.records.move_keys(request).await {
            Ok(permit) => Ok(Some(permit)),
            Err(CommitError::Refused(Reason::WrongState)) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    async fn put_subjects(&self, job: &KeyJob, way: &Way, moved: Vec<Anew>) -> Result<u64, Error> {
        let mut put = Vec::with_capacity(moved.len());
        for Anew { key, wrapped } in moved {
            let UnderKey::Subject(owner, version) = key else { continue };
            match wrapped {
                Ok(wrapped) => {
                    let (from, to) = (way.from.key_version, way.to.key_version);
                    put.push(MovedKey { owner, version, from, to, wrapped });
                }
                Err(cause) => self.key_failed(job, &format!("{owner}/{version}"), &cause).await?,
            }
        }
        // One that is not there any more was erased meanwhile, and stays erased.
        Ok(self.keyring.move_subject_keys(&put).await?)
    }

    async fn put_deposit(
        &self,
        job: &KeyJob,
        pair: &StoredDepositKey,
        way: &Way,
        moved: Vec<Anew>,
    ) -> Result<(), Error> {
        for Anew { wrapped, .. } in moved {
            match wrapped {
                Ok(wrapped) => {
                    let (from, to) = (way.from.key_version, way.to.key_version);
                    self.keyring.move_deposit_key(&pair.id, from, to, &wrapped).await?;
                }
                Err(cause) => self.key_failed(job, &pair.id.to_string(), &cause).await?,
            }
        }
        Ok(())
    }

    async fn key_failed(&self, job: &KeyJob, key: &str, cause: &cofre_custody::Error) -> Result<(), Error> {
        tracing::warn!(job = %job.id, key, error = %cause, "a key could not be moved to the tenant's next one");
        Ok(self.keyring.note_failure(&job.id, key, Some(&cause.to_string()), self.clock.now()).await?)
    }

    async fn tenant_failed(&self, job: &KeyJob, tenant: &TenantId, cause: &str) -> Result<One, Error> {
        tracing::warn!(job = %job.id, tenant = %tenant, error = cause, "a tenant's key could not be rotated");
        self.keyring.note_failure(&job.id, &item(tenant), Some(cause), self.clock.now()).await?;
        Ok(One::Failed)
    }

    /// Whether an entry of a job stands; not where the job runs no more.
    fn stands(&self, applied: Result<EntryRef, CommitError>) -> Result<bool, Error> {
        match applied {
            Ok(_) => Ok(true),
            Err(CommitError::Refused(Reason::WrongState)) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    fn said(&self, kind: EntryKind, job: &KeyJob, key: &TenantRef) -> Result<Entry, Error> {
        let mut entry = entry(kind, None, ROTATE)?;
        entry.tenant = Some(key.tenant);
        entry.tenant_key = Some((key.key_id, key.key_version));
        entry.reference = Some(job.id.to_string());
        Ok(entry)
    }
}

/// Why a key of an unknown version is left where it is.
const UNKNOWN: &str = "a key lies under a version of the tenant key that the records do not know";

/// Whether a cause is this tenant's alone, so that it holds up no other: its lockdown, its custodians, its rows.
fn is_its_own(cause: &Error) -> bool {
    use cofre_store::Error as Store;
    match cause {
        // No tenant's fault is a clock.
        Error::Commit(CommitError::Refused(reason)) => *reason != Reason::ClockUntrusted,
        Error::Keys(_) | Error::Envelope(_) => true,
        Error::Store(cause) => matches!(
            cause,
            Store::Corrupt { .. }
                | Store::Retired
                | Store::Exists
                | Store::Shareless
                | Store::Closed
                | Store::Destroyed
        ),
        // Proving refuses in its own words.
        Error::Refused { reason, .. } => *reason == Reason::WrongState,
        Error::Commit(_) => false,
    }
}

fn item(tenant: &TenantId) -> String {
    // Before the keys of owners in every list, so that none of those hides it.
    format!("rotation of {tenant}")
}

/// Whose keys a rotation is for; nobody's name for everybody's.
pub(super) fn whose(job: &KeyJob) -> Result<Option<TenantId>, Error> {
    if job.target == KeyJob::ALL {
        return Ok(None);
    }
    job.target.parse().map(Some).map_err(|_| corrupt())
}

fn reference(record: &TenantRecord, key_version: u32, key_id: [u8; 16]) -> TenantRef {
    TenantRef { key_id, warm_for: record.warm_for, ..TenantRef::of(&record.tenant, key_version) }
}

fn under_subject(row: &StoredSubjectKey) -> (UnderKey, WrappedKey) {
    (UnderKey::Subject(row.owner, row.version), row.wrapped.clone())
}

fn under_deposit(row: &StoredDepositKey) -> Result<(UnderKey, WrappedKey), Error> {
    let StoredDepositKey { id, not_before, not_after, .. } = *row;
    let suite = Suite::from_id(row.suite)?;
    Ok((UnderKey::Deposit { id, suite, not_before, not_after }, row.wrapped_private.clone()))
}
