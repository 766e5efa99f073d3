//! Registries and stop buttons.

use cofre_model::caller::SpiffeId;
use cofre_model::credential::FieldKey;
use cofre_model::id::{CredentialId, TenantId};
use cofre_model::job::StatementKind;
use cofre_model::registry::{Institution, InstitutionState, LockdownScope, Template, TemplateField};
use cofre_model::request::{Lockdown, PutTenant, PutWorker};
use cofre_model::time::Span;
use cofre_model::wording::Form;

use super::Malformed;
use super::common::{bytes, id, instant, institution, present, text, word};
use crate::v1;

/// Parses a tenant.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn put_tenant(wire: v1::PutTenantRequest) -> Result<PutTenant, Malformed> {
    if wire.signing_keys.len() > 16 || wire.recipients.len() > 64 {
        return Err(Malformed::new("signing_keys, recipients", "must be at most 16 and 64"));
    }
    let mut signing_keys = Vec::new();
    for (place, key) in wire.signing_keys.iter().enumerate() {
        let path = format!("signing_keys[{place}]");
        signing_keys.push((
            word(&format!("{path}.kind"), StatementKind::from_text(&key.kind))?,
            bytes(&format!("{path}.public_key"), &key.public_key)?,
            instant(&format!("{path}.not_after_us"), key.not_after_us)?,
        ));
    }
    let recipients = wire
        .recipients
        .into_iter()
        .enumerate()
        .map(|(place, name)| text(&format!("recipients[{place}]"), name, 120))
        .collect::<Result<_, _>>()?;
    // Eight custodians and their rules take no more.
    if wire.custody_set.len() > 640 {
        return Err(Malformed::new("custody_set", "must be any_of(…) or all_of(…) over at most eight custodians"));
    }
    if wire.warm_for_s.is_some_and(|seconds| seconds > 86_400) {
        return Err(Malformed::new("warm_for_s", "must be at most 86400"));
    }
    Ok(PutTenant {
        custody_set: Some(wire.custody_set).filter(|set| !set.is_empty()),
        warm_for: wire.warm_for_s.map(Span::secs),
        slug: id("slug", &wire.slug)?,
        legal_name: text("legal_name", wire.legal_name, 120)?,
        home_region: id("home_region", &wire.home_region)?,
        signing_keys,
        recipients,
    })
}

/// Parses an institution.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn put_institution(wire: v1::PutInstitutionRequest) -> Result<Institution, Malformed> {
    let minute = |field: &str, value: u32| {
        u16::try_from(value)
            .ok()
            .filter(|m| *m <= 1_440)
            .ok_or_else(|| Malformed::new(field, "must be a minute of the day, 0 to 1440"))
    };
    let lockout_threshold = u8::try_from(wire.lockout_threshold)
        .ok()
        .filter(|count| (1..=20).contains(count))
        .ok_or_else(|| Malformed::new("lockout_threshold", "must be 1 to 20"))?;
    if wire.country.len() != 2 || !wire.country.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Malformed::new("country", "must be an ISO 3166-1 alpha-2 code such as ES"));
    }
    Ok(Institution {
        id: institution("institution_id", &wire.institution_id)?,
        name: text("name", wire.name, 120)?,
        country: wire.country,
        state: if wire.suspended { InstitutionState::Suspended } else { InstitutionState::Enabled },
        lockout_threshold,
        unattended_from: minute("unattended_from", wire.unattended_from)?,
        unattended_to: minute("unattended_to", wire.unattended_to)?,
    })
}

/// Parses a login template; whether its patterns compile is judged by the use case.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn put_template(wire: v1::PutTemplateRequest) -> Result<Template, Malformed> {
    if wire.version == 0 {
        return Err(Malformed::new("version", "must be 1 or more"));
    }
    if wire.fields.is_empty() || wire.fields.len() > 16 {
        return Err(Malformed::new("fields", "must hold 1 to 16 fields"));
    }
    let mut fields: Vec<TemplateField> = Vec::new();
    for (place, field) in wire.fields.into_iter().enumerate() {
        let path = format!("fields[{place}]");
        let key = FieldKey::try_from(field.key.as_str())
            .map_err(|problem| Malformed::new(format!("{path}.key"), problem.to_string()))?;
        if fields.iter().any(|known| known.key == key) {
            return Err(Malformed::new(format!("{path}.key"), "must not repeat an earlier field"));
        }
        fields.push(TemplateField {
            key,
            pattern: text(&format!("{path}.pattern"), field.pattern, 200)?,
            required: field.required,
            secret: field.secret,
            signing_factor: field.signing_factor,
            identifies: field.identifies,
            release_form: word(&format!("{path}.release_form"), Form::from_number(field.release_form))?,
        });
    }
    Ok(Template { institution: institution("institution_id", &wire.institution_id)?, version: wire.version, fields })
}

/// A template field for the wire.
#[must_use]
pub fn template_field(field: &TemplateField) -> v1::TemplateField {
    v1::TemplateField {
        key: field.key.to_string(),
        pattern: field.pattern.clone(),
        required: field.required,
        secret: field.secret,
        signing_factor: field.signing_factor,
        identifies: field.identifies,
        release_form: field.release_form.number(),
    }
}

/// Parses the identity of a worker in `trust_domain`.
///
/// # Errors
/// [`Malformed`] naming `spiffe_id`.
pub fn worker(spiffe_id: &str, trust_domain: &str) -> Result<SpiffeId, Malformed> {
    let identity =
        SpiffeId::parse(spiffe_id, trust_domain).map_err(|problem| Malformed::new("spiffe_id", problem.to_string()))?;
    if identity.role() != cofre_model::caller::Role::Worker {
        return Err(Malformed::new("spiffe_id", "must be a worker's: spiffe://<trust domain>/worker/<pool>/<name>"));
    }
    Ok(identity)
}

/// Parses a worker, whose identity must lie in `trust_domain` and be a worker's.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn put_worker(wire: &v1::PutWorkerRequest, trust_domain: &str) -> Result<PutWorker, Malformed> {
    let identity = worker(&wire.spiffe_id, trust_domain)?;
    if wire.scopes.len() > 256 {
        return Err(Malformed::new("scopes", "must be at most 256"));
    }
    let mut scopes = Vec::new();
    for (place, scope) in wire.scopes.iter().enumerate() {
        scopes.push((
            id::<TenantId>(&format!("scopes[{place}].tenant_id"), &scope.tenant_id)?,
            institution(&format!("scopes[{place}].institution_id"), &scope.institution_id)?,
        ));
    }
    Ok(PutWorker { id: identity, scopes })
}

/// Parses a stop button.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn lockdown(wire: v1::LockdownRequest) -> Result<Lockdown, Malformed> {
    use v1::lockdown_request::Scope as Wire;
    let (scope, target) = match present("scope", wire.scope)? {
        Wire::Platform(true) => (LockdownScope::Platform, String::new()),
        Wire::Platform(false) => return Err(Malformed::new("platform", "must be true, or name what to lock")),
        Wire::TenantId(text) => (LockdownScope::Tenant, id::<TenantId>("tenant_id", &text)?.to_string()),
        Wire::InstitutionId(text) => (LockdownScope::Institution, institution("institution_id", &text)?.to_string()),
        Wire::CredentialId(text) => {
            (LockdownScope::Credential, id::<CredentialId>("credential_id", &text)?.to_string())
        }
    };
    Ok(Lockdown { scope, target })
}
