//! Rows as they travel to the functions of the commit.

use cofre_model::consent::Consent;
use cofre_model::credential::Credential;
use cofre_model::job::SigningKey;
use cofre_model::registry::{Institution, Recipient, Template, Tenant, Worker};
use cofre_model::time::Span;
use serde_json::{Value, json};

use super::hex;
use crate::records::subjects::Subject;
use crate::row::{column, instant};

pub(super) fn tenant(row: &Tenant, key_version: u32, warm_for: Span) -> Value {
    json!({
        "id": row.id.to_string(),
        "slug": row.slug.as_str(),
        "legal_name": row.legal_name,
        "state": row.state.as_str(),
        "home_region": row.home_region.as_str(),
        "tenant_key_id": hex(&row.tenant_key_id),
        "key_version": key_version,
        "warm_for": column(warm_for.as_micros()),
    })
}

pub(super) fn signing_key(row: &SigningKey) -> Value {
    json!({
        "id": row.id.to_string(),
        "tenant": row.tenant.to_string(),
        "kind": row.kind.as_str(),
        "public_key": hex(&row.public_key),
        "not_after": instant(row.not_after),
    })
}

pub(super) fn recipient(row: &Recipient) -> Value {
    json!({"id": row.id.to_string(), "tenant": row.tenant.to_string(), "name": row.name})
}

pub(super) fn institution(row: &Institution) -> Value {
    json!({
        "op": "PUT_INSTITUTION",
        "id": row.id.to_string(),
        "name": row.name,
        "country": row.country,
        "state": row.state.as_str(),
        "lockout_threshold": row.lockout_threshold,
        "unattended_from": row.unattended_from,
        "unattended_to": row.unattended_to,
    })
}

pub(super) fn template(row: &Template) -> Value {
    let fields: Vec<Value> = row
        .fields
        .iter()
        .map(|field| {
            json!({
                "key": field.key.as_str(),
                "pattern": field.pattern,
                "required": i64::from(field.required),
                "secret": i64::from(field.secret),
                "signing_factor": i64::from(field.signing_factor),
                "identifies": i64::from(field.identifies),
                "form": field.release_form.as_str(),
            })
        })
        .collect();
    json!({"op": "PUT_TEMPLATE", "institution": row.institution.to_string(), "version": row.version, "fields": fields})
}

pub(super) fn worker(row: &Worker) -> Value {
    let scopes: Vec<[String; 2]> =
        row.scopes.iter().map(|(tenant, institution)| [tenant.to_string(), institution.to_string()]).collect();
    json!({"op": "PUT_WORKER", "worker": row.id.to_string(), "state": row.state.as_str(), "scopes": scopes})
}

pub(super) fn person(row: &Subject) -> Value {
    json!({
        "id": row.id.to_string(),
        "tenant": row.tenant.to_string(),
        "kind": row.kind.as_str(),
        "external_ref": row.external_ref,
        "state": row.state.as_str(),
    })
}

pub(super) fn login(row: &Credential) -> Value {
    json!({
        "id": row.id.to_string(),
        "tenant": row.tenant.to_string(),
        "institution": row.institution.to_string(),
        "template_version": row.template_version,
        "owner": row.owner.to_string(),
        "state": row.state.as_str(),
        "secret_version": row.secret_version,
        "not_before": instant(row.not_before),
        "dedupe_tag": hex(&row.dedupe_tag),
    })
}

pub(super) fn consent(row: &Consent) -> Value {
    json!({
        "id": row.id.to_string(),
        "tenant": row.tenant.to_string(),
        "subject": row.subject.to_string(),
        "credential": row.credential.to_string(),
        "recipient": row.recipient.to_string(),
        "purpose": row.purpose.as_str(),
        "scopes": row.scopes.to_text(),
        "valid_from": instant(row.valid_from),
        "valid_until": instant(row.valid_until),
        "history_from": instant(row.history_from),
        "unattended_per_day": row.unattended_per_day,
        "state": row.state.as_str(),
    })
}
