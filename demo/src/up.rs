//! `cofre-dev up`: a development vault and a test bank, until interrupted.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_model::time::Clock;
use cofre_server::clock::SystemClock;
use cofre_testkit::postgres::{Cluster, Wanted};

use crate::testbank::{Certificate, Config, RunningBank, TestBank};
use crate::world::{NAME, Wishes, World};

/// Starts the bank on a free port with the machine's clock.
///
/// # Errors
/// Where it cannot listen.
pub async fn bank() -> Result<RunningBank> {
    let clock = Arc::new(SystemClock::new());
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(|error| anyhow::anyhow!("randomness: {error}"))?;
    Ok(TestBank::start(Config {
        listen: ([127, 0, 0, 1], 0).into(),
        certificate: Certificate::Generated,
        admin_token: hex::encode(token),
        clock: Arc::new(move || clock.now().secs()),
        institutions: cofre_testkit::institutions::all()?,
    })
    .await?)
}

/// Serves until interrupted.
///
/// # Errors
/// What could not be started.
pub async fn up(folder: &Path, postgres: bool) -> Result<()> {
    let cluster = postgres.then(|| Cluster::start(&Wanted { kept_in: Some(folder.join("postgres")), tls: None }));
    let cluster = cluster.transpose()?;
    let world = World::start(&Wishes { cluster, ..Wishes::usual(folder)? }).await?;
    let bank = bank().await?;
    std::fs::write(world.folder.join("bank-ca.pem"), &bank.ca_pem)?;
    println!("Cofre {NAME} is up; development only.");
    println!("  front ends and workers  {}", world.door.address);
    println!("  people                  {}", world.people_door.address);
    println!("  test bank               https://{}  (authority: bank-ca.pem)", bank.addr);
    println!("  verifier key            {}", world.door.signer);
    println!("  identities              {}", world.identities.folder.display());
    println!("  log                     {}", world.vault.log.display());
    println!("Interrupt to stop; start again with the same folder to go on.");
    tokio::signal::ctrl_c().await.context("waiting for an interrupt")?;
    bank.stop().await;
    world.stop()
}
