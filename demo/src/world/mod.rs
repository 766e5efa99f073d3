//! A whole development deployment in one folder: authority and identities, a token of hsm-sim, stores, policies, the
//! vault as a process of its own, and two tenants with their institutions and workers.
//!
//! Everything made here carries the development marker that production refuses.

pub mod custody;
pub mod identities;
pub mod seed;
pub mod stores;
pub mod tenants;
pub mod token;
pub mod vault;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_client::Deployment;
use cofre_client::people::{Auditor, Operator, PrivacyOfficer, Security};
use cofre_model::time::Clock;
use cofre_server::clock::SystemClock;
use cofre_testkit::postgres::Cluster;

use custody::Custody;
use identities::Identities;
use seed::Tenant;
use vault::Vault;

/// The deployment's name and trust domain.
pub const NAME: &str = "cofre.dev";
/// Its region.
pub const REGION: &str = "dev-local";

/// How a world is made.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Where everything is kept; made where it is missing.
    pub folder: PathBuf,
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// The policy folder.
    pub policies: PathBuf,
    /// How long a tenant key stays warm, as the configuration writes it.
    pub warm_for: &'static str,
    /// How secrets are locked: `memfd_secret` or `mlock`.
    pub memory: &'static str,
    /// What the vault logs, as a filter.
    pub log: &'static str,
    /// The PostgreSQL for its stores; nothing for SQLite files in the folder.
    pub cluster: Option<Cluster>,
    /// Workers to register, named `w01`, `w02`, …
    pub workers: usize,
    /// Who holds keys.
    pub custody: Custody,
    /// Where the vault's telemetry goes, such as `http://127.0.0.1:4317`; nowhere if none.
    pub collector: Option<String>,
}

impl Wishes {
    /// The usual world in `folder`.
    ///
    /// # Errors
    /// Where hsm-sim is not to be found.
    pub fn usual(folder: &Path) -> Result<Self> {
        Ok(Self {
            folder: folder.to_path_buf(),
            module: token::hsm_sim()?,
            policies: Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("workspace")?.join("policies"),
            warm_for: "300s",
            memory: "memfd_secret",
            log: "info",
            cluster: None,
            workers: 25,
            custody: Custody::One,
            collector: None,
        })
    }
}

/// A running deployment.
#[derive(Debug)]
pub struct World {
    /// Where it is kept.
    pub folder: PathBuf,
    /// Its identities.
    pub identities: Identities,
    /// The vault.
    pub vault: Vault,
    /// How front ends and workers reach it.
    pub door: Deployment,
    /// How people reach it.
    pub people_door: Deployment,
    /// An operator.
    pub operator: Operator,
    /// An auditor.
    pub auditor: Auditor,
    /// A member of the security team.
    pub security: Security,
    /// A privacy officer.
    pub privacy: PrivacyOfficer,
    /// The tenant of the story.
    pub north: Tenant,
    /// Another one.
    pub south: Tenant,
    /// This machine's clocks.
    pub clock: Arc<dyn Clock>,
}

impl World {
    /// Makes what is missing, starts the vault, seeds it where it is new, and connects.
    ///
    /// # Errors
    /// What could not be made or started, with what the vault said.
    pub async fn start(wishes: &Wishes) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let folder = std::path::absolute(&wishes.folder)?;
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let identities = Identities::make(&folder.join("identities"), wishes.workers, clock.now())?;
        let signer = token::make(&folder, &wishes.module)?;
        let stores = stores::lines(&folder, wishes.cluster.as_ref()).await?;
        let config = vault::write_config(&folder, wishes, &stores)?;
        if wishes.cluster.is_some() {
            stores::migrate(&config)?;
        }
        wishes.custody.complete(&folder, &config)?;
        let vault = Vault::start_with(&folder, &config, &wishes.custody.environment(&folder))?;
        let door = Deployment::new(&vault.tenants_and_workers, NAME, &signer)?;
        let people_door = Deployment::new(&vault.people, NAME, &signer)?;
        let person = |path: &str| identities.load(path);
        let operator = Operator::connect(&people_door, &person("person-operator-olga")?, Arc::clone(&clock)).await?;
        let auditor = Auditor::connect(&people_door, &person("person-auditor-ada")?, Arc::clone(&clock)).await?;
        let security = Security::connect(&people_door, &person("person-security-sergi")?, Arc::clone(&clock)).await?;
        let privacy =
            PrivacyOfficer::connect(&people_door, &person("person-privacy-pilar")?, Arc::clone(&clock)).await?;
        let mut world_tenants = seed::tenants(&folder, &operator, &clock, wishes.workers).await?;
        for tenant in &mut world_tenants {
            tenant.connect(&door, &identities, &clock).await?;
        }
        let [north, south] = world_tenants;
        Ok(Self {
            folder,
            identities,
            vault,
            door,
            people_door,
            operator,
            auditor,
            security,
            privacy,
            north,
            south,
            clock,
        })
    }

    /// Stops the vault in order.
    ///
    /// # Errors
    /// Where it does not stop, or says that a step of its stop failed.
    pub fn stop(self) -> Result<()> {
        self.vault.stop()
    }
}
