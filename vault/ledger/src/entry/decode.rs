//! From bytes back to an [`Entry`], strictly: a number, id or length that the model does not know is refused and
//! named, never dropped.

use std::borrow::Cow;

use cofre_model::entry::{CallerRef, Entry, EntryKind, Epochs, NodeRef, Verdict};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_model::wording::{Attendance, Class, Form, Outcome, Purpose, Scope, ScopeSet};

use super::{EntryError, MAX_POLICY_INPUT};
use crate::wire;

/// Decodes the body of a leaf.
///
/// # Errors
/// [`EntryError::NotCanonical`] where the bytes are not the one encoding of the message, [`EntryError::Field`] where
/// a field holds an unknown number, a malformed id or bytes of another length.
pub fn decode(body: &[u8]) -> Result<Entry, EntryError> {
    let raw: wire::LedgerEntry = wire::canonical(body).ok_or(EntryError::NotCanonical)?;
    if raw.policy_input.len() > MAX_POLICY_INPUT {
        return Err(EntryError::PolicyInputTooLong(raw.policy_input.len()));
    }
    Ok(Entry {
        kind: number("kind", raw.kind, EntryKind::from_number)?,
        id: array("id", &raw.id)?,
        caller: raw.caller.map(caller).transpose()?,
        node: raw.node.map(node).transpose()?,
        method: raw.method.map(Cow::Owned),
        tenant: id("tenant_id", raw.tenant_id.as_deref())?,
        region: raw.region,
        credential: id("credential_id", raw.credential_id.as_deref())?,
        class: raw.class.map(|value| number("class", value, Class::from_number)).transpose()?,
        secret_version: raw.secret_version,
        owner: id("owner_id", raw.owner_id.as_deref())?,
        institution: id("institution_id", raw.institution_id.as_deref())?,
        consents: raw
            .consent_ids
            .iter()
            .map(|text| text.as_str().try_into().map_err(|_| EntryError::Field("consent_ids")))
            .collect::<Result<_, _>>()?,
        epochs: raw.epochs.map(epochs),
        purpose: raw.purpose.map(|value| number("purpose", value, Purpose::from_number)).transpose()?,
        scopes: scopes(&raw.scopes).ok_or(EntryError::Field("scopes"))?,
        attendance: raw.attendance.map(|value| number("attendance", value, Attendance::from_number)).transpose()?,
        job: id("job_id", raw.job_id.as_deref())?,
        request_digest: raw.request_digest.map(|bytes| array("request_digest", &bytes)).transpose()?,
        policy_digest: raw.policy_digest.map(|bytes| array("policy_digest", &bytes)).transpose()?,
        rules: raw.rules,
        policy_input: raw.policy_input,
        verdict: raw.verdict.map(|value| number("verdict", value, Verdict::from_number)).transpose()?,
        reason: raw.reason.map(|value| number("reason", value, Reason::from_number)).transpose()?,
        fields: raw.fields.into_iter().map(field).collect::<Result<_, _>>()?,
        tenant_key: raw.tenant_key.map(|key| Ok((array("tenant_key.id", &key.id)?, key.version))).transpose()?,
        lease_until: raw.lease_until_us.map(Timestamp::from_micros),
        follows: raw.follows,
        outcome: raw.outcome.map(|value| number("outcome", value, Outcome::from_number)).transpose()?,
        custodian_request: raw.custodian_request,
        custodian_us: raw.custodian_us,
        count: raw.count,
        digest: raw.digest.map(|bytes| array("digest", &bytes)).transpose()?,
        reference: raw.reference,
    })
}

/// Scopes stand in ascending order, each once: anything else is another spelling of the same set.
pub(crate) fn scopes(numbers: &[i32]) -> Option<ScopeSet> {
    let set: ScopeSet =
        numbers.iter().map(|value| Scope::from_number(*value)).collect::<Option<Vec<_>>>()?.into_iter().collect();
    set.iter().map(Scope::number).eq(numbers.iter().copied()).then_some(set)
}

fn number<T>(field: &'static str, value: i32, known: fn(i32) -> Option<T>) -> Result<T, EntryError> {
    known(value).ok_or(EntryError::Field(field))
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], EntryError> {
    bytes.try_into().map_err(|_| EntryError::Field(field))
}

fn id<'a, T: TryFrom<&'a str>>(field: &'static str, text: Option<&'a str>) -> Result<Option<T>, EntryError> {
    text.map(|text| T::try_from(text).map_err(|_| EntryError::Field(field))).transpose()
}

fn caller(raw: wire::CallerRef) -> Result<CallerRef, EntryError> {
    Ok(CallerRef { identity: raw.identity, fingerprint: array("caller.fingerprint", &raw.fingerprint)? })
}

fn node(raw: wire::NodeRef) -> Result<NodeRef, EntryError> {
    Ok(NodeRef { identity: raw.identity, incarnation: array("node.incarnation", &raw.incarnation)? })
}

fn field(raw: wire::FieldForm) -> Result<(String, Form), EntryError> {
    Ok((raw.key, number("fields.form", raw.form, Form::from_number)?))
}

const fn epochs(raw: wire::Epochs) -> Epochs {
    Epochs {
        cell: raw.cell,
        policy: raw.policy,
        tenant: raw.tenant,
        institution: raw.institution,
        worker: raw.worker,
        credential: raw.credential,
    }
}
