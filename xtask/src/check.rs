//! The rules of the house, held by machine. Each rule is a pure function over what it looks at, and each has a test
//! that shows it failing on one planted violation.

mod dependencies;
mod licences;
mod never;
mod release_path;
pub(crate) mod sources;

use anyhow::{Result, bail};

use crate::peers;
use crate::run::{cargo, output, step};

/// The workspace of the fuzz targets: apart, and under the same rules.
const FUZZ: &str = "fuzz/Cargo.toml";

/// One broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

/// Runs every check; prints each violation and fails if there is one.
pub(crate) fn check() -> Result<()> {
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    step("format of fuzz", &mut cargo(&["fmt", "--manifest-path", FUZZ, "--check"]))?;
    rules()?;
    step("lints", &mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    // Of programs, the doc comments are the help texts; they are read there. There are no examples: with them asked for,
    // dependencies have the features that they have for the lints, and are not checked a second time.
    let mut documentation = cargo(&["doc", "--workspace", "--lib", "--examples", "--no-deps", "--quiet"]);
    step("documentation", documentation.env("RUSTDOCFLAGS", "-D warnings"))
}

fn rules() -> Result<()> {
    println!("==> rules of the house");
    let metadata: serde_json::Value =
        serde_json::from_str(&output(&mut cargo(&["metadata", "--format-version", "1", "--locked"]))?)?;
    let files = sources::tracked()?;
    let mut broken = dependencies::check(&dependencies::packages(&metadata));
    let edges = ["tree", "--workspace", "--target", "all", "-e", "normal,build,dev", "--prefix", "none"];
    let rules = licences::Rules::load()?;
    for workspace in ["Cargo.toml", FUZZ, peers::KRYOPTIC] {
        let tree =
            output(cargo(&edges).args(["--locked", "--manifest-path", workspace, "--format", licences::FORMAT]))?;
        broken.extend(licences::check(&licences::packages(&tree), &rules));
    }
    broken.extend(never::check(&files));
    broken.extend(release_path::check(&files));
    for Violation(text) in &broken {
        println!("    {text}");
    }
    println!("    {} files, {} violations", files.len(), broken.len());
    if broken.is_empty() { Ok(()) } else { bail!("{} rules are broken", broken.len()) }
}
