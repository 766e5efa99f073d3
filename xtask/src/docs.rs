//! Writes the reference chapters. They come from the code itself, so the programs whose help they hold are built first.
//! That the pages are what the code says is held by a test of `cofre-demo`.

use anyhow::Result;

use crate::run::{cargo, step};

/// Writes `docs/reference`.
pub(crate) fn docs() -> Result<()> {
    step(
        "build",
        &mut cargo(&["build", "--package", "cofre-cli", "--package", "cofre-server", "--package", "cofre-demo"]),
    )?;
    step("reference", &mut cargo(&["run", "--quiet", "--package", "cofre-demo", "--bin", "cofre-reference"]))
}
