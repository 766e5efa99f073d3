//! Moving what lies directly under older versions of one tenant's key to the one in force: list by list, each under a permit of
//! its own, each key by comparing and swapping. Part of a rotation.

use std::collections::BTreeMap;

use cofre_custody::{Held, MovedKey as Anew, TenantRef, UnderKey};
use cofre_envelope::Suite;
use cofre_model::entry::EntryKind;
use cofre_model::id::TenantId;
use cofre_model::keys::{KeyJob, TenantKeyVersion};
use cofre_model::permit::{Move, Permit};
use cofre_model::reason::Reason;
use cofre_model::sealed::WrappedKey;
use cofre_model::time::{Span, Timestamp};
use cofre_store::{CommitError, MoveRequest, MovedKey, Operation, StoredDepositKey, StoredSubjectKey, TenantRecord};

use crate::Error;
use crate::keys::KeyJobs;
use crate::keys::rewrap::{One, corrupt, paced};
use crate::keys::rotate::{RENEWED, item, reference};

/// What was granted under the key before is over by then, also where clocks differ: a grant lives for milliseconds.
const SETTLES: Span = Span::secs(5);
/// Keys moved under one permit, in one transaction.
const BATCH: u32 = 1_000;
/// Why a key of an unknown version is left where it is.
const UNKNOWN: &str = "a key lies under a version of the tenant key that the records do not know";

/// One tenant's way from an older version to the one in force.
struct Way {
    from: TenantRef,
    to: TenantRef,
    held: Held,
}

/// A list of owners' keys, read and wrapped anew.
enum List {
    Wrapped {
        /// The last one that was read.
        last: StoredSubjectKey,
        /// How many were read.
        rows: usize,
        keys: Vec<(Way, Vec<Anew>)>,
    },
    /// Nothing is left.
    Empty,
    /// A key lies under a version that the records do not know.
    Unknown,
    /// The job runs no more.
    Over,
}

impl KeyJobs {
    /// Moves what lies under older versions of a tenant's key to the one in force.
    pub(super) async fn move_all(
        &self,
        job: &KeyJob,
        record: &TenantRecord,
        in_force: &TenantKeyVersion,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<One, Error> {
        let mut claimed = self.clock.now();
        if claimed < in_force.state_at.plus(SETTLES) {
            return Ok(One::Others);
        }
        let tenant = record.tenant.id;
        self.keyring.close_tenant_keys(&tenant, in_force.version, claimed).await?;
        for pair in self.keyring.deposit_keys_under(&tenant, in_force.version).await? {
            let Some(way) = self.way(record, in_force, pair.tenant_key_version).await? else {
                return self.tenant_failed(job, &tenant, UNKNOWN).await;
            };
            let Some(moved) = self.under(job, &way, vec![under_deposit(&pair)?]).await? else { return Ok(One::Over) };
            self.put_deposit(job, &pair, &way, moved).await?;
            if ended() || !self.still_claimed(&tenant, &mut claimed).await? {
                return Ok(One::Others);
            }
        }
        let mut moved: u64 = 0;
        let mut pace = job.rate.map(paced);
        let batch = job.rate.map_or(BATCH, |rate| rate.min(BATCH));
        let mut next = self.list(job, (record, in_force), None, batch).await?;
        loop {
            let (last, rows, keys) = match next {
                List::Wrapped { last, rows, keys } => (last, rows, keys),
                List::Empty => break,
                List::Unknown => return self.tenant_failed(job, &tenant, UNKNOWN).await,
                List::Over => return Ok(One::Over),
            };
            let following = self.list(job, (record, in_force), Some(&last), batch);
            let put = self.put_list(job, keys);
            next = match &mut pace {
                // The next list is read and wrapped while this one is written.
                None => {
                    let (put, following) = tokio::join!(put, following);
                    moved += put?;
                    following?
                }
                // Not ahead of its time: a job that is stopped meanwhile moves no further list.
                Some(pace) => {
                    moved += put.await?;
                    for _ in 0..rows {
                        pace.tick().await;
                    }
                    following.await?
                }
            };
            if ended() || !self.still_claimed(&tenant, &mut claimed).await? {
                return Ok(One::Others);
            }
        }
        self.all_moved(job, (record, in_force), moved).await
    }

    /// Whether a tenant is still this node's to work on. A claim is renewed once it is older than [`RENEWED`].
    async fn still_claimed(&self, tenant: &TenantId, claimed: &mut Timestamp) -> Result<bool, Error> {
        let now = self.clock.now();
        if now >= *claimed && now < claimed.plus(RENEWED) {
            return Ok(true);
        }
        *claimed = now;
        self.claimed_until(&item(tenant)).await
    }

    /// The next owners' keys under older versions, wrapped anew, each version's under a permit of its own.
    async fn list(
        &self,
        job: &KeyJob,
        (record, in_force): (&TenantRecord, &TenantKeyVersion),
        after: Option<&StoredSubjectKey>,
        at_most: u32,
    ) -> Result<List, Error> {
        let page = self.keyring.subject_keys_under(&record.tenant.id, in_force.version, after, at_most).await?;
        let Some(last) = page.last().cloned() else { return Ok(List::Empty) };
        let rows = page.len();
        let mut parts: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for row in page {
            let key = UnderKey::Subject(row.owner, row.version);
            parts.entry(row.tenant_key_version).or_default().push((key, row.wrapped));
        }
        let mut keys = Vec::with_capacity(parts.len());
        for (from, part) in parts {
            // Asked for again with each list, which costs nothing while they are warm: no key is held for longer.
            let Some(way) = self.way(record, in_force, from).await? else { return Ok(List::Unknown) };
            let Some(anew) = self.under(job, &way, part).await? else { return Ok(List::Over) };
            keys.push((way, anew));
        }
        Ok(List::Wrapped { last, rows, keys })
    }

    /// Puts a list where it is to lie; gives how many keys were moved.
    async fn put_list(&self, job: &KeyJob, keys: Vec<(Way, Vec<Anew>)>) -> Result<u64, Error> {
        let mut moved = 0;
        for (way, anew) in keys {
            moved += self.put_subjects(job, &way, anew).await?;
        }
        Ok(moved)
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
        Ok(self.keyring.move_subject_keys(&job.id, &put).await?)
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
}

fn under_deposit(row: &StoredDepositKey) -> Result<(UnderKey, WrappedKey), Error> {
    let StoredDepositKey { id, not_before, not_after, .. } = *row;
    let suite = Suite::from_id(row.suite)?;
    Ok((UnderKey::Deposit { id, suite, not_before, not_after }, row.wrapped_private.clone()))
}
