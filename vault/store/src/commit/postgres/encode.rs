//! From a typed request to what `cofre_commit` takes: one JSON object per request, named as the functions in
//! `migrations/postgres/commit` name it. Bytes are hex, instants microseconds, ids and words their texts. An entry
//! travels as its encoded fields, because some of them are only decided under the lock.

mod operations;
mod rows;

use cofre_ledger::entry::fields;
use cofre_model::entry::{Entry, EntryKind, Epochs, NodeRef, Verdict};
use cofre_model::permit::{MoveWarrant, ReleaseWarrant, RewrapWarrant, WarmWarrant};
use cofre_model::reason::Reason;
use cofre_model::time::Span;
use cofre_policy::decision::{Decision, Denial, GrantTerms};
use serde_json::{Map, Value, json};

use crate::commit::operation::Operation as Op;
use crate::commit::release::relied_on;
use crate::commit::request::{DepositIntent, MoveRequest, RewrapRequest, WarmRequest};
use crate::commit::submit::Work;
use crate::commit::undelivered::{METHOD, UNKNOWN};
use crate::error::{CommitError, Error};
use crate::records::ledger::Checkpoint;
use crate::row::{column, instant};

/// What the answer to a request is completed with: the function gives verdicts, not warrants.
#[derive(Debug)]
pub(super) enum Awaited {
    Decision(Option<ReleaseWarrant>),
    Warm(WarmWarrant),
    Rewrap(RewrapWarrant),
    Move(MoveWarrant),
    Intent(Box<DepositIntent>),
    Other,
}

/// One request. `left` is how long its answer may still leave.
pub(super) fn request(work: Work, left: Option<Span>, node: &NodeRef) -> Result<(Value, Awaited), CommitError> {
    let encoder = Encoder { node };
    Ok(match work {
        Work::Decide(decision) => match *decision {
            Decision::Permit(grant) => {
                let terms = grant.into_terms();
                (encoder.grant(&terms, left)?, Awaited::Decision(Some(terms.warrant)))
            }
            Decision::Deny(denial) => (encoder.deny(&denial)?, Awaited::Decision(None)),
        },
        Work::Warm(request) => {
            let encoded = encoder.warm(&request)?;
            let WarmRequest { tenant, tenant_key_version, tenant_key_id, .. } = request;
            (encoded, Awaited::Warm(WarmWarrant { tenant, tenant_key_version, tenant_key_id }))
        }
        Work::Rewrap(request) => {
            let encoded = encoder.rewrap(&request)?;
            let RewrapRequest { job, target, tenant, tenant_key_version, tenant_key_id, .. } = request;
            (encoded, Awaited::Rewrap(RewrapWarrant { job, target, tenant, tenant_key_version, tenant_key_id }))
        }
        Work::Move(request) => {
            let encoded = encoder.move_keys(&request)?;
            let MoveRequest { job, tenant, from_version, from_id, to_version, to_id, count, .. } = request;
            let warrant = MoveWarrant { job, tenant, from_version, from_id, to_version, to_id, count };
            (encoded, Awaited::Move(warrant))
        }
        Work::Intend(intent) => (encoder.intend(&intent)?, Awaited::Intent(Box::new(intent))),
        Work::Apply(entry, operation) => (encoder.apply(&entry, operation)?, Awaited::Other),
        Work::Integrate(tiles, checkpoint) => {
            let tiles: Vec<Value> = tiles
                .iter()
                .map(|tile| {
                    json!({"level": tile.level, "n": column(tile.n), "width": tile.width, "hashes": hex(&tile.hashes)})
                })
                .collect();
            let request = match checkpoint {
                Some(Checkpoint { size, note }) => {
                    json!({"op": "INTEGRATE", "tiles": tiles, "size": column(size), "note": note})
                }
                None => json!({"op": "INTEGRATE", "tiles": tiles}),
            };
            (request, Awaited::Other)
        }
        Work::Undelivered(grants) => {
            let grants: Vec<i64> = grants.into_iter().map(column).collect();
            (json!({"op": "UNDELIVERED", "grants": grants}), Awaited::Other)
        }
        // The writer ends before it comes here.
        Work::Stop => return Err(Error::Unanswered.into()),
    })
}

/// The entries that the commit makes by itself, for grants that nobody delivered or whose node has ended. What ties
/// one to its grant is put on under the lock.
pub(super) fn outcomes(node: &NodeRef) -> Result<Value, Error> {
    let encoder = Encoder { node };
    let mut undelivered = Entry::new(EntryKind::Outcome, [0; 16]);
    undelivered.method = Some(METHOD.into());
    let mut unknown = undelivered.clone();
    undelivered.verdict = Some(Verdict::Denied);
    undelivered.reason = Some(Reason::NotDelivered);
    unknown.reference = Some(UNKNOWN.into());
    Ok(json!({"undelivered": encoder.entry(&undelivered)?, "unknown": encoder.entry(&unknown)?}))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    ::hex::encode(bytes)
}

/// Adds what is there; what is not there is not named.
fn with(mut object: Value, name: &str, value: Option<Value>) -> Value {
    if let (Value::Object(fields), Some(value)) = (&mut object, value) {
        fields.insert(name.to_owned(), value);
    }
    object
}

fn epochs(epochs: &Epochs) -> Value {
    let Epochs { cell, policy, tenant, institution, worker, credential } = *epochs;
    json!([cell, policy, tenant, institution, worker, credential])
}

/// Puts the node on every entry.
struct Encoder<'n> {
    node: &'n NodeRef,
}

impl Encoder<'_> {
    fn entry(&self, entry: &Entry) -> Result<Value, Error> {
        let entry = Entry { node: Some(self.node.clone()), ..entry.clone() };
        let parts = fields(&entry).map_err(|cause| Error::Entry(cause.to_string()))?;
        let parts: Map<String, Value> =
            parts.into_iter().map(|(number, bytes)| (number.to_string(), hex(&bytes).into())).collect();
        Ok(json!({"fields": parts, "facets": {
            "kind": entry.kind.as_str(),
            "tenant": entry.tenant.map(|id| id.to_string()),
            "credential": entry.credential.map(|id| id.to_string()),
            "owner": entry.owner.map(|id| id.to_string()),
            "caller": entry.caller.map(|caller| caller.identity),
            "reason": entry.reason.map(|reason| reason.as_str()),
            "follows": entry.follows.map(column),
        }}))
    }

    fn grant(&self, terms: &GrantTerms, left: Option<Span>) -> Result<Value, Error> {
        let request = json!({
            "op": "GRANT",
            // A negative span has passed before the lock was even asked for.
            "left": left.map_or(-1, |left| column(left.as_micros())),
            "entry": self.entry(&terms.entry)?,
            "epochs": epochs(&terms.epochs),
            "not_after": instant(terms.not_after),
            "tenant": terms.tenant.to_string(),
            "credential": terms.credential.to_string(),
            "owner": terms.warrant.owner.to_string(),
            "secret_version": terms.warrant.secret_version,
            "job": terms.job.to_string(),
            "request": terms.request.to_string(),
            "request_digest": hex(&terms.request_digest),
            "seal_key_digest": hex(&terms.seal_key_digest),
            "worker": terms.worker,
            "attendance": terms.attendance.as_str(),
            "per_day": terms.unattended_per_day,
            "lease_until": instant(terms.lease_until),
        });
        let token = terms.attendance_token.as_ref();
        let request = with(request, "token", token.map(|(id, _)| id.to_string().into()));
        Ok(with(request, "token_until", token.map(|(_, until)| instant(*until).into())))
    }

    fn deny(&self, denial: &Denial) -> Result<Value, Error> {
        let entry = &denial.entry;
        Ok(json!({
            "op": "DENY",
            "entry": self.entry(entry)?,
            "epochs": epochs(&relied_on(denial)),
            "worker": entry.caller.as_ref().map(|caller| &caller.identity),
            "tenant": entry.tenant.map(|id| id.to_string()),
            "credential": entry.credential.map(|id| id.to_string()),
            "reason": denial.reason.as_str(),
            "retry_at": denial.retry_at.map(instant),
        }))
    }

    fn warm(&self, request: &WarmRequest) -> Result<Value, Error> {
        if request.entry.kind != EntryKind::Warm {
            return Err(Error::Unfit { kind: request.entry.kind });
        }
        Ok(json!({
            "op": "WARM",
            "entry": self.entry(&request.entry)?,
            "tenant": request.tenant.to_string(),
            "key_version": request.tenant_key_version,
            "key_id": hex(&request.tenant_key_id),
        }))
    }

    fn rewrap(&self, request: &RewrapRequest) -> Result<Value, Error> {
        if request.entry.kind != EntryKind::Rewrap {
            return Err(Error::Unfit { kind: request.entry.kind });
        }
        Ok(json!({
            "op": "REWRAP",
            "entry": self.entry(&request.entry)?,
            "job": request.job.to_string(),
            "target": request.target,
            "tenant": request.tenant.to_string(),
            "key_version": request.tenant_key_version,
            "key_id": hex(&request.tenant_key_id),
        }))
    }

    fn move_keys(&self, request: &MoveRequest) -> Result<Value, Error> {
        if request.entry.kind != EntryKind::KeysMove {
            return Err(Error::Unfit { kind: request.entry.kind });
        }
        Ok(json!({
            "op": "MOVE_KEYS",
            "entry": self.entry(&request.entry)?,
            "job": request.job.to_string(),
            "tenant": request.tenant.to_string(),
            "from_version": request.from_version,
            "from_id": hex(&request.from_id),
            "key_version": request.to_version,
            "key_id": hex(&request.to_id),
            "count": request.count,
        }))
    }

    fn intend(&self, intent: &DepositIntent) -> Result<Value, Error> {
        if intent.entry.kind != EntryKind::DepositIntended {
            return Err(Error::Unfit { kind: intent.entry.kind });
        }
        Ok(json!({
            "op": "INTEND",
            "entry": self.entry(&intent.entry)?,
            "tenant": intent.tenant.to_string(),
            "enrolment": intent.enrolment.to_string(),
        }))
    }

    /// An operation with its entry.
    fn apply(&self, entry: &Entry, operation: Op) -> Result<Value, Error> {
        let request = match operation {
            Op::Note => {
                let grant = match (entry.kind, entry.verdict) {
                    (EntryKind::Outcome, Some(Verdict::Denied)) => entry.follows,
                    _ => None,
                };
                json!({"op": "NOTE", "withdraws": grant.map(column)})
            }
            other => sealed(operations::operation(other), entry),
        };
        Ok(with(request, "entry", Some(self.entry(entry)?)))
    }
}

/// Rows under a MAC carry the id of the entry that wrote them.
fn sealed(request: Value, entry: &Entry) -> Value {
    with(request, "entry_id", Some(hex(&entry.id).into()))
}
