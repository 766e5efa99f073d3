//! Retiring the versions of tenant keys that a rotation has left behind, and destroying them long after.

use cofre_envelope::sha256;
use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_store::{CommitError, KeyCount, KeyVersion, Operation};

use crate::Error;
use crate::keys::retire::{PROVEN, Retired};
use crate::keys::{KeyJobs, RETIRE_VERSIONS, entry};

/// Versions whose shares are destroyed in one statement.
const AT_ONCE: u32 = 32;

impl KeyJobs {
    /// Retires every version of a tenant's key that nothing lies under any more. The version in force is opened by all of
    /// its shares first. A tenant of which that cannot be said, or seen, keeps its older ones and is listed; the others do
    /// not wait for it. Giving the order again goes on where a call ended.
    ///
    /// # Errors
    /// WRONG_STATE while a job over keys runs, where there is none to retire, or where not all could be done within three
    /// seconds; what was retired by then stays retired.
    pub async fn retire_versions(&self, caller: &Caller) -> Result<Retired, Error> {
        if !self.records.key_jobs_running().await?.is_empty() {
            return Err(running());
        }
        let begun = self.clock.monotonic();
        let (in_force, waits) = self.outlived(begun).await?;
        for waiting in &waits {
            tracing::warn!(tenant = waiting, "older versions of a tenant's key stay");
        }
        if in_force.is_empty() {
            let none = "are all in force, or still needed: see `cofre keys status` and the log of the node";
            return Err(refused(none));
        }
        let subject = KeyCount::OF_TENANT_KEYS.to_owned();
        let mut remaining: u64 = 0;
        for key in &in_force {
            let under = self.keyring.keys_under_count(Some(&key.tenant), key.version).await?;
            remaining = remaining.saturating_add(under);
        }
        let said = said(&in_force, waits.len());
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
        for key in in_force {
            // Counted once more in the transaction that retires, which no put of a key overlaps.
            shares += self.keyring.retire_older(key, proven, self.clock.now()).await?;
            self.in_time(begun)?;
        }
        Ok(Retired { shares, counted, entry, statement: self.statement_of(&subject, &counted).await? })
    }

    /// Keys in force of tenants with older versions that nothing lies under, each opened by all of its shares; and the
    /// tenants whose older versions stay.
    async fn outlived(&self, begun: cofre_model::time::Monotonic) -> Result<(Vec<KeyVersion>, Vec<String>), Error> {
        let (mut in_force, mut waits) = (Vec::new(), Vec::new());
        for (tenant, below) in self.keyring.outlived().await? {
            let record = self.records.tenant(&tenant).await?;
            let moved = record.filter(|record| record.key_version == below && record.oldest_key_version == below);
            let key = KeyVersion { tenant, version: below };
            let now = self.clock.now();
            let opens = match moved {
                None => false,
                Some(_) if self.keyring.keys_under_count(Some(&tenant), below).await? > 0 => false,
                Some(_) if self.keyring.is_proven(key, now.minus(PROVEN), now).await? => true,
                Some(_) => {
                    self.in_time(begun)?;
                    self.prove(key).await.is_ok()
                }
            };
            if opens { in_force.push(key) } else { waits.push(tenant.to_string()) }
        }
        Ok((in_force, waits))
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
                let Some(record) = self.records.tenant(&version.tenant).await? else { continue };
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
/// because they still need theirs.
fn said(in_force: &[KeyVersion], left_out: usize) -> String {
    let list: String = in_force.iter().map(|key| format!("{key}\n")).collect();
    let digest: String = sha256(list.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} below sha256:{digest}, {} tenants, {left_out} left out", KeyCount::OF_TENANT_KEYS, in_force.len())
}

fn running() -> Error {
    refused("cannot be retired while a job over keys runs; wait until it is done, or stop it")
}

fn refused(advice: &'static str) -> Error {
    Error::field(Reason::WrongState, "tenant_keys", advice)
}
