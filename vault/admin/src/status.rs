//! What an operator sees: the parts the service stands on, each by name, and what it counted.

use cofre_envelope::Backing;

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
                ready: keys.failed_calls == 0 || keys.custodian_calls > keys.failed_calls,
                detail: format!("{} calls, {} failed", keys.custodian_calls, keys.failed_calls),
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
            custodian_calls: keys.custodian_calls,
            warm_keys: keys.warm_now,
            slots_taken: slots.taken,
            slots_wiped: slots.wiped,
            policy_digest,
        })
    }
}
