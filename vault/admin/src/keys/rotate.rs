//! The work of a rotation: a tenant gets the next version of its key, and what lies directly under older ones is wrapped
//! under it. What has been done is read from the rows, so any node goes on where another ended.

use std::collections::HashSet;

use cofre_custody::{Broken, TenantRef};
use cofre_envelope::random;
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::keys::{KeyJob, KeyJobKind, TenantKeyState, TenantKeyVersion};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::time::Span;
use cofre_store::{CommitError, KeyVersion, NewKeyJob, Operation, TenantRecord};

use crate::Error;
use crate::keys::rewrap::{AGAIN, One, Pass, RESTING, corrupt};
use crate::keys::{KeyJobs, ROTATE, entry, rows};

/// A tenant that a node has claimed is free again after this long; a claim is renewed while its keys are moved. Whoever still
/// works on it then loses nothing: each key goes to whoever moves it first.
const CLAIM: Span = Span::secs(10);
/// A claim that is older than this is renewed. To renew it with each list of keys would cost a write to the disk each time.
pub(super) const RENEWED: Span = Span::secs(3);
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

    pub(super) async fn claimed_until(&self, item: &str) -> Result<bool, Error> {
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

    pub(super) async fn tenant_failed(&self, job: &KeyJob, tenant: &TenantId, cause: &str) -> Result<One, Error> {
        tracing::warn!(job = %job.id, tenant = %tenant, error = cause, "a tenant's key could not be rotated");
        self.keyring.note_failure(&job.id, &item(tenant), Some(cause), self.clock.now()).await?;
        Ok(One::Failed)
    }

    /// Whether an entry of a job stands; not where the job runs no more.
    pub(super) fn stands(&self, applied: Result<EntryRef, CommitError>) -> Result<bool, Error> {
        match applied {
            Ok(_) => Ok(true),
            Err(CommitError::Refused(Reason::WrongState)) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    pub(super) fn said(&self, kind: EntryKind, job: &KeyJob, key: &TenantRef) -> Result<Entry, Error> {
        let mut entry = entry(kind, None, ROTATE)?;
        entry.tenant = Some(key.tenant);
        entry.tenant_key = Some((key.key_id, key.key_version));
        entry.reference = Some(job.id.to_string());
        Ok(entry)
    }
}

/// Whether a cause is this tenant's alone, so that it holds up no other: its lockdown, its custodians, its rows.
pub(super) fn is_its_own(cause: &Error) -> bool {
    use cofre_custody::{Error as Keys, JournalError};
    use cofre_envelope::Error as Envelope;
    use cofre_store::Error as Store;
    match cause {
        // No tenant's fault is a clock, a register that does not answer, or what this node has no more of.
        Error::Commit(CommitError::Refused(reason)) | Error::Keys(Keys::Journal(JournalError::Refused(reason))) => {
            *reason != Reason::ClockUntrusted
        }
        Error::Keys(Keys::Journal(JournalError::Unavailable)) => false,
        Error::Keys(Keys::Envelope(cause)) | Error::Envelope(cause) => {
            !matches!(cause, Envelope::SlabFull | Envelope::Randomness)
        }
        Error::Keys(
            Keys::Custodian(_)
            | Keys::UnknownCustodian(_)
            | Keys::Incomplete
            | Keys::Stricter
            | Keys::Integrity(_)
            | Keys::Foreign
            | Keys::Journal(JournalError::NoSuchKey),
        ) => true,
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

/// What names of tenants that could not be rotated begin with.
pub(super) const ITEM: &str = "rotation of ";

pub(super) fn item(tenant: &TenantId) -> String {
    // Before the keys of owners in every list, so that none of those hides it.
    format!("{ITEM}{tenant}")
}

/// Whose keys a rotation is for; nobody's name for everybody's.
pub(super) fn whose(job: &KeyJob) -> Result<Option<TenantId>, Error> {
    if job.target == KeyJob::ALL {
        return Ok(None);
    }
    job.target.parse().map(Some).map_err(|_| corrupt())
}

pub(super) fn reference(record: &TenantRecord, key_version: u32, key_id: [u8; 16]) -> TenantRef {
    TenantRef { key_id, warm_for: record.warm_for, ..TenantRef::of(&record.tenant, key_version) }
}

#[cfg(test)]
mod tests {
    use cofre_custody::{Error as Keys, JournalError};

    use super::*;

    #[test]
    fn what_a_node_lacks_is_no_tenants_fault() {
        let refused = |reason| Keys::Journal(JournalError::Refused(reason));
        for (cause, own) in [
            (Keys::Journal(JournalError::Unavailable), false),
            (refused(Reason::ClockUntrusted), false),
            (Keys::Envelope(cofre_envelope::Error::SlabFull), false),
            (Keys::Envelope(cofre_envelope::Error::Randomness), false),
            (Keys::Envelope(cofre_envelope::Error::UnknownSuite), true),
            (refused(Reason::Lockdown), true),
            (Keys::Journal(JournalError::NoSuchKey), true),
            (Keys::Integrity(Broken::Share), true),
            (Keys::Incomplete, true),
        ] {
            assert_eq!(is_its_own(&Error::Keys(cause.clone())), own, "{cause:?}");
        }
        assert!(!is_its_own(&Error::Envelope(cofre_envelope::Error::SlabFull)));
        assert!(!is_its_own(&Error::Commit(CommitError::Refused(Reason::ClockUntrusted))));
    }
}
