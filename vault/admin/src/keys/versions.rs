//! Retiring the versions of tenant keys that a rotation has left behind.

use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::id::TenantId;
use cofre_model::keys::TenantKeyState;
use cofre_model::reason::Reason;
use cofre_store::{CommitError, Operation};

use crate::Error;
use crate::keys::retire::{OPENING, PROVEN, Retired};
use crate::keys::{KeyJobs, RETIRE_VERSIONS, entry};

/// What is counted, as statement and entry name it.
const SUBJECT: &str = "tenant-keys";

impl KeyJobs {
    /// Retires every version of a tenant's key that nothing lies under any more. The version in force is opened by all of
    /// its shares first.
    ///
    /// # Errors
    /// WRONG_STATE while a job over keys runs, something lies under an older version, there is none, or not all could be
    /// opened within three seconds; INTEGRITY_FAILURE or KEY_SERVICE_UNAVAILABLE where a share does not open. Nothing is
    /// retired then.
    pub async fn retire_versions(&self, caller: &Caller) -> Result<Retired, Error> {
        let left_behind = self.left_behind().await?;
        let proven = self.clock.now().minus(PROVEN);
        let begun = self.clock.monotonic();
        for key in self.keyring.unproven_versions(&left_behind, proven).await? {
            if self.clock.monotonic().micros().saturating_sub(begun.micros()) > OPENING.as_micros() {
                return Err(refused("are still to be opened; give the command again, it goes on with those"));
            }
            self.prove(key).await?;
        }
        let mut remaining: u64 = 0;
        for (tenant, below) in &left_behind {
            remaining = remaining.saturating_add(self.keyring.keys_under_count(Some(tenant), *below).await?);
        }
        let counted = self.counted(caller, SUBJECT.to_owned(), remaining).await?;
        if remaining > 0 {
            return Err(refused("still have keys under them; run `cofre keys rotate` and wait until it is done"));
        }
        // Counted once more in the transaction that retires, which no put of a key overlaps.
        let now = self.clock.now();
        let Some(retirement) = self.keyring.retire_tenant_keys(&left_behind, proven, now).await? else {
            return Err(refused("got a key under one of them meanwhile; run `cofre keys rotate` again"));
        };
        let entry = entry(EntryKind::KeysRetired, Some(caller), RETIRE_VERSIONS)?;
        let entry = match self.records.apply(entry, Operation::RetireKeys { subject: SUBJECT.to_owned() }).await {
            Err(CommitError::Refused(Reason::WrongState)) => {
                return Err(refused("cannot be retired while a job over keys runs; wait until it is done, or stop it"));
            }
            applied => applied?,
        };
        let shares = retirement.commit().await?;
        Ok(Retired { shares, counted, entry, statement: self.statement_of(SUBJECT, &counted).await? })
    }

    /// Tenants with closed versions of their key, and the version in force below which those are.
    async fn left_behind(&self) -> Result<Vec<(TenantId, u32)>, Error> {
        let mut left_behind = Vec::new();
        for record in self.records.tenants().await?.into_iter().filter(|record| record.key_version > 1) {
            let tenant = record.tenant.id;
            let versions = self.records.tenant_key_versions(&tenant).await?;
            if versions.iter().any(|version| version.state == TenantKeyState::Closed) {
                left_behind.push((tenant, record.key_version));
            }
        }
        if left_behind.is_empty() {
            return Err(refused("are all in force; there is none to retire"));
        }
        Ok(left_behind)
    }
}

fn refused(advice: &'static str) -> Error {
    Error::field(Reason::WrongState, "tenant_keys", advice)
}
