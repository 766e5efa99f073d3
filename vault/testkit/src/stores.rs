//! Three stores in a folder, on the engine that the environment names, and hands on them as a database administrator
//! has them: for controls and for tests that edit rows, or put old ones back, behind the vault's back.
//!
//! The folder is the handle on both engines. On SQLite the files lie in it; on PostgreSQL the databases are named
//! after it, and dropped once it is gone.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cofre_store::{Mode, Place, StoreConfig};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use crate::postgres::{Cluster, databases};

/// Environment variable that names the engine: `sqlite`, which is the default, or `postgres`.
pub const ENGINE: &str = "COFRE_TEST_STORES";

/// One of the three stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Who may do what, and the ledger.
    Records,
    /// Sealed fields.
    Ciphertexts,
    /// Wrapped keys.
    Keyring,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Records, Self::Ciphertexts, Self::Keyring];

    /// Its name, as in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Ciphertexts => "ciphertexts",
            Self::Keyring => "keyring",
        }
    }

    /// Its SQLite file in a folder.
    #[must_use]
    pub fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.db", self.name()))
    }
}

/// What stores run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Files in a folder.
    Sqlite,
    /// Databases of the cluster of this run.
    Postgres,
}

impl Engine {
    /// The engine that [`ENGINE`] names.
    ///
    /// # Errors
    /// A name nobody knows: a run that was meant for one engine must not silently be one of the other.
    pub fn of_this_run() -> Result<Self> {
        match std::env::var(ENGINE) {
            Err(std::env::VarError::NotPresent) => Ok(Self::Sqlite),
            Ok(name) if name == "sqlite" => Ok(Self::Sqlite),
            Ok(name) if name == "postgres" => Ok(Self::Postgres),
            Ok(name) => bail!("{ENGINE}={name}: must be sqlite or postgres, or be left out"),
            Err(error) => bail!("{ENGINE}: {error}"),
        }
    }
}

/// The stores of a folder on the engine of this run, for development mode and without a ceiling. On PostgreSQL they
/// are made and migrated where they are missing.
///
/// # Errors
/// Where the engine is missing or fails, with what to type.
pub async fn config(folder: &Path) -> Result<StoreConfig> {
    match Engine::of_this_run()? {
        Engine::Sqlite => Ok(sqlite(folder)),
        Engine::Postgres => postgres(folder).await,
    }
}

/// The stores of a folder on SQLite, for tests about the files themselves.
#[must_use]
pub fn sqlite(folder: &Path) -> StoreConfig {
    let place = |store: Store| Place::Sqlite(store.file(folder));
    StoreConfig {
        records: place(Store::Records),
        ciphertexts: place(Store::Ciphertexts),
        keyring: place(Store::Keyring),
        mode: Mode::Dev,
        ceiling: None,
    }
}

/// The stores of a folder on PostgreSQL, for tests about its databases.
///
/// # Errors
/// As [`config`].
pub async fn postgres(folder: &Path) -> Result<StoreConfig> {
    on_cluster(&Cluster::here()?, folder).await
}

/// The stores of a folder on a PostgreSQL of their own, for tests that bring the server down.
///
/// # Errors
/// As [`config`].
pub async fn on_cluster(cluster: &Cluster, folder: &Path) -> Result<StoreConfig> {
    if !cluster.has(folder).await? {
        cluster.make_migrated(folder).await?;
    }
    let place = |store| cluster.place(&databases::name(folder, store), &databases::serving(store));
    Ok(StoreConfig {
        records: place(Store::Records)?,
        ciphertexts: place(Store::Ciphertexts)?,
        keyring: place(Store::Keyring)?,
        mode: Mode::Dev,
        ceiling: None,
    })
}

/// Runs statements on a store with foreign keys and triggers off, as somebody can who owns the database; says how
/// many rows they touched. They are of the dialect both engines speak; bytes are written ` x'00ff'`.
///
/// # Errors
/// Where the store is not there or a statement does not run.
pub async fn edit(folder: &Path, store: Store, statements: &[&str]) -> Result<u64> {
    match Engine::of_this_run()? {
        Engine::Sqlite => edit_file(&store.file(folder), statements).await,
        Engine::Postgres => {
            let free = ["SET search_path = cofre", "SET session_replication_role = replica"];
            let statements: Vec<String> = statements.iter().map(|text| text.replace(" x'", " '\\x")).collect();
            let statements = free.into_iter().chain(statements.iter().map(String::as_str)).collect::<Vec<_>>();
            Cluster::here()?.run(&databases::name(folder, store), &statements).await
        }
    }
}

/// Runs statements on a SQLite file, as [`edit`] does.
///
/// # Errors
/// Where the file is not there or a statement does not run.
pub async fn edit_file(file: &Path, statements: &[&str]) -> Result<u64> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).foreign_keys(false);
    let mut connection = options.connect().await.map_err(|cause| anyhow::anyhow!("{}: {cause}", file.display()))?;
    let mut touched = 0;
    for statement in statements {
        touched += connection.execute(AssertSqlSafe((*statement).to_owned())).await?.rows_affected();
    }
    connection.close().await?;
    Ok(touched)
}

/// Empties tables of a SQLite file that no vault has open.
///
/// # Errors
/// As [`edit_file`].
pub async fn empty_file(file: &Path, tables: &[&str]) -> Result<u64> {
    let statements: Vec<String> = tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
    edit_file(file, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Keeps a store as it is, for [`restore`]. No vault may have it open.
///
/// # Errors
/// Where it cannot be copied.
pub async fn back_up(folder: &Path, store: Store) -> Result<()> {
    match Engine::of_this_run()? {
        Engine::Sqlite => move_files(&store.file(folder), &folder.join(format!("old-{}.db", store.name()))),
        Engine::Postgres => {
            let name = databases::name(folder, store);
            Cluster::here()?.copy(&name, &format!("{name}_old")).await
        }
    }
}

/// Puts a kept store back in the place of what is there. No vault may have it open.
///
/// # Errors
/// Where it cannot be copied.
pub async fn restore(folder: &Path, store: Store) -> Result<()> {
    match Engine::of_this_run()? {
        Engine::Sqlite => move_files(&folder.join(format!("old-{}.db", store.name())), &store.file(folder)),
        Engine::Postgres => {
            let name = databases::name(folder, store);
            Cluster::here()?.copy(&format!("{name}_old"), &name).await
        }
    }
}

/// Copies a SQLite file, and the log that may still stand beside it. Nothing newer stays beside the copy, or SQLite
/// would replay it.
fn move_files(from: &Path, to: &Path) -> Result<()> {
    let beside = |file: &Path, suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for suffix in ["-wal", "-shm"] {
        if beside(to, suffix).exists() {
            std::fs::remove_file(beside(to, suffix))?;
        }
    }
    std::fs::copy(from, to)?;
    if beside(from, "-wal").exists() {
        std::fs::copy(beside(from, "-wal"), beside(to, "-wal"))?;
    }
    Ok(())
}
