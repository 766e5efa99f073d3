//! The tables of each store, as migrations built into this program: one list per store and engine.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// One of the three stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Records,
    Ciphertexts,
    Keyring,
}

impl Store {
    /// Its name, as in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Ciphertexts => "ciphertexts",
            Self::Keyring => "keyring",
        }
    }
}

/// Description and text of each migration, from version 1 on.
type Texts = &'static [(&'static str, &'static str)];

/// The group commit, in the order in which its parts need one another.
const COMMIT: &str = concat!(
    include_str!("../migrations/postgres/commit/tables.sql"),
    include_str!("../migrations/postgres/commit/words.sql"),
    include_str!("../migrations/postgres/commit/entries.sql"),
    include_str!("../migrations/postgres/commit/bodies.sql"),
    include_str!("../migrations/postgres/commit/releases.sql"),
    include_str!("../migrations/postgres/commit/permits.sql"),
    include_str!("../migrations/postgres/commit/endings.sql"),
    include_str!("../migrations/postgres/commit/consents.sql"),
    include_str!("../migrations/postgres/commit/enrolments.sql"),
    include_str!("../migrations/postgres/commit/registry.sql"),
    include_str!("../migrations/postgres/commit/keys.sql"),
    include_str!("../migrations/postgres/commit/versions.sql"),
    include_str!("../migrations/postgres/commit/undelivered.sql"),
    include_str!("../migrations/postgres/commit/dispatch.sql"),
);

/// The tables in an SQLite file.
pub(crate) fn sqlite(store: Store) -> Migrator {
    let texts: Texts = match store {
        Store::Records => &[("first", include_str!("../migrations/sqlite/records_0001.sql"))],
        Store::Ciphertexts => &[("first", include_str!("../migrations/sqlite/ciphertexts_0001.sql"))],
        Store::Keyring => &[("first", include_str!("../migrations/sqlite/keyring_0001.sql"))],
    };
    migrator(texts)
}

/// The tables in a PostgreSQL database.
pub(crate) fn postgres(store: Store) -> Migrator {
    let texts: Texts = match store {
        Store::Records => &[("tables", include_str!("../migrations/postgres/records_0001.sql")), ("commit", COMMIT)],
        Store::Ciphertexts => &[("tables", include_str!("../migrations/postgres/ciphertexts_0001.sql"))],
        Store::Keyring => &[("tables", include_str!("../migrations/postgres/keyring_0001.sql"))],
    };
    migrator(texts)
}

fn migrator(texts: Texts) -> Migrator {
    let migration = |(version, (description, text)): (i64, &(&'static str, &'static str))| {
        Migration::new(version, (*description).into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations((1..).zip(texts).map(migration).collect())
}
