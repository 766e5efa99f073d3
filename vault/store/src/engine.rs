//! The two engines the stores run on, behind one door: a session to read in, a snapshot for several reads, a
//! transaction to write in. A closed list, so an enum and not a trait; only this room and the two engines' own know
//! which of them is running.

use crate::error::Error;
use crate::{postgres, sqlite};

/// A connected back end.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    Sqlite(sqlite::Database),
    Postgres(postgres::Database),
}

impl Engine {
    /// A session for reads that need no common snapshot.
    pub(crate) async fn read(&self) -> Result<Session<'static>, Error> {
        match self {
            Self::Sqlite(database) => Ok(Session::Sqlite(sqlite::Session::Reader(database.read.acquire().await?))),
            Self::Postgres(database) => Ok(Session::Postgres(database.session().await?)),
        }
    }

    /// One snapshot for several reads.
    pub(crate) async fn snapshot(&self) -> Result<Session<'static>, Error> {
        match self {
            Self::Sqlite(database) => Ok(Session::Sqlite(sqlite::Session::Transaction(database.snapshot().await?))),
            Self::Postgres(database) => Ok(Session::Postgres(database.snapshot().await?)),
        }
    }

    /// A transaction to write in. No two that write about the same thing run at once, so what one has read stands
    /// until it commits: SQLite has one writer, PostgreSQL takes a lock by the name of `what`.
    pub(crate) async fn begin(&self, what: &str) -> Result<Session<'static>, Error> {
        match self {
            Self::Sqlite(database) => Ok(Session::Sqlite(sqlite::Session::Transaction(database.begin().await?))),
            Self::Postgres(database) => database.begin(what).await,
        }
    }

    /// Makes what was deleted unreadable in the files, as far as this process can.
    pub(crate) async fn forget_deleted(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(database) => database.forget_deleted().await,
            // Its vacuum is the server's business; a deleted wrapped key or ciphertext opens nothing by itself.
            Self::Postgres(_) => Ok(()),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(database) => database.close().await,
            Self::Postgres(database) => database.close().await,
        }
    }
}

/// A connection to run statements on, in a transaction or not. Dropped before a transaction was committed, that
/// never happened.
#[derive(Debug)]
pub(crate) enum Session<'c> {
    Sqlite(sqlite::Session<'c>),
    Postgres(postgres::Session),
}

impl Session<'_> {
    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(session) => session.commit().await,
            Self::Postgres(session) => session.commit().await,
        }
    }

    pub(crate) async fn roll_back(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(session) => session.roll_back().await,
            Self::Postgres(session) => session.roll_back().await,
        }
    }
}
