//! Where PostgreSQL's programs are, and as whom they run.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Environment variable with the folder of `initdb` and `postgres`.
pub const BINARIES: &str = "COFRE_POSTGRES_BIN";
/// What to type where PostgreSQL is missing.
pub const INSTALL: &str = "apt-get install --yes --no-install-recommends postgresql";

/// Where Debian's package and others put one folder per version.
const VERSIONS: &[&str] = &["/usr/lib/postgresql", "/usr/local/pgsql", "/usr/pgsql"];
/// The account that Debian's package makes.
const ACCOUNT: &str = "postgres";

/// An installed PostgreSQL.
#[derive(Debug, Clone)]
pub(super) struct Installed {
    binaries: PathBuf,
    account: Option<(u32, u32)>,
}

impl Installed {
    /// Looks where [`BINARIES`] points, or else through the newest of Debian's folders and `PATH`.
    pub(super) fn find() -> Result<Self> {
        let binaries = match std::env::var_os(BINARIES) {
            Some(folder) if complete(Path::new(&folder)) => PathBuf::from(folder),
            Some(folder) => bail!("{BINARIES}={}: initdb and postgres are not there", folder.display()),
            None => newest().or_else(on_path).with_context(|| format!("PostgreSQL is missing: {INSTALL}"))?,
        };
        Ok(Self { binaries, account: account()? })
    }

    pub(super) fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// As whom the server runs: nothing for this process's own account. The server refuses to run as root.
    pub(super) const fn account(&self) -> Option<(u32, u32)> {
        self.account
    }

    /// Gives a folder to the server, and to nobody else.
    pub(super) fn own(&self, folder: &Path) -> Result<()> {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        if let Some((user, group)) = self.account {
            chown(folder, Some(user), Some(group)).with_context(|| format!("{}", folder.display()))?;
        }
        Ok(())
    }

    /// A command that runs as the server does.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

fn complete(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_dump", "psql"].iter().all(|program| folder.join(program).is_file())
}

/// The folder of the highest version that is whole.
fn newest() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for place in VERSIONS {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            let version = entry.file_name().to_string_lossy().parse().unwrap_or(0);
            found.push((version, entry.path().join("bin")));
        }
        found.push((0, Path::new(place).join("bin")));
    }
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).find(|folder| complete(folder))
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // A link leads to the folder where the programs really stand together.
    let real = |folder: PathBuf| folder.join("initdb").canonicalize().ok()?.parent().map(Path::to_path_buf);
    std::env::split_paths(&path).filter_map(real).find(|folder| complete(folder))
}

/// For root, the account of the server; for anybody else, nothing.
fn account() -> Result<Option<(u32, u32)>> {
    if std::fs::metadata("/proc/self").context("who this process is")?.uid() != 0 {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let account = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|parts| match *parts {
        [ACCOUNT, _, user, group, ..] => Some((user.parse().ok()?, group.parse().ok()?)),
        _ => None,
    });
    account
        .map(Some)
        .with_context(|| format!("PostgreSQL does not run as root, and there is no account {ACCOUNT}: {INSTALL}"))
}
