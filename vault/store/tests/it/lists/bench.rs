//! One engine with the reference beside it: each step goes to both, and both have to say the same.

mod asks;

use std::sync::Arc;

use cofre_ledger::entry::Leaf;
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::{Entry, EntryKind, NodeRef, Verdict};
use cofre_model::id::*;
use cofre_model::registry::*;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_model::wording::{Class, Locale, Outcome, Purpose, Scope};
use cofre_policy::decision::Decision;
use cofre_store::*;
use cofre_testkit::clock::TestClock;
use proptest::prop_assert_eq;
use proptest::test_runner::TestCaseError;
use tempfile::TempDir;

use super::reference::Reference;
use super::release::Decided;
use super::steps::{LOGINS, Relation, Step};
use crate::world::{Ask, WORKER, World, commit_config, consent_tag, credential_tag};

type Checked<T = ()> = Result<T, TestCaseError>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// What a list knows of one login.
struct Login {
    /// The row as the last deposit wrote it.
    credential: Credential,
    subject: Subject,
    /// Whether the owner is there already.
    known: bool,
    enrolment: Option<EnrolmentId>,
    version: u32,
    consents: Vec<Consent>,
    asks: Vec<Ask>,
    grants: Vec<u64>,
    erasure: Option<ErasureId>,
    receipts: u32,
}

pub(super) struct Bench {
    world: World,
    reference: Reference,
    logins: Vec<Login>,
    decided: Vec<(usize, Decision)>,
    /// Entries compared so far.
    compared: u64,
    told: Vec<String>,
    stopped: bool,
    _folder: TempDir,
}

impl Bench {
    pub(super) async fn new(engine: Engine) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let config = match engine {
            Engine::Sqlite => cofre_testkit::stores::sqlite(folder.path()),
            Engine::Postgres => cofre_testkit::stores::postgres(folder.path()).await.expect("databases"),
        };
        let clock = Arc::new(TestClock::default());
        let settings = commit_config(&clock);
        let node = NodeRef { identity: settings.node.clone(), incarnation: settings.incarnation };
        let stores = Stores::open(config, settings).await.expect("opened");
        let (tenant, institution) = (tenant(0), InstitutionId::try_from("ins_none").expect("id"));
        let world = World::rebuilt(
            tempfile::tempdir().expect("folder"),
            clock,
            stores,
            tenant,
            institution,
            RecipientId::from_parts(1, [2; 10]),
            SigningKeyId::from_parts(1, [3; 10]),
        );
        Self {
            world,
            reference: Reference::new(node),
            logins: Vec::new(),
            decided: Vec::new(),
            compared: 0,
            told: Vec::new(),
            stopped: false,
            _folder: folder,
        }
    }

    /// Whether nothing is granted on these stores any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Plays a list as a tenant of its own, and gives all that was told.
    pub(super) async fn play(&mut self, steps: &[Step]) -> Checked<Vec<String>> {
        self.told.clear();
        self.decided.clear();
        self.begin().await?;
        for step in steps {
            // Entries made a microsecond apart may run ahead of a clock that stands still.
            self.world.clock.advance(Span::millis(1));
            self.told.push(format!("{step:?}"));
            self.step(*step).await?;
            self.compare().await?;
        }
        Ok(self.told.clone())
    }

    async fn begin(&mut self) -> Checked {
        let number = self.reference.size();
        self.world.tenant = tenant(number);
        self.world.institution = InstitutionId::try_from(format!("ins_bank-{number}").as_str()).expect("id");
        self.world.recipient = RecipientId::from_parts(self.world.ms(), self.world.bytes());
        self.world.job_key = SigningKeyId::from_parts(self.world.ms(), self.world.bytes());
        let key = cofre_model::job::SigningKey {
            id: self.world.job_key,
            tenant: self.world.tenant.id,
            kind: cofre_model::job::StatementKind::Job,
            public_key: [8; 32],
            not_after: self.world.clock.now().plus(Span::days(365)),
        };
        let recipient = Recipient { id: self.world.recipient, tenant: self.world.tenant.id, name: "Asesor".into() };
        let put = Operation::PutTenant {
            tenant: self.world.tenant.clone(),
            key_version: 1,
            warm_for: Span::secs(300),
            signing_keys: vec![key],
            recipients: vec![recipient],
        };
        self.apply(EntryKind::TenantPut, put).await?;
        self.put_institution().await?;
        self.apply(EntryKind::TemplatePut, Operation::PutTemplate(self.world.template(1))).await?;
        let worker = Worker {
            id: cofre_model::caller::SpiffeId::parse(WORKER, "cofre.test").expect("identity"),
            state: WorkerState::Enabled,
            scopes: vec![(self.world.tenant.id, self.world.institution.clone())],
        };
        self.apply(EntryKind::WorkerPut, Operation::PutWorker(worker)).await?;
        self.logins = Vec::new();
        for place in 0..LOGINS {
            let subject = match self.logins.last() {
                Some(other) if place + 1 == LOGINS => other.subject.clone(),
                _ => self.world.subject(),
            };
            self.logins.push(Login {
                credential: self.world.blank(subject.id),
                subject,
                known: false,
                enrolment: None,
                version: 0,
                consents: Vec::new(),
                asks: Vec::new(),
                grants: Vec::new(),
                erasure: None,
                receipts: 0,
            });
        }
        self.compare().await
    }

    /// The entries since the last look, on the engine and in the reference.
    async fn compare(&mut self) -> Checked {
        let rows = self.world.records().entries(self.compared, u64::MAX).await.expect("entries");
        let from = usize::try_from(self.compared).expect("small");
        let expected = &self.reference.ledger[from..];
        prop_assert_eq!(rows.len(), expected.len(), "{:?}", self.told.last());
        for (row, (time, entry)) in rows.iter().zip(expected) {
            let leaf = Leaf::parse(&row.bytes).expect("a leaf");
            prop_assert_eq!(row.index, leaf.index);
            prop_assert_eq!(
                (leaf.time, leaf.entry().expect("an entry")),
                (*time, entry.clone()),
                "{:?}",
                self.told.last()
            );
        }
        self.compared = self.reference.size();
        Ok(())
    }

    async fn apply(&mut self, kind: EntryKind, operation: Operation) -> Checked<Option<u64>> {
        let entry = self.world.entry(kind);
        self.record(entry, operation).await
    }

    /// One operation on both; gives the index of its entry where it was carried out.
    async fn record(&mut self, entry: Entry, operation: Operation) -> Checked<Option<u64>> {
        let expected = self.reference.apply(self.world.clock.now(), &entry, &operation);
        let named = format!("{operation:?}");
        let done = match self.world.records().apply(entry, operation).await {
            Ok(at) => Ok(at.index),
            Err(CommitError::Refused(reason)) => Err(reason),
            Err(CommitError::Store(cause)) => return Err(TestCaseError::fail(format!("{named}: {cause}"))),
        };
        prop_assert_eq!(done, expected, "{}", named);
        self.told.push(format!("{done:?}"));
        Ok(done.ok())
    }

    async fn commit(&mut self, place: usize, decision: Decision) -> Checked {
        let now = self.world.clock.now();
        let expected = match &decision {
            Decision::Permit(grant) => self.reference.grant(now, grant.terms()),
            Decision::Deny(denial) => self.reference.deny(now, denial),
        };
        let told = match self.world.records().commit(decision).await {
            Ok(Committed::Granted { permit, .. }) => {
                self.logins[place].grants.push(permit.entry().at.index);
                Decided::Granted(permit.entry().warrant.lease_until)
            }
            Ok(Committed::Denied { reason, retry_at, .. }) => Decided::Denied(reason, retry_at),
            Ok(Committed::Moved) => Decided::Moved,
            Err(cause) => return Err(TestCaseError::fail(cause.to_string())),
        };
        prop_assert_eq!(&told, &expected);
        self.told.push(format!("{told:?}"));
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Enrol(login) => self.enrol(login).await,
            Step::EndEnrolment(login) => {
                let Some(enrolment) = self.logins[login].enrolment else { return Ok(()) };
                let end = Operation::EndEnrolment { tenant: self.world.tenant.id, enrolment };
                self.apply(EntryKind::EnrolmentEnded, end).await.map(drop)
            }
            Step::Intend(login) => self.intend(login).await,
            Step::Complete(login, twin) => self.complete(login, twin).await,
            Step::Request(login, per_day) => self.request(login, per_day).await,
            Step::Grant(login) => self.grant(login).await,
            Step::End(login, expires) => self.end(login, expires).await,
            Step::Receipt(login) => self.receipt(login).await,
            Step::Ask(login, relation, alone) => {
                let decision = self.decide(login, relation, alone).await;
                self.commit(login, decision).await
            }
            Step::Decide(login, relation, alone) => {
                let decision = self.decide(login, relation, alone).await;
                self.decided.push((login, decision));
                Ok(())
            }
            Step::Commit if self.decided.is_empty() => Ok(()),
            Step::Commit => {
                let (login, decision) = self.decided.remove(0);
                self.commit(login, decision).await
            }
            Step::Report(login, what, hours) => self.report(login, what, hours).await,
            Step::Withdraw(login, back) => {
                let Some(grant) = self.logins[login].grants.iter().rev().nth(back).copied() else { return Ok(()) };
                let mut entry = self.world.entry(EntryKind::Outcome);
                entry.verdict = Some(Verdict::Denied);
                entry.reason = Some(cofre_model::reason::Reason::NotDelivered);
                entry.follows = Some(grant);
                self.record(entry, Operation::Note).await.map(drop)
            }
            Step::Warm(right) => self.warm(right).await,
            other => self.govern(other).await,
        }
    }

    async fn govern(&mut self, step: Step) -> Checked {
        let (tenant, erasure) = (self.world.tenant.id, |login: &Login| login.erasure);
        match step {
            Step::Policy(which) => {
                let activate = Operation::PolicyActivated { digest: [which; 32] };
                self.apply(EntryKind::PolicyActivated, activate).await.map(drop)
            }
            Step::PutInstitution => self.put_institution().await,
            Step::LockLogin(login) => self.lock_down(Lockdown::Credential(self.logins[login].credential.id)).await,
            Step::LockInstitution => self.lock_down(Lockdown::Institution(self.world.institution.clone())).await,
            Step::LockTenant => self.lock_down(Lockdown::Tenant(tenant)).await,
            Step::Quarantine => {
                self.stopped = true;
                let quarantine = Operation::QuarantineWorker { worker: WORKER.into() };
                self.apply(EntryKind::WorkerQuarantined, quarantine).await.map(drop)
            }
            Step::Erase(login) => {
                let erasure = ErasureId::from_parts(self.world.ms(), self.world.bytes());
                let subject = self.logins[login].subject.id;
                let accept = Operation::AcceptErasure { erasure, tenant, subject };
                if self.apply(EntryKind::ErasureAccepted, accept).await?.is_some() {
                    self.logins[login].erasure = Some(erasure);
                }
                Ok(())
            }
            Step::KeysDestroyed(login) => {
                let Some(erasure) = erasure(&self.logins[login]) else { return Ok(()) };
                self.apply(EntryKind::KeysDestroyed, Operation::KeysDestroyed { erasure }).await.map(drop)
            }
            Step::Certify(login) => {
                let Some(erasure) = erasure(&self.logins[login]) else { return Ok(()) };
                let horizon = self.world.clock.now();
                let certify = Operation::CertifyErasure { erasure, certificate: b"signed".to_vec(), horizon };
                self.apply(EntryKind::ErasureCertified, certify).await.map(drop)
            }
            Step::Advance(seconds) => {
                self.world.clock.advance(Span::secs(seconds));
                Ok(())
            }
            Step::Back(millis) => {
                self.world.clock.set(self.world.clock.now().minus(Span::millis(millis)));
                Ok(())
            }
            other => unreachable!("{other:?} is a step of its own"),
        }
    }

    async fn lock_down(&mut self, lockdown: Lockdown) -> Checked {
        self.apply(EntryKind::Lockdown, Operation::Lockdown(lockdown)).await.map(drop)
    }

    async fn put_institution(&mut self) -> Checked {
        let institution = Institution {
            id: self.world.institution.clone(),
            name: "Banco".into(),
            country: "ES".into(),
            state: InstitutionState::Enabled,
            lockout_threshold: 3,
            unattended_from: 0,
            unattended_to: 1_440,
        };
        self.apply(EntryKind::InstitutionPut, Operation::PutInstitution(institution)).await.map(drop)
    }

    async fn enrol(&mut self, place: usize) -> Checked {
        let login = &self.logins[place];
        let enrolment = EnrolmentId::from_parts(self.world.ms(), self.world.bytes());
        let entry = self.world.entry(EntryKind::EnrolmentOpened);
        let new = login.credential.state == CredentialState::Enrolling;
        let owned = self.logins.iter().any(|other| other.known && other.subject.id == login.subject.id);
        let open = Operation::OpenEnrolment {
            subject: (!owned).then(|| login.subject.clone()),
            tag: new.then(|| credential_tag(&login.credential, &entry)),
            credential: login.credential.clone(),
            enrolment,
            expires_at: self.world.clock.now().plus(Span::minutes(30)),
        };
        if self.record(entry, open).await?.is_some() {
            let login = &mut self.logins[place];
            (login.enrolment, login.version, login.known) = (Some(enrolment), 0, true);
        }
        Ok(())
    }

    async fn intend(&mut self, place: usize) -> Checked {
        let Some(enrolment) = self.logins[place].enrolment else { return Ok(()) };
        let intent = DepositIntent {
            tenant: self.world.tenant.id,
            enrolment,
            class: Class::Login,
            deposit_key: DepositKeyId::from_parts(self.world.ms(), [4; 10]),
            entry: self.world.entry(EntryKind::DepositIntended),
        };
        let expected = self.reference.intend(self.world.clock.now(), &intent);
        let done = match self.world.records().intend_deposit(intent).await {
            Ok(permit) => Ok(permit.entry().warrant.secret_version),
            Err(CommitError::Refused(reason)) => Err(reason),
            Err(CommitError::Store(cause)) => return Err(TestCaseError::fail(cause.to_string())),
        };
        prop_assert_eq!(done, expected);
        self.told.push(format!("{done:?}"));
        self.logins[place].version = done.unwrap_or(self.logins[place].version);
        Ok(())
    }

    async fn complete(&mut self, place: usize, twin: bool) -> Checked {
        let Some(enrolment) = self.logins[place].enrolment else { return Ok(()) };
        let of = if twin { (place + 1) % LOGINS } else { place };
        let dedupe_tag = self.logins[of].credential.id.to_bytes().to_vec();
        // The lock is read before the row is tagged anew; every second time it is not.
        let login = &self.logins[place];
        let stands = self.world.records().credential(&self.world.tenant.id, &login.credential.id).await.expect("read");
        let credential = Credential {
            state: CredentialState::Active,
            secret_version: login.version,
            not_before: if login.version.is_multiple_of(2) {
                login.credential.not_before
            } else {
                stands.map_or(Timestamp::default(), |row| row.claimed.not_before)
            },
            dedupe_tag,
            ..login.credential.clone()
        };
        let entry = self.world.entry(EntryKind::Deposited);
        let tag = credential_tag(&credential, &entry);
        let complete = Operation::CompleteDeposit { enrolment, credential: credential.clone(), tag };
        if self.record(entry, complete).await?.is_some() {
            self.logins[place].credential = credential;
        }
        Ok(())
    }

    async fn request(&mut self, place: usize, per_day: u8) -> Checked {
        let now = self.world.clock.now();
        let login = &self.logins[place];
        let consent = Consent {
            id: ConsentId::from_parts(self.world.ms(), self.world.bytes()),
            tenant: self.world.tenant.id,
            subject: login.subject.id,
            credential: login.credential.id,
            recipient: self.world.recipient,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions, Scope::Accounts].into_iter().collect(),
            valid_from: now,
            valid_until: now.plus(Span::days(30)),
            history_from: now.minus(Span::days(90)),
            unattended_per_day: per_day,
            state: ConsentState::AwaitingAuthorisation,
        };
        let shown = columns::Shown { lapses_at: now.plus(Span::hours(1)), notice_digest: [6; 32], locale: Locale::Es };
        let entry = self.world.entry(EntryKind::ConsentRequested);
        let request = Operation::RequestConsent {
            tag: consent_tag(&consent, &shown, &entry),
            consent: consent.clone(),
            lapses_at: shown.lapses_at,
            notice_digest: shown.notice_digest,
            locale: shown.locale,
        };
        if self.record(entry, request).await?.is_some() {
            self.logins[place].consents.push(consent);
        }
        Ok(())
    }

    async fn grant(&mut self, place: usize) -> Checked {
        let Some(awaited) = self.logins[place].consents.last().cloned() else { return Ok(()) };
        let consent = Consent { state: ConsentState::Active, ..awaited };
        let row = self.world.records().consent(&consent.tenant, &consent.id).await.expect("read").expect("there");
        let entry = self.world.entry(EntryKind::ConsentGranted);
        let receipt = ReceiptId::from_parts(self.world.ms(), self.world.bytes());
        let grant = Operation::GrantConsent {
            tag: consent_tag(&consent, &row.shown(), &entry),
            consent,
            evidence: b"signed in the front end".to_vec(),
            receipt: (receipt, "e30.e30.c2ln".into()),
        };
        if self.record(entry, grant).await?.is_some() {
            self.logins[place].receipts = 1;
        }
        Ok(())
    }

    async fn end(&mut self, place: usize, expires: bool) -> Checked {
        let Some(consent) = self.logins[place].consents.last() else { return Ok(()) };
        let (kind, to) = match expires {
            true => (EntryKind::ConsentExpired, ConsentState::Expired),
            false => (EntryKind::ConsentRevoked, ConsentState::Revoked),
        };
        let end = Operation::EndConsent { tenant: consent.tenant, consent: consent.id, to };
        self.apply(kind, end).await.map(drop)
    }

    async fn receipt(&mut self, place: usize) -> Checked {
        let Some(consent) = self.logins[place].consents.last().map(|consent| consent.id) else { return Ok(()) };
        let receipt = Operation::Receipt {
            consent,
            receipt: ReceiptId::from_parts(self.world.ms(), self.world.bytes()),
            seq: self.logins[place].receipts + 1,
            state: ConsentState::Active,
            jws: "e30.e30.c2ln".into(),
        };
        if self.apply(EntryKind::ReceiptIssued, receipt).await?.is_some() {
            self.logins[place].receipts += 1;
        }
        Ok(())
    }
}

/// The tenant of a list.
fn tenant(number: u64) -> Tenant {
    let mut random = [1; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Tenant {
        id: TenantId::from_parts(1, random),
        slug: Slug::try_from(format!("t{number}").as_str()).expect("slug"),
        legal_name: "Acme SGIIC".into(),
        state: TenantState::Active,
        home_region: Slug::try_from(crate::world::REGION).expect("slug"),
        tenant_key_id: [5; 16],
    }
}
