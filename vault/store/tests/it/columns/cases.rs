//! A deployment in which many must not have a login, each for a reason of its own, and one may.

use std::collections::BTreeMap;

use cofre_ledger::signed::{encode_job, signing_input, verify_job};
use cofre_model::caller::SpiffeId;
use cofre_model::credential::{Credential, FieldKey, FieldRequest};
use cofre_model::entry::EntryKind;
use cofre_model::id::{ErasureId, InstitutionId, RecipientId, SigningKeyId, Slug, TenantId};
use cofre_model::job::{SignedStatement, SigningKey, StatementKind};
use cofre_model::registry::*;
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::{Form, Outcome};
use cofre_policy::decision::Decision;
use cofre_policy::facts::{Facts, JobFault};
use cofre_store::{Error, Lockdown, Operation, Stores};
use ed25519_dalek::{Signer as _, SigningKey as Secret};

use crate::world::{Ask, REGION, WORKER, World, told};

/// Serves another tenant.
const OTHER: &str = "spiffe://cofre.test/worker/pool-b/w2";
/// Was quarantined.
const SICK: &str = "spiffe://cofre.test/worker/pool-a/w3";
/// Was never registered.
pub(super) const STRANGER: &str = "spiffe://cofre.test/worker/pool-a/w4";

/// A key that signs, as its holder has it.
#[derive(Clone)]
pub(super) struct Key {
    id: SigningKeyId,
    secret: Secret,
}

/// Somebody who asks for a login, and what it comes to while nobody has edited anything.
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) reason: &'static str,
    /// As whose tenant, at which institution.
    of: &'static str,
    ask: Ask,
    by: Key,
    also: Option<FieldRequest>,
}

/// The deployment: its tenants with an institution each, over one set of stores.
pub(super) struct Deployment {
    views: BTreeMap<&'static str, (World, Key)>,
    pub(super) cases: Vec<Case>,
    pub(super) allowed: Case,
}

impl Deployment {
    pub(super) fn north(&self) -> &World {
        &self.views["north"].0
    }

    async fn facts(&self, case: &Case) -> Result<Facts, Error> {
        let world = &self.views[case.of].0;
        let mut facts = world.try_facts(&case.ask).await?;
        // The world takes its jobs for signed; here they are, and are verified as the rows say.
        let job = facts.job.clone().expect("a job");
        let statement = encode_job(&job);
        let signature = case.by.secret.sign(&signing_input(StatementKind::Job, &statement)).to_bytes();
        let signed = SignedStatement { key_id: case.by.id, statement, signature };
        let key = world.records().signing_key(&case.by.id).await?;
        let verified = |key: SigningKey| verify_job(&signed, &key, facts.now).map_err(|_| JobFault::Signature);
        facts.job = key.ok_or(JobFault::Key).and_then(verified);
        facts.request.fields.extend(case.also.clone());
        Ok(facts)
    }

    /// What asking comes to. A grant is committed, so that the commit has its say as well.
    pub(super) async fn came(&self, case: &Case) -> String {
        let world = &self.views[case.of].0;
        match self.facts(case).await.map(|facts| world.decide(&facts)) {
            Err(cause) => format!("unreadable: {cause}"),
            Ok(Decision::Deny(denial)) => denial.reason.to_string(),
            Ok(permit) => told(&world.records().commit(permit).await.expect("commit")),
        }
    }

    /// Whether it would be granted; nothing is committed.
    pub(super) async fn would(&self, case: &Case) -> bool {
        let world = &self.views[case.of].0;
        self.facts(case).await.is_ok_and(|facts| matches!(world.decide(&facts), Decision::Permit(_)))
    }
}

fn secret(number: u8) -> Secret {
    Secret::from_bytes(&[number; 32])
}

fn tenant_of(world: &World, number: u8, slug: &str) -> Tenant {
    let id = TenantId::from_parts(world.ms(), [number; 10]);
    Tenant { id, slug: Slug::try_from(slug).expect("slug"), ..world.tenant.clone() }
}

fn institution_of(id: &str) -> Institution {
    Institution {
        id: InstitutionId::try_from(id).expect("id"),
        name: format!("Banco {id}"),
        country: "ES".into(),
        state: InstitutionState::Enabled,
        lockout_threshold: 3,
        unattended_from: 0,
        unattended_to: 1_440,
    }
}

fn worker(id: &str, scopes: &[(TenantId, &InstitutionId)]) -> Operation {
    Operation::PutWorker(Worker {
        id: SpiffeId::parse(id, "cofre.test").expect("identity"),
        state: WorkerState::Enabled,
        scopes: scopes.iter().map(|(tenant, institution)| (*tenant, (*institution).clone())).collect(),
    })
}

fn put_tenant(tenant: Tenant, recipient: RecipientId) -> Operation {
    let recipients = vec![Recipient { id: recipient, tenant: tenant.id, name: "Asesor".into() }];
    Operation::PutTenant {
        tenant,
        key_version: 1,
        custody_set: None,
        warm_for: Span::secs(300),
        signing_keys: Vec::new(),
        recipients,
    }
}

impl World {
    /// The same stores, as another tenant at another institution. `number` keeps what both make apart.
    fn beside(&self, number: u8, tenant: Tenant, institution: &Institution) -> Self {
        let stores = Stores {
            records: self.stores.records.clone(),
            ciphertexts: self.stores.ciphertexts.clone(),
            keyring: self.stores.keyring.clone(),
        };
        let folder = tempfile::tempdir().expect("folder");
        let recipient = RecipientId::from_parts(self.ms(), [number; 10]);
        let (clock, institution) = (self.clock.clone(), institution.id.clone());
        let world = Self::rebuilt(folder, clock, stores, tenant, institution, recipient, self.job_key);
        for _ in 0..u32::from(number) * 1_000 {
            world.bytes::<16>();
        }
        world
    }

    async fn key(&self, number: u8, kind: StatementKind, days: u64) -> Key {
        let id = SigningKeyId::from_parts(self.ms(), [number; 10]);
        let public_key = secret(number).verifying_key().to_bytes();
        let not_after = self.clock.now().plus(Span::days(days));
        let key = SigningKey { id, tenant: self.tenant.id, kind, public_key, not_after };
        self.apply(EntryKind::TenantPut, Operation::PutSigningKey(key)).await.expect("key");
        Key { id, secret: secret(number) }
    }

    async fn granted(&self, credential: &Credential) -> Ask {
        let ask = self.attended(credential);
        assert_eq!(told(&self.once(&ask).await), "GRANTED");
        ask
    }
}

/// A form with a field that signs orders and one of which only a code may leave.
fn signing_form(north: &World, institution: &Institution) -> Template {
    let mut form = Template { institution: institution.id.clone(), ..north.template(1) };
    for (name, signing_factor, release_form) in [("signature", true, Form::Full), ("seed", false, Form::Code)] {
        let like = form.fields[1].clone();
        let key = FieldKey::try_from(name).expect("key");
        form.fields.push(TemplateField { key, signing_factor, release_form, required: false, ..like });
    }
    form
}

/// Tenants and institutions, all of them served at first.
async fn views() -> BTreeMap<&'static str, (World, Key)> {
    let north = World::new().await;
    let [closing, signing] = ["ins_banco-cerrado", "ins_banco-firma"].map(institution_of);
    for institution in [&closing, &signing] {
        let put = Operation::PutInstitution(institution.clone());
        north.apply(EntryKind::InstitutionPut, put).await.expect("institution");
    }
    let form = Template { institution: closing.id.clone(), ..north.template(1) };
    for form in [form, signing_form(&north, &signing)] {
        north.apply(EntryKind::TemplatePut, Operation::PutTemplate(form)).await.expect("template");
    }
    let open = Institution { id: north.institution.clone(), ..institution_of("ins_banco-abierto") };
    let mut views = BTreeMap::new();
    for (number, slug) in [(21, "south"), (22, "shut"), (23, "abroad")] {
        let view = north.beside(number, tenant_of(&north, number, slug), &open);
        let put = put_tenant(view.tenant.clone(), view.recipient);
        view.apply(EntryKind::TenantPut, put).await.expect("tenant");
        let key = view.key(number, StatementKind::Job, 365).await;
        views.insert(slug, (view, key));
    }
    for (number, name, institution) in [(24, "closing", &closing), (25, "signing", &signing)] {
        let mut view = north.beside(number, north.tenant.clone(), institution);
        view.recipient = north.recipient;
        let key = view.key(number, StatementKind::Job, 365).await;
        views.insert(name, (view, key));
    }
    let tenant = |name: &str| views[name].0.tenant.id;
    let ours = north.tenant.id;
    let mut scopes = vec![(ours, &open.id), (ours, &closing.id), (ours, &signing.id)];
    scopes.extend([(tenant("shut"), &open.id), (tenant("abroad"), &open.id)]);
    for put in [worker(WORKER, &scopes), worker(OTHER, &[(tenant("south"), &open.id)]), worker(SICK, &scopes[..1])] {
        north.apply(EntryKind::WorkerPut, put).await.expect("worker");
    }
    let activated = Operation::PolicyActivated { digest: [1; 32] };
    north.apply(EntryKind::PolicyActivated, activated).await.expect("policies");
    let job = Operation::OpenKeyJob(north.key_job("any_of(hsm-2)"));
    north.apply(EntryKind::KeyJobOpened, job).await.expect("a job over keys");
    let count = Operation::CountKeys { subject: "hsm-1".into(), remaining: 1, statement: vec![1; 64] };
    north.apply(EntryKind::KeysCounted, count).await.expect("counted");
    let key = north.key(20, StatementKind::Job, 365).await;
    views.insert("north", (north, key));
    views
}

/// Everybody who asks.
struct Asking {
    views: BTreeMap<&'static str, (World, Key)>,
    cases: Vec<Case>,
}

impl Asking {
    fn of(&self, view: &str) -> &World {
        &self.views[view].0
    }

    fn case(&self, of: &'static str, what: &'static str, reason: &'static str, ask: Ask) -> Case {
        Case { what, reason, of, ask, by: self.views[of].1.clone(), also: None }
    }

    fn put(&mut self, of: &'static str, what: &'static str, reason: &'static str, ask: Ask) {
        let case = self.case(of, what, reason, ask);
        self.cases.push(case);
    }

    /// Logins that may not be used, each for another reason.
    async fn logins(&mut self) {
        let north = self.of("north");
        let (revoked, consent) = north.releasable(4).await;
        north.revoke(&consent).await.expect("revoke");
        let (stopped, _) = north.releasable(4).await;
        let lockdown = Operation::Lockdown(Lockdown::Credential(stopped.id));
        north.apply(EntryKind::Lockdown, lockdown).await.expect("lockdown");
        let (erased, _) = north.releasable(4).await;
        let erasure = ErasureId::from_parts(north.ms(), north.bytes());
        let accept = Operation::AcceptErasure { erasure, tenant: north.tenant.id, subject: erased.owner };
        north.apply(EntryKind::ErasureAccepted, accept).await.expect("erasure");
        let (rejected, _) = north.releasable(4).await;
        north.report(&north.granted(&rejected).await, Outcome::WrongSecret).await.expect("report");
        let (locked, _) = north.releasable(4).await;
        let row = Credential { not_before: north.clock.now().plus(Span::hours(2)), ..locked.clone() };
        north.lock(&north.granted(&locked).await, &row).await.expect("locked");
        let unasked = north.login().await;
        let awaiting = north.login().await;
        north.request_consent(&awaiting, 4).await.expect("request");
        let subject = north.subject();
        let blank = north.blank(subject.id);
        north.enrol(Some(subject), &blank).await.expect("enrolment");
        for (what, reason, credential) in [
            ("a consent that was revoked", "CONSENT_REVOKED", revoked),
            ("a login that was stopped", "LOCKDOWN", stopped),
            ("a person being erased", "CONSENT_REVOKED", erased),
            ("a secret that was wrong", "SECRET_REJECTED", rejected),
            ("a login its institution locked", "LOCKED_AT_INSTITUTION", locked),
            ("a login nobody was asked about", "CONSENT_MISSING", unasked),
            ("a consent that is awaited", "CONSENT_NOT_ACTIVE", awaiting),
            ("a login without a secret", "CREDENTIAL_ENROLLING", blank),
        ] {
            let ask = self.of("north").attended(&credential);
            self.put("north", what, reason, ask);
        }
    }

    /// Logins that were used, and may not be used so again.
    async fn uses(&mut self) {
        let north = self.of("north");
        let (leased, _) = north.releasable(4).await;
        north.granted(&leased).await;
        let leased = north.attended(&leased);
        let (seen, _) = north.releasable(4).await;
        let first = north.granted(&seen).await;
        north.report(&first, Outcome::Ok).await.expect("report");
        let seen = Ask { attendance: first.attendance.clone(), ..north.ask(seen.id) };
        let replayed = Ask { digest: north.bytes(), ..first };
        let (often, _) = north.releasable(1).await;
        let first = north.ask(often.id);
        assert_eq!(told(&north.once(&first).await), "GRANTED");
        north.report(&first, Outcome::Ok).await.expect("report");
        let often = north.ask(often.id);
        self.put("north", "a login somebody holds", "LEASE_HELD", leased);
        self.put("north", "a presence used before", "ATTENDANCE_INVALID", seen);
        self.put("north", "a request used before", "REPLAY", replayed);
        self.put("north", "a visit too many", "FREQUENCY_EXCEEDED", often);
    }

    /// Whoever may not have a login that another may, and what is not served.
    async fn others(&mut self, credential: &Credential) {
        let by = |ask: Ask, worker: &str| Ask { worker: worker.into(), ..ask };
        let (north, south) = (self.of("north"), self.of("south"));
        let (theirs, _) = south.releasable(4).await;
        let asks = [OTHER, SICK, STRANGER].map(|worker| by(north.attended(credential), worker));
        let theirs = south.attended(&theirs);
        let foreign = by(south.attended(credential), OTHER);
        let [other, sick, stranger] = asks;
        self.put("north", "a worker of another tenant", "WORKER_NOT_ASSIGNED", other);
        self.put("north", "a worker that was quarantined", "WORKER_QUARANTINED", sick);
        self.put("north", "a worker nobody registered", "WORKER_QUARANTINED", stranger);
        self.put("south", "a tenant the worker does not serve", "WORKER_NOT_ASSIGNED", theirs);
        self.put("south", "another tenant's login", "CREDENTIAL_NOT_FOUND", foreign);
        for (of, what, reason) in [
            ("shut", "a tenant that was suspended", "TENANT_SUSPENDED"),
            ("abroad", "a tenant of another region", "WRONG_REGION"),
            ("closing", "an institution that was suspended", "INSTITUTION_SUSPENDED"),
        ] {
            let (credential, _) = self.of(of).releasable(4).await;
            let ask = self.of(of).attended(&credential);
            self.put(of, what, reason, ask);
        }
        let (signing, _) = self.of("signing").releasable(4).await;
        for (what, name) in [("a field that signs orders", "signature"), ("more than a code of it", "seed")] {
            let key = FieldKey::try_from(name).expect("key");
            let case = self.case("signing", what, "FIELD_NOT_RELEASABLE", self.of("signing").attended(&signing));
            let also = Some(FieldRequest { key, form: Form::Full, positions: Vec::new() });
            self.cases.push(Case { also, ..case });
        }
    }

    /// Jobs that no scheduler of the tenant signed.
    async fn jobs(&mut self, credential: &Credential) {
        let north = self.of("north");
        let own = self.views["north"].1.clone();
        let ended = north.key(31, StatementKind::Job, 0).await;
        let present = north.key(32, StatementKind::Attendance, 365).await;
        let strange = Key { id: SigningKeyId::from_parts(north.ms(), [33; 10]), secret: secret(33) };
        let dressed = Key { id: own.id, secret: self.views["south"].1.secret.clone() };
        let theirs = self.views["south"].1.clone();
        for (what, by) in [
            ("a key past its end", ended),
            ("a key for presence", present),
            ("a key nobody registered", strange),
            ("another's signature under our key's name", dressed),
            ("another tenant's key", theirs),
        ] {
            let case = self.case("north", what, "JOB_INVALID", self.of("north").attended(credential));
            self.cases.push(Case { by, ..case });
        }
    }

    /// What was served is not any more.
    async fn close(&self) {
        let north = self.of("north");
        let (shut, abroad) = (self.of("shut"), self.of("abroad"));
        let suspended = Tenant { state: TenantState::Suspended, ..shut.tenant.clone() };
        let moved = Tenant { home_region: Slug::try_from("ch-zh").expect("slug"), ..abroad.tenant.clone() };
        assert_ne!(moved.home_region.as_str(), REGION);
        for (view, tenant) in [(shut, suspended), (abroad, moved)] {
            let put = put_tenant(tenant, view.recipient);
            view.apply(EntryKind::TenantPut, put).await.expect("changed");
        }
        let closed = Institution { state: InstitutionState::Suspended, ..institution_of("ins_banco-cerrado") };
        north.apply(EntryKind::InstitutionPut, Operation::PutInstitution(closed)).await.expect("closed");
        let quarantine = Operation::QuarantineWorker { worker: SICK.into() };
        north.apply(EntryKind::WorkerQuarantined, quarantine).await.expect("quarantined");
    }
}

/// Builds it. Every case comes to its reason.
pub(super) async fn deployment() -> Deployment {
    let mut asking = Asking { views: views().await, cases: Vec::new() };
    let (credential, _) = asking.of("north").releasable(4).await;
    asking.logins().await;
    asking.uses().await;
    asking.others(&credential).await;
    asking.jobs(&credential).await;
    asking.close().await;
    let allowed = asking.case("north", "its own worker", "GRANTED", asking.of("north").attended(&credential));
    let Asking { views, cases } = asking;
    Deployment { views, cases, allowed }
}
