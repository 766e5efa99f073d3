//! The release every test starts from: everything in it is right. `policies/cases/README.md` tells it in words.

use std::path::PathBuf;

use cofre_model::caller::SpiffeId;
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState, FieldKey, FieldRequest};
use cofre_model::entry::{CallerRef, Epochs};
use cofre_model::id::{
    AttendanceId, ConsentId, CredentialId, InstitutionId, JobId, RecipientId, RequestId, Slug, SubjectId, TenantId,
};
use cofre_model::job::{AttendanceStatement, Job};
use cofre_model::registry::{
    Institution, InstitutionState, Template, TemplateField, Tenant, TenantState, Worker, WorkerState,
};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Class, Form, Purpose, Scope, ScopeSet};
use cofre_policy::Rules;
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, Repeat, RequestFacts};

pub(crate) const DOMAIN: &str = "cofre.test";
pub(crate) const OWN: u8 = 1;
pub(crate) const OTHER: u8 = 2;

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("RFC 3339")
}

pub(crate) fn now() -> Timestamp {
    at("2026-05-04T10:00:00Z")
}

macro_rules! own_or_other {
    ($($name:ident -> $id:ident;)*) => {$(
        pub(crate) fn $name(which: u8) -> $id {
            $id::from_parts(1_777_000_000_000, [which; 10])
        }
    )*};
}
own_or_other! {
    tenant -> TenantId;
    subject -> SubjectId;
    recipient -> RecipientId;
    credential -> CredentialId;
    consent -> ConsentId;
    job -> JobId;
    presence -> AttendanceId;
}

pub(crate) fn request(made_at: Timestamp) -> RequestId {
    RequestId::from_parts(made_at.millis(), [OWN; 10])
}

pub(crate) fn institution(text: &str) -> InstitutionId {
    InstitutionId::try_from(text).expect("institution id")
}

pub(crate) fn worker(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://{DOMAIN}/worker/pool-a/{name}"), DOMAIN).expect("identity")
}

pub(crate) fn slug(text: &str) -> Slug {
    Slug::try_from(text).expect("slug")
}

pub(crate) fn asked(key: &str, form: Form, positions: &[u16]) -> FieldRequest {
    FieldRequest { key: FieldKey::try_from(key).expect("key"), form, positions: positions.to_vec() }
}

pub(crate) fn permitting() -> Facts {
    let scopes: ScopeSet = [Scope::Positions].into_iter().collect();
    Facts {
        now: now(),
        clock_trusted: true,
        region: slug("eu-nl"),
        epochs: Epochs { cell: 1, policy: 2, tenant: 3, institution: 4, worker: 5, credential: 6 },
        entry_id: [9; 16],
        caller: CallerRef { identity: worker("w1").to_string(), fingerprint: [7; 32] },
        request: RequestFacts {
            id: request(now().minus(Span::secs(1))),
            digest: [3; 32],
            seal_key_digest: [4; 32],
            class: Class::Login,
            fields: vec![asked("user", Form::Full, &[]), asked("password", Form::Full, &[])],
            repeat: Repeat::New,
        },
        worker: Some(Worker {
            id: worker("w1"),
            state: WorkerState::Enabled,
            scopes: vec![(tenant(OWN), institution("ins_banco-abierto"))],
        }),
        lockdown: None,
        tenant: Some(Tenant {
            id: tenant(OWN),
            slug: slug("acme"),
            legal_name: "Acme Patrimonios".into(),
            state: TenantState::Active,
            home_region: slug("eu-nl"),
            tenant_key_id: [5; 16],
        }),
        tenant_key_version: 8,
        tenant_warm_for: Span::secs(300),
        statements_until: now().plus(Span::days(365)),
        job: Ok(Job {
            id: job(OWN),
            tenant: tenant(OWN),
            credential: credential(OWN),
            worker: worker("w1").to_string(),
            purpose: Purpose::WealthAggregation,
            scopes,
            recipient: recipient(OWN),
            history_from: at("2024-06-01T00:00:00Z"),
            deadline: at("2026-05-04T10:10:00Z"),
        }),
        credential: Evidence::Genuine(Credential {
            id: credential(OWN),
            tenant: tenant(OWN),
            institution: institution("ins_banco-abierto"),
            template_version: 1,
            owner: subject(OWN),
            state: CredentialState::Active,
            secret_version: 4,
            not_before: Timestamp::default(),
            dedupe_tag: vec![1; 32],
        }),
        institution: Some(Institution {
            id: institution("ins_banco-abierto"),
            name: "Banco Abierto".into(),
            country: "ES".into(),
            state: InstitutionState::Enabled,
            lockout_threshold: 3,
            unattended_from: 360,
            unattended_to: 1320,
        }),
        template: Some(template()),
        consent: Evidence::Genuine(Consent {
            id: consent(OWN),
            tenant: tenant(OWN),
            subject: subject(OWN),
            credential: credential(OWN),
            recipient: recipient(OWN),
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Accounts, Scope::Positions].into_iter().collect(),
            valid_from: at("2026-01-01T00:00:00Z"),
            valid_until: at("2026-10-31T00:00:00Z"),
            history_from: at("2024-01-01T00:00:00Z"),
            unattended_per_day: 2,
            state: ConsentState::Active,
        }),
        attendance: AttendanceFacts::Attended {
            statement: AttendanceStatement {
                id: presence(OWN),
                tenant: tenant(OWN),
                owner: subject(OWN),
                credential: credential(OWN),
                issued_at: now().minus(Span::minutes(1)),
            },
            used: false,
        },
        releases_last_hour: 0,
        lease: None,
    }
}

/// The same with nobody present and no visit in the last day.
pub(crate) fn unattended() -> Facts {
    Facts { attendance: AttendanceFacts::Unattended { granted_last_day: 0, last_at: None }, ..permitting() }
}

fn template() -> Template {
    let field = |key: &str, signing_factor, release_form| TemplateField {
        key: FieldKey::try_from(key).expect("key"),
        pattern: ".+".into(),
        required: true,
        secret: true,
        signing_factor,
        identifies: false,
        release_form,
    };
    Template {
        institution: institution("ins_banco-abierto"),
        version: 1,
        fields: vec![
            field("user", false, Form::Full),
            field("password", false, Form::Full),
            field("card", false, Form::Positions),
            field("signature", true, Form::Full),
        ],
    }
}

/// The folder with the shipped policies.
pub(crate) fn policies_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

/// The shipped files as the server reads them.
pub(crate) fn shipped_files() -> Vec<(String, String)> {
    cofre_policy::bundle::read_dir(&policies_dir()).expect("the shipped folder reads")
}

/// The shipped set.
pub(crate) fn shipped() -> Rules {
    Rules::from_files(&shipped_files()).expect("the shipped set loads")
}

/// The shipped schema with these policies instead.
pub(crate) fn with_policies(policies: &str) -> Result<Rules, cofre_policy::PolicyError> {
    let mut files = shipped_files();
    files.retain(|(name, _)| name.ends_with(".cedarschema"));
    files.push(("own.cedar".into(), policies.into()));
    Rules::from_files(&files)
}
