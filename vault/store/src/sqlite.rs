//! One SQLite file: how it is opened, locked and brought to this program's version. Write-ahead log, every commit
//! flushed to the disk, deleted rows overwritten.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite, SqliteConnection, SqliteTransaction};

use crate::error::Error;

/// How long a statement waits for a lock of the database; callers get their answer within two seconds.
const BUSY: Duration = Duration::from_millis(1_500);
/// Readers of one file.
const READERS: u32 = 6;

/// One database file with its readers and its one writer.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) read: SqlitePool,
    write: SqlitePool,
}

impl Database {
    /// Opens the file, making it (mode 0600) where it is missing, and migrates it.
    pub(crate) async fn open(path: &Path, schema: &Migrator) -> Result<Self, Error> {
        private_file(path)?;
        let options = options(path);
        let write = pool(1).connect_with(options.clone()).await?;
        schema.run(&write).await?;
        let read = pool(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { read, write })
    }

    /// A transaction that holds the write lock from its first statement on.
    pub(crate) async fn begin(&self) -> Result<SqliteTransaction<'static>, Error> {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        match self.write.begin_with(BEGIN).await {
            // On a full disk SQLite ends a transaction by itself, and the connection still takes itself to be in one.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.write.acquire().await?.close().await?;
                Ok(self.write.begin_with(BEGIN).await?)
            }
            begun => Ok(begun?),
        }
    }

    /// One snapshot for several reads.
    pub(crate) async fn snapshot(&self) -> Result<SqliteTransaction<'static>, Error> {
        Ok(self.read.begin().await?)
    }

    /// Brings deletions into the main file and empties the log, where copies of deleted rows would linger. Readers
    /// of an old snapshot can keep the log from being emptied; it is emptied at a later call then.
    pub(crate) async fn forget_deleted(&self) -> Result<(), Error> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.write).await?;
        Ok(())
    }

    /// A connection of its own, for the one writer.
    pub(crate) async fn connect(&self) -> Result<SqliteConnection, Error> {
        Ok(self.write.connect_options().connect().await?)
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// A connection of one file, in a transaction or not.
#[derive(Debug)]
pub(crate) enum Session<'c> {
    Reader(PoolConnection<Sqlite>),
    Transaction(SqliteTransaction<'c>),
}

impl Session<'_> {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Reader(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Reader(_) => Ok(()),
            Self::Transaction(transaction) => Ok(transaction.commit().await?),
        }
    }

    pub(crate) async fn roll_back(self) -> Result<(), Error> {
        match self {
            Self::Reader(_) => Ok(()),
            Self::Transaction(transaction) => Ok(transaction.rollback().await?),
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("secure_delete", "ON")
        .pragma("trusted_schema", "OFF")
        .busy_timeout(BUSY)
}

fn pool(size: u32) -> SqlitePoolOptions {
    // Neither idle nor old connections are closed: there is no server to balance.
    SqlitePoolOptions::new().max_connections(size).acquire_timeout(BUSY).idle_timeout(None).max_lifetime(None)
}

fn private_file(path: &Path) -> Result<File, Error> {
    let failed = |cause| Error::Path { path: path.to_owned(), cause };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    // SECURITY: a file restored with wider rights is narrowed again; the log files take theirs from it.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(file)
}

/// Holds a store for this process alone until dropped. The kernel lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct Hold(#[expect(dead_code, reason = "held, not read")] File);

impl Hold {
    /// Locks a file beside `store`.
    pub(crate) fn on(store: &Path) -> Result<Self, Error> {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let file = private_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Held { path }),
            Err(TryLockError::Error(cause)) => Err(Error::Path { path, cause }),
        }
    }
}
