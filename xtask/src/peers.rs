//! Builds what the tests compare us with and no distribution packages. Each stands in a workspace and a lockfile of
//! its own, so that nothing of it gets into ours.

use std::path::PathBuf;

use anyhow::Result;

use crate::run::{cargo, root, step};

/// Kryoptic's workspace, from our root.
pub(crate) const KRYOPTIC: &str = "vault/testkit/peers/kryoptic/Cargo.toml";

/// Builds Kryoptic where the tests look for it: `kryoptic` in our target folder. The second time cargo finds all done.
pub(crate) fn build() -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let mut build = cargo(&["build", "--locked", "--manifest-path", KRYOPTIC]);
    step("build Kryoptic", build.arg("--target-dir").arg(target.join("kryoptic")))
}
