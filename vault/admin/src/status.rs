//! What an operator sees: the parts the service stands on, each by name, and what it counted.

use cofre_custody::{Description, Usage};
use cofre_envelope::Backing;
use cofre_model::time::Timestamp;

use crate::{Admin, Error};

/// One part the service stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Whether it answers.
    pub ready: bool,
    /// What it says.
    pub detail: String,
}

/// A custodian as it stands, and what was asked of it in the last hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custodian {
    /// Its configured name.
    pub name: String,
    /// Who made it, and its model.
    pub kind: String,
    /// The label or name of the wrapping key.
    pub key: String,
    /// How that wraps.
    pub mechanism: &'static str,
    /// The algorithm of its signing key, where it has one.
    pub signs_by: Option<&'static str>,
    /// Calls that may be under way at once; none while its module is being started.
    pub sessions: usize,
    /// Whether it is left alone for a moment, after several calls in a row that found it in trouble.
    pub rests: bool,
    /// Calls of the last hour.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// When it last served one; none since the node started.
    pub last_served: Option<Timestamp>,
}

impl From<(Description, Usage)> for Custodian {
    fn from((is, usage): (Description, Usage)) -> Self {
        Self {
            name: is.custodian.to_string(),
            kind: format!("{} {}", is.manufacturer, is.model).trim_end().to_owned(),
            key: is.key_label,
            mechanism: is.mechanism.as_str(),
            signs_by: is.signer,
            sessions: is.sessions,
            rests: usage.rests,
            calls: usage.calls,
            failed: usage.failed,
            last_served: usage.last_served,
        }
    }
}

/// The state of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The deployment.
    pub deployment: String,
    /// The region.
    pub region: String,
    /// Development or production.
    pub mode: &'static str,
    /// How secrets are locked into memory.
    pub memory: &'static str,
    /// The parts.
    pub parts: Vec<Part>,
    /// Entries in the ledger.
    pub ledger_size: u64,
    /// Every custodian, and what was asked of it in the last hour.
    pub custodians: Vec<Custodian>,
    /// Calls made to custodians since the node started.
    pub custodian_calls: u64,
    /// Tenant keys that are warm now.
    pub warm_keys: u64,
    /// Slots of locked memory taken since the node started.
    pub slots_taken: u64,
    /// And wiped again.
    pub slots_wiped: u64,
    /// Digest of the policy set in force.
    pub policy_digest: Option<[u8; 32]>,
}

impl Admin {
    /// Looks at every part.
    ///
    /// # Errors
    /// AUDIT_UNAVAILABLE where not even records answer.
    pub async fn status(&self) -> Result<Status, Error> {
        let head = self.records.head().await?;
        let keys = self.keys.counters();
        let slots = self.slab.counters();
        let keyring = self.keyring.integrator().await;
        let policy_digest = self.records.policy().await?;
        let custodians: Vec<Custodian> = self.keys.custodians().into_iter().map(Custodian::from).collect();
        let resting = custodians.iter().filter(|custodian| custodian.rests).count();
        let parts = vec![
            Part { name: "records", ready: true, detail: format!("{} entries", head.size) },
            Part {
                name: "keyring",
                ready: keyring.is_ok(),
                detail: keyring.map_or_else(|error| error.to_string(), |_| "answers".to_owned()),
            },
            Part {
                name: "policy",
                ready: policy_digest.is_some(),
                detail: if policy_digest.is_some() { "in force".to_owned() } else { "no set was activated".to_owned() },
            },
            Part {
                name: "custodians",
                ready: resting == 0,
                detail: format!("{} of {} left alone", resting, custodians.len()),
            },
        ];
        Ok(Status {
            deployment: self.deployment.clone(),
            region: self.region.to_string(),
            mode: self.mode,
            memory: match self.slab.backing() {
                Backing::MemfdSecret => "memfd_secret",
                Backing::Mlock => "mlock",
            },
            parts,
            ledger_size: head.size,
            custodians,
            custodian_calls: keys.custodian_calls,
            warm_keys: keys.warm_now,
            slots_taken: slots.taken,
            slots_wiped: slots.wiped,
            policy_digest,
        })
    }
}
