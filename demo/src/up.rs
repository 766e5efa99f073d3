//! `cofre-dev up`: a development vault and a test bank, until interrupted.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_model::time::Clock;
use cofre_server::clock::SystemClock;
use cofre_testkit::postgres::{Cluster, Wanted};

use crate::play;
use crate::testbank::{Certificate, Config, RunningBank, TestBank};
use crate::world::{NAME, Wishes, World};

/// Starts the bank on a free port with the machine's clock.
///
/// # Errors
/// Where it cannot listen.
pub async fn bank() -> Result<RunningBank> {
    administered(admin_token()?).await
}

fn admin_token() -> Result<String> {
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(|error| anyhow::anyhow!("randomness: {error}"))?;
    Ok(hex::encode(token))
}

async fn administered(admin_token: String) -> Result<RunningBank> {
    let clock = Arc::new(SystemClock::new());
    Ok(TestBank::start(Config {
        listen: ([127, 0, 0, 1], 0).into(),
        certificate: Certificate::Generated,
        admin_token,
        clock: Arc::new(move || clock.now().secs()),
        institutions: cofre_testkit::institutions::all()?,
    })
    .await?)
}

/// Serves until interrupted, with the policies of a folder or with the shipped ones.
///
/// # Errors
/// What could not be started.
pub async fn up(folder: &Path, postgres: bool, policies: Option<&Path>) -> Result<()> {
    let cluster =
        postgres.then(|| Cluster::start(&Wanted { kept_in: Some(folder.join("postgres")), ..Wanted::default() }));
    let cluster = cluster.transpose()?;
    let mut wishes = Wishes { cluster, ..Wishes::usual(folder)? };
    if let Some(policies) = policies {
        wishes.policies = std::path::absolute(policies)?;
    }
    let world = World::start(&wishes).await?;
    let token = admin_token()?;
    let bank = administered(token.clone()).await?;
    play::announce(&world, &bank, &token)?;
    println!("Cofre {NAME} is up; development only.");
    println!("  front ends and workers  {}", world.door.address);
    println!("  people                  {}", world.people_door.address);
    println!("  test bank               https://{}  (authority: bank-ca.pem)", bank.addr);
    println!("  verifier key            {}", world.door.signer);
    println!("  identities              {}", world.identities.folder.display());
    println!("  profiles for cofre      {}", world.folder.join("profiles").display());
    println!("  log                     {}", world.vault.log.display());
    println!("Interrupt to stop; start again with the same folder to go on.");
    tokio::signal::ctrl_c().await.context("waiting for an interrupt")?;
    bank.stop().await;
    world.stop()
}
