//! Release requests and outcome reports.

use cofre_model::credential::{FieldKey, FieldRequest};
use cofre_model::job::SignedStatement;
use cofre_model::request::{OutcomeReport, ReleaseRequest, SealKey, SealSuite};
use cofre_model::wording::{Class, Form, Outcome};

use super::Malformed;
use super::common::{bounded, bytes, id, instant, present, word};
use crate::v1;

const MOST_FIELDS: usize = 16;
const MOST_STATEMENT: usize = 1_024;
const MOST_POSITIONS: usize = 16;

/// Parses a release request.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn release_request(wire: v1::ReleaseRequest) -> Result<ReleaseRequest, Malformed> {
    if wire.fields.is_empty() || wire.fields.len() > MOST_FIELDS {
        return Err(Malformed::new("fields", format!("must name 1 to {MOST_FIELDS} fields")));
    }
    let mut fields: Vec<FieldRequest> = Vec::with_capacity(wire.fields.len());
    for (place, field) in wire.fields.into_iter().enumerate() {
        let parsed = field_request(place, &field)?;
        if fields.iter().any(|known| known.key == parsed.key) {
            return Err(Malformed::new(format!("fields[{place}].key"), "must not repeat an earlier field"));
        }
        fields.push(parsed);
    }
    Ok(ReleaseRequest {
        id: id("request_id", &wire.request_id)?,
        credential: id("credential_id", &wire.credential_id)?,
        job: statement("job", present("job", wire.job)?)?,
        attendance: wire.attendance.map(|wire| statement("attendance", wire)).transpose()?,
        class: word("class", Class::from_number(wire.class))?,
        fields,
        worker_key: seal_key("seal_key", wire.suite, wire.seal_key)?,
    })
}

fn field_request(place: usize, wire: &v1::FieldRequest) -> Result<FieldRequest, Malformed> {
    let key = FieldKey::try_from(wire.key.as_str())
        .map_err(|problem| Malformed::new(format!("fields[{place}].key"), problem.to_string()))?;
    let form: Form = word(&format!("fields[{place}].form"), Form::from_number(wire.form))?;
    let path = format!("fields[{place}].positions");
    let positions = wire
        .positions
        .iter()
        .map(|position| u16::try_from(*position).ok().filter(|p| (1..=256).contains(p)))
        .collect::<Option<Vec<_>>>()
        .filter(|list| list.len() <= MOST_POSITIONS && list.is_sorted_by(|a, b| a < b))
        .ok_or_else(|| Malformed::new(&path, "must be 1 to 256, ascending, at most 16 of them"))?;
    if (form == Form::Positions) == positions.is_empty() {
        return Err(Malformed::new(path, "must be given for FORM_POSITIONS, and only for it"));
    }
    Ok(FieldRequest { key, form, positions })
}

/// Parses a signed statement; its signature is verified behind the counter.
///
/// # Errors
/// [`Malformed`] naming the field under `path`.
pub fn statement(path: &str, wire: v1::SignedStatement) -> Result<SignedStatement, Malformed> {
    Ok(SignedStatement {
        key_id: id(&format!("{path}.key_id"), &wire.key_id)?,
        statement: bounded(&format!("{path}.statement"), wire.statement, MOST_STATEMENT)?,
        signature: bytes(&format!("{path}.signature"), &wire.signature)?,
    })
}

/// Parses a key to seal to, of its suite's length; its encoding is judged by the envelope.
///
/// # Errors
/// [`Malformed`] naming `field` or `suite`.
pub fn seal_key(field: &str, suite: i32, key: Vec<u8>) -> Result<SealKey, Malformed> {
    let suite = word("suite", SealSuite::from_number(suite))?;
    match suite {
        SealSuite::MlKem768X25519 => bytes::<1_216>(field, &key).map(drop)?,
        SealSuite::X25519 => bytes::<32>(field, &key).map(drop)?,
    }
    Ok(SealKey { suite, bytes: key })
}

/// Parses an outcome report.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn outcome_report(wire: &v1::ReportOutcomeRequest) -> Result<OutcomeReport, Malformed> {
    let outcome: Outcome = word("outcome", Outcome::from_number(wire.outcome))?;
    let locked_until = match (outcome, wire.locked_until_us) {
        (Outcome::Locked, until) => Some(instant("locked_until_us", until)?),
        (_, 0) => None,
        (_, _) => return Err(Malformed::new("locked_until_us", "must be given for OUTCOME_LOCKED only")),
    };
    Ok(OutcomeReport {
        credential: id("credential_id", &wire.credential_id)?,
        job: id("job_id", &wire.job_id)?,
        outcome,
        locked_until,
    })
}
