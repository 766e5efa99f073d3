//! Where a world's stores are: three files in its folder, or three databases of a throw-away PostgreSQL that an
//! administrator prepared and `cofred migrate` brought to this release, with a role and a password for each.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::Store;

use super::token::binary;

/// The folder of a world's stores: the files lie in it, the databases are named after it.
#[must_use]
pub fn folder(world: &Path) -> PathBuf {
    world.join("stores")
}

/// The lines of the configuration below `[stores]`. Databases are made where they are missing.
///
/// # Errors
/// Where folder or databases cannot be made.
pub(super) async fn lines(world: &Path, cluster: Option<&Cluster>) -> Result<String> {
    let stores = folder(world);
    std::fs::create_dir_all(&stores)?;
    let quoted = |text: String| toml::Value::String(text).to_string();
    let Some(cluster) = cluster else {
        let line = |store: Store| {
            format!("{} = {{ sqlite = {} }}\n", store.name(), quoted(store.file(&stores).display().to_string()))
        };
        return Ok(Store::ALL.map(line).concat());
    };
    let file = world.join("postgres-password");
    if !cluster.has(&stores).await? {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("randomness: {error}"))?;
        let password = hex::encode(bytes);
        let mut out =
            std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file).with_context(|| {
                format!("{}: this world's databases went with their PostgreSQL; take another folder", file.display())
            })?;
        out.write_all(password.as_bytes())?;
        cluster.make_empty(&stores, &password).await?;
    }
    let password = quoted(file.display().to_string());
    let line = |store: Store| {
        let name = databases::name(&stores, store);
        let connection = quoted(cluster.text(&name, &name));
        format!("{} = {{ postgres = {connection}, password = {{ file = {password} }} }}\n", store.name())
    };
    Ok(Store::ALL.map(line).concat())
}

/// Brings the databases of a configuration to this release, as their owner.
///
/// # Errors
/// What `cofred migrate` said.
pub(super) fn migrate(config: &Path) -> Result<()> {
    let mut migrate = Command::new(binary("cofred")?);
    migrate.args(["migrate", "--owner", databases::OWNER, "--config"]).arg(config);
    let done = migrate.output().context("cofred migrate")?;
    if !done.status.success() {
        bail!("cofred migrate: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}
