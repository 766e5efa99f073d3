//! The files that registries are written from. Closed shapes without defaults: what is registered was written down.

use std::fmt::Display;
use std::path::Path;

use cofre_model::caller::{Role, SpiffeId};
use cofre_model::credential::FieldKey;
use cofre_model::id::{InstitutionId, Slug, TenantId};
use cofre_model::job::StatementKind;
use cofre_model::registry::{self, InstitutionState, TemplateField};
use cofre_model::request::{PutTenant, PutWorker};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Form;
use serde::Deserialize;

use crate::failure::Failure;
use crate::input::word;

/// A tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    slug: String,
    legal_name: String,
    home_region: String,
    signing_keys: Vec<SigningKey>,
    recipients: Vec<String>,
    custody_set: Option<String>,
    warm_for_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SigningKey {
    kind: String,
    public_key: String,
    not_after: String,
}

/// An institution.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Institution {
    id: String,
    name: String,
    country: String,
    lockout_threshold: u8,
    unattended_from: u16,
    unattended_to: u16,
    suspended: bool,
}

/// A version of a login form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    institution: String,
    version: u32,
    fields: Vec<Field>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    key: String,
    pattern: String,
    required: bool,
    secret: bool,
    signing_factor: bool,
    identifies: bool,
    release_form: String,
}

/// A worker.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    spiffe_id: String,
    scopes: Vec<Scope>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    tenant: String,
    institution: String,
}

/// Names the file and the field of what does not parse.
fn at<T, E: Display>(file: &Path, field: impl AsRef<str>, parsed: Result<T, E>) -> Result<T, Failure> {
    parsed.map_err(|why| Failure::field(file, field.as_ref(), why))
}

impl Tenant {
    pub(super) fn parse(self, file: &Path) -> Result<PutTenant, Failure> {
        let keys = (0..).zip(&self.signing_keys).map(|(place, key): (usize, _)| key.parse(file, place));
        Ok(PutTenant {
            slug: at(file, "slug", Slug::try_from(self.slug.as_str()))?,
            home_region: at(file, "home_region", Slug::try_from(self.home_region.as_str()))?,
            signing_keys: keys.collect::<Result<_, _>>()?,
            legal_name: self.legal_name,
            recipients: self.recipients,
            custody_set: self.custody_set,
            warm_for: self.warm_for_seconds.map(Span::secs),
        })
    }
}

impl SigningKey {
    fn parse(&self, file: &Path, place: usize) -> Result<(StatementKind, [u8; 32], Timestamp), Failure> {
        let field = |name| format!("signing_keys[{place}].{name}");
        let kind = at(file, field("kind"), word(StatementKind::ALL, &self.kind))?;
        let mut public_key = [0; 32];
        let decoded = hex::decode_to_slice(&self.public_key, &mut public_key);
        at(file, field("public_key"), decoded.map_err(|_| "must be an Ed25519 public key of 64 hex characters"))?;
        Ok((kind, public_key, at(file, field("not_after"), Timestamp::parse_rfc3339(&self.not_after))?))
    }
}

impl Institution {
    pub(super) fn parse(self, file: &Path) -> Result<registry::Institution, Failure> {
        Ok(registry::Institution {
            id: at(file, "id", InstitutionId::try_from(self.id.as_str()))?,
            name: self.name,
            country: self.country,
            state: if self.suspended { InstitutionState::Suspended } else { InstitutionState::Enabled },
            lockout_threshold: self.lockout_threshold,
            unattended_from: self.unattended_from,
            unattended_to: self.unattended_to,
        })
    }
}

impl Template {
    pub(super) fn parse(self, file: &Path) -> Result<registry::Template, Failure> {
        let institution = at(file, "institution", InstitutionId::try_from(self.institution.as_str()))?;
        let fields = (0..).zip(self.fields).map(|(place, field): (usize, _)| field.parse(file, place));
        Ok(registry::Template { institution, version: self.version, fields: fields.collect::<Result<_, _>>()? })
    }
}

impl Field {
    fn parse(self, file: &Path, place: usize) -> Result<TemplateField, Failure> {
        let field = |name| format!("fields[{place}].{name}");
        Ok(TemplateField {
            key: at(file, field("key"), FieldKey::try_from(self.key.as_str()))?,
            release_form: at(file, field("release_form"), word(Form::ALL, &self.release_form))?,
            pattern: self.pattern,
            required: self.required,
            secret: self.secret,
            signing_factor: self.signing_factor,
            identifies: self.identifies,
        })
    }
}

impl Worker {
    pub(super) fn parse(self, file: &Path, trust_domain: &str) -> Result<PutWorker, Failure> {
        let id = at(file, "spiffe_id", SpiffeId::parse(&self.spiffe_id, trust_domain))?;
        if id.role() != Role::Worker {
            return Err(Failure::field(
                file,
                "spiffe_id",
                "must be a worker's: spiffe://<trust domain>/worker/<pool>/<name>",
            ));
        }
        let scopes = (0..).zip(&self.scopes).map(|(place, scope): (usize, _)| {
            let field = |name| format!("scopes[{place}].{name}");
            Ok((
                at(file, field("tenant"), TenantId::try_from(scope.tenant.as_str()))?,
                at(file, field("institution"), InstitutionId::try_from(scope.institution.as_str()))?,
            ))
        });
        Ok(PutWorker { id, scopes: scopes.collect::<Result<_, Failure>>()? })
    }
}

#[cfg(test)]
mod tests;
