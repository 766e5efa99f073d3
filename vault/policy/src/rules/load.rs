//! From named texts to a policy set, or to the fault that keeps it out.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use cofre_model::id::Slug;
use cofre_model::wording::{Attendance, Class, Form, Purpose, Scope};
use sha2::{Digest, Sha256};

use super::Rules;
use crate::cedar::Engine;
use crate::error::PolicyError;
use crate::input::{ContextInput, Input, InstitutionInput};

/// The cost of a decision grows with every policy, and so does the list of those that decided.
const MOST_POLICIES: usize = 512;

/// What a forbid may not use: operators that can fail to evaluate, and the test for optional attributes.
const FRAGILE: [&str; 9] = ["+", "-", "*", "neg", "offset", "durationSince", "toDate", "toTime", "has"];

pub(super) fn load<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Rules, PolicyError> {
    let files = by_name(files)?;
    let (schema_file, schema) = schema(&files)?;
    let policies = policies(&files)?;
    let set = validated(&schema, &policies)?;
    let engine =
        Engine::new(schema, set).map_err(|source| PolicyError::Syntax { file: schema_file.to_owned(), source })?;
    refuses_without_consent(&engine, &policies, schema_file)?;
    Ok(Rules { engine, ids: policies.into_keys().collect(), digest: digest(&files) })
}

/// A policy and the file it stands in, by id.
type Named<'a> = BTreeMap<String, (&'a str, Policy)>;

fn by_name<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<BTreeMap<&str, &str>, PolicyError> {
    let mut sorted = BTreeMap::new();
    for (name, text) in files {
        let name = name.as_ref();
        if !has_end(name, ".cedarschema") && !has_end(name, ".cedar") {
            return Err(PolicyError::UnknownFile { file: name.to_owned() });
        }
        if sorted.insert(name, text.as_ref()).is_some() {
            return Err(PolicyError::DuplicateFile { file: name.to_owned() });
        }
    }
    Ok(sorted)
}

/// Strict about case: what is not exactly one of the two ends is refused, never folded.
fn has_end(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|stem| !stem.is_empty())
}

fn digest(files: &BTreeMap<&str, &str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn schema<'a>(files: &BTreeMap<&'a str, &'a str>) -> Result<(&'a str, Schema), PolicyError> {
    let mut schemas = files.iter().filter(|(name, _)| has_end(name, ".cedarschema"));
    let (&file, &text) = schemas.next().ok_or(PolicyError::NoSchema)?;
    if let Some((second, _)) = schemas.next() {
        return Err(PolicyError::TwoSchemas { first: file.to_owned(), second: (*second).to_owned() });
    }
    let (schema, mut warnings) = Schema::from_cedarschema_str(text)
        .map_err(|source| PolicyError::Schema { file: file.to_owned(), source: Box::new(source) })?;
    match warnings.next() {
        Some(warning) => Err(PolicyError::SchemaWarning { file: file.to_owned(), detail: warning.to_string() }),
        None => Ok((file, schema)),
    }
}

fn policies<'a>(files: &BTreeMap<&'a str, &'a str>) -> Result<Named<'a>, PolicyError> {
    let mut named = Named::new();
    for (&file, &text) in files.iter().filter(|(name, _)| has_end(name, ".cedar")) {
        let parsed = PolicySet::from_str(text)
            .map_err(|source| PolicyError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
        if parsed.templates().next().is_some() {
            return Err(PolicyError::Template { file: file.to_owned() });
        }
        for policy in parsed.policies() {
            let id = id(file, policy)?;
            let policy = sturdy(file, &id, policy.new_id(PolicyId::new(&id)))?;
            if let Some((first, _)) = named.get(&id) {
                let (first, second) = ((*first).to_owned(), file.to_owned());
                return Err(PolicyError::DuplicateId { id, first, second });
            }
            named.insert(id, (file, policy));
        }
    }
    match named.len() {
        0 => Err(PolicyError::NoPolicy),
        count if count > MOST_POLICIES => Err(PolicyError::TooMany { count, limit: MOST_POLICIES }),
        _ => Ok(named),
    }
}

/// The policy's own id. The parser numbers policies `policy0`, `policy1` and so on in the order of the file.
fn id(file: &str, policy: &Policy) -> Result<String, PolicyError> {
    let Some(id) = policy.annotation("id") else {
        let place = policy.id().to_string().strip_prefix("policy").and_then(|place| place.parse::<usize>().ok());
        return Err(PolicyError::MissingId { file: file.to_owned(), number: place.unwrap_or(0) + 1 });
    };
    match Slug::try_from(id) {
        Ok(_) => Ok(id.to_owned()),
        Err(_) => Err(PolicyError::BadId { file: file.to_owned(), id: id.escape_default().to_string() }),
    }
}

/// A forbid that fails to evaluate would not forbid, so it may not hold anything that can fail.
fn sturdy(file: &str, id: &str, policy: Policy) -> Result<Policy, PolicyError> {
    if policy.effect() == Effect::Permit {
        return Ok(policy);
    }
    let operator = match policy.to_json() {
        Ok(tree) => fragile(&tree),
        // What cannot be looked into is not taken on trust.
        Err(_) => Some("an unreadable expression"),
    };
    match operator {
        None => Ok(policy),
        Some(operator) => {
            Err(PolicyError::FragileForbid { file: file.to_owned(), id: id.to_owned(), operator: operator.to_owned() })
        }
    }
}

/// The first fragile operator in a policy's syntax tree. The tree is as deep as the parser allowed it to be.
fn fragile(tree: &serde_json::Value) -> Option<&'static str> {
    match tree {
        serde_json::Value::Object(fields) => fields.iter().find_map(|(key, below)| {
            FRAGILE.iter().find(|operator| *operator == key).copied().or_else(|| fragile(below))
        }),
        serde_json::Value::Array(items) => items.iter().find_map(fragile),
        _ => None,
    }
}

fn validated(schema: &Schema, policies: &Named<'_>) -> Result<PolicySet, PolicyError> {
    let invalid = |id: &str, detail: String| {
        let file = policies.get(id).map_or("", |(file, _)| file);
        PolicyError::Invalid { file: file.to_owned(), id: id.to_owned(), detail }
    };
    let mut set = PolicySet::new();
    for (id, (_, policy)) in policies {
        set.add(policy.clone()).map_err(|error| invalid(id, error.to_string()))?;
    }
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    if let Some(error) = result.validation_errors().next() {
        return Err(invalid(error.policy_id().as_ref(), error.to_string()));
    }
    // A warning says that a policy can never apply or that its text misleads the eye.
    if let Some(warning) = result.validation_warnings().next() {
        return Err(invalid(warning.policy_id().as_ref(), warning.to_string()));
    }
    Ok(set)
}

/// Asks once as if there were no consent: shows that the schema fits the vault's questions and that nothing permits
/// blindly. One question proves nothing about others; the invariants hold whatever a set says.
fn refuses_without_consent(engine: &Engine, policies: &Named<'_>, schema_file: &str) -> Result<(), PolicyError> {
    let question = without_consent();
    engine
        .question(&question)
        .map_err(|error| PolicyError::SchemaShape { file: schema_file.to_owned(), detail: error.to_string() })?;
    let answer = engine.ask(&question);
    match answer.rules.first() {
        Some(id) if answer.permitted => {
            let file = policies.get(id).map_or("", |(file, _)| file);
            Err(PolicyError::Blanket { file: file.to_owned(), id: id.clone() })
        }
        Some(_) | None => Ok(()),
    }
}

/// A question in which everything fits but no consent is on record.
fn without_consent() -> Input {
    let id = |prefix: &str| format!("{prefix}_00000000000000000000000000");
    Input {
        worker: "spiffe://probe.invalid/worker/probe/probe".to_owned(),
        pool: "probe".to_owned(),
        tenants: vec![id("ten")],
        institutions: vec!["ins_probe".to_owned()],
        credential: id("crd"),
        tenant: id("ten"),
        home_region: "probe".to_owned(),
        institution: InstitutionInput {
            id: "ins_probe".to_owned(),
            country: "ES".to_owned(),
            unattended_from: 0,
            unattended_to: 1440,
        },
        context: ContextInput {
            attendance: Attendance::Attended.as_str(),
            class: Class::Login.as_str(),
            consent: None,
            forms: vec![Form::Full.as_str()],
            minute_of_day: 0,
            now: "2026-01-01T00:00:00.000Z".to_owned(),
            purpose: Purpose::WealthAggregation.as_str(),
            recipient: id("rec"),
            region: "probe".to_owned(),
            releases_last_hour: 0,
            scopes: vec![Scope::Positions.as_str()],
        },
    }
}
