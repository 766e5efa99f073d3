//! What the ledger says stands: for each consent and login the entry that wrote its row, and what was ended since.
//! Folded from the entries in their order. Whoever puts an old row back, MAC and all, puts back a row that no longer
//! stands; whoever takes a stop button out of its table finds it still pressed. It can only take away: a row that
//! stands still has to carry its MAC.

pub(crate) mod register;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use cofre_model::entry::{Entry, EntryId, EntryKind};
use cofre_model::id::{ConsentId, CredentialId, InstitutionId, SubjectId, TenantId};
use cofre_model::registry::LockdownScope;
use cofre_model::wording::Outcome;

/// A login as its newest entries left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Login {
    /// The entry that wrote its row.
    written: EntryId,
    /// The version of its secret; 0 before the first.
    version: u32,
    /// Its secret was reported wrong and not entered anew since.
    rejected: bool,
}

/// The ledger up to some index, folded. It grows with the rows that stand and with what may never stand again, not
/// with the number of releases.
#[derive(Debug, Default)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub struct Standing {
    next: u64,
    consents: HashMap<ConsentId, EntryId>,
    logins: HashMap<CredentialId, Login>,
    erased: HashSet<SubjectId>,
    lockdowns: HashSet<String>,
    quarantined: HashSet<String>,
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

    /// Folds in the entry at `index`. One that is not the next is left alone: it was folded in before, or what lies
    /// between has to come first.
    pub(crate) fn fold(&mut self, index: u64, entry: &Entry) {
        if index != self.next {
            return;
        }
        self.next = index.saturating_add(1);
        match entry.kind {
            EntryKind::ConsentRequested | EntryKind::ConsentGranted => {
                self.consents.extend(entry.consents.iter().map(|id| (*id, entry.id)));
            }
            EntryKind::ConsentRevoked | EntryKind::ConsentExpired => {
                for id in &entry.consents {
                    self.consents.remove(id);
                }
            }
            EntryKind::EnrolmentOpened => self.enrolled(entry),
            EntryKind::Deposited => self.deposited(entry),
            EntryKind::Reported => self.reported(entry),
            EntryKind::ErasureAccepted => self.erased.extend(entry.owner),
            EntryKind::Lockdown => self.lockdowns.extend(entry.reference.clone()),
            EntryKind::WorkerQuarantined => self.quarantined.extend(entry.reference.clone()),
            _ => {}
        }
    }

    /// Only a login that was never there gets a row with its enrolment.
    fn enrolled(&mut self, entry: &Entry) {
        if let Some(id) = entry.credential {
            self.logins.entry(id).or_insert(Login { written: entry.id, version: 0, rejected: false });
        }
    }

    fn deposited(&mut self, entry: &Entry) {
        if let (Some(id), Some(version)) = (entry.credential, entry.secret_version) {
            self.logins.insert(id, Login { written: entry.id, version, rejected: false });
        }
    }

    fn reported(&mut self, entry: &Entry) {
        let Some(login) = entry.credential.and_then(|id| self.logins.get_mut(&id)) else { return };
        // Its digest names the MAC of the row that the report wrote: later by the institution's lock.
        if entry.digest.is_some() {
            login.written = entry.id;
        }
        // A report on a secret that was replaced meanwhile says nothing of the new one.
        let this_one = entry.secret_version.is_none_or(|version| version == login.version);
        if entry.outcome == Some(Outcome::WrongSecret) && this_one {
            login.rejected = true;
        }
    }

    /// Whether `written` is the entry that wrote the row of a consent in force or awaiting, and its holder is not
    /// erased.
    pub(crate) fn consent(&self, id: &ConsentId, holder: &SubjectId, written: &EntryId) -> bool {
        !self.distrusted && self.consents.get(id) == Some(written) && !self.erased.contains(holder)
    }

    /// Whether `written` is the entry that wrote the row of a login that may permit something, and its holder is not
    /// erased.
    pub(crate) fn login(&self, id: &CredentialId, holder: &SubjectId, written: &EntryId) -> bool {
        let stands = self.logins.get(id).is_some_and(|login| login.written == *written && !login.rejected);
        !self.distrusted && stands && !self.erased.contains(holder)
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

/// How the entry of a stop button names what it stops.
pub(crate) fn stop(scope: LockdownScope, id: &str) -> String {
    format!("{scope} {id}").trim_end().to_owned()
}
