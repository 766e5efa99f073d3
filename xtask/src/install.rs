//! Installs what the tests and the demo need and a fresh Debian machine lacks. Without root, or on another system, it names the
//! line to type and stops: a missing component is never skipped.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::step;

/// A component: the file that shows it is there, and Debian's package. One folder of the path may be `*`.
const NEEDED: &[(&str, &str)] = &[
    ("/usr/lib/softhsm/libsofthsm2.so", "softhsm2"),
    ("/usr/lib/postgresql/*/bin/initdb", "postgresql"),
    // What Kryoptic is built from; of libclang the place of every file depends on its version.
    ("/usr/include/openssl/ssl.h", "libssl-dev"),
    ("/usr/include/sqlite3.h", "libsqlite3-dev"),
    ("/var/lib/dpkg/info/libclang-dev.list", "libclang-dev"),
    ("/usr/bin/g++", "g++"),
    // A stranger that tries hsm-sim.
    ("/usr/bin/pkcs11-tool", "opensc"),
    ("/usr/bin/systemd-analyze", "systemd"),
    // Where services of other makes are installed (`crate::peers`).
    ("/usr/lib/*/ensurepip/__init__.py", "python3-venv"),
];

/// Installs every missing component.
pub(crate) fn install() -> Result<()> {
    install_all(&missing(|_| true))
}

/// Installs one component where it is missing.
pub(crate) fn install_one(package: &str) -> Result<()> {
    install_all(&missing(|name| name == package))
}

fn missing(wanted: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let missing = NEEDED.iter().filter(|(file, package)| wanted(package) && !is_there(file));
    missing.map(|(_, package)| *package).collect()
}

fn install_all(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        bail!("{} is missing; as root, type: apt-get update && {line}", missing.join(", "));
    }
    // The package would make and start a cluster of its own; tests start theirs.
    if missing.contains(&"postgresql") {
        std::fs::create_dir_all("/etc/postgresql-common")?;
        let settings = Path::new("/etc/postgresql-common/createcluster.conf");
        if !settings.exists() {
            std::fs::write(settings, "create_main_cluster = false\n")?;
        }
    }
    step("apt-get update", Command::new("apt-get").arg("update").arg("-qq"))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "-qq", "--no-install-recommends"]);
    step(&line, install.args(missing))
}

fn is_there(file: &str) -> bool {
    let Some((before, after)) = file.split_once("/*/") else { return Path::new(file).exists() };
    std::fs::read_dir(before).is_ok_and(|folders| folders.flatten().any(|folder| folder.path().join(after).exists()))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_found_below_any_version() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/install.rs");
        let parent = concat!(env!("CARGO_MANIFEST_DIR"), "/*/install.rs");
        assert!(is_there(here) && is_there(parent));
        assert!(!is_there("/nowhere/at/all") && !is_there("/nowhere/*/all"));
        assert!(!is_there(concat!(env!("CARGO_MANIFEST_DIR"), "/*/absent.rs")));
    }
}
