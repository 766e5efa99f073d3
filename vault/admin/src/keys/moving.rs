//! Moving what lies directly under older versions of one tenant's key to the one in force: list by list, each under a permit of
//! its own, each key by comparing and swapping. Part of a rotation.

use std::collections::{BTreeMap, HashSet};

use cofre_custody::{Held, MovedKey as Anew, TenantRef, UnderKey};
use cofre_envelope::Suite;
use cofre_model::entry::EntryKind;
use cofre_model::id::TenantId;
use cofre_model::keys::{KeyJob, TenantKeyVersion};
use cofre_model::permit::{Move, Permit};
use cofre_model::reason::Reason;
use cofre_model::sealed::WrappedKey;
use cofre_model::time::{Span, Timestamp};
use cofre_store::{
    Behind, CommitError, MoveRequest, MovedKey, Operation, StoredDepositKey, StoredSubjectKey, TenantRecord,
};

use crate::Error;
use crate::keys::KeyJobs;
use crate::keys::rewrap::{One, RESTING, corrupt, paced};
use crate::keys::rotate::{RENEWED, is_its_own, item, reference};

/// What was granted under the key before is over by then, also where clocks differ: a grant lives for milliseconds.
const SETTLES: Span = Span::secs(5);
/// Keys moved under one permit, in one transaction.
const BATCH: u32 = 1_000;
/// Why what lies under an unknown version is left where it is.
const UNKNOWN: &str = "the records do not know it";

/// One tenant's way from an older version to the one in force.
struct Way {
    from: TenantRef,
    to: TenantRef,
    held: Held,
}

/// A list of owners' keys of one version, read and wrapped anew.
enum List {
    Wrapped {
        way: Box<Way>,
        keys: Vec<Anew>,
        /// How many were read.
        rows: usize,
    },
    /// Nothing is left that can be moved.
    Empty,
    /// The job runs no more.
    Over,
}

/// How far one pass over a tenant's keys has come.
struct Leaving {
    /// When the tenant was last claimed.
    claimed: Timestamp,
    /// Where the next list begins.
    behind: Behind,
    /// Versions that cannot be left, and why: what lies under them stays, and holds up nothing that lies under another.
    stuck: BTreeMap<u32, String>,
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
        let claimed = self.clock.now();
        if claimed < in_force.state_at.plus(SETTLES) {
            return Ok(One::Others);
        }
        let tenant = record.tenant.id;
        self.keyring.close_tenant_keys(&tenant, in_force.version, claimed).await?;
        let noted = self.noted(job).await?;
        let mut leaving = Leaving { claimed, behind: Behind::Nothing, stuck: BTreeMap::new() };
        if let Some(one) = self.move_deposits(job, (record, in_force), &mut leaving, &noted, ended).await? {
            return Ok(one);
        }
        let mut moved: u64 = 0;
        let mut pace = job.rate.map(paced);
        let batch = job.rate.map_or(BATCH, |rate| rate.min(BATCH));
        let mut next = self.list(job, (record, in_force), &mut leaving, batch).await?;
        loop {
            let (way, keys, rows) = match next {
                List::Wrapped { way, keys, rows } => (way, keys, rows),
                List::Empty => break,
                List::Over => return Ok(One::Over),
            };
            let following = self.list(job, (record, in_force), &mut leaving, batch);
            let put = self.put_subjects(job, &way, keys, &noted);
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
            if ended() || !self.still_claimed(&tenant, &mut leaving.claimed).await? {
                return Ok(One::Others);
            }
        }
        self.all_moved(job, (record, in_force), moved, &leaving.stuck).await
    }

    /// Moves the deposit keys, one after the other; gives what became of the tenant where the pass is not to go on.
    async fn move_deposits(
        &self,
        job: &KeyJob,
        (record, in_force): (&TenantRecord, &TenantKeyVersion),
        leaving: &mut Leaving,
        noted: &HashSet<String>,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<One>, Error> {
        let tenant = record.tenant.id;
        for pair in self.keyring.deposit_keys_under(&tenant, in_force.version).await? {
            let key = match under_deposit(&pair) {
                Ok(key) => key,
                Err(cause) => {
                    self.key_failed(job, &pair.id.to_string(), &cause).await?;
                    continue;
                }
            };
            let from = pair.tenant_key_version;
            match self.leave(job, (record, in_force), from, vec![key], &mut leaving.stuck).await? {
                Some(List::Wrapped { way, keys, .. }) => self.put_deposit(job, &pair, &way, keys, noted).await?,
                Some(List::Over) => return Ok(Some(One::Over)),
                Some(List::Empty) | None => continue,
            }
            if ended() || !self.still_claimed(&tenant, &mut leaving.claimed).await? {
                return Ok(Some(One::Others));
            }
        }
        Ok(None)
    }

    /// Keys that were noted as failed: what is noted of one that is moved now is true no more.
    async fn noted(&self, job: &KeyJob) -> Result<HashSet<String>, Error> {
        let failures = self.keyring.key_failures(&job.id, RESTING).await?;
        Ok(failures.into_iter().map(|failure| failure.item).collect())
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

    /// The next owners' keys under an older version, wrapped anew. A version that cannot be left is passed over.
    async fn list(
        &self,
        job: &KeyJob,
        (record, in_force): (&TenantRecord, &TenantKeyVersion),
        leaving: &mut Leaving,
        at_most: u32,
    ) -> Result<List, Error> {
        loop {
            let below = in_force.version;
            let page = self.keyring.subject_keys_under(&record.tenant.id, below, leaving.behind, at_most).await?;
            let Some(last) = page.last() else { return Ok(List::Empty) };
            let (from, behind) = (last.tenant_key_version, Behind::key(last));
            let under = |row: StoredSubjectKey| (UnderKey::Subject(row.owner, row.version), row.wrapped);
            let keys = page.into_iter().map(under).collect();
            match self.leave(job, (record, in_force), from, keys, &mut leaving.stuck).await? {
                Some(list) => {
                    leaving.behind = behind;
                    return Ok(list);
                }
                None => leaving.behind = Behind::Version(from),
            }
        }
    }

    /// Keys that lie under one version, wrapped anew; nothing where that version cannot be left, now or as was found before.
    async fn leave(
        &self,
        job: &KeyJob,
        (record, in_force): (&TenantRecord, &TenantKeyVersion),
        from: u32,
        keys: Vec<(UnderKey, WrappedKey)>,
        stuck: &mut BTreeMap<u32, String>,
    ) -> Result<Option<List>, Error> {
        if stuck.contains_key(&from) {
            return Ok(None);
        }
        let rows = keys.len();
        // Asked for again with each list, which costs nothing while they are warm: no key is held for longer.
        let list = match self.way(record, in_force, from).await {
            Ok(Some(way)) => self.under(job, &way, keys).await.map(|keys| match keys {
                Some(keys) => List::Wrapped { way: Box::new(way), keys, rows },
                None => List::Over,
            }),
            Ok(None) => {
                stuck.insert(from, UNKNOWN.to_owned());
                return Ok(None);
            }
            Err(cause) => Err(cause),
        };
        match list {
            Ok(list) => Ok(Some(list)),
            Err(cause) if is_its_own(&cause) => {
                tracing::warn!(job = %job.id, tenant = %record.tenant.id, version = from, error = %cause, "a version of a tenant's key cannot be left");
                stuck.insert(from, cause.to_string());
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Says that nothing is left under older versions, where nothing is; and how many owners' keys this pass moved.
    async fn all_moved(
        &self,
        job: &KeyJob,
        (record, in_force): (&TenantRecord, &TenantKeyVersion),
        moved: u64,
        stuck: &BTreeMap<u32, String>,
    ) -> Result<One, Error> {
        let tenant = record.tenant.id;
        let left = self.keyring.keys_under_count(Some(&tenant), in_force.version).await?;
        if left > 0 {
            let why = stuck.iter().map(|(version, cause)| format!("; version {version}: {cause}"));
            let why = why.collect::<String>();
            let cause =
                format!("{left} keys still lie under older versions; see `keys status`, and the node's log{why}");
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

    /// Puts owners' keys where they are to lie; gives how many were moved.
    async fn put_subjects(
        &self,
        job: &KeyJob,
        way: &Way,
        moved: Vec<Anew>,
        noted: &HashSet<String>,
    ) -> Result<u64, Error> {
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
        let moved = self.keyring.move_subject_keys(&job.id, &put).await?;
        if !noted.is_empty() {
            for key in &put {
                self.mended(job, format!("{}/{}", key.owner, key.version), noted).await?;
            }
        }
        Ok(moved)
    }

    async fn put_deposit(
        &self,
        job: &KeyJob,
        pair: &StoredDepositKey,
        way: &Way,
        moved: Vec<Anew>,
        noted: &HashSet<String>,
    ) -> Result<(), Error> {
        for Anew { wrapped, .. } in moved {
            match wrapped {
                Ok(wrapped) => {
                    let (from, to) = (way.from.key_version, way.to.key_version);
                    self.keyring.move_deposit_key(&pair.id, from, to, &wrapped).await?;
                    self.mended(job, pair.id.to_string(), noted).await?;
                }
                Err(cause) => self.key_failed(job, &pair.id.to_string(), &cause).await?,
            }
        }
        Ok(())
    }

    /// Notes no more that a key could not be moved, where that was noted.
    async fn mended(&self, job: &KeyJob, key: String, noted: &HashSet<String>) -> Result<(), Error> {
        if noted.contains(&key) {
            self.keyring.note_failure(&job.id, &key, None, self.clock.now()).await?;
        }
        Ok(())
    }

    async fn key_failed(&self, job: &KeyJob, key: &str, cause: &(dyn std::fmt::Display + Sync)) -> Result<(), Error> {
        tracing::warn!(job = %job.id, key, error = %cause, "a key could not be moved to the tenant's next one");
        Ok(self.keyring.note_failure(&job.id, key, Some(&cause.to_string()), self.clock.now()).await?)
    }
}

fn under_deposit(row: &StoredDepositKey) -> Result<(UnderKey, WrappedKey), Error> {
    let StoredDepositKey { id, not_before, not_after, .. } = *row;
    let suite = Suite::from_id(row.suite)?;
    Ok((UnderKey::Deposit { id, suite, not_before, not_after }, row.wrapped_private.clone()))
}
