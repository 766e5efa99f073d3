//! An entry of the register as names and values, read from its exact bytes. Nothing of the vault's own rendering is
//! shown: what a person reads here is what was hashed.

use cofre_ledger::entry::{EntryError, Leaf};
use cofre_model::entry::Entry;
use serde_json::{Map, Value};

/// Parses the bytes of a leaf.
///
/// # Errors
/// [`EntryError`] where they are no entry this release knows.
pub(crate) fn parse(leaf: &[u8]) -> Result<(Leaf, Entry), EntryError> {
    let leaf = Leaf::parse(leaf)?;
    let entry = leaf.entry()?;
    Ok((leaf, entry))
}

/// Every field that is set, by its name in `LedgerEntry`.
pub(crate) fn fields(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut all = Fields(vec![("kind", entry.kind.to_string()), ("id", hex::encode(entry.id))]);
    all.put("caller", entry.caller.as_ref().map(|caller| &caller.identity));
    all.put("caller_fingerprint", entry.caller.as_ref().map(|caller| hex::encode(caller.fingerprint)));
    all.put("node", entry.node.as_ref().map(|node| &node.identity));
    all.put("node_incarnation", entry.node.as_ref().map(|node| hex::encode(node.incarnation)));
    all.put("method", entry.method.as_ref());
    all.put("tenant_id", entry.tenant);
    all.put("region", entry.region.as_ref());
    all.put("credential_id", entry.credential);
    all.put("class", entry.class);
    all.put("secret_version", entry.secret_version);
    all.put("owner_id", entry.owner);
    all.put("institution_id", entry.institution.as_ref());
    all.list("consent_ids", &entry.consents);
    all.put(
        "epochs",
        entry.epochs.map(|epochs| {
            format!(
                "cell {}, policy {}, tenant {}, institution {}, worker {}, credential {}",
                epochs.cell, epochs.policy, epochs.tenant, epochs.institution, epochs.worker, epochs.credential
            )
        }),
    );
    all.put("purpose", entry.purpose);
    all.list("scopes", &entry.scopes.iter().collect::<Vec<_>>());
    all.put("attendance", entry.attendance);
    all.put("job_id", entry.job);
    all.put("request_digest", entry.request_digest.map(hex::encode));
    all.put("policy_digest", entry.policy_digest.map(hex::encode));
    all.list("rules", &entry.rules);
    all.put("policy_input", (!entry.policy_input.is_empty()).then(|| policy_input(&entry.policy_input)));
    all.put("verdict", entry.verdict);
    all.put("reason", entry.reason);
    all.list("fields", &entry.fields.iter().map(|(key, form)| format!("{key} ({form})")).collect::<Vec<_>>());
    all.put("tenant_key", entry.tenant_key.map(|(id, version)| format!("{} version {version}", hex::encode(id))));
    all.put("lease_until", entry.lease_until);
    all.put("follows", entry.follows);
    all.put("outcome", entry.outcome);
    all.put("custodian_request", entry.custodian_request.as_ref());
    all.put("custodian_us", entry.custodian_us);
    all.put("count", entry.count);
    all.put("digest", entry.digest.map(hex::encode));
    all.put("reference", entry.reference.as_ref());
    all.0
}

/// The same for programs.
pub(crate) fn json(entry: &Entry) -> Value {
    let members = fields(entry).into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn policy_input(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| hex::encode(bytes))
}

struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| (name, value.to_string())));
    }

    fn list(&mut self, name: &'static str, values: &[impl ToString]) {
        if !values.is_empty() {
            self.0.push((name, values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
        }
    }
}
