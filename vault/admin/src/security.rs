//! Stop buttons. One person presses, at once; lifting takes two.

use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::id::{CredentialId, InstitutionId, TenantId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::registry::LockdownScope;
use cofre_model::request::Lockdown;
use cofre_store::{Lockdown as Locked, Operation};

use crate::{Admin, Error};

impl Admin {
    /// Stops every release in its scope and wipes warm keys that it covers: at once, and again once the register
    /// refuses to warm them anew. An institution or a login has no key of its own; the commit alone stops those.
    ///
    /// # Errors
    /// BAD_REQUEST for a target that is no id of the scope; NOT_FOUND for one that does not exist, because a mistyped
    /// stop button must not look pressed; AUDIT_UNAVAILABLE where records cannot be written. The
    /// warm keys are wiped even then.
    pub async fn lock_down(&self, caller: &Caller, request: &Lockdown) -> Result<EntryRef, Error> {
        let malformed = || Error::field(Reason::BadRequest, "scope", "must name an id of the scope it locks");
        let target = request.target.as_str();
        let locked = match request.scope {
            LockdownScope::Platform => Locked::Platform,
            LockdownScope::Tenant => Locked::Tenant(TenantId::try_from(target).map_err(|_| malformed())?),
            LockdownScope::Institution => {
                Locked::Institution(InstitutionId::try_from(target).map_err(|_| malformed())?)
            }
            LockdownScope::Credential => Locked::Credential(CredentialId::try_from(target).map_err(|_| malformed())?),
        };
        self.known(&locked).await?;
        let mut entry = Self::entry(EntryKind::Lockdown, caller, "cofre.v1.SecurityService/Lockdown")?;
        entry.reference = Some(format!("{} {target}", request.scope).trim_end().to_owned());
        match &locked {
            Locked::Platform => {}
            Locked::Tenant(tenant) => entry.tenant = Some(*tenant),
            Locked::Institution(institution) => entry.institution = Some(institution.clone()),
            Locked::Credential(credential) => entry.credential = Some(*credential),
        }
        self.wipe(&locked);
        let applied = self.records.apply(entry, Operation::Lockdown(locked.clone())).await;
        // SECURITY: a release that was let through before the commit may have warmed the key again meanwhile.
        self.wipe(&locked);
        Ok(applied?)
    }

    async fn known(&self, locked: &Locked) -> Result<(), Error> {
        let known = match locked {
            Locked::Platform => true,
            Locked::Tenant(id) => self.records.tenant(id).await?.is_some(),
            Locked::Institution(id) => self.records.institution(id).await?.is_some(),
            Locked::Credential(id) => self.records.tenant_of_credential(id).await?.is_some(),
        };
        let advice = "must name what exists; nothing was locked";
        if known { Ok(()) } else { Err(Error::field(Reason::NotFound, "scope", advice)) }
    }

    fn wipe(&self, locked: &Locked) {
        match locked {
            Locked::Platform => _ = self.keys.wipe_all(),
            Locked::Tenant(tenant) => _ = self.keys.wipe(tenant),
            Locked::Institution(_) | Locked::Credential(_) => {}
        }
    }

    /// Refuses a worker from now on and ends its leases.
    ///
    /// # Errors
    /// NOT_FOUND for an unknown worker.
    pub async fn quarantine(&self, caller: &Caller, worker: &str) -> Result<EntryRef, Error> {
        if self.records.worker(worker).await?.is_none() {
            return Err(Error::field(Reason::NotFound, "spiffe_id", "must be a registered worker"));
        }
        let mut entry = Self::entry(EntryKind::WorkerQuarantined, caller, "cofre.v1.SecurityService/QuarantineWorker")?;
        entry.reference = Some(worker.to_owned());
        Ok(self.records.apply(entry, Operation::QuarantineWorker { worker: worker.to_owned() }).await?)
    }
}
