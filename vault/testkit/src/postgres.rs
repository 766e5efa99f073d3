//! A throw-away PostgreSQL: a cluster of its own in a private folder, made when a test first asks for it and gone with
//! the process that made it, however that process ends.
//!
//! Nothing is shared with a PostgreSQL that may run on the machine: no TCP listener unless a test asks for one, and no
//! file outside the folder. It never survives a power cut, and need not.
//!
//! `cargo xtask test` starts one cluster for a whole run (`cofre-test-postgres`) and names it to the tests by
//! [`CLUSTER`]; where the variable is absent, each process that needs a cluster starts its own.

pub mod databases;
mod dump;
mod installed;
mod keeper;

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use installed::Installed;
pub use installed::{BINARIES, INSTALL};
use keeper::Keeper;

/// Environment variable with the socket folder of a cluster that runs already.
pub const CLUSTER: &str = "COFRE_TEST_POSTGRES";
/// The superuser of a cluster. It connects over the socket without a password.
pub const ADMINISTRATOR: &str = "cofre_administrator";
/// Members have to show their password, over the socket as well.
pub const WITH_PASSWORD: &str = "cofre_with_password";

/// The port a socket is named by where there is no listener.
const PORT: u16 = 5432;

/// How the server is started. What only costs time in a cluster that is thrown away is off, and it is kept small:
/// two cores and a few hundred short connections.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "autovacuum=off",
    "shared_buffers=64MB",
    "max_connections=200",
    "max_worker_processes=2",
    "jit=off",
    "logging_collector=off",
    "timezone=UTC",
];

/// A TCP listener on 127.0.0.1 that takes TLS only.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The server's chain, PEM, leaf first.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The authority of client certificates, PEM; with it every client has to show one that names its role.
    pub client_authority: Option<String>,
}

/// What a cluster is to be like.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where to keep the data, so that the same folder can be started again; nothing for a folder that is deleted.
    pub kept_in: Option<PathBuf>,
    /// A listener beside the socket.
    pub tls: Option<Tls>,
    /// A folder for the server's log of writes, where that is to lie on another disk than the data.
    pub log_in: Option<PathBuf>,
}

/// A running cluster. Clones are the same one; it ends with the last of them, or with this process.
#[derive(Debug, Clone)]
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    installed: Installed,
    _keeper: Option<Arc<Keeper>>,
}

impl Cluster {
    /// The cluster of this run: the one that [`CLUSTER`] names, or one started for this process.
    ///
    /// # Errors
    /// What is missing, with what to type; what the server said when it did not start.
    pub fn here() -> Result<Self> {
        static HERE: Mutex<Option<Cluster>> = Mutex::new(None);
        let mut here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = &*here {
            return Ok(cluster.clone());
        }
        let cluster = match std::env::var_os(CLUSTER) {
            Some(folder) => Self::running(Path::new(&folder))?,
            None => Self::start(&Wanted::default())?,
        };
        *here = Some(cluster.clone());
        Ok(cluster)
    }

    fn running(folder: &Path) -> Result<Self> {
        if !folder.join(format!(".s.PGSQL.{PORT}")).exists() {
            bail!("{CLUSTER}={}: no server listens there; unset it, and one is started", folder.display());
        }
        Ok(Self { folder: folder.to_path_buf(), port: PORT, installed: Installed::find()?, _keeper: None })
    }

    /// Starts a cluster that is nobody else's.
    ///
    /// # Errors
    /// What is missing, with what to type; what the server said when it did not start.
    pub fn start(wanted: &Wanted) -> Result<Self> {
        let installed = Installed::find()?;
        let folder = match &wanted.kept_in {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
                std::path::absolute(folder)?
            }
            None => tempfile::Builder::new().prefix("cofre-pg-").tempdir()?.keep(),
        };
        installed.own(&folder)?;
        if let Some(log) = &wanted.log_in {
            std::fs::create_dir_all(log).with_context(|| format!("{}", log.display()))?;
            installed.own(log)?;
        }
        let settled = settle(&installed, &folder, wanted);
        let port = match settled {
            Ok(port) => port,
            Err(error) => {
                if wanted.kept_in.is_none() {
                    std::fs::remove_dir_all(&folder)?;
                }
                return Err(error);
            }
        };
        let mut settings: Vec<String> = SETTINGS.iter().map(|setting| (*setting).to_owned()).collect();
        settings.push(format!("port={port}"));
        settings.push(format!("unix_socket_directories={}", folder.display()));
        settings.push(format!("hba_file={}", folder.join("hba.conf").display()));
        settings.push(format!("listen_addresses={}", if wanted.tls.is_some() { "127.0.0.1" } else { "" }));
        if let Some(tls) = &wanted.tls {
            settings.push("ssl=on".to_owned());
            settings.push(format!("ssl_cert_file={}", folder.join("server.pem").display()));
            settings.push(format!("ssl_key_file={}", folder.join("server.key").display()));
            if tls.client_authority.is_some() {
                settings.push(format!("ssl_ca_file={}", folder.join("clients.pem").display()));
            }
        }
        let keeper = Keeper::start(&installed, &folder, wanted, &settings)?;
        Ok(Self { folder, port, installed, _keeper: Some(Arc::new(keeper)) })
    }

    /// The folder of its socket, which is its host in a connection's text.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The port of its listener, and the number in its socket's name.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The text of a connection over its socket, in the form of libpq.
    #[must_use]
    pub fn text(&self, database: &str, user: &str) -> String {
        format!("host={} port={} dbname={database} user={user}", self.folder.display(), self.port)
    }

    /// A connection of the superuser, whom no role and no password stops.
    ///
    /// # Errors
    /// Where the server refuses it.
    pub async fn administrator(&self, database: &str) -> Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.folder.display().to_string())
            .port(self.port)
            .username(ADMINISTRATOR)
            .database(database);
        options.connect().await.with_context(|| format!("database {database} below {}", self.folder.display()))
    }

    /// Runs statements as the superuser; says how many rows they touched.
    ///
    /// # Errors
    /// The first statement that does not run.
    pub async fn run(&self, database: &str, statements: &[&str]) -> Result<u64> {
        let mut connection = self.administrator(database).await?;
        let mut touched = 0;
        for statement in statements {
            let done = connection.execute(AssertSqlSafe((*statement).to_owned())).await;
            touched += done.with_context(|| (*statement).to_owned())?.rows_affected();
        }
        connection.close().await?;
        Ok(touched)
    }

    /// Moves tables of a database, with everything in them, into a folder on another disk.
    ///
    /// # Errors
    /// Where the folder is there already, or a table is not.
    pub async fn move_tables(&self, database: &str, tables: &[&str], to: &Path) -> Result<()> {
        std::fs::create_dir(to).with_context(|| format!("{}", to.display()))?;
        self.installed.own(to)?;
        let space = format!("CREATE TABLESPACE elsewhere LOCATION '{}'", to.display());
        let moves = tables.iter().map(|table| format!("ALTER TABLE cofre.{table} SET TABLESPACE elsewhere"));
        let statements: Vec<String> = std::iter::once(space).chain(moves).collect();
        self.run(database, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await.map(drop)
    }

    /// Whether the server is there, be it ready or not. It takes its mark away when it gives up.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.folder.join("data/postmaster.pid").exists()
    }

    /// From here on no file of the server takes a write beyond its first page: a disk that is full to the last byte,
    /// for whoever may not mount one. It lasts until the server is started anew.
    ///
    /// # Errors
    /// Where the server does not run, or is somebody else's.
    pub fn take_all_room(&self) -> Result<()> {
        let lock = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).context("a server that runs")?;
        let server = lock.lines().next().context("its number")?.trim().to_owned();
        // The server first: whoever is born after that is bound as well.
        self.bind(&server)?;
        let born = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).context("its children")?;
        for child in born.split_whitespace() {
            // One that has ended meanwhile writes nothing either.
            let bound = self.bind(child);
            if Path::new("/proc").join(child).exists() {
                bound?;
            }
        }
        Ok(())
    }

    fn bind(&self, process: &str) -> Result<()> {
        let mut prlimit = self.installed.command("prlimit");
        let done = prlimit.args(["--pid", process, "--fsize=8192:"]).output().context("prlimit")?;
        if !done.status.success() {
            bail!("prlimit of {process}: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }
}

/// Writes what the server reads at its start; says by which port it is to be reached.
fn settle(installed: &Installed, folder: &Path, wanted: &Wanted) -> Result<u16> {
    let mut rules = format!("local all +{WITH_PASSWORD} scram-sha-256\nlocal all all trust\n");
    let Some(tls) = &wanted.tls else {
        std::fs::write(folder.join("hba.conf"), rules)?;
        return Ok(PORT);
    };
    let certificate = if tls.client_authority.is_some() { " clientcert=verify-full" } else { "" };
    rules.push_str(&format!("hostssl all all 127.0.0.1/32 scram-sha-256{certificate}\n"));
    std::fs::write(folder.join("hba.conf"), rules)?;
    std::fs::write(folder.join("server.pem"), &tls.certificate)?;
    if let Some(authority) = &tls.client_authority {
        std::fs::write(folder.join("clients.pem"), authority)?;
    }
    let key = folder.join("server.key");
    std::fs::write(&key, &tls.key)?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    if let Some((user, group)) = installed.account() {
        chown(&key, Some(user), Some(group))?;
    }
    // Free a moment ago. Should somebody take it meanwhile, the server says so and the test fails.
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
