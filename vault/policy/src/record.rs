//! Makes the ledger entry of a decision, and the grant or denial that carries it. Denials are recorded as fully as
//! grants, with one exception: while it is not established that the login is this worker's business, the entry says
//! what the worker said and the exact reason, but nothing of the rows that were looked up.

use cofre_model::consent::Consent;
use cofre_model::credential::Credential;
use cofre_model::entry::{Entry, EntryKind, Epochs, Verdict};
use cofre_model::job::Job;
use cofre_model::permit::ReleaseWarrant;
use cofre_model::registry::Tenant;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Attendance;

use crate::checks::{FRESH_FOR, MOST_FIELDS, REQUEST_WINDOW, Refusal, own_lease};
use crate::decision::{Denial, Grant, GrantTerms};
use crate::facts::{AttendanceFacts, Evidence, Facts, LeaseFacts, Repeat};
use crate::input::attendance;

/// The method whose calls are decided here.
const METHOD: &str = "cofre.v1.ReleaseService/Release";
/// How long a lease lives unless something it relies on ends first.
const LEASE: Span = Span::secs(120);
/// A used statement of presence is remembered this long beyond its own end.
const REMEMBER: Span = Span::minutes(15);

/// What a decision rests on, besides the facts.
#[derive(Debug)]
pub(crate) struct Basis {
    pub(crate) policy_digest: [u8; 32],
    pub(crate) rules: Vec<String>,
    pub(crate) policy_input: Vec<u8>,
}

/// The rows of a release that is this worker's business: its own job, for a login of the job's tenant.
struct Own<'a> {
    job: &'a Job,
    tenant: &'a Tenant,
    credential: &'a Credential,
}

impl<'a> Own<'a> {
    fn of(facts: &'a Facts) -> Option<Self> {
        let (Ok(job), Evidence::Genuine(credential), Some(tenant)) = (&facts.job, &facts.credential, &facts.tenant)
        else {
            return None;
        };
        let own = job.worker == facts.caller.identity
            && tenant.id == job.tenant
            && credential.tenant == job.tenant
            && credential.id == job.credential;
        own.then_some(Self { job, tenant, credential })
    }
}

/// The refusal with its entry.
pub(crate) fn denial(facts: &Facts, refusal: Refusal, basis: &Basis) -> Denial {
    let mut entry = said(EntryKind::Denied, facts, basis);
    entry.verdict = Some(Verdict::Denied);
    entry.reason = Some(refusal.reason);
    match Own::of(facts) {
        Some(own) => looked_up(&mut entry, facts, &own, basis),
        // Epochs of rows would tell that the rows exist.
        None => entry.epochs = Some(Epochs { institution: 0, credential: 0, ..facts.epochs }),
    }
    Denial { reason: refusal.reason, retry_at: refusal.retry_at, epochs: facts.epochs, entry }
}

/// The grant with its entry; nothing where a fact it needs is absent.
pub(crate) fn grant(facts: &Facts, basis: &Basis) -> Option<Grant> {
    let own = Own::of(facts)?;
    let Evidence::Genuine(consent) = &facts.consent else {
        return None;
    };
    let lease_until = lease_until(facts, own.job, consent);
    let (kind, redelivery_of) = match facts.request.repeat {
        Repeat::New => (EntryKind::Granted, None),
        Repeat::Same { first } => (EntryKind::Redelivered, Some(first)),
        Repeat::Other => return None,
    };
    let mut entry = said(kind, facts, basis);
    looked_up(&mut entry, facts, &own, basis);
    entry.verdict = Some(Verdict::Granted);
    entry.lease_until = Some(lease_until);
    entry.follows = redelivery_of;
    Some(Grant::new(GrantTerms {
        epochs: facts.epochs,
        not_after: not_after(facts, own.job, consent),
        tenant: own.tenant.id,
        credential: own.credential.id,
        job: own.job.id,
        request: facts.request.id,
        request_digest: facts.request.digest,
        seal_key_digest: facts.request.seal_key_digest,
        worker: facts.caller.identity.clone(),
        attendance: attendance(&facts.attendance),
        attendance_token: match &facts.attendance {
            AttendanceFacts::Attended { statement, .. } => {
                Some((statement.id, statement.issued_at.plus(FRESH_FOR).plus(REMEMBER)))
            }
            AttendanceFacts::Unattended { .. } | AttendanceFacts::Invalid => None,
        },
        redelivery_of,
        unattended_per_day: consent.unattended_per_day,
        lease_until,
        warrant: warrant(facts, &own, lease_until),
        entry,
    }))
}

fn warrant(facts: &Facts, own: &Own<'_>, lease_until: Timestamp) -> ReleaseWarrant {
    ReleaseWarrant {
        tenant: own.tenant.id,
        owner: own.credential.owner,
        credential: own.credential.id,
        class: facts.request.class,
        secret_version: own.credential.secret_version,
        tenant_key_id: own.tenant.tenant_key_id,
        worker: facts.caller.identity.clone(),
        request_digest: facts.request.digest,
        fields: facts.request.fields.clone(),
        lease_until,
    }
}

/// What was said: by the caller, and by the scheduler in a job whose signature held.
fn said(kind: EntryKind, facts: &Facts, basis: &Basis) -> Entry {
    let mut entry = Entry::new(kind, facts.entry_id);
    entry.caller = Some(facts.caller.clone());
    entry.method = Some(METHOD.into());
    entry.region = Some(facts.region.to_string());
    entry.class = Some(facts.request.class);
    entry.request_digest = Some(facts.request.digest);
    entry.fields =
        facts.request.fields.iter().take(MOST_FIELDS).map(|field| (field.key.to_string(), field.form)).collect();
    entry.policy_digest = Some(basis.policy_digest);
    entry.rules.clone_from(&basis.rules);
    entry.attendance = match facts.attendance {
        AttendanceFacts::Attended { .. } => Some(Attendance::Attended),
        AttendanceFacts::Unattended { .. } => Some(Attendance::Unattended),
        AttendanceFacts::Invalid => None,
    };
    if let Ok(job) = &facts.job {
        entry.tenant = Some(job.tenant);
        entry.credential = Some(job.credential);
        entry.job = Some(job.id);
        entry.purpose = Some(job.purpose);
        entry.scopes = job.scopes.clone();
    }
    entry
}

/// What was looked up.
fn looked_up(entry: &mut Entry, facts: &Facts, own: &Own<'_>, basis: &Basis) {
    entry.secret_version = Some(own.credential.secret_version);
    entry.owner = Some(own.credential.owner);
    entry.institution = Some(own.credential.institution.clone());
    entry.tenant_key = Some((own.tenant.tenant_key_id, facts.tenant_key_version));
    entry.epochs = Some(facts.epochs);
    entry.policy_input.clone_from(&basis.policy_input);
    if let Evidence::Genuine(consent) = &facts.consent {
        entry.consents = vec![consent.id];
    }
}

/// Asking again extends the lease, but never beyond the longest session; the commit holds that too.
fn lease_until(facts: &Facts, job: &Job, consent: &Consent) -> Timestamp {
    let session_ends = own_lease(facts).map_or(facts.now.plus(LeaseFacts::LONGEST), LeaseFacts::session_ends);
    facts.now.plus(LEASE).min(session_ends).min(job.deadline).min(consent.valid_until)
}

/// The least of all instants at which something the grant relies on ends.
fn not_after(facts: &Facts, job: &Job, consent: &Consent) -> Timestamp {
    let request_ends = Timestamp::from_millis(facts.request.id.unix_ms()).plus(REQUEST_WINDOW);
    let presence_ends = match &facts.attendance {
        AttendanceFacts::Attended { statement, .. } => Some(statement.issued_at.plus(FRESH_FOR)),
        AttendanceFacts::Unattended { .. } | AttendanceFacts::Invalid => window_ends(facts),
    };
    let least = consent.valid_until.min(job.deadline).min(request_ends).min(facts.statements_until);
    presence_ends.map_or(least, |ends| least.min(ends))
}

/// The end of the window in which the institution welcomes unattended visits, where now lies in one that ends.
fn window_ends(facts: &Facts) -> Option<Timestamp> {
    let institution = facts.institution.as_ref()?;
    let (from, to) = (institution.unattended_from, institution.unattended_to);
    let minute = facts.now.minute_of_day();
    let ends = (from, to) != (0, 1440) && from <= minute && minute < to;
    let midnight = Timestamp::from_secs(facts.now.secs() - facts.now.secs() % 86_400);
    ends.then(|| midnight.plus(Span::minutes(to.into())))
}
