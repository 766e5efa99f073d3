//! What the ledger says stands: for each consent and login the entry that wrote its row, and what was ended since.
//! Folded from the entries in their order. Whoever puts an old row back, MAC and all, puts back a row that no longer
//! stands; whoever takes a stop button out of its table finds it still pressed. It can only take away: a row that
//! stands still has to carry its MAC.

pub(crate) mod register;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use cofre_model::entry::{Entry, EntryId, EntryKind};
use cofre_model::id::{ConsentId, CredentialId, InstitutionId, KeyJobId, SubjectId, TenantId};
use cofre_model::keys::{KeyJob, KeyJobKind};
use cofre_model::registry::LockdownScope;
use cofre_model::wording::Outcome;

/// The row of a consent as its newest entries left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Agreed {
    /// The entry that wrote it.
    written: EntryId,
    /// It was revoked or has expired.
    ended: bool,
}

/// The row of a login as its newest entries left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Login {
    /// The entry that wrote it.
    written: EntryId,
    /// The version of its secret; 0 before the first.
    version: u32,
    /// Its secret was reported wrong and not entered anew since.
    rejected: bool,
}

/// A job over keys as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ordered {
    /// The index of the entry that opened it.
    opened: u64,
    /// All that was ordered.
    reference: String,
}

impl Ordered {
    /// The id of the job, as its entry names it.
    fn id(&self) -> &str {
        self.reference.split(' ').next().unwrap_or_default()
    }
}

/// The ledger up to some index, folded. It grows with the rows that were written and with what may never stand again,
/// not with the number of releases.
#[derive(Debug, Default)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub struct Standing {
    next: u64,
    consents: HashMap<ConsentId, Agreed>,
    logins: HashMap<CredentialId, Login>,
    /// The ids of the entries that wrote a row. An entry told a second time writes nothing.
    writers: HashSet<EntryId>,
    erased: HashSet<SubjectId>,
    lockdowns: HashSet<String>,
    quarantined: HashSet<String>,
    /// Every tenant that was ever put.
    tenants: HashSet<TenantId>,
    /// The newest job over keys of each kind, until it ends.
    key_jobs: HashMap<KeyJobKind, Ordered>,
    /// The ledger is not the one that was signed: nothing stands.
    distrusted: bool,
}

impl Standing {
    /// From here on nothing stands.
    pub(crate) const fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// The index of the first entry that is not folded in yet.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Folds in the entry at `index`; one that cannot be read, given as nothing, takes all standing away. Says whether
    /// it was the next: what was folded in before is left alone, and what lies between has to come first.
    pub(crate) fn fold(&mut self, index: u64, entry: Option<&Entry>) -> bool {
        if index != self.next {
            return false;
        }
        self.next = index.saturating_add(1);
        let Some(entry) = entry else {
            self.distrust();
            return true;
        };
        match entry.kind {
            EntryKind::ConsentRequested | EntryKind::ConsentGranted => self.agreed(entry),
            EntryKind::ConsentRevoked | EntryKind::ConsentExpired => {
                for id in &entry.consents {
                    self.consents.entry(*id).and_modify(|consent| consent.ended = true);
                }
            }
            EntryKind::EnrolmentOpened => self.enrolled(entry),
            EntryKind::Deposited => self.deposited(entry),
            EntryKind::Reported => self.reported(entry),
            EntryKind::ErasureAccepted => self.erased.extend(entry.owner),
            EntryKind::Lockdown => self.lockdowns.extend(entry.reference.clone()),
            EntryKind::TenantPut => self.tenants.extend(entry.tenant),
            EntryKind::WorkerQuarantined => self.quarantined.extend(entry.reference.clone()),
            EntryKind::KeyJobOpened => self.ordered(index, entry),
            EntryKind::KeyJobEnded => self.job_ended(entry),
            _ => {}
        }
        true
    }

    /// Whether this entry writes a row.
    ///
    /// SECURITY: its id is random and stands under the row's MAC. Who appends a copy of an old entry, to have its row
    /// stand again, brings an id that was there before.
    fn writes(&mut self, entry: &Entry) -> bool {
        let first = self.writers.insert(entry.id);
        if !first {
            tracing::error!(kind = %entry.kind, "incident: the ledger holds an entry a second time; it writes nothing");
        }
        first
    }

    /// One job of a kind runs at a time: where another was opened, the one before has ended, whatever its row says. One
    /// whose kind cannot be told may be of any.
    fn ordered(&mut self, opened: u64, entry: &Entry) {
        let reference = entry.reference.clone().unwrap_or_default();
        match reference.split(' ').nth(1).and_then(KeyJobKind::from_text) {
            Some(kind) => _ = self.key_jobs.insert(kind, Ordered { opened, reference }),
            None => self.key_jobs.clear(),
        }
    }

    /// The job that this names has ended, and whichever it follows.
    ///
    /// SECURITY: whom it follows was read from a row that carries no MAC. A job that ends too soon is ordered again; one
    /// whose end is overlooked could be brought back by whoever edits its row. Where no job is named that is known,
    /// each may be meant.
    fn job_ended(&mut self, entry: &Entry) {
        let named = entry.reference.as_deref().and_then(|reference| reference.split(' ').next()).unwrap_or_default();
        let known = self.key_jobs.values().any(|job| job.id() == named);
        self.key_jobs.retain(|_, job| known && job.id() != named && entry.follows != Some(job.opened));
    }

    fn agreed(&mut self, entry: &Entry) {
        if self.writes(entry) {
            let row = Agreed { written: entry.id, ended: false };
            self.consents.extend(entry.consents.iter().map(|id| (*id, row)));
        }
    }

    /// Only a login that was never there gets a row with its enrolment.
    fn enrolled(&mut self, entry: &Entry) {
        if let Some(id) = entry.credential
            && !self.logins.contains_key(&id)
            && self.writes(entry)
        {
            self.logins.insert(id, Login { written: entry.id, version: 0, rejected: false });
        }
    }

    fn deposited(&mut self, entry: &Entry) {
        if let (Some(id), Some(version)) = (entry.credential, entry.secret_version)
            && self.writes(entry)
        {
            self.logins.insert(id, Login { written: entry.id, version, rejected: false });
        }
    }

    fn reported(&mut self, entry: &Entry) {
        // Its digest names the MAC of the row that the report wrote: later by the institution's lock.
        let writes = entry.digest.is_some() && self.writes(entry);
        let Some(login) = entry.credential.and_then(|id| self.logins.get_mut(&id)) else { return };
        if writes {
            login.written = entry.id;
        }
        // A report on a secret that was replaced meanwhile says nothing of the new one.
        let this_one = entry.secret_version.is_none_or(|version| version == login.version);
        if entry.outcome == Some(Outcome::WrongSecret) && this_one {
            login.rejected = true;
        }
    }

    /// What the ledger says of the row of a consent that the entry `written` wrote.
    pub(crate) fn consent(&self, id: &ConsentId, holder: &SubjectId, written: &EntryId) -> Word {
        match self.consents.get(id).filter(|_| !self.distrusted) {
            Some(consent) if consent.written == *written => {
                Word::newest(!consent.ended && !self.erased.contains(holder))
            }
            _ => Word::Replaced,
        }
    }

    /// What the ledger says of the row of a login that the entry `written` wrote.
    pub(crate) fn login(&self, id: &CredentialId, holder: &SubjectId, written: &EntryId) -> Word {
        match self.logins.get(id).filter(|_| !self.distrusted) {
            Some(login) if login.written == *written => Word::newest(!login.rejected && !self.erased.contains(holder)),
            _ => Word::Replaced,
        }
    }

    /// Whether this job was ordered just so, and neither ended nor was followed by another of its kind.
    pub(crate) fn key_job(&self, job: &KeyJob) -> bool {
        let ordered = self.key_jobs.get(&job.kind).filter(|_| !self.distrusted);
        ordered.is_some_and(|ordered| ordered.opened == job.opened_entry && ordered.reference == job.reference())
    }

    /// Whether this tenant may ever have been put. What cannot be told was.
    pub(crate) fn tenant_put(&self, id: &TenantId) -> bool {
        self.distrusted || self.tenants.contains(id)
    }

    /// Whether the job of this id has neither ended nor was followed by another of its kind.
    pub(crate) fn key_job_runs(&self, id: &KeyJobId) -> bool {
        let named = id.to_string();
        !self.distrusted && self.key_jobs.values().any(|job| job.id() == named)
    }

    /// Whether this worker was quarantined.
    pub(crate) fn quarantined(&self, worker: &str) -> bool {
        self.quarantined.contains(worker)
    }

    /// The widest stop button pressed for this login, whatever its table says.
    pub(crate) fn lockdown(
        &self,
        tenant: &TenantId,
        institution: Option<&InstitutionId>,
        credential: Option<&CredentialId>,
    ) -> Option<LockdownScope> {
        let pressed = |scope: LockdownScope, id: &dyn ToString| {
            self.lockdowns.contains(&stop(scope, &id.to_string())).then_some(scope)
        };
        pressed(LockdownScope::Platform, &"")
            .or_else(|| pressed(LockdownScope::Tenant, tenant))
            .or_else(|| institution.and_then(|id| pressed(LockdownScope::Institution, id)))
            .or_else(|| credential.and_then(|id| pressed(LockdownScope::Credential, id)))
    }
}

/// What the ledger says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub enum Word {
    /// It is the newest, and was not ended: it may permit something.
    Stands,
    /// It is the newest, and was ended: it may say what its terms were.
    Ended,
    /// A newer one was written, or it never was in the ledger: it says nothing.
    Replaced,
}

impl Word {
    const fn newest(stands: bool) -> Self {
        if stands { Self::Stands } else { Self::Ended }
    }
}

/// How the entry of a stop button names what it stops.
pub(crate) fn stop(scope: LockdownScope, id: &str) -> String {
    format!("{scope} {id}").trim_end().to_owned()
}
