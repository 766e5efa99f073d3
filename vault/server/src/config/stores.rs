//! Where the stores are: three files of this machine, or three databases of PostgreSQL, each with a role of its own.

use std::path::PathBuf;

use cofre_store::{AddressError, Place, Postgres};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::file::FileSecret;
use super::{ConfigError, SecretRef};

/// Where one store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// In a file, for this process alone.
    Sqlite(PathBuf),
    /// In a database, for any number of processes.
    Postgres {
        /// Host, database and serving role, in the keyword/value form of PostgreSQL's tools. Never a password.
        connection: String,
        /// Where the role's password is to be read; none where the server knows the role otherwise.
        password: Option<SecretRef>,
    },
}

/// Where the three stores are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlaces {
    /// Records.
    pub records: StorePlace,
    /// Ciphertexts.
    pub ciphertexts: StorePlace,
    /// Keyring.
    pub keyring: StorePlace,
    /// Most mebibytes that the file of records may grow to; none for no limit but the disk's.
    pub records_limit_mib: Option<u32>,
}

impl StorePlace {
    /// The place with its password read; `key` names the store in the configuration.
    ///
    /// # Errors
    /// [`ConfigError::Store`] and [`ConfigError::Secret`], by key.
    pub fn open(&self, key: StoreKey) -> Result<Place, ConfigError> {
        match self {
            Self::Sqlite(path) => Ok(Place::Sqlite(path.clone())),
            Self::Postgres { connection, password } => {
                let password = password.as_ref().map(|secret| secret.read(key.password())).transpose()?;
                let password = password.map(|text| Zeroizing::new(text.expose_secret().to_owned()));
                Ok(Place::Postgres(parse(key, connection, password)?))
            }
        }
    }

    /// The database without its password; nothing for a file.
    ///
    /// # Errors
    /// [`ConfigError::Store`], by key.
    pub fn address(&self, key: StoreKey) -> Result<Option<Postgres>, ConfigError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres { connection, .. } => parse(key, connection, None).map(Some),
        }
    }
}

/// Names a store in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKey {
    /// `stores.records`
    Records,
    /// `stores.ciphertexts`
    Ciphertexts,
    /// `stores.keyring`
    Keyring,
}

impl StoreKey {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Records, Self::Ciphertexts, Self::Keyring];

    /// The store alone.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Ciphertexts => "ciphertexts",
            Self::Keyring => "keyring",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Records => "stores.records",
            Self::Ciphertexts => "stores.ciphertexts",
            Self::Keyring => "stores.keyring",
        }
    }

    const fn password(self) -> &'static str {
        match self {
            Self::Records => "stores.records.password",
            Self::Ciphertexts => "stores.ciphertexts.password",
            Self::Keyring => "stores.keyring.password",
        }
    }
}

impl StorePlaces {
    /// One of them.
    #[must_use]
    pub const fn of(&self, key: StoreKey) -> &StorePlace {
        match key {
            StoreKey::Records => &self.records,
            StoreKey::Ciphertexts => &self.ciphertexts,
            StoreKey::Keyring => &self.keyring,
        }
    }

    /// The limit of the file of records in pages of 4 KiB, as the store counts.
    #[must_use]
    pub fn ceiling(&self) -> Option<u32> {
        self.records_limit_mib.map(|mib| mib.saturating_mul(256))
    }
}

fn parse(key: StoreKey, text: &str, password: Option<Zeroizing<String>>) -> Result<Postgres, ConfigError> {
    Postgres::parse(text, password).map_err(|cause: AddressError| ConfigError::Store { key: key.key(), cause })
}

/// The table `stores` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileStores {
    /// Who may do what, leases, and the ledger. No wrapped key and no ciphertext.
    records: FileStore,
    /// Sealed fields. No key.
    ciphertexts: FileStore,
    /// Wrapped keys. No ciphertext.
    keyring: FileStore,
    /// Most mebibytes that the file of records may grow to. At the limit nothing is granted, while revocations, erasures
    /// and stop buttons find one mebibyte more: set it below what the disk has. For files only; at least 16, and no limit
    /// where it is not set.
    ///
    /// Example: `10240`
    records_limit_mib: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStore {
    /// A SQLite file, made with mode 0600 where it is missing. One process holds it. Exactly one of this and `postgres`.
    ///
    /// Example: `"/var/lib/cofre/store.db"`
    sqlite: Option<PathBuf>,
    /// Host, database and role, in the keyword/value form of PostgreSQL's tools. Each store has a database and a role of
    /// its own. Never a password. Exactly one of this and `sqlite`.
    ///
    /// Example: `"host=db.example dbname=store user=serving"`
    postgres: Option<String>,
    /// The role's password, where the server asks for one.
    password: Option<FileSecret>,
}

impl FileStore {
    fn check(self, key: StoreKey) -> Result<StorePlace, ConfigError> {
        let value = |advice| ConfigError::Value { key: key.key(), advice };
        match (self.sqlite, self.postgres) {
            (Some(path), None) if self.password.is_none() => Ok(StorePlace::Sqlite(path)),
            (Some(_), None) => Err(value("is a file and takes no password")),
            (None, Some(connection)) => {
                parse(key, &connection, None)?;
                let password = self.password.map(|secret| secret.check(key.password())).transpose()?;
                Ok(StorePlace::Postgres { connection, password })
            }
            _ => Err(value("must name exactly one of { sqlite = … } and { postgres = … }")),
        }
    }
}

impl FileStores {
    pub(super) fn check(self) -> Result<StorePlaces, ConfigError> {
        let places = StorePlaces {
            records: self.records.check(StoreKey::Records)?,
            ciphertexts: self.ciphertexts.check(StoreKey::Ciphertexts)?,
            keyring: self.keyring.check(StoreKey::Keyring)?,
            records_limit_mib: self.records_limit_mib,
        };
        let limit = |advice| Err(ConfigError::Value { key: "stores.records_limit_mib", advice });
        match (places.records_limit_mib, &places.records) {
            (Some(0..16), _) => return limit("must be at least 16"),
            (Some(_), StorePlace::Postgres { .. }) => return limit("is for files; a database has limits of its own"),
            _ => {}
        }
        let mut databases = Vec::new();
        for key in StoreKey::ALL {
            if let Some(address) = places.of(key).address(key)? {
                databases.push((key, address));
            }
        }
        if !matches!(databases.len(), 0 | 3) {
            let advice = "must be three files or three databases, never some of each";
            return Err(ConfigError::Value { key: "stores", advice });
        }
        // SECURITY: whoever holds one store's role must not reach another store by it.
        for (at, (key, one)) in databases.iter().enumerate() {
            for (_, other) in databases.iter().take(at) {
                if one.is_same_database(other) {
                    let advice = "must be a database of its own: ciphertexts and keys are never kept together";
                    return Err(ConfigError::Value { key: key.key(), advice });
                }
                if one.role() == other.role() {
                    let advice = "must be served by a role of its own: give each store another `user`";
                    return Err(ConfigError::Value { key: key.key(), advice });
                }
            }
        }
        Ok(places)
    }
}
