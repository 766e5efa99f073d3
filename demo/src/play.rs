//! What one does by hand beside a running `cofre-dev up`: the investor's and the front end's part (deposit, consent,
//! revocation, answering a second factor) and the scheduler's (a signed job). Each command connects to the vault and the
//! bank like anybody else; what they remember of one another stands in the deployment's folder. It starts no vault.

mod front_end;
mod ticket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Subcommand;
use cofre_client::{Deployment, FrontEnd};
use cofre_model::id::{ConsentId, CredentialId};
use cofre_model::time::Clock;
use cofre_server::clock::SystemClock;
use serde::{Deserialize, Serialize};

use crate::testbank::{RunningBank, Visitor};
use crate::world::identities::Identities;
use crate::world::seed::{self, Tenant};
use crate::world::{NAME, World};

/// The parts that are played by hand.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// An investor opens an account at the test bank and deposits its login; prints the login's id.
    Deposit {
        /// Which fixture institution, such as banc-valles.
        #[arg(long, default_value = "banc-valles")]
        institution: String,
    },
    /// The investor reads the notice and consents; prints the consent's id.
    Consent {
        /// The login.
        credential: CredentialId,
    },
    /// The investor withdraws the consent.
    Revoke {
        /// The consent.
        consent: ConsentId,
    },
    /// The scheduler signs a job for one worker; prints the ticket that `cofre-worker` takes.
    Ticket {
        /// The login.
        credential: CredentialId,
        /// The worker's name.
        #[arg(long, default_value = "w01")]
        worker: String,
        /// Without the investor's presence.
        #[arg(long)]
        unattended: bool,
        /// Tell the worker to keep its session until it is told to stop.
        #[arg(long)]
        hold: bool,
    },
    /// The investor waits for one second-factor question and types the code the bank sent or shows.
    Answer,
}

/// What `up` writes for those who come to play.
#[derive(Debug, Serialize, Deserialize)]
struct Addresses {
    tenants_and_workers: String,
    people: String,
    signer: String,
    bank: SocketAddr,
    bank_admin: String,
}

/// What is remembered of an investor.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Investor {
    institution: String,
    seed: u64,
    phone: (String, String),
    credential: String,
    owner: String,
}

/// The file of the addresses.
const ADDRESSES: &str = "up.json";
/// The file of the investors.
const INVESTORS: &str = "investors.json";

/// A running development deployment, seen from outside.
struct Place {
    folder: PathBuf,
    identities: Identities,
    door: Deployment,
    bank: SocketAddr,
    bank_admin: String,
    tenant: Tenant,
    clock: Arc<dyn Clock>,
}

/// Plays one part.
///
/// # Errors
/// Where no deployment runs in the folder, and whatever the vault or the bank refuse.
pub async fn play(folder: &Path, part: Part) -> Result<()> {
    let place = Place::find(folder)?;
    match part {
        Part::Deposit { institution } => place.deposit(&institution).await,
        Part::Consent { credential } => place.consent(credential).await,
        Part::Revoke { consent } => place.revoke(consent).await,
        Part::Ticket { credential, worker, unattended, hold } => {
            place.ticket(credential, &ticket::Wish { worker, unattended, hold })
        }
        Part::Answer => place.answer().await,
    }
}

/// Writes what those who come to play need: addresses, the verifier key, and a profile of `cofre` for each person.
///
/// # Errors
/// Where a file cannot be written.
pub fn announce(world: &World, bank: &RunningBank, bank_admin: &str) -> Result<()> {
    let signer = world.door.signer.to_string();
    let addresses = Addresses {
        tenants_and_workers: world.door.address.clone(),
        people: world.people_door.address.clone(),
        signer: signer.clone(),
        bank: bank.addr,
        bank_admin: bank_admin.to_owned(),
    };
    std::fs::write(world.folder.join(ADDRESSES), serde_json::to_vec_pretty(&addresses)?)?;
    std::fs::write(world.folder.join("bank-ca.pem"), &bank.ca_pem)?;
    std::fs::write(world.folder.join("verifier.key"), format!("{signer}\n"))?;
    let profiles = world.folder.join("profiles");
    std::fs::create_dir_all(&profiles)?;
    for (role, name) in [("operator", "olga"), ("auditor", "ada"), ("security", "sergi"), ("privacy", "pilar")] {
        let address = &world.people_door.address;
        let text = format!(
            "address = \"{address}\"\ntrust_domain = \"{NAME}\"\nsigner = \"@../verifier.key\"\n\
             certificate = \"../identities/person-{role}-{name}.pem\"\nkey = \"../identities/person-{role}-{name}.key\"\n\
             bundle = \"../identities/bundle.pem\"\n"
        );
        std::fs::write(profiles.join(format!("{role}.toml")), text)?;
    }
    Ok(())
}

impl Place {
    fn find(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let text = std::fs::read(folder.join(ADDRESSES))
            .with_context(|| format!("nothing runs in {}; start it with cofre-dev up", folder.display()))?;
        let addresses: Addresses = serde_json::from_slice(&text).context(ADDRESSES)?;
        let [tenant, _] = seed::remembered(&folder)?;
        Ok(Self {
            identities: Identities { folder: folder.join("identities") },
            door: Deployment::new(&addresses.tenants_and_workers, NAME, &addresses.signer)?,
            bank: addresses.bank,
            bank_admin: addresses.bank_admin,
            tenant,
            clock: Arc::new(SystemClock::new()),
            folder,
        })
    }

    async fn front_end(&self) -> Result<FrontEnd> {
        let identity = self.identities.load(&format!("frontend-{}", self.tenant.slug))?;
        Ok(FrontEnd::connect(&self.door, &identity, Arc::clone(&self.clock)).await?)
    }

    fn visitor(&self) -> Result<Visitor> {
        Ok(Visitor::new(self.bank, &std::fs::read_to_string(self.folder.join("bank-ca.pem"))?)?)
    }

    fn investors(&self) -> Result<Vec<Investor>> {
        match std::fs::read(self.folder.join(INVESTORS)) {
            Ok(text) => serde_json::from_slice(&text).context(INVESTORS),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).context(INVESTORS),
        }
    }

    fn investor(&self, credential: CredentialId) -> Result<Investor> {
        let known = self.investors()?.into_iter().find(|each| each.credential == credential.to_string());
        known.with_context(|| format!("{credential} was not deposited with cofre-dev deposit in this folder"))
    }
}
