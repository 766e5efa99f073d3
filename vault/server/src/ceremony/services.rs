//! Ceremonies over keys of services. Their administrator makes them with the service's own tools; here they are looked at,
//! tried, and recorded with what the service says of them.

use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_custody::CustodianId;
use cofre_envelope::Slab;
use cofre_ledger::ceremony::{Approval, Body, Key, Object, Plan, PlannedKey, Use};
use cofre_ledger::note::NoteKey;
use cofre_model::time::{Clock, Timestamp};

use crate::clock::SystemClock;
use crate::config::Configured;
use crate::node::services::{self, Service};

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

pub(super) fn body(
    service: &Service,
    (plan, approvals, at): (Plan, Vec<Approval>, Timestamp),
    tool: String,
    verifier_key: Option<NoteKey>,
) -> Body {
    let is = service.custodian().describe();
    let object = |attributes| vec![Object { class: "service".to_owned(), attributes }];
    let keys = plan.keys.iter().map(|key| match key.used_to {
        Use::Wrap => Key {
            used_to: Use::Wrap,
            label: key.label.clone(),
            kind: is.model.clone(),
            public: None,
            check_value: None,
            objects: object(service.told()),
        },
        Use::Sign => Key {
            used_to: Use::Sign,
            label: key.label.clone(),
            kind: is.signer.unwrap_or("-").to_owned(),
            public: verifier_key.as_ref().map(|key| key.key().to_bytes()),
            check_value: None,
            objects: object(Vec::new()),
        },
    });
    Body {
        at,
        tool,
        keys: keys.collect(),
        token: [is.token_label, is.serial, is.manufacturer, is.model.clone()],
        mechanism: is.mechanism.as_str().to_owned(),
        why: "a throw-away value came back under its context and under no other".to_owned(),
        witness: None,
        verifier_key,
        plan,
        approvals,
    }
}
