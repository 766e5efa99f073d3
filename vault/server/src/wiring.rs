//! Wiring: each use case gets the narrow handles it may use, and no more.

use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_admin::{Admin, KeyJobs};
use cofre_audit::{Integrator, Register};
use cofre_consent::Consents;
use cofre_custody::{Signer, TenantKeys};
use cofre_deposit::Deposits;
use cofre_edge::services::UseCases;
use cofre_envelope::{Slab, random};
use cofre_ledger::note::NoteKey;
use cofre_model::time::Clock;
use cofre_policy::Rules;
use cofre_privacy::Erasures;
use cofre_relay::Relay;
use cofre_release::Releases;
use cofre_store::Stores;

use crate::config::Config;

/// What the use cases are made from.
pub(crate) struct Parts {
    pub(crate) stores: Stores,
    pub(crate) keys: TenantKeys,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) note_key: NoteKey,
    pub(crate) rules: Arc<Rules>,
    pub(crate) slab: Arc<Slab>,
    pub(crate) clock: Arc<dyn Clock>,
    /// This life of the node.
    pub(crate) incarnation: [u8; 16],
}

impl Parts {
    /// The integrator that commits this node's ledger to its tree.
    pub(crate) fn integrator(&self) -> Integrator {
        Integrator {
            records: self.stores.records.clone(),
            keyring: self.stores.keyring.clone(),
            signer: Arc::clone(&self.signer),
            key: self.note_key.clone(),
        }
    }

    /// Hands every use case its own.
    pub(crate) fn use_cases(&self, config: &Config) -> UseCases {
        let Stores { records, ciphertexts, keyring } = &self.stores;
        let origin = cofre_ledger::checkpoint::origin(&config.deployment);
        let ids: cofre_relay::EntryIds = Arc::new(|| random::array().ok());
        UseCases {
            deposits: Arc::new(Deposits {
                records: records.clone(),
                ciphertexts: ciphertexts.clone(),
                keyring: keyring.clone(),
                keys: self.keys.for_deposit(),
                wrapping: self.keys.for_wrapping(),
                signer: Arc::clone(&self.signer),
                clock: Arc::clone(&self.clock),
            }),
            consents: Arc::new(Consents {
                records: records.clone(),
                keys: self.keys.for_rows(),
                signer: Arc::clone(&self.signer),
                signer_name: origin.clone(),
                aisp: config.operator.clone(),
                clock: Arc::clone(&self.clock),
            }),
            releases: Arc::new(Releases::new(cofre_release::Wiring {
                rules: Arc::clone(&self.rules),
                records: records.clone(),
                ciphertexts: ciphertexts.clone(),
                keyring: keyring.clone(),
                keys: self.keys.for_release(),
                clock: Arc::clone(&self.clock),
                region: config.region.clone(),
                origin: origin.clone(),
            })),
            relay: Arc::new(Relay::new(records.clone(), Arc::clone(&self.clock), ids)),
            erasures: Arc::new(Erasures {
                records: records.clone(),
                ciphertexts: ciphertexts.clone(),
                keyring: keyring.clone(),
                signer: Arc::clone(&self.signer),
                signer_name: origin,
                deployment: config.deployment.clone(),
                clock: Arc::clone(&self.clock),
                known: cofre_privacy::Known::default(),
            }),
            register: Arc::new(Register { records: records.clone(), key: self.note_key.clone() }),
            key_jobs: Arc::new(KeyJobs {
                records: records.clone(),
                keyring: keyring.clone(),
                rewrapping: self.keys.for_rewrapping(),
                rotating: self.keys.for_rotating(),
                keys: self.keys.clone(),
                signer: Arc::clone(&self.signer),
                deployment: config.deployment.clone(),
                floor: config.custody.clone(),
                holder: self.incarnation,
                clock: Arc::clone(&self.clock),
            }),
            admin: Arc::new(Admin {
                records: records.clone(),
                keyring: keyring.clone(),
                wrapping: self.keys.for_wrapping(),
                keys: self.keys.clone(),
                slab: Arc::clone(&self.slab),
                custody: config.custody.clone(),
                warm_for: config.warm_for,
                deployment: config.deployment.clone(),
                region: config.region.clone(),
                mode: config.mode.as_str(),
                clock: Arc::clone(&self.clock),
            }),
        }
    }
}

/// Reads and checks the policy set of a folder.
///
/// # Errors
/// A file that cannot be read, or a set that does not validate; the message names file and policy.
pub(crate) fn rules(config: &Config) -> Result<Rules> {
    let files = cofre_policy::bundle::read_dir(&config.policies).context("policies.dir")?;
    Rules::from_files(&files).context("policies.dir")
}
