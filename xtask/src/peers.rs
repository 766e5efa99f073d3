//! Builds and installs what the tests compare us with and no distribution packages: Kryoptic from its crate, moto and
//! OpenBao from wheels. Each stands in a workspace, a lockfile or an environment of its own, so that nothing of it gets
//! into ours.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{cargo, root, step, target};

/// Kryoptic's workspace, from our root.
pub(crate) const KRYOPTIC: &str = "vault/testkit/peers/kryoptic/Cargo.toml";
/// The packages of the services, each with its version and hashes.
const SERVICES: &str = "vault/testkit/peers/services/requirements.txt";
/// Debian's own: another might be gone with the shell that found it.
const PYTHON: &str = "/usr/bin/python3";

/// Puts all of them where the tests look for them. The second time all is done already.
pub(crate) fn build() -> Result<()> {
    services()?;
    kryoptic()
}

/// Builds Kryoptic: `kryoptic` in our target folder.
pub(crate) fn kryoptic() -> Result<()> {
    let mut build = cargo(&["build", "--locked", "--manifest-path", KRYOPTIC]);
    step("build Kryoptic", build.arg("--target-dir").arg(target().join("kryoptic")))
}

/// Installs moto and OpenBao: `services` in our target folder, anew where what is wanted has changed.
pub(crate) fn services() -> Result<()> {
    let folder = std::path::absolute(target().join("services"))?;
    let wanted = root().join(SERVICES);
    let mark = folder.join("installed");
    // The programs name the folder in their first line: one that was moved does not do.
    let whole = format!("{}\n{}", folder.display(), read(&wanted)?);
    if std::fs::read_to_string(&mark).is_ok_and(|found| found == whole) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    step("an environment for moto and OpenBao", Command::new(PYTHON).args(["-m", "venv"]).arg(&folder))?;
    let mut install = Command::new(folder.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps"]);
    install.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(&wanted);
    step("install moto and OpenBao", &mut install)?;
    std::fs::write(&mark, whole).with_context(|| mark.display().to_string())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
