//! Builds everything the story needs and plays it.

use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, root, step};

/// Builds the vault, the module, the bank and the worker, then runs `cofre-dev demo`.
pub(crate) fn demo(rest: &[String]) -> Result<()> {
    let packages = ["-p", "cofre-server", "-p", "cofre-cli", "-p", "cofre-demo", "-p", "cofre-hsm-sim"];
    step("build", cargo(&["build"]).args(packages))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    step("story", Command::new(target.join("debug/cofre-dev")).arg("demo").args(rest))
}
