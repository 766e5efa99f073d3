//! What a case changes, as it stands in the file, and how it is applied. Unknown keys and unknown words are errors.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::job::Job;
use cofre_model::registry::{InstitutionState, LockdownScope, TenantState, WorkerState};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Class, Form, Purpose, ScopeSet};
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, JobFault, LeaseFacts, Repeat};
use serde::Deserialize;

use crate::facts::{
    OTHER, OWN, asked, at, credential, institution, job, recipient, request, slug, subject, tenant, worker,
};

macro_rules! changes {
    ($($name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name { $(pub $field: Option<$kind>,)* }
    )*};
}

changes! {
    Change {
        now: String, clock_trusted: bool, lockdown: String, worker: WorkerChange, request: RequestChange,
        tenant: TenantChange, job: JobChange, credential: CredentialChange, institution: InstitutionChange,
        template: TemplateChange, consent: ConsentChange, attendance: AttendanceChange, lease: LeaseChange,
    }
    WorkerChange { known: bool, state: String, name: String, tenant: Which, institution: String, crossed: bool, }
    RequestChange { made_at: String, repeat: String, class: String, fields: Vec<FieldChange>, padding_fields: usize, }
    TenantChange { known: bool, state: String, home_region: String, }
    JobChange {
        fault: String, worker: Which, tenant: Which, credential: Which, deadline: String, scopes: String,
        recipient: Which, history_from: String,
    }
    CredentialChange { evidence: String, tenant: Which, state: String, secret_version: u32, not_before: String, }
    InstitutionChange { known: bool, state: String, }
    TemplateChange { known: bool, version: u32, }
    ConsentChange {
        evidence: String, state: String, tenant: Which, subject: Which, credential: Which, purpose: String,
        valid_from: String, valid_until: String, unattended_per_day: u8,
    }
    AttendanceChange {
        kind: String, granted_last_day: u32, last_at: String, used: bool, issued_at: String, tenant: Which,
        owner: Which, credential: Which,
    }
    LeaseChange { job: Which, worker: Which, seal_key: Which, attendance: String, until: String, }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldChange {
    key: String,
    form: String,
    #[serde(default)]
    positions: Vec<u16>,
}

/// Whose: the release's own, or somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Which {
    Own,
    Other,
}

impl Which {
    fn number(self) -> u8 {
        match self {
            Self::Own => OWN,
            Self::Other => OTHER,
        }
    }
}

fn put<T, U>(place: &mut T, change: Option<U>, read: impl FnOnce(U) -> T) {
    if let Some(change) = change {
        *place = read(change);
    }
}

fn time(text: String) -> Timestamp {
    at(&text)
}

impl Change {
    pub(crate) fn apply(self, facts: &mut Facts) {
        if let Some(text) = self.now {
            move_to(facts, at(&text));
        }
        put(&mut facts.clock_trusted, self.clock_trusted, |trusted| trusted);
        put(&mut facts.lockdown, self.lockdown, |text| Some(LockdownScope::from_text(&text).expect("lockdown")));
        self.worker.unwrap_or_default().apply(facts);
        self.request.unwrap_or_default().apply(facts);
        self.tenant.unwrap_or_default().apply(facts);
        self.credential.unwrap_or_default().apply(facts);
        self.institution.unwrap_or_default().apply(facts);
        self.template.unwrap_or_default().apply(facts);
        self.consent.unwrap_or_default().apply(facts);
        self.attendance.unwrap_or_default().apply(facts);
        self.job.unwrap_or_default().apply(facts);
        if let Some(lease) = self.lease {
            lease.apply(facts);
        }
    }
}

/// The same release at another instant: request, presence and deadline move along.
fn move_to(facts: &mut Facts, now: Timestamp) {
    facts.now = now;
    facts.request.id = request(now.minus(Span::secs(1)));
    facts.job.as_mut().expect("a job").deadline = now.plus(Span::minutes(10));
    if let AttendanceFacts::Attended { statement, .. } = &mut facts.attendance {
        statement.issued_at = now.minus(Span::minutes(1));
    }
}

impl WorkerChange {
    fn apply(self, facts: &mut Facts) {
        let row = facts.worker.as_mut().expect("a worker");
        put(&mut row.state, self.state, |text| WorkerState::from_text(&text).expect("worker state"));
        put(&mut row.id, self.name, |name| worker(&name));
        let (own, here) = (tenant(OWN), institution("ins_banco-abierto"));
        put(&mut row.scopes, self.tenant, |which| vec![(tenant(which.number()), here.clone())]);
        put(&mut row.scopes, self.institution, |text| vec![(own, institution(&text))]);
        put(&mut row.scopes, self.crossed, |_| vec![(own, institution("ins_banco-otro")), (tenant(OTHER), here)]);
        if self.known == Some(false) {
            facts.worker = None;
        }
    }
}

impl RequestChange {
    fn apply(self, facts: &mut Facts) {
        let row = &mut facts.request;
        put(&mut row.id, self.made_at, |text| request(at(&text)));
        put(&mut row.class, self.class, |text| Class::from_text(&text).expect("class"));
        put(&mut row.repeat, self.repeat, |text| match text.as_str() {
            "NEW" => Repeat::New,
            "SAME" => Repeat::Same { first: 41 },
            "OTHER" => Repeat::Other,
            other => panic!("repeat {other}"),
        });
        put(&mut row.fields, self.fields, |fields| {
            let form = |text: &str| Form::from_text(text).expect("form");
            fields.iter().map(|field| asked(&field.key, form(&field.form), &field.positions)).collect()
        });
        put(&mut row.fields, self.padding_fields, |count| {
            (0..count).map(|at| asked(&format!("f{at}"), Form::Full, &[])).collect()
        });
    }
}

impl TenantChange {
    fn apply(self, facts: &mut Facts) {
        let row = facts.tenant.as_mut().expect("a tenant");
        put(&mut row.state, self.state, |text| TenantState::from_text(&text).expect("tenant state"));
        put(&mut row.home_region, self.home_region, |text| slug(&text));
        if self.known == Some(false) {
            facts.tenant = None;
        }
    }
}

impl JobChange {
    fn apply(self, facts: &mut Facts) {
        let row: &mut Job = facts.job.as_mut().expect("a job");
        put(&mut row.worker, self.worker, |_| worker("w2").to_string());
        put(&mut row.tenant, self.tenant, |which| tenant(which.number()));
        put(&mut row.credential, self.credential, |which| credential(which.number()));
        put(&mut row.deadline, self.deadline, time);
        put(&mut row.scopes, self.scopes, |text| ScopeSet::from_text(&text).expect("scopes"));
        put(&mut row.recipient, self.recipient, |which| recipient(which.number()));
        put(&mut row.history_from, self.history_from, time);
        put(&mut facts.job, self.fault, |text| match text.as_str() {
            "KEY" => Err(JobFault::Key),
            "SIGNATURE" => Err(JobFault::Signature),
            other => panic!("fault {other}"),
        });
    }
}

fn evidence<T>(place: &mut Evidence<T>, change: Option<String>) {
    put(place, change, |text| match text.as_str() {
        "ABSENT" => Evidence::Absent,
        "FORGED" => Evidence::Forged,
        other => panic!("evidence {other}"),
    });
}

pub(crate) fn credential_of(facts: &mut Facts) -> &mut Credential {
    let Evidence::Genuine(row) = &mut facts.credential else { panic!("no credential") };
    row
}

pub(crate) fn consent_of(facts: &mut Facts) -> &mut Consent {
    let Evidence::Genuine(row) = &mut facts.consent else { panic!("no consent") };
    row
}

impl CredentialChange {
    fn apply(self, facts: &mut Facts) {
        let row = credential_of(facts);
        put(&mut row.tenant, self.tenant, |which| tenant(which.number()));
        put(&mut row.state, self.state, |text| CredentialState::from_text(&text).expect("credential state"));
        put(&mut row.secret_version, self.secret_version, |version| version);
        put(&mut row.not_before, self.not_before, time);
        evidence(&mut facts.credential, self.evidence);
    }
}

impl InstitutionChange {
    fn apply(self, facts: &mut Facts) {
        let row = facts.institution.as_mut().expect("an institution");
        put(&mut row.state, self.state, |text| InstitutionState::from_text(&text).expect("institution state"));
        if self.known == Some(false) {
            facts.institution = None;
        }
    }
}

impl TemplateChange {
    fn apply(self, facts: &mut Facts) {
        put(&mut facts.template.as_mut().expect("a template").version, self.version, |version| version);
        if self.known == Some(false) {
            facts.template = None;
        }
    }
}

impl ConsentChange {
    fn apply(self, facts: &mut Facts) {
        let row = consent_of(facts);
        put(&mut row.state, self.state, |text| ConsentState::from_text(&text).expect("consent state"));
        put(&mut row.tenant, self.tenant, |which| tenant(which.number()));
        put(&mut row.subject, self.subject, |which| subject(which.number()));
        put(&mut row.credential, self.credential, |which| credential(which.number()));
        put(&mut row.purpose, self.purpose, |text| Purpose::from_text(&text).expect("purpose"));
        put(&mut row.valid_from, self.valid_from, time);
        put(&mut row.valid_until, self.valid_until, time);
        put(&mut row.unattended_per_day, self.unattended_per_day, |count| count);
        evidence(&mut facts.consent, self.evidence);
    }
}

impl AttendanceChange {
    fn apply(self, facts: &mut Facts) {
        match self.kind.as_deref() {
            Some("UNATTENDED") => {
                facts.attendance = AttendanceFacts::Unattended {
                    granted_last_day: self.granted_last_day.unwrap_or(0),
                    last_at: self.last_at.map(time),
                };
            }
            Some("INVALID") => facts.attendance = AttendanceFacts::Invalid,
            None | Some("ATTENDED") => {
                let AttendanceFacts::Attended { statement, used } = &mut facts.attendance else { panic!("unattended") };
                put(used, self.used, |again| again);
                put(&mut statement.issued_at, self.issued_at, time);
                put(&mut statement.tenant, self.tenant, |which| tenant(which.number()));
                put(&mut statement.owner, self.owner, |which| subject(which.number()));
                put(&mut statement.credential, self.credential, |which| credential(which.number()));
            }
            Some(other) => panic!("attendance {other}"),
        }
    }
}

impl LeaseChange {
    fn apply(self, facts: &mut Facts) {
        let other = |which: Option<Which>| which == Some(Which::Other);
        facts.lease = Some(LeaseFacts {
            job: job(self.job.map_or(OWN, Which::number)),
            worker: worker(if other(self.worker) { "w2" } else { "w1" }).to_string(),
            seal_key_digest: if other(self.seal_key) { [6; 32] } else { facts.request.seal_key_digest },
            since: facts.now.minus(Span::minutes(1)),
            attendance: match self.attendance.as_deref() {
                None | Some("UNATTENDED") => Attendance::Unattended,
                Some("ATTENDED") => Attendance::Attended,
                Some(other) => panic!("attendance {other}"),
            },
            until: self.until.map_or(facts.now.plus(Span::minutes(1)), time),
        });
    }
}
