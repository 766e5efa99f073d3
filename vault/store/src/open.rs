//! Opening the three stores as one set: locked for this process, migrated, of the mode asked for, and of one id.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::ciphertexts::Ciphertexts;
use crate::commit::CommitConfig;
use crate::commit::submit::Submissions;
use crate::commit::writer::{self, Writer};
use crate::error::Error;
use crate::keyring::Keyring;
use crate::records::{Records, ledger};
use crate::row::Cells;
use crate::sqlite::{Database, Hold};

/// How many changes a slow listener may lag behind before it has to re-read the rows.
const CHANGES: usize = 1_024;
/// A store whose last holder is just ending is waited for this many times, and this long each time.
const PATIENCE: (u32, Duration) = (25, Duration::from_millis(20));

/// A connected back end. PostgreSQL will be the other one.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    Sqlite(Database),
}

/// Whether real logins may rest in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For development: never holds a real login, and production refuses it.
    Dev,
    /// For production: development refuses it.
    Production,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Production => "production",
        }
    }
}

/// Where the three stores are.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The records file.
    pub records: PathBuf,
    /// The ciphertexts file.
    pub ciphertexts: PathBuf,
    /// The keyring file.
    pub keyring: PathBuf,
    /// The mode of this deployment.
    pub mode: Mode,
    /// Pages of 4 KiB the records file may grow to; nothing for no limit but the disk's. Beyond it nothing is
    /// granted, while narrowing actions still find some room.
    pub ceiling: Option<u32>,
}

/// The three stores. Each part may be handed to the use case that needs it, and to no other.
#[derive(Debug)]
pub struct Stores {
    /// Records and the one commit.
    pub records: Records,
    /// Sealed fields.
    pub ciphertexts: Ciphertexts,
    /// Wrapped keys.
    pub keyring: Keyring,
}

impl Stores {
    /// Opens the three files as one set, making them where they are missing, and starts the writer.
    ///
    /// # Errors
    /// [`Error::Held`] while another process holds them; [`Error::Mode`] and [`Error::Apart`] where the files are
    /// not what was asked for; [`Error::Path`], [`Error::Migration`] and [`Error::Unavailable`] where they cannot
    /// be used.
    pub async fn open(config: StoreConfig, commit: CommitConfig) -> Result<Self, Error> {
        let hold = hold(&config.records).await?;
        let records = Database::open(&config.records, include_str!("../migrations/records_0001.sql")).await?;
        let ciphertexts =
            Database::open(&config.ciphertexts, include_str!("../migrations/ciphertexts_0001.sql")).await?;
        let keyring = Database::open(&config.keyring, include_str!("../migrations/keyring_0001.sql")).await?;
        let store_id =
            one_set(config.mode, &[("records", &records), ("ciphertexts", &ciphertexts), ("keyring", &keyring)])
                .await?;

        let (changes, _) = broadcast::channel(CHANGES);
        let (submissions, queues) = Submissions::new(commit.clock.clone());
        let writer = Writer::new(records.clone(), commit, config.ceiling, changes.clone(), hold);
        writer::start(writer, queues);
        Ok(Self {
            records: Records::new(Engine::Sqlite(records), store_id, submissions, changes),
            ciphertexts: Ciphertexts::new(Engine::Sqlite(ciphertexts)),
            keyring: Keyring::new(Engine::Sqlite(keyring)),
        })
    }

    /// Ends the writer, flushes the files and lets go of them. Clones of the parts answer "unavailable" from then on.
    pub async fn close(self) {
        self.records.submissions().stop().await;
        for engine in [self.records.engine(), self.ciphertexts.engine(), self.keyring.engine()] {
            let Engine::Sqlite(database) = engine;
            database.close().await;
        }
    }
}

async fn hold(records: &Path) -> Result<Hold, Error> {
    let (times, pause) = PATIENCE;
    for _ in 0..times {
        match Hold::on(records) {
            Err(Error::Held { .. }) => tokio::time::sleep(pause).await,
            other => return other,
        }
    }
    Hold::on(records)
}

/// What a file says of itself.
async fn meta(database: &Database) -> Result<Option<(String, [u8; 16])>, Error> {
    let row = sqlx::query(
        "SELECT CAST(mode.value AS TEXT) AS mode, id.value AS store_id FROM meta mode JOIN meta id
         ON mode.key = 'mode' AND id.key = 'store_id'",
    )
    .fetch_optional(&database.read)
    .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("meta", row);
            Ok((cells.string("mode")?, cells.bytes("store_id")?))
        })
        .transpose()
}

async fn name(database: &Database, mode: Mode, store_id: [u8; 16]) -> Result<(), Error> {
    let mut transaction = database.begin().await?;
    sqlx::query("INSERT INTO meta VALUES ('mode', CAST(? AS BLOB)), ('store_id', ?)")
        .bind(mode.as_str())
        .bind(store_id.to_vec())
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Names new files and checks that named ones belong together. The first file of a set gives the id; a set that
/// was cut short while it was made is completed.
async fn one_set(mode: Mode, files: &[(&'static str, &Database)]) -> Result<[u8; 16], Error> {
    let mut set: Option<[u8; 16]> = None;
    let mut unnamed = Vec::new();
    for (file, database) in files {
        match meta(database).await? {
            Some((found, _)) if found != mode.as_str() => return Err(Error::Mode { found, asked: mode.as_str() }),
            Some((_, id)) if set.is_some_and(|set| set != id) => return Err(Error::Apart { file }),
            Some((_, id)) => set = Some(id),
            None => unnamed.push((*file, *database)),
        }
    }
    // SECURITY: a file that was emptied or exchanged must not pass for a new one beside a used ledger, nor new
    // records for old ones beside a used keyring. Records are named first, so only a ledger never used can be
    // beside a file not named yet.
    if let (Some(_), Some((file, _))) = (set, unnamed.first())
        && (*file == "records" || used(files).await?)
    {
        return Err(Error::Apart { file });
    }
    let id = match (set, unnamed.first()) {
        (Some(id), _) => id,
        (None, Some((_, database))) => fresh_id(database).await?,
        (None, None) => return Err(Error::corrupt("meta", "store_id")),
    };
    for (_, database) in unnamed {
        name(database, mode, id).await?;
    }
    Ok(id)
}

async fn used(files: &[(&'static str, &Database)]) -> Result<bool, Error> {
    let Some((_, records)) = files.first() else { return Ok(false) };
    Ok(ledger::head(&mut *records.read.acquire().await?).await?.size > 0)
}

async fn fresh_id(database: &Database) -> Result<[u8; 16], Error> {
    let row = sqlx::query("SELECT randomblob(16) AS store_id").fetch_one(&database.read).await?;
    Cells::of("meta", &row).bytes("store_id")
}
