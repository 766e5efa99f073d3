//! An entry as its auditors read it: every field that is set, digests in hex, words as in the formats. For reading
//! only; what is hashed and signed is the leaf.

use cofre_model::entry::{CallerRef, Entry, Epochs, NodeRef};
use cofre_model::permit::EntryRef;
use cofre_model::time::Timestamp;
use serde_json::{Map, Value, json};

/// The readable form of an entry's body. Fields that are not set are absent.
#[must_use]
pub fn json(entry: &Entry) -> Value {
    Value::Object(body(entry))
}

/// The same with the place the commit gave it.
pub(crate) fn placed(at: &EntryRef, entry: &Entry) -> Value {
    let mut map = Map::new();
    map.insert("index".into(), json!(at.index));
    map.insert("time".into(), json!(at.time.to_string()));
    map.insert("time_us".into(), json!(at.time.micros()));
    map.insert("leaf_hash".into(), json!(hex::encode(at.leaf_hash)));
    map.extend(body(entry));
    Value::Object(map)
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn set<T>(&mut self, name: &str, value: Option<T>, write: impl FnOnce(T) -> Value) {
        if let Some(value) = value {
            self.put(name, write(value));
        }
    }

    fn text(&mut self, name: &str, value: Option<impl ToString>) {
        self.set(name, value, |value| json!(value.to_string()));
    }

    fn list(&mut self, name: &str, values: Vec<Value>) {
        if !values.is_empty() {
            self.put(name, Value::Array(values));
        }
    }
}

fn body(entry: &Entry) -> Map<String, Value> {
    // Taken apart in full, so that a field added to the model cannot be forgotten here.
    let Entry {
        kind,
        id,
        caller,
        node,
        method,
        tenant,
        region,
        credential,
        class,
        secret_version,
        owner,
        institution,
        consents,
        epochs,
        purpose,
        scopes,
        attendance,
        job,
        request_digest,
        policy_digest,
        rules,
        policy_input,
        verdict,
        reason,
        fields,
        tenant_key,
        lease_until,
        follows,
        outcome,
        custodian_request,
        custodian_us,
        count,
        digest,
        reference,
    } = entry;
    let mut out = Fields(Map::new());
    out.put("kind", json!(kind.as_str()));
    out.put("id", json!(hex::encode(id)));
    out.set("caller", caller.as_ref(), of_caller);
    out.set("node", node.as_ref(), of_node);
    out.text("method", method.as_deref());
    out.text("tenant", tenant.as_ref());
    out.text("region", region.as_ref());
    out.text("credential", credential.as_ref());
    out.text("class", class.as_ref());
    out.set("secret_version", *secret_version, |version| json!(version));
    out.text("owner", owner.as_ref());
    out.text("institution", institution.as_ref());
    out.list("consents", consents.iter().map(|id| json!(id.to_string())).collect());
    out.set("epochs", epochs.as_ref(), of_epochs);
    out.text("purpose", purpose.as_ref());
    out.list("scopes", scopes.iter().map(|scope| json!(scope.as_str())).collect());
    out.text("attendance", attendance.as_ref());
    out.text("job", job.as_ref());
    out.text("request_digest", request_digest.map(hex::encode));
    out.text("policy_digest", policy_digest.map(hex::encode));
    out.list("rules", rules.iter().map(|rule| json!(rule)).collect());
    out.set("policy_input", Some(policy_input).filter(|input| !input.is_empty()), |input| of_input(input));
    out.text("verdict", verdict.as_ref());
    out.text("reason", reason.as_ref());
    out.list("fields", fields.iter().map(|(key, form)| json!({ "key": key, "form": form.as_str() })).collect());
    out.set("tenant_key", tenant_key.as_ref(), |(id, version)| json!({ "id": hex::encode(id), "version": version }));
    out.set("lease_until", *lease_until, |until: Timestamp| json!(until.to_string()));
    out.set("follows", *follows, |index| json!(index));
    out.text("outcome", outcome.as_ref());
    out.text("custodian_request", custodian_request.as_ref());
    out.set("custodian_us", *custodian_us, |us| json!(us));
    out.set("count", *count, |count| json!(count));
    out.text("digest", digest.map(hex::encode));
    out.text("reference", reference.as_ref());
    out.0
}

fn of_caller(caller: &CallerRef) -> Value {
    json!({ "identity": caller.identity, "fingerprint": hex::encode(caller.fingerprint) })
}

fn of_node(node: &NodeRef) -> Value {
    json!({ "identity": node.identity, "incarnation": hex::encode(node.incarnation) })
}

fn of_epochs(epochs: &Epochs) -> Value {
    let Epochs { cell, policy, tenant, institution, worker, credential } = epochs;
    json!({
        "cell": cell, "policy": policy, "tenant": tenant, "institution": institution, "worker": worker,
        "credential": credential,
    })
}

/// The policy input is JSON where this program wrote it; anything else is shown as bytes.
fn of_input(input: &[u8]) -> Value {
    serde_json::from_slice(input).unwrap_or_else(|_| json!(hex::encode(input)))
}
