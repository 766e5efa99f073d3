//! Retiring the versions of tenant keys that a rotation has left behind, and destroying them long after.

use std::collections::BTreeMap;

use cofre_envelope::sha256;
use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::time::{Monotonic, Span, Timestamp};
use cofre_store::{CommitError, KeyCount, KeyVersion, Operation, Outlived};

use crate::Error;
use crate::keys::retire::{OPENING, PROVEN, Retired};
use crate::keys::rewrap::RESTING;
use crate::keys::rotate::is_its_own;
use crate::keys::{KeyJobs, RETIRE_VERSIONS, entry};

/// Versions whose shares are destroyed in one statement, and tenants read at once.
const AT_ONCE: u32 = 32;
const PAGE: u32 = 256;
/// A call looks at tenants and opens shares for this long. What it found is retired in the time that is left.
const PROVING: Span = Span::secs(2);

/// What came of looking for versions to retire.
#[derive(Debug, Default)]
struct Look {
    /// Keys in force of tenants with older versions that nothing lies under, each opened by all of its shares.
    in_force: Vec<KeyVersion>,
    /// Tenants that keep their older versions.
    kept: u64,
    /// Whether time ran out before every tenant was looked at.
    more: bool,
}

/// Under which name it is kept which tenants' keys in force did not open when older ones were to be retired: no job has it.
fn retirement() -> KeyJobId {
    KeyJobId::from_parts(0, [0; 10])
}

fn item(tenant: &TenantId) -> String {
    format!("older versions of {tenant}")
}

impl KeyJobs {
    /// Retires versions of tenants' keys that nothing lies under any more, as many as there is time for. The version in
    /// force is opened by all of its shares first. A tenant of which that cannot be said, or seen, keeps its older ones: the
    /// log says why, the others do not wait for it, and the next call looks at it last. Giving the order again goes on where
    /// a call ended.
    ///
    /// # Errors
    /// WRONG_STATE while a job over keys runs, or where there is none to retire, or none was found in time.
    pub async fn retire_versions(&self, caller: &Caller) -> Result<Retired, Error> {
        if !self.records.key_jobs_running().await?.is_empty() {
            return Err(running());
        }
        let begun = self.clock.monotonic();
        let Look { in_force, kept, mut more } = self.outlived(begun).await?;
        if in_force.is_empty() {
            return Err(refused(match more {
                true => {
                    "could not all be looked at in time, and none of these can be retired; give the command again, it goes on"
                }
                false => "are all in force, or still needed: see `cofre keys status` and the log of the node",
            }));
        }
        let subject = KeyCount::OF_TENANT_KEYS.to_owned();
        let mut remaining: u64 = 0;
        for key in &in_force {
            // No more than those that were found in time, each by an index in which nothing is left of it.
            let under = self.keyring.keys_under_count(Some(&key.tenant), key.version).await?;
            remaining = remaining.saturating_add(under);
        }
        let said = said(&in_force, kept, more);
        let counted = self.counted((caller, RETIRE_VERSIONS), (subject.clone(), &said), remaining).await?;
        if remaining > 0 {
            return Err(refused("still have keys under them; run `cofre keys rotate` and wait until it is done"));
        }
        let entry = entry(EntryKind::KeysRetired, Some(caller), RETIRE_VERSIONS)?;
        let entry = match self.records.apply(entry, Operation::RetireKeys { subject: subject.clone() }).await {
            Err(CommitError::Refused(Reason::WrongState)) => return Err(running()),
            applied => applied?,
        };
        let (mut shares, proven) = (0, self.clock.now().minus(PROVEN));
        let mut keys = in_force.into_iter();
        // One at least: else a node that is slow today would never come to an end.
        while let Some(key) = keys.next() {
            // Counted once more in the transaction that retires, which no put of a key overlaps.
            shares += self.keyring.retire_older(key, proven, self.clock.now()).await?;
            if keys.len() > 0 && self.is_over(begun, OPENING) {
                more = true;
                break;
            }
        }
        let statement = self.statement_of(&subject, &counted).await?;
        Ok(Retired { shares, counted, entry, statement, kept, more })
    }

    /// Looks for tenants with older versions that nothing lies under, and opens every share of those in force. Tenants
    /// whose keys did not open come last, the one that was tried longest ago first: none of them holds up another.
    async fn outlived(&self, begun: Monotonic) -> Result<Look, Error> {
        let failures = self.keyring.key_failures(&retirement(), RESTING).await?;
        let failed: BTreeMap<_, _> = failures.into_iter().map(|failure| (failure.item, failure.at)).collect();
        let (mut look, mut last, mut after) = (Look::default(), Vec::new(), None);
        loop {
            let page = self.keyring.outlived(after.as_ref(), PAGE).await?;
            let Some(end) = page.last() else { break };
            // Also where every tenant of the page before was passed over.
            if after.is_some() && self.is_over(begun, PROVING) {
                look.more = true;
                return Ok(look);
            }
            after = Some(end.tenant);
            for older in page {
                if older.needed {
                    look.kept += 1;
                } else if let Some(at) = failed.get(&item(&older.tenant)) {
                    last.push((*at, older));
                } else if !self.look_at((older, false), begun, &mut look).await? {
                    return Ok(look);
                }
            }
        }
        last.sort_by_key(|(at, _)| *at);
        for (_, older) in last {
            if !self.look_at((older, true), begun, &mut look).await? {
                break;
            }
        }
        Ok(look)
    }

    /// Looks at one tenant, which `failed` the last time; says whether there was time to.
    async fn look_at(
        &self,
        (older, failed): (Outlived, bool),
        begun: Monotonic,
        look: &mut Look,
    ) -> Result<bool, Error> {
        if self.is_over(begun, PROVING) {
            look.more = true;
            return Ok(false);
        }
        let key = KeyVersion { tenant: older.tenant, version: older.below };
        let cause = match self.stands_for_older(key).await {
            Ok(cause) => cause.map(str::to_owned),
            Err(cause) if is_its_own(&cause) => Some(cause.to_string()),
            Err(cause) => return Err(cause),
        };
        if failed || cause.is_some() {
            let (job, now) = (retirement(), self.clock.now());
            self.keyring.note_failure(&job, &item(&key.tenant), cause.as_deref(), now).await?;
        }
        match cause {
            None => look.in_force.push(key),
            Some(cause) => {
                tracing::warn!(tenant = %key.tenant, error = cause, "older versions of a tenant's key stay");
                look.kept += 1;
            }
        }
        Ok(true)
    }

    /// Whether the key in force of a tenant opens by all of its shares, and is the one that everything lies under; or why not.
    async fn stands_for_older(&self, key: KeyVersion) -> Result<Option<&'static str>, Error> {
        let record = self.records.tenant(&key.tenant).await?;
        if !record.is_some_and(|record| record.key_version == key.version && record.oldest_key_version == key.version) {
            return Ok(Some("the records do not say that everything lies under the version in force"));
        }
        let now = self.clock.now();
        if !self.keyring.is_proven(key, now.minus(PROVEN), now).await? {
            self.prove(key).await?;
        }
        Ok(None)
    }

    /// Destroys versions that were retired long ago, once every share of the one in force was opened; gives the number of
    /// shares.
    pub(super) async fn destroy_versions(
        &self,
        before: Timestamp,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<u64, Error> {
        let (mut gone, mut after) = (0, None);
        while !ended() {
            let versions = self.keyring.versions_retired(before, after, AT_ONCE).await?;
            let Some(last) = versions.last() else { break };
            after = Some(*last);
            for version in versions {
                let record = match self.records.tenant(&version.tenant).await {
                    Ok(Some(record)) => record,
                    Ok(None) => continue,
                    Err(error @ cofre_store::Error::Corrupt { .. }) => {
                        tracing::warn!(key = %version, error = %error, "a retired key stays: its tenant cannot be read");
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let in_force = KeyVersion { tenant: version.tenant, version: record.key_version };
                let wrapping = match self.prove(in_force).await {
                    Ok(wrapping) => wrapping,
                    Err(error) => {
                        tracing::warn!(key = %version, error = %error, "a retired key stays: the one in force does not open");
                        continue;
                    }
                };
                let now = self.clock.now();
                let times = (before, now.minus(PROVEN), now);
                let destruction = self.keyring.destroy_version(version, (in_force, wrapping), times).await?;
                if let Some(destruction) = destruction {
                    gone += self.destroyed(destruction).await?;
                }
            }
        }
        Ok(gone)
    }
}

/// What the statement says was counted: below which versions, by a digest over the list, and how many tenants are left out
/// because they still need theirs, or the one in force does not open; at least so many where not all were looked at.
fn said(in_force: &[KeyVersion], kept: u64, more: bool) -> String {
    let list: String = in_force.iter().map(|key| format!("{key}\n")).collect();
    let digest: String = sha256(list.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let or_more = if more { " or more" } else { "" };
    format!("{} below sha256:{digest}, {} tenants, {kept}{or_more} left out", KeyCount::OF_TENANT_KEYS, in_force.len())
}

fn running() -> Error {
    refused("cannot be retired while a job over keys runs; wait until it is done, or stop it")
}

fn refused(advice: &'static str) -> Error {
    Error::field(Reason::WrongState, "tenant_keys", advice)
}
