//! The commit in plain Rust: rows are structs in maps, time is a number, and nothing is ever lost. Small enough to be
//! read beside `domain.md` and `consent.md`, and the third opinion where the two engines agree.

mod bounds;
mod consents;
mod endings;
mod enrolments;
mod naming;
mod permits;
mod undelivered;

use std::collections::{BTreeMap, BTreeSet};

use cofre_model::consent::Consent;
use cofre_model::credential::{Credential, CredentialState as Login};
use cofre_model::entry::{Entry, EntryKind, Epochs, NodeRef, Verdict};
use cofre_model::id::*;
use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Outcome};
use cofre_store::{EnrolmentState, ErasureState, Operation as Op, SubjectState};

pub(super) use undelivered::DRAWN;

/// A refusal by the rules.
pub(super) type Done<T = ()> = Result<T, Reason>;

pub(super) struct Row {
    pub(super) row: Credential,
    pub(super) epoch: u64,
    intended: u32,
}

struct Session {
    tenant: TenantId,
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
    pub(super) owner: SubjectId,
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
    pub(super) node: NodeRef,
    /// Whether whoever opens the records is alone with them: then all earlier lives are over, of whatever node.
    alone: bool,
    /// What was met, and how often.
    pub(super) met: BTreeMap<String, u64>,
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
    pub(super) fn new(node: NodeRef, alone: bool) -> Self {
        Self {
            node,
            alone,
            met: BTreeMap::new(),
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

    pub(super) fn last(&self) -> Timestamp {
        self.ledger.last().map(|(time, _)| *time).unwrap_or_default()
    }

    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.ledger.len()).expect("small")
    }

    pub(super) fn meet(&mut self, what: impl Into<String>) {
        *self.met.entry(what.into()).or_insert(0) += 1;
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
        let done = self.operate(now, entry, operation).map(|follows| {
            let follows = entry.follows.or(follows);
            let index = self.append(now, Entry { follows, ..naming::named(entry.clone(), operation) });
            if matches!(operation, Op::NodeStarted) {
                self.earlier_lives(now);
            }
            index
        });
        self.meet(match &done {
            Ok(_) => entry.kind.to_string(),
            Err(reason) => format!("{}: {reason}", entry.kind),
        });
        done
    }

    fn operate(&mut self, now: Timestamp, entry: &Entry, operation: &Op) -> Done<Option<u64>> {
        let at = self.at(now);
        match operation {
            Op::NodeStarted => {}
            Op::PutTenant { tenant, key_version, recipients, signing_keys, .. } => {
                let parts = u64::try_from(recipients.len() + signing_keys.len()).expect("small");
                let row = self.tenants.entry(tenant.id).or_insert((0, *key_version, tenant.tenant_key_id));
                unless((row.1, row.2) == (*key_version, tenant.tenant_key_id), Reason::WrongState)?;
                row.0 += 1 + parts;
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
                self.enrol(at, (subject.as_ref(), credential, tag.is_some()), *enrolment, *expires_at)?;
            }
            Op::EndEnrolment { tenant, enrolment } => return self.end_enrolment(*tenant, enrolment),
            Op::CompleteDeposit { enrolment, credential, .. } => return self.complete(at, enrolment, credential),
            Op::RequestConsent { consent, lapses_at, .. } => self.request(at, consent, *lapses_at)?,
            Op::GrantConsent { consent, receipt, .. } => self.grant_consent(now, consent, receipt.0)?,
            Op::EndConsent { tenant, consent, to } => self.end_consent(at, *tenant, consent, *to)?,
            Op::Receipt { consent, receipt, seq, .. } => self.keep_receipt(consent, *receipt, *seq)?,
            Op::ReportOutcome { credential, job, worker, outcome, lock } => {
                return self.report(at, (*credential, *job, worker), *outcome, lock.as_ref().map(|(row, _)| row));
            }
            Op::Lockdown(lockdown) => self.lock_down(lockdown),
            Op::QuarantineWorker { worker } => {
                *self.workers.get_mut(worker).ok_or(Reason::NotFound)? += 1;
                self.leases.retain(|_, lease| lease.worker != *worker);
            }
            Op::AcceptErasure { erasure, tenant, subject } => self.erase(*erasure, *tenant, *subject)?,
            Op::KeysDestroyed { erasure } => {
                return self.erasure(erasure, ErasureState::Accepted, ErasureState::KeysDestroyed).map(Some);
            }
            Op::CertifyErasure { erasure, .. } => return self.certify(erasure).map(Some),
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

    pub(super) fn end_sessions(&mut self, id: CredentialId) {
        for session in self.sessions.values_mut().filter(|session| session.credential == id) {
            if session.state == EnrolmentState::Open {
                session.state = EnrolmentState::Ended;
            }
        }
    }
}
