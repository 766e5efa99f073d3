//! Opening the three stores as one set: of one engine, migrated, of the mode asked for, and of one id. SQLite files
//! are locked for this process and brought to date here; PostgreSQL databases are only looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::ciphertexts::Ciphertexts;
use crate::commit::carrier::Carrier;
use crate::commit::postgres::Listener;
use crate::commit::submit::Submissions;
use crate::commit::writer::{self, Writer};
use crate::commit::{self, CommitConfig};
use crate::engine::{Engine, Session};
use crate::error::Error;
use crate::keyring::Keyring;
use crate::migrations::{self, Store};
use crate::postgres;
use crate::postgres::address::Postgres;
use crate::random;
use crate::records::{Records, ledger};
use crate::row::Cells;
use crate::sqlite::{self, Hold};
use crate::statement::statement;

/// How many changes a slow listener may lag behind before it has to re-read the rows.
const CHANGES: usize = 1_024;
/// A store whose last holder is just ending is waited for this many times, and this long each time.
const PATIENCE: (u32, Duration) = (25, Duration::from_millis(20));

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

/// Where one store is.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a file of this machine, for one process alone.
    Sqlite(PathBuf),
    /// In a database of a PostgreSQL server, for any number of processes.
    Postgres(Postgres),
}

/// Where the three stores are: three files or three databases, never some of each.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The records.
    pub records: Place,
    /// The ciphertexts.
    pub ciphertexts: Place,
    /// The keyring.
    pub keyring: Place,
    /// The mode of this deployment.
    pub mode: Mode,
    /// Pages of 4 KiB the records file may grow to; nothing for no limit but the disk's. Beyond it nothing is
    /// granted, while narrowing actions still find some room. A PostgreSQL server has limits of its own.
    pub ceiling: Option<u32>,
}

impl StoreConfig {
    fn is_mixed(&self) -> bool {
        let files = [&self.records, &self.ciphertexts, &self.keyring].map(|place| matches!(place, Place::Sqlite(_)));
        files.contains(&true) && files.contains(&false)
    }
}

/// The roles that serve from the three databases, by their names in PostgreSQL.
#[derive(Debug, Clone)]
pub struct ServingRoles {
    /// May call the commit and read.
    pub records: String,
    /// May put, get and delete sealed fields.
    pub ciphertexts: String,
    /// May put, get and destroy wrapped keys, and swap the integrator's row.
    pub keyring: String,
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
    /// Opens the three stores as one set and starts the writer. Files are made where they are missing; databases have
    /// to be migrated before.
    ///
    /// # Errors
    /// [`Error::Held`] while another process holds the files; [`Error::Mode`], [`Error::Apart`] and [`Error::Mixed`]
    /// where the stores are not what was asked for; [`Error::Path`], [`Error::Migration`] and [`Error::Unavailable`]
    /// where they cannot be used.
    pub async fn open(config: StoreConfig, settings: CommitConfig) -> Result<Self, Error> {
        let (set, hold) = Set::open(&config).await?;
        let store_id = one_set(config.mode, &set.stores(), Naming::of(&set.records)).await?;
        let (changes, _) = broadcast::channel(CHANGES);
        let (submissions, queues) = Submissions::new(settings.clock.clone());
        let carrier = match (&set.records, hold) {
            (Engine::Sqlite(records), Some(hold)) => {
                Carrier::Sqlite(commit::sqlite::Carrier::new(records.clone(), config.ceiling, hold))
            }
            // INVARIANT: files are never opened without being held.
            (Engine::Sqlite(_), None) => return Err(Error::Mixed),
            (Engine::Postgres(records), _) => {
                let listener = Listener::start(records.clone(), &settings, changes.clone()).await?;
                Carrier::Postgres(commit::postgres::Carrier::new(records.clone(), listener, &settings))
            }
        };
        writer::start(Writer::new(carrier, settings, changes.clone()), queues);
        let stores = Self {
            records: Records::new(set.records, store_id, submissions, changes),
            ciphertexts: Ciphertexts::new(set.ciphertexts),
            keyring: Keyring::new(set.keyring),
        };
        let at_fault = |place: &Place, cause: Error| match place {
            Place::Sqlite(path) => cause.in_file(path),
            Place::Postgres(_) => cause,
        };
        let committed = stores.keyring.integrator().await.map_err(|cause| at_fault(&config.keyring, cause))?;
        stores.records.fold_ledger(committed).await.map_err(|cause| at_fault(&config.records, cause))?;
        Ok(stores)
    }

    /// Brings three databases to this release's tables, names them as one set, and gives the roles that will serve
    /// from them exactly the rights they need. `owner` connects as the roles that own, or will own, the tables. Doing
    /// it again changes nothing.
    ///
    /// # Errors
    /// [`Error::NothingToMigrate`] for SQLite files; [`Error::NoRole`] and [`Error::NotOwner`] where the database was
    /// not prepared; [`Error::Overpowered`] where a serving role holds rights the owner cannot take from it;
    /// [`Error::Mode`] and [`Error::Apart`] where the databases are not what was asked for; else the store's.
    pub async fn migrate(owner: StoreConfig, serving: &ServingRoles) -> Result<(), Error> {
        let (Place::Postgres(records), Place::Postgres(ciphertexts), Place::Postgres(keyring)) =
            (&owner.records, &owner.ciphertexts, &owner.keyring)
        else {
            return Err(if owner.is_mixed() { Error::Mixed } else { Error::NothingToMigrate });
        };
        let places = [
            (Store::Records, records, &serving.records),
            (Store::Ciphertexts, ciphertexts, &serving.ciphertexts),
            (Store::Keyring, keyring, &serving.keyring),
        ];
        for (store, place, role) in places {
            exposed(owner.mode, store, place)?;
            postgres::schema::migrate(place, store, role).await?;
        }
        let set = Set::databases(records, ciphertexts, keyring).await?;
        // Held while they are named, so that two who migrate at once give one name.
        let alone = set.records.begin("one set").await?;
        let named = one_set(owner.mode, &set.stores(), Naming::Allowed).await;
        drop(alone);
        for (_, engine) in set.stores() {
            engine.close().await;
        }
        named.map(drop)
    }

    /// Ends the writer, flushes the files and lets go of them. Clones of the parts answer "unavailable" from then on.
    pub async fn close(self) {
        self.records.submissions().stop().await;
        for engine in [self.records.engine(), self.ciphertexts.engine(), self.keyring.engine()] {
            engine.close().await;
        }
    }
}

/// Three engines of one kind.
struct Set {
    records: Engine,
    ciphertexts: Engine,
    keyring: Engine,
}

impl Set {
    async fn open(config: &StoreConfig) -> Result<(Self, Option<Hold>), Error> {
        match (&config.records, &config.ciphertexts, &config.keyring) {
            (Place::Sqlite(records), Place::Sqlite(ciphertexts), Place::Sqlite(keyring)) => {
                let hold = hold(records).await?;
                Ok((Self::files(records, ciphertexts, keyring).await?, Some(hold)))
            }
            (Place::Postgres(records), Place::Postgres(ciphertexts), Place::Postgres(keyring)) => {
                for (store, place) in
                    [(Store::Records, records), (Store::Ciphertexts, ciphertexts), (Store::Keyring, keyring)]
                {
                    exposed(config.mode, store, place)?;
                }
                let set = Self::databases(records, ciphertexts, keyring).await?;
                for (store, engine) in set.stores() {
                    if let Engine::Postgres(database) = engine {
                        database.ready(store).await?;
                    }
                }
                Ok((set, None))
            }
            _ => Err(Error::Mixed),
        }
    }

    /// SECURITY: a file that is gone is not made anew beside others that were used: what is broken stays as it is.
    async fn files(records: &Path, ciphertexts: &Path, keyring: &Path) -> Result<Self, Error> {
        let lost = |path: &Path| Error::Lost { path: path.to_owned() };
        let gone: Vec<&Path> = [ciphertexts, keyring].into_iter().filter(|path| blank(path)).collect();
        if blank(records) && gone.len() < 2 {
            return Err(lost(records));
        }
        let (place, records) = (records, file(records, Store::Records).await?);
        // A set that was cut short while it was made has a ledger that was never used.
        let used = ledger::head(&mut records.read().await?).await.map(|head| head.size > 0);
        let used = used.map_err(|cause| cause.in_file(place))?;
        if let (Some(path), true) = (gone.first(), used) {
            records.close().await;
            return Err(lost(path));
        }
        let ciphertexts = file(ciphertexts, Store::Ciphertexts).await?;
        let keyring = file(keyring, Store::Keyring).await?;
        Ok(Self { records, ciphertexts, keyring })
    }

    async fn databases(records: &Postgres, ciphertexts: &Postgres, keyring: &Postgres) -> Result<Self, Error> {
        let database = async |place| postgres::Database::open(place).await.map(Engine::Postgres);
        let (records, ciphertexts, keyring) =
            tokio::try_join!(database(records), database(ciphertexts), database(keyring))?;
        Ok(Self { records, ciphertexts, keyring })
    }

    fn stores(&self) -> [(Store, &Engine); 3] {
        [(Store::Records, &self.records), (Store::Ciphertexts, &self.ciphertexts), (Store::Keyring, &self.keyring)]
    }
}

/// Whether nothing is kept in a file, if it is there at all.
fn blank(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() == 0) || !path.exists()
}

/// Opens one file and reads its first rows.
async fn file(path: &Path, store: Store) -> Result<Engine, Error> {
    let open = async {
        let engine = Engine::Sqlite(sqlite::Database::open(path, &migrations::sqlite(store)).await?);
        meta(&mut engine.read().await?).await?;
        Ok(engine)
    };
    open.await.map_err(|cause: Error| cause.in_file(path))
}

/// Whether a new store is given its name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    Allowed,
    Refused,
}

impl Naming {
    /// Who opens a file owns it; who serves from a database does not.
    const fn of(engine: &Engine) -> Self {
        match engine {
            Engine::Sqlite(_) => Self::Allowed,
            Engine::Postgres(_) => Self::Refused,
        }
    }
}

/// SECURITY: what production asks and is answered is not shown to the network.
fn exposed(mode: Mode, store: Store, place: &Postgres) -> Result<(), Error> {
    if mode == Mode::Production && place.is_exposed() {
        return Err(Error::Exposed { store: store.name() });
    }
    Ok(())
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

/// What a store says of itself.
async fn meta(session: &mut Session<'_>) -> Result<Option<(String, [u8; 16])>, Error> {
    let row = statement(
        "SELECT mode.value AS mode, id.value AS store_id FROM meta mode JOIN meta id
         ON mode.key = 'mode' AND id.key = 'store_id'",
    )
    .fetch_optional(session)
    .await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("meta", row);
            let mode = String::from_utf8(cells.blob("mode")?.to_vec()).map_err(|_| Error::corrupt("meta", "mode"))?;
            Ok((mode, cells.bytes("store_id")?))
        })
        .transpose()
}

async fn name(engine: &Engine, mode: Mode, store_id: [u8; 16]) -> Result<(), Error> {
    let mut transaction = engine.begin("meta").await?;
    statement("INSERT INTO meta VALUES ('mode', $1), ('store_id', $2)")
        .bind(mode.as_str().as_bytes())
        .bind(store_id.to_vec())
        .execute(&mut transaction)
        .await?;
    transaction.commit().await
}

/// Names new stores and checks that named ones belong together. The first store of a set gives the id; a set that
/// was cut short while it was made is completed.
async fn one_set(mode: Mode, stores: &[(Store, &Engine)], naming: Naming) -> Result<[u8; 16], Error> {
    let mut set: Option<[u8; 16]> = None;
    let mut unnamed = Vec::new();
    for (store, engine) in stores {
        match meta(&mut engine.read().await?).await? {
            Some((found, _)) if found != mode.as_str() => return Err(Error::Mode { found, asked: mode.as_str() }),
            Some((_, id)) if set.is_some_and(|set| set != id) => return Err(Error::Apart { store: store.name() }),
            Some((_, id)) => set = Some(id),
            None => unnamed.push((*store, *engine)),
        }
    }
    // SECURITY: a store that was emptied or exchanged must not pass for a new one beside a used ledger, nor new
    // records for old ones beside a used keyring. Records are named first, so only a ledger never used can be
    // beside a store not named yet.
    if let (Some(_), Some((store, _))) = (set, unnamed.first())
        && (*store == Store::Records || used(stores).await?)
    {
        return Err(Error::Apart { store: store.name() });
    }
    if let (Naming::Refused, Some((store, _))) = (naming, unnamed.first()) {
        return Err(Error::Unnamed { store: store.name() });
    }
    let id = match set {
        Some(id) => id,
        None => random::bytes()?,
    };
    for (_, engine) in unnamed {
        name(engine, mode, id).await?;
    }
    Ok(id)
}

async fn used(stores: &[(Store, &Engine)]) -> Result<bool, Error> {
    let Some((_, records)) = stores.first() else { return Ok(false) };
    Ok(ledger::head(&mut records.read().await?).await?.size > 0)
}
