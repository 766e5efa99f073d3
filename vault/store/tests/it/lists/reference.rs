//! The commit in plain Rust: rows are structs in maps, time is a number, and nothing is ever lost. Small enough to be
//! read beside `domain.md` and `consent.md`, and the third opinion where the two engines agree.

mod permits;

use std::collections::{BTreeMap, BTreeSet};

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState as Login};
use cofre_model::entry::{Entry, EntryKind, Epochs, NodeRef, Verdict};
use cofre_model::id::*;
use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Outcome};
use cofre_store::{EnrolmentState, ErasureState, Lockdown, Operation as Op, SubjectState};

/// A refusal by the rules.
pub(super) type Done<T = ()> = Result<T, Reason>;

pub(super) struct Row {
    pub(super) row: Credential,
    pub(super) epoch: u64,
    intended: u32,
}

struct Session {
    credential: CredentialId,
    template: u32,
    expires_at: Timestamp,
    state: EnrolmentState,
    intent: Option<u64>,
    version: u32,
}

pub(super) struct Asked {
    pub(super) row: Consent,
    lapses_at: Timestamp,
    pub(super) requested_at: Timestamp,
    receipts: Vec<ReceiptId>,
}

pub(super) struct Released {
    pub(super) tenant: TenantId,
    pub(super) worker: String,
    pub(super) request: RequestId,
    pub(super) credential: CredentialId,
    pub(super) job: JobId,
    pub(super) digest: [u8; 32],
    pub(super) seal_key: [u8; 32],
    pub(super) secret_version: u32,
    pub(super) attendance: Attendance,
    pub(super) counted: bool,
    pub(super) at: Timestamp,
    pub(super) index: u64,
    pub(super) outcome: Option<Outcome>,
    pub(super) since: Timestamp,
    pub(super) answers: u32,
}

#[derive(Clone)]
pub(super) struct Lease {
    pub(super) job: JobId,
    pub(super) worker: String,
    pub(super) seal_key: [u8; 32],
    pub(super) until: Timestamp,
    pub(super) since: Timestamp,
    pub(super) attendance: Attendance,
}

struct Erasing {
    subject: SubjectId,
    state: ErasureState,
    accepted: u64,
}

pub(super) struct Reference {
    node: NodeRef,
    pub(super) ledger: Vec<(Timestamp, Entry)>,
    cell: u64,
    policy: Option<([u8; 32], u64)>,
    /// Epoch, key version and key id.
    tenants: BTreeMap<TenantId, (u64, u32, [u8; 16])>,
    /// Epoch and newest template.
    institutions: BTreeMap<InstitutionId, (u64, u32)>,
    workers: BTreeMap<String, u64>,
    recipients: BTreeMap<RecipientId, TenantId>,
    subjects: BTreeMap<SubjectId, (TenantId, SubjectState)>,
    pub(super) logins: BTreeMap<CredentialId, Row>,
    sessions: BTreeMap<EnrolmentId, Session>,
    pub(super) consents: BTreeMap<ConsentId, Asked>,
    pub(super) releases: Vec<Released>,
    pub(super) leases: BTreeMap<CredentialId, Lease>,
    pub(super) tokens: BTreeMap<AttendanceId, (String, RequestId, Timestamp)>,
    lockdowns: BTreeSet<String>,
    erasures: BTreeMap<ErasureId, Erasing>,
}

fn unless(holds: bool, reason: Reason) -> Done {
    if holds { Ok(()) } else { Err(reason) }
}

fn open(state: Login) -> bool {
    matches!(state, Login::Enrolling | Login::Active | Login::SecretRejected)
}

impl Reference {
    pub(super) fn new(node: NodeRef) -> Self {
        Self {
            node,
            ledger: Vec::new(),
            cell: 1,
            policy: None,
            tenants: BTreeMap::new(),
            institutions: BTreeMap::new(),
            workers: BTreeMap::new(),
            recipients: BTreeMap::new(),
            subjects: BTreeMap::new(),
            logins: BTreeMap::new(),
            sessions: BTreeMap::new(),
            consents: BTreeMap::new(),
            releases: Vec::new(),
            leases: BTreeMap::new(),
            tokens: BTreeMap::new(),
            lockdowns: BTreeSet::new(),
            erasures: BTreeMap::new(),
        }
    }

    fn last(&self) -> Timestamp {
        self.ledger.last().map(|(time, _)| *time).unwrap_or_default()
    }

    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.ledger.len()).expect("small")
    }

    /// The time a commit at `now` has: strictly after the newest entry.
    pub(super) fn at(&self, now: Timestamp) -> Timestamp {
        now.max(self.last().plus(Span::micros(1)))
    }

    pub(super) fn trusts(&self, now: Timestamp) -> bool {
        self.last().since(now) <= Span::secs(2)
    }

    pub(super) fn append(&mut self, now: Timestamp, entry: Entry) -> u64 {
        let index = self.size();
        self.ledger.push((self.at(now), Entry { node: Some(self.node.clone()), ..entry }));
        index
    }

    pub(super) fn epochs(&self, worker: Option<&str>, tenant: Option<TenantId>, login: Option<CredentialId>) -> Epochs {
        let row = login.and_then(|id| self.logins.get(&id)).filter(|row| Some(row.row.tenant) == tenant);
        Epochs {
            cell: self.cell,
            policy: self.policy.map_or(0, |(_, epoch)| epoch),
            tenant: tenant.and_then(|id| self.tenants.get(&id)).map_or(0, |row| row.0),
            institution: row.and_then(|row| self.institutions.get(&row.row.institution)).map_or(0, |row| row.0),
            worker: worker.and_then(|id| self.workers.get(id)).copied().unwrap_or(0),
            credential: row.map_or(0, |row| row.epoch),
        }
    }

    fn login(&self, tenant: TenantId, id: CredentialId) -> Done<&Row> {
        self.logins.get(&id).filter(|row| row.row.tenant == tenant).ok_or(Reason::NotFound)
    }

    fn moved(&mut self, id: CredentialId) {
        if let Some(row) = self.logins.get_mut(&id) {
            row.epoch += 1;
        }
    }

    fn locked_down(&self, scopes: &[String]) -> bool {
        scopes.iter().chain([&String::new()]).any(|scope| self.lockdowns.contains(scope))
    }

    /// Carries an operation out and gives the index of its entry.
    pub(super) fn apply(&mut self, now: Timestamp, entry: &Entry, operation: &Op) -> Done<u64> {
        let follows = self.operate(now, entry, operation)?;
        Ok(self.append(now, Entry { follows: entry.follows.or(follows), ..entry.clone() }))
    }

    fn operate(&mut self, now: Timestamp, entry: &Entry, operation: &Op) -> Done<Option<u64>> {
        let at = self.at(now);
        match operation {
            Op::PutTenant { tenant, key_version, recipients, signing_keys, .. } => {
                let parts = u64::try_from(recipients.len() + signing_keys.len()).expect("small");
                let row = self.tenants.entry(tenant.id).or_insert((0, 0, [0; 16]));
                *row = (row.0 + 1 + parts, *key_version, tenant.tenant_key_id);
                self.recipients.extend(recipients.iter().map(|recipient| (recipient.id, recipient.tenant)));
            }
            Op::PutInstitution(row) => self.institutions.entry(row.id.clone()).or_insert((0, 0)).0 += 1,
            Op::PutTemplate(template) => {
                let known = self.institutions.get_mut(&template.institution).ok_or(Reason::NotFound)?;
                unless(template.version == known.1 + 1, Reason::WrongState)?;
                *known = (known.0 + 1, template.version);
            }
            Op::PutWorker(worker) => *self.workers.entry(worker.id.to_string()).or_insert(0) += 1,
            Op::PolicyActivated { digest } => {
                let (held, epoch) = self.policy.unwrap_or_default();
                if self.policy.is_none() || held != *digest {
                    self.policy = Some((*digest, epoch + 1));
                }
            }
            Op::OpenEnrolment { subject, credential, tag, enrolment, expires_at } => {
                unless(self.tenants.contains_key(&credential.tenant), Reason::NotFound)?;
                if let Some(subject) = subject {
                    unless(!self.subjects.contains_key(&subject.id), Reason::WrongState)?;
                }
                let owner = match subject {
                    Some(subject) => Some((subject.tenant, subject.state)),
                    None => self.subjects.get(&credential.owner).copied(),
                };
                let (tenant, state) = owner.ok_or(Reason::NotFound)?;
                unless(tenant == credential.tenant, Reason::NotFound)?;
                unless(state == SubjectState::Active, Reason::WrongState)?;
                let known = self.logins.get(&credential.id).map(|row| row.row.state);
                match known {
                    Some(state) => unless(open(state), Reason::WrongState)?,
                    None => unless(tag.is_some() && credential.state == Login::Enrolling, Reason::WrongState)?,
                }
                unless(*expires_at > at, Reason::WrongState)?;
                self.subjects.entry(credential.owner).or_insert((tenant, state));
                self.logins.entry(credential.id).or_insert(Row { row: credential.clone(), epoch: 1, intended: 0 });
                self.end_sessions(credential.id);
                let session = Session {
                    credential: credential.id,
                    template: credential.template_version,
                    expires_at: *expires_at,
                    state: EnrolmentState::Open,
                    intent: None,
                    version: 0,
                };
                self.sessions.insert(*enrolment, session);
            }
            Op::EndEnrolment { enrolment, .. } => {
                let session = self.sessions.get(enrolment).ok_or(Reason::NotFound)?;
                unless(session.state == EnrolmentState::Open, Reason::WrongState)?;
                let (id, intent) = (session.credential, session.intent);
                self.end_sessions(id);
                let row = self.logins.get_mut(&id).ok_or(Reason::NotFound)?;
                if row.row.state == Login::Enrolling && row.row.secret_version == 0 {
                    row.row.state = Login::Discarded;
                    row.epoch += 1;
                }
                return Ok(intent);
            }
            Op::CompleteDeposit { enrolment, credential, .. } => return self.complete(at, enrolment, credential),
            Op::RequestConsent { consent, lapses_at, .. } => {
                let login = self.login(consent.tenant, consent.credential)?;
                unless(open(login.row.state), Reason::WrongState)?;
                let recipient = self.recipients.get(&consent.recipient) == Some(&consent.tenant);
                unless(recipient && login.row.owner == consent.subject, Reason::NotFound)?;
                unless(*lapses_at > at && !self.consents.contains_key(&consent.id), Reason::WrongState)?;
                let asked =
                    Asked { row: consent.clone(), lapses_at: *lapses_at, requested_at: at, receipts: Vec::new() };
                self.consents.insert(consent.id, asked);
                self.moved(consent.credential);
            }
            Op::GrantConsent { consent, receipt, .. } => self.grant_consent(now, consent, receipt.0)?,
            Op::EndConsent { tenant, consent, to } => {
                let asked = self.consents.get_mut(consent).filter(|asked| asked.row.tenant == *tenant);
                let asked = asked.ok_or(Reason::NotFound)?;
                let due = match asked.row.state {
                    ConsentState::Active => asked.row.valid_until,
                    ConsentState::AwaitingAuthorisation => asked.lapses_at,
                    ConsentState::Revoked | ConsentState::Expired => return Err(Reason::WrongState),
                };
                unless(*to == ConsentState::Revoked || due <= at, Reason::WrongState)?;
                asked.row.state = *to;
                let login = asked.row.credential;
                self.moved(login);
                self.leases.remove(&login);
            }
            Op::Receipt { consent, receipt, seq, .. } => {
                let used = self.consents.values().any(|asked| asked.receipts.contains(receipt));
                let asked = self.consents.get_mut(consent).ok_or(Reason::NotFound)?;
                let next = asked.receipts.len() + 1;
                unless(usize::try_from(*seq) == Ok(next) && !used, Reason::WrongState)?;
                asked.receipts.push(*receipt);
            }
            Op::ReportOutcome { credential, job, worker, outcome, lock } => {
                return self.report(at, (*credential, *job, worker), *outcome, lock.as_ref().map(|(row, _)| row));
            }
            Op::Lockdown(lockdown) => {
                self.cell += 1;
                let logins = &self.logins;
                let within = |id: &CredentialId, row: &Credential| match lockdown {
                    Lockdown::Platform => true,
                    Lockdown::Tenant(tenant) => row.tenant == *tenant,
                    Lockdown::Institution(institution) => row.institution == *institution,
                    Lockdown::Credential(login) => id == login,
                };
                self.leases.retain(|id, _| logins.get(id).is_none_or(|row| !within(id, &row.row)));
                self.lockdowns.insert(match lockdown {
                    Lockdown::Platform => String::new(),
                    Lockdown::Tenant(id) => id.to_string(),
                    Lockdown::Institution(id) => id.to_string(),
                    Lockdown::Credential(id) => id.to_string(),
                });
            }
            Op::QuarantineWorker { worker } => {
                *self.workers.get_mut(worker).ok_or(Reason::NotFound)? += 1;
                self.leases.retain(|_, lease| lease.worker != *worker);
            }
            Op::AcceptErasure { erasure, tenant, subject } => self.erase(*erasure, *tenant, *subject)?,
            Op::KeysDestroyed { erasure } => {
                return self.erasure(erasure, ErasureState::Accepted, ErasureState::KeysDestroyed).map(Some);
            }
            Op::CertifyErasure { erasure, .. } => {
                let accepted = self.erasure(erasure, ErasureState::KeysDestroyed, ErasureState::Certified)?;
                let subject = self.erasures[erasure].subject;
                for row in self.logins.values_mut().filter(|row| row.row.owner == subject) {
                    if row.row.state == Login::Erasing {
                        row.row.state = Login::Erased;
                        row.epoch += 1;
                    }
                }
                self.subjects.entry(subject).and_modify(|person| person.1 = SubjectState::Erased);
                return Ok(Some(accepted));
            }
            Op::Note => {
                if let (EntryKind::Outcome, Some(Verdict::Denied), Some(grant)) =
                    (entry.kind, entry.verdict, entry.follows)
                {
                    self.withdraw(grant);
                }
            }
            other => unreachable!("the lists have no {other:?}"),
        }
        Ok(None)
    }

    fn end_sessions(&mut self, id: CredentialId) {
        for session in self.sessions.values_mut().filter(|session| session.credential == id) {
            if session.state == EnrolmentState::Open {
                session.state = EnrolmentState::Ended;
            }
        }
    }

    fn complete(&mut self, at: Timestamp, enrolment: &EnrolmentId, login: &Credential) -> Done<Option<u64>> {
        let session = self.sessions.get(enrolment).ok_or(Reason::NotFound)?;
        let known = self.login(login.tenant, login.id)?;
        unless(open(known.row.state) && known.row.owner == login.owner, Reason::WrongState)?;
        unless(
            session.state == EnrolmentState::Open
                && session.expires_at > at
                && session.credential == login.id
                && session.intent.is_some()
                && session.version == login.secret_version
                && session.template == login.template_version
                && login.state == Login::Active,
            Reason::WrongState,
        )?;
        unless(known.row.not_before == login.not_before, Reason::ConsentChanged)?;
        let twin = |row: &Row| row.row.tenant == login.tenant && row.row.dedupe_tag == login.dedupe_tag;
        let twins =
            self.logins.values().any(|row| row.row.id != login.id && !row.row.dedupe_tag.is_empty() && twin(row));
        unless(!twins, Reason::DuplicateLogin)?;
        let intent = session.intent;
        self.sessions.entry(*enrolment).and_modify(|session| session.state = EnrolmentState::Completed);
        self.logins.entry(login.id).and_modify(|row| {
            row.row = login.clone();
            row.epoch += 1;
        });
        Ok(intent)
    }

    fn grant_consent(&mut self, now: Timestamp, consent: &Consent, receipt: ReceiptId) -> Done {
        unless(self.trusts(now), Reason::ClockUntrusted)?;
        let at = self.at(now);
        let asked = self.consents.get(&consent.id).filter(|asked| asked.row.tenant == consent.tenant);
        let asked = asked.ok_or(Reason::NotFound)?;
        let shown = Consent { state: ConsentState::Active, ..asked.row.clone() };
        let in_time = at < asked.lapses_at && at < consent.valid_until;
        let awaited = asked.row.state == ConsentState::AwaitingAuthorisation;
        unless(*consent == shown && awaited && in_time, Reason::WrongState)?;
        let login = self.login(consent.tenant, consent.credential)?;
        let other = self.consents.values().any(|other| {
            other.row.credential == consent.credential
                && other.row.id != consent.id
                && other.row.state == ConsentState::Active
                && other.row.valid_until > at
        });
        let used = self.consents.values().any(|asked| asked.receipts.contains(&receipt));
        unless(open(login.row.state) && !other && !used, Reason::WrongState)?;
        self.consents.entry(consent.id).and_modify(|asked| {
            asked.row = consent.clone();
            asked.receipts.push(receipt);
        });
        self.moved(consent.credential);
        Ok(())
    }

    fn report(
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
        let row = self.logins.get_mut(&login).ok_or(Reason::NotFound)?;
        if outcome == Outcome::WrongSecret && row.row.state == Login::Active && row.row.secret_version == version {
            row.row.state = Login::SecretRejected;
            row.epoch += 1;
        }
        if let Some(locked) = lock {
            row.row = locked.clone();
            row.epoch += 1;
        }
        Ok(Some(index))
    }

    fn erase(&mut self, erasure: ErasureId, tenant: TenantId, subject: SubjectId) -> Done {
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

    fn erasure(&mut self, id: &ErasureId, from: ErasureState, to: ErasureState) -> Done<u64> {
        let erasing = self.erasures.get_mut(id).ok_or(Reason::NotFound)?;
        unless(erasing.state == from, Reason::WrongState)?;
        erasing.state = to;
        Ok(erasing.accepted)
    }

    /// The answer of this grant never leaves. Without any left of its session, the lease ends.
    fn withdraw(&mut self, grant: u64) {
        let closed =
            self.ledger.iter().any(|(_, entry)| entry.kind == EntryKind::Outcome && entry.follows == Some(grant));
        let first = usize::try_from(grant).ok().and_then(|place| self.ledger.get(place));
        let first =
            first.filter(|(_, entry)| entry.kind == EntryKind::Redelivered).and_then(|(_, entry)| entry.follows);
        let release = self.releases.iter_mut().find(|release| release.index == first.unwrap_or(grant));
        let (false, Some(release)) = (closed, release) else { return };
        release.answers = release.answers.saturating_sub(1);
        let (login, job, worker, since) = (release.credential, release.job, release.worker.clone(), release.since);
        let same = |release: &Released| {
            release.credential == login && release.job == job && release.worker == worker && release.since == since
        };
        let left = self.releases.iter().any(|release| same(release) && release.answers > 0);
        let held = self
            .leases
            .get(&login)
            .is_some_and(|lease| lease.job == job && lease.worker == worker && lease.since == since);
        if held && !left {
            self.leases.remove(&login);
        }
    }
}
