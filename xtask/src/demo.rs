//! Builds everything the story needs and plays it.

use std::process::Command;

use anyhow::Result;

use crate::install::install_one;
use crate::run::{cargo, step, target};

/// Builds the vault, the module, the bank and the worker, then runs `cofre-dev demo`.
pub(crate) fn demo(postgres: bool, rest: &[String]) -> Result<()> {
    if postgres {
        install_one("postgresql")?;
    }
    let packages = ["-p", "cofre-server", "-p", "cofre-cli", "-p", "cofre-demo", "-p", "cofre-hsm-sim"];
    step("build", cargo(&["build"]).args(packages))?;
    step(
        "story",
        Command::new(target().join("debug/cofre-dev")).arg("demo").args(postgres.then_some("--postgres")).args(rest),
    )
}
