//! The reference's endings: reports, stop buttons, erasure.

use cofre_model::consent::ConsentState;
use cofre_model::credential::{Credential, CredentialState as Login};
use cofre_model::id::{CredentialId, ErasureId, JobId, SubjectId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Outcome;
use cofre_store::{ErasureState, Lockdown, SubjectState};

use super::{Done, Erasing, Lease, Reference, unless};

impl Reference {
    pub(super) fn report(
        &mut self,
        at: Timestamp,
        (login, job, worker): (CredentialId, JobId, &str),
        outcome: Outcome,
        lock: Option<&Credential>,
    ) -> Done<Option<u64>> {
        let newest = self.releases.iter().rev().find(|release| release.credential == login && release.job == job);
        let newest = newest.filter(|release| release.worker == worker).ok_or(Reason::NotFound)?;
        let held = |lease: &&Lease| lease.job == job && lease.worker == worker;
        let leased = self.leases.get(&login).filter(held).map(|lease| lease.until);
        let until = leased.unwrap_or(newest.at.plus(Span::secs(120))).plus(Span::minutes(10));
        unless(newest.outcome.is_none() && at <= until, Reason::WrongState)?;
        let (index, tenant, version) = (newest.index, newest.tenant, newest.secret_version);
        let known = self.login(tenant, login)?.row.clone();
        if let Some(row) = lock {
            let fits = outcome != Outcome::WrongSecret || known.secret_version != version;
            let locked = Credential { not_before: row.not_before, ..known.clone() };
            let within = row.not_before <= at.plus(Span::hours(169)) && row.not_before >= known.not_before;
            unless(fits && within && known.state == Login::Active && *row == locked, Reason::WrongState)?;
        }
        for release in &mut self.releases {
            if release.credential == login && release.job == job && release.worker == worker {
                release.outcome.get_or_insert(outcome);
            }
        }
        if leased.is_some() {
            self.leases.remove(&login);
        }
        let mut rejected = false;
        let row = self.logins.get_mut(&login).ok_or(Reason::NotFound)?;
        if outcome == Outcome::WrongSecret && row.row.state == Login::Active && row.row.secret_version == version {
            row.row.state = Login::SecretRejected;
            row.epoch += 1;
            rejected = true;
        }
        if let Some(locked) = lock {
            row.row = locked.clone();
            row.epoch += 1;
            self.meet("login locked");
        }
        if rejected {
            self.meet("secret refused");
        } else if outcome == Outcome::WrongSecret {
            self.meet("an older secret refused");
        }
        Ok(Some(index))
    }

    pub(super) fn lock_down(&mut self, lockdown: &Lockdown) {
        self.cell += 1;
        let logins = &self.logins;
        let within = |id: &CredentialId, row: &Credential| match lockdown {
            Lockdown::Platform => true,
            Lockdown::Tenant(tenant) => row.tenant == *tenant,
            Lockdown::Institution(institution) => row.institution == *institution,
            Lockdown::Credential(login) => id == login,
        };
        let held = self.leases.len();
        self.leases.retain(|id, _| logins.get(id).is_none_or(|row| !within(id, &row.row)));
        let ended = held > self.leases.len();
        let scope = lockdown.scope();
        self.meet(if ended { format!("{scope} stopped, leases and all") } else { format!("{scope} stopped") });
        self.lockdowns.insert(match lockdown {
            Lockdown::Platform => String::new(),
            Lockdown::Tenant(id) => id.to_string(),
            Lockdown::Institution(id) => id.to_string(),
            Lockdown::Credential(id) => id.to_string(),
        });
    }

    pub(super) fn erase(&mut self, erasure: ErasureId, tenant: TenantId, subject: SubjectId) -> Done {
        let person = self.subjects.get_mut(&subject).filter(|person| person.0 == tenant).ok_or(Reason::NotFound)?;
        unless(person.1 == SubjectState::Active, Reason::WrongState)?;
        person.1 = SubjectState::Erasing;
        let owned: Vec<CredentialId> =
            self.logins.values().filter(|row| row.row.owner == subject).map(|row| row.row.id).collect();
        for id in owned {
            self.end_sessions(id);
            let row = self.logins.get_mut(&id).ok_or(Reason::NotFound)?;
            if row.row.state == Login::Discarded {
                continue;
            }
            row.row.state = Login::Erasing;
            row.row.dedupe_tag.clear();
            row.epoch += 1;
            self.leases.remove(&id);
            for asked in self.consents.values_mut().filter(|asked| asked.row.credential == id) {
                if matches!(asked.row.state, ConsentState::Active | ConsentState::AwaitingAuthorisation) {
                    asked.row.state = ConsentState::Revoked;
                }
            }
        }
        let accepted = self.size();
        self.erasures.insert(erasure, Erasing { subject, state: ErasureState::Accepted, accepted });
        Ok(())
    }

    pub(super) fn erasure(&mut self, id: &ErasureId, from: ErasureState, to: ErasureState) -> Done<u64> {
        let erasing = self.erasures.get_mut(id).ok_or(Reason::NotFound)?;
        unless(erasing.state == from, Reason::WrongState)?;
        erasing.state = to;
        Ok(erasing.accepted)
    }

    pub(super) fn certify(&mut self, id: &ErasureId) -> Done<u64> {
        let accepted = self.erasure(id, ErasureState::KeysDestroyed, ErasureState::Certified)?;
        let subject = self.erasures[id].subject;
        for row in self.logins.values_mut().filter(|row| row.row.owner == subject) {
            if row.row.state == Login::Erasing {
                row.row.state = Login::Erased;
                row.epoch += 1;
            }
        }
        self.subjects.entry(subject).and_modify(|person| person.1 = SubjectState::Erased);
        Ok(accepted)
    }
}
