//! The story: one life of twenty-five logins, in four chapters, with a table at the end. Each row of the table is
//! computed from a check; a row that was not shown makes the demo fail.

mod bank;
mod cast;
mod ends;
mod leaves;
mod register;
mod rests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use cofre_testkit::postgres::Cluster;

use crate::table::{Table, chapter};
use crate::testbank::{RunningBank, Visitor};
use crate::up;
use crate::world::{Wishes, World};
use cast::Investor;

/// How many investors the story has.
const INVESTORS: usize = 25;

/// What the chapters share.
struct Story {
    world: World,
    bank: RunningBank,
    investors: Vec<Investor>,
    table: Table,
    scratch: PathBuf,
    wishes: Wishes,
}

/// Plays the story.
///
/// # Errors
/// What kept a chapter from being played at all; a check that did not hold is a row of the table instead.
pub async fn demo(folder: Option<PathBuf>, cluster: Option<Cluster>) -> Result<ExitCode> {
    let temporary = tempfile::tempdir()?;
    let folder = folder.unwrap_or_else(|| temporary.path().join("cofre"));
    // A short warm span, so that taking the token away shows within seconds.
    let wishes = Wishes { warm_for: "3s", cluster, ..Wishes::usual(&folder)? };
    println!("Starting a vault, a token and a test bank …");
    let world = World::start(&wishes).await?;
    let bank = up::bank().await?;
    std::fs::write(world.folder.join("bank-ca.pem"), &bank.ca_pem)?;
    let scratch = temporary.path().join("scratch");
    let mut story = Story { world, bank, investors: Vec::new(), table: Table::default(), scratch, wishes };

    chapter("1. A login rests");
    story.rests().await?;
    chapter("2. A login leaves once");
    story.leaves().await?;
    chapter("3. The bank");
    story.bank().await?;
    chapter("4. The register and the ends");
    story.ends().await?;
    story.register().await?;

    story.bank.stop().await;
    story.world.stop()?;
    println!();
    Ok(if story.table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Story {
    fn visitor(&self) -> Result<Visitor> {
        Ok(Visitor::new(self.bank.addr, &self.bank.ca_pem)?)
    }

    /// The exact reason that stands in the register at an index, as an auditor reads it.
    async fn exact_reason(&self, index: u64) -> Result<String> {
        crate::ledger::exact_reason(&self.world, index).await
    }
}
