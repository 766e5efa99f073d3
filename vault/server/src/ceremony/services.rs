//! Ceremonies over keys of services. Their administrator makes them with the service's own tools; here they are looked at,
//! tried, and recorded with what the service says of them.

use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_custody::CustodianId;
use cofre_envelope::Slab;
use cofre_ledger::ceremony::{Body, Key, Object, PlannedKey, Record, Use, WITNESS_KEY, WITNESS_SHA256};
use cofre_ledger::note::NoteKey;
use cofre_model::time::Clock;

use super::{Ordered, sign, verifier_key};
use crate::clock::SystemClock;
use crate::config::Configured;
use crate::node::services::{self, Service};

#[cfg(all(test, feature = "aws", feature = "gcp", feature = "transit"))]
mod tests;

/// Place, no module, and the keys that have to be there.
pub(super) fn planned(configured: &Configured) -> (String, String, Vec<PlannedKey>) {
    let (place, wraps, mechanism, signs) = match configured {
        Configured::AwsKms(key) => {
            (format!("aws-kms {}", key.endpoint), key.key.clone(), "aws-kms", key.signer_key.clone())
        }
        Configured::GcpKms(key) => {
            (format!("gcp-kms {}", key.endpoint), key.key.clone(), "gcp-kms", key.signer_key.clone())
        }
        Configured::Transit(key) => {
            let name = |key: &str, mount: &str| format!("{mount}/{key}");
            let signs =
                key.signer_key.as_ref().map(|(signs, version)| format!("{}:v{version}", name(signs, &key.mount)));
            (format!("transit {}", key.address), name(&key.key, &key.mount), "transit-aead or transit-derived", signs)
        }
        // Tokens are planned by their labels.
        Configured::Pkcs11(token) => {
            ("token".to_owned(), token.key_label.clone(), "aes-gcm", token.signer_label.clone())
        }
    };
    let key = |used_to, label, mechanism: &str| PlannedKey { used_to, label, mechanism: mechanism.to_owned() };
    let mut keys = vec![key(Use::Wrap, wraps, mechanism)];
    keys.extend(signs.map(|label| key(Use::Sign, label, super::SIGNING)));
    (place, "-".to_owned(), keys)
}

/// Looks at the keys and proves that the wrapping one opens what it wraps.
pub(super) async fn open(id: &CustodianId, configured: &Configured, slab: &Arc<Slab>) -> Result<Service> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    services::open(id, configured, &clock, slab).await.with_context(|| format!("custodian {id}"))
}

/// What the service says of its keys, a line each.
pub(super) fn words(service: &Service) -> String {
    let told = service.told();
    let lines = told.iter().map(|(name, value)| format!("    {name} {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Looks at the keys, tries them, and records them. What the wrapping one wrapped meanwhile stands in the record: a key of
/// the same name that does not open it is another. The service is still open then.
pub(super) async fn record(
    ordered: Ordered,
    origin: &str,
    (id, configured): (&CustodianId, &Configured),
    slab: &Arc<Slab>,
) -> Result<(Record, Service)> {
    let opened = open(id, configured, slab).await?;
    let recorded = recorded(&opened, ordered, origin, configured).await;
    match recorded {
        Ok(record) => Ok((record, opened)),
        Err(why) => {
            opened.close();
            Err(why)
        }
    }
}

async fn recorded(opened: &Service, ordered: Ordered, origin: &str, configured: &Configured) -> Result<Record> {
    let signer = if configured.signs() { Some(opened.signer()?) } else { None };
    let body = body(opened, ordered, verifier_key(origin, signer.as_deref())?);
    sign(Record::of(body)?, signer.as_deref()).await
}

fn body(service: &Service, ordered: Ordered, verifier_key: Option<NoteKey>) -> Body {
    let Ordered { plan, approvals, at, tool } = ordered;
    let (is, witness) = (service.custodian().describe(), service.witness());
    let mut told = service.told();
    told.push((WITNESS_KEY.to_owned(), witness.key.clone()));
    told.push((WITNESS_SHA256.to_owned(), hex::encode(witness.sha256)));
    let key = |planned: &PlannedKey| {
        let (kind, public, attributes) = match planned.used_to {
            Use::Wrap => (is.model.clone(), None, told.clone()),
            Use::Sign => {
                let public = verifier_key.as_ref().map(|key| key.key().to_bytes());
                (is.signer.unwrap_or("-").to_owned(), public, Vec::new())
            }
        };
        let objects = vec![Object { class: "service".to_owned(), attributes }];
        let (used_to, label) = (planned.used_to, planned.label.clone());
        Key { used_to, label, kind, public, check_value: None, objects }
    };
    Body {
        at,
        tool,
        keys: plan.keys.iter().map(key).collect(),
        token: [is.token_label, is.serial, is.manufacturer, is.model.clone()],
        mechanism: is.mechanism.as_str().to_owned(),
        why: "a throw-away value came back under its context and under no other".to_owned(),
        witness: witness.wrapped.clone(),
        verifier_key,
        plan,
        approvals,
    }
}
