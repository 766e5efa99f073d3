//! The crowd of the tenant that most tests are about.

use anyhow::Result;
pub(crate) use cofre_demo::crowd::Deposited;
use cofre_demo::crowd::{self, Asker};
use cofre_demo::world::World;

/// Deposits `count` logins, every secret value of which is a canary.
pub(crate) async fn deposit(world: &World, count: usize) -> Result<Vec<Deposited>> {
    crowd::deposit(&world.north, 0..count as u64).await
}

/// Gives every login a consent.
pub(crate) async fn consent(world: &World, crowd: &[Deposited]) -> Result<()> {
    crowd::consent(&world.north, world.clock.now(), crowd).await
}

/// Releases every login once; says how many came with exactly the values that were deposited.
pub(crate) async fn release(world: &World, crowd: &[Deposited]) -> Result<usize> {
    let askers = [Asker::connect(world, 1).await?];
    Ok(usize::try_from(crowd::release(world, &world.north, &askers, crowd).await?.whole)?)
}
