//! What can go wrong with a store. A refusal by the rules is not an error of the store: [`CommitError`] keeps the
//! two apart.

use std::path::{Path, PathBuf};

use cofre_model::entry::EntryKind;
use cofre_model::reason::Reason;

use crate::postgres::address::AddressError;

/// A store could not do what it was asked. Nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused, is full, hangs or is gone. Trying again may help.
    #[error("store unavailable: {0}")]
    Unavailable(#[from] sqlx::Error),
    /// The commit was not answered in time, or the writer has ended.
    #[error("store unavailable: the commit was not answered in time")]
    Unanswered,
    /// A row holds what no operation writes: somebody edited the database, or it is damaged.
    #[error("table {table}, column {column}: the stored value is not one this program writes; restore from a backup")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// Another process holds the store.
    #[error("store {} is held by another cofred: stop it first, one process per store", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// Another process serves the same records under the same name.
    #[error("another live process is node {node}: stop it first, or give this one a name of its own")]
    Live {
        /// The name, as SPIFFE id text.
        node: String,
    },
    /// The store was made in the other mode.
    #[error(
        "store was made in mode {found} and this process runs in mode {asked}: name another store or change `mode`"
    )]
    Mode {
        /// What the store says.
        found: String,
        /// What was asked.
        asked: &'static str,
    },
    /// The three stores do not belong together.
    #[error("the {store} store belongs to another set of stores: check the places under `stores`")]
    Apart {
        /// The store that differs.
        store: &'static str,
    },
    /// Some stores are files and some are databases.
    #[error("some stores are SQLite files and some PostgreSQL databases: put all three on one kind under `stores`")]
    Mixed,
    /// A file or folder cannot be used.
    #[error("store file {}: {cause}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file cannot be read as a store. Nothing was written to it.
    #[error(
        "store file {}: damaged, or no store at all ({cause}); it was left as it is: put it aside with the files of its \
         name that end in -wal and -shm, and restore from a backup",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What the database said.
        cause: String,
    },
    /// A file holds other tables than those it is opened for. Nothing was written to it.
    #[error(
        "store file {}: holds another store, or one of another release ({cause}): check the places under `stores`",
        path.display()
    )]
    Another {
        /// Which.
        path: PathBuf,
        /// What differs.
        cause: String,
    },
    /// A file is missing or empty, and the others of its set are not. Nothing was made in its place.
    #[error(
        "store file {}: missing or empty beside stores that were used: put it back, or restore from a backup",
        path.display()
    )]
    Lost {
        /// Which.
        path: PathBuf,
    },
    /// The tables could not be brought to this program's version.
    #[error("store migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The text of a connection to PostgreSQL cannot be used.
    #[error("PostgreSQL connection: {0}")]
    Address(#[from] AddressError),
    /// The connection could be read or changed on its way.
    #[error("the {store} database is reached without TLS over a network: use `sslmode=verify-full` or a socket folder")]
    Exposed {
        /// The store.
        store: &'static str,
    },
    /// The database is of another release, or of none.
    #[error(
        "the {store} database has {found} migrations and this release needs {wanted}: run `cofred migrate` of this \
         release as the owner of the database"
    )]
    Unmigrated {
        /// The store.
        store: &'static str,
        /// Migrations that were applied.
        found: i64,
        /// Migrations of this release.
        wanted: i64,
    },
    /// The database has tables and no name yet.
    #[error("the {store} database was not named: run `cofred migrate` as the owner of the database")]
    Unnamed {
        /// The store.
        store: &'static str,
    },
    /// There is no such role to serve from the database.
    #[error("the {store} database has no role {role:?}: create it (`CREATE ROLE ... LOGIN`) and migrate again")]
    NoRole {
        /// The store.
        store: &'static str,
        /// The role.
        role: String,
    },
    /// Somebody else owns the schema.
    #[error("the schema cofre of the {store} database belongs to another role: migrate as its owner")]
    NotOwner {
        /// The store.
        store: &'static str,
    },
    /// The role that serves may do more than it should.
    #[error(
        "the role {role} of the {store} database may do more than serve ({power}): take that from it, and run \
         `cofred migrate` as the owner of the database"
    )]
    Overpowered {
        /// The store.
        store: &'static str,
        /// The role.
        role: String,
        /// What it may do and must not.
        power: String,
    },
    /// The role that serves may do less than it must.
    #[error(
        "the role {role} of the {store} database lacks a right ({power}): run `cofred migrate` as the owner of the \
         database"
    )]
    Powerless {
        /// The store.
        store: &'static str,
        /// The role.
        role: String,
        /// What it has to do and may not.
        power: String,
    },
    /// There is nothing to migrate.
    #[error("SQLite files are brought to date when cofred opens them: there is nothing to migrate")]
    NothingToMigrate,
    /// The operating system gave no random bytes.
    #[error("random bytes of the operating system: {0}")]
    Randomness(getrandom::Error),
    /// An immutable row is there already.
    #[error("this version is stored already and never changes")]
    Exists,
    /// A custodian that was retired wrapped this, or a key of it that was: it would be opened by nobody one day.
    #[error("a custodian that was retired holds no key any more")]
    Retired,
    /// The version of the tenant key is closed: rows come under the one in force alone.
    #[error("the version of the tenant key takes no new rows; use the one in force")]
    Closed,
    /// The version of the tenant key that is to take new rows cannot be opened by anybody.
    #[error("the version of the tenant key has no share in force: nothing may come under it")]
    Shareless,
    /// The owner's keys, or this key, were destroyed; nothing of theirs is stored again.
    #[error("the keys of this owner were destroyed: nothing of theirs is stored again")]
    Destroyed,
    /// The entry's kind or content does not fit the operation it came with.
    #[error("an entry of kind {kind} does not fit this operation")]
    Unfit {
        /// The kind.
        kind: EntryKind,
    },
    /// The entry cannot be encoded.
    #[error("ledger entry: {0}")]
    Entry(String),
}

impl Error {
    /// The same, naming the file where it is the file that is at fault.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        use sqlx::migrate::MigrateError;
        // SQLITE_CORRUPT, SQLITE_NOTADB, and SQLITE_ERROR, which says that a table or column is not there: a log of
        // another file was replayed. The upper bits say more, and nothing that matters here.
        let broken = |cause: &sqlx::Error| {
            let code =
                cause.as_database_error().and_then(|cause| cause.code()).and_then(|code| code.parse::<u32>().ok());
            code.is_some_and(|code| matches!(code & 0xff, 1 | 11 | 26))
        };
        let path = || path.to_owned();
        match self {
            Self::Unavailable(cause) | Self::Migration(MigrateError::Execute(cause)) if broken(&cause) => {
                Self::Damaged { path: path(), cause: cause.to_string() }
            }
            Self::Migration(cause @ (MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_))) => {
                Self::Another { path: path(), cause: cause.to_string() }
            }
            Self::Corrupt { .. } => Self::Damaged { path: path(), cause: self.to_string() },
            other => other,
        }
    }

    pub(crate) const fn corrupt(table: &'static str, column: &'static str) -> Self {
        Self::Corrupt { table, column }
    }
}

/// Why an operation was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The rows as they stand do not allow it. Nothing was written.
    #[error("refused: {0}")]
    Refused(Reason),
    /// The store failed. Nothing was written, or it is not known to be.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<sqlx::Error> for CommitError {
    fn from(cause: sqlx::Error) -> Self {
        Self::Store(cause.into())
    }
}

impl CommitError {
    /// The reason to answer and to record.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Refused(reason) => *reason,
            Self::Store(Error::Unavailable(_) | Error::Unanswered) => Reason::AuditUnavailable,
            Self::Store(Error::Corrupt { .. }) => Reason::IntegrityFailure,
            Self::Store(_) => Reason::Internal,
        }
    }
}
