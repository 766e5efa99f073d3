//! Installs what the tests need and a fresh Debian machine lacks. Without root, or on another system, it names the
//! line to type and stops: a missing component is never skipped.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run::step;

/// A component: the file that shows it is there, and Debian's package.
const NEEDED: &[(&str, &str)] = &[("/usr/lib/softhsm/libsofthsm2.so", "softhsm2"), ("/usr/bin/g++", "g++")];

/// Installs every missing component.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(file, _)| !std::path::Path::new(file).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        bail!("the tests need {}; as root, type: apt-get update && {line}", missing.join(", "));
    }
    step("apt-get update", Command::new("apt-get").arg("update").arg("-qq"))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "-qq", "--no-install-recommends"]);
    step(&line, install.args(&missing))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
