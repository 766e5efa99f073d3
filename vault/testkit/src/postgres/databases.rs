//! Databases for the three stores of one folder: named after it, and dropped once it is gone.

use std::path::Path;

use anyhow::{Context, Result};
use cofre_store::{Mode, Place, Postgres, ServingRoles, StoreConfig, Stores};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::{Cluster, WITH_PASSWORD};
use crate::stores::Store;

/// The role that owns the databases and migrates them. Nobody serves by it.
pub const OWNER: &str = "cofre_owner";
/// Held while what all tests share is made.
const LOCK: &str = "SELECT pg_advisory_lock(7000001)";

/// The role that serves from databases of this store where no password is asked for.
#[must_use]
pub fn serving(store: Store) -> String {
    format!("cofre_{}", store.name())
}

/// The name of a folder's database. The same path always gives the same one.
#[must_use]
pub fn name(folder: &Path, store: Store) -> String {
    use sha2::{Digest as _, Sha256};
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let digest = hex::encode(Sha256::digest(path.as_os_str().as_encoded_bytes()));
    format!("t_{}_{}", digest.get(..16).unwrap_or(&digest), store.name())
}

fn template(store: Store) -> String {
    format!("cofre_template_{}", store.name())
}

impl Cluster {
    /// Whether a folder has its databases.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn has(&self, folder: &Path) -> Result<bool> {
        let mut connection = self.administrator("postgres").await?;
        exists(&mut connection, &name(folder, Store::Keyring)).await
    }

    /// Makes the databases of a folder: with tables and a name of their own.
    ///
    /// # Errors
    /// Where they are there already, or cannot be made.
    pub async fn make_migrated(&self, folder: &Path) -> Result<()> {
        let mut connection = self.administrator("postgres").await?;
        self.share(&mut connection).await?;
        collect(&mut connection).await?;
        for store in Store::ALL {
            make(&mut connection, &name(folder, store), &template(store), folder).await?;
        }
        connection.close().await?;
        // The rights of a database are not copied, and each set has its own name.
        self.migrate(|store| name(folder, store)).await
    }

    /// Makes the databases of a folder without a table in them, owned by [`OWNER`], each with a role of its own that
    /// has to show `password`: what an administrator prepares before `cofred migrate`.
    ///
    /// # Errors
    /// Where they are there already, or cannot be made.
    pub async fn make_empty(&self, folder: &Path, password: &str) -> Result<()> {
        let mut connection = self.administrator("postgres").await?;
        roles(&mut connection).await?;
        collect(&mut connection).await?;
        for store in Store::ALL {
            let name = name(folder, store);
            let role = format!("CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE {WITH_PASSWORD}");
            connection.execute(AssertSqlSafe(role)).await.with_context(|| format!("role {name}"))?;
            make(&mut connection, &name, "template0", folder).await?;
        }
        connection.close().await?;
        Ok(())
    }

    /// Has a role show `password` from now on.
    ///
    /// # Errors
    /// Where there is no such role.
    pub async fn ask_password(&self, role: &str, password: &str) -> Result<()> {
        let mut connection = self.administrator("postgres").await?;
        roles(&mut connection).await?;
        connection.execute(AssertSqlSafe(format!("ALTER ROLE {role} PASSWORD '{password}'"))).await?;
        connection.execute(AssertSqlSafe(format!("GRANT {WITH_PASSWORD} TO {role}"))).await?;
        Ok(connection.close().await?)
    }

    /// Gives the roles that serve without a password their rights over the databases of a folder, which were put there
    /// from elsewhere.
    ///
    /// # Errors
    /// Where the databases are not what a vault has written.
    pub async fn adopt(&self, folder: &Path) -> Result<()> {
        let mut connection = self.administrator("postgres").await?;
        roles(&mut connection).await?;
        connection.close().await?;
        self.migrate(|store| name(folder, store)).await
    }

    /// Empties tables of a database, whatever keeps them from it.
    ///
    /// # Errors
    /// Where a table is not there.
    pub async fn empty(&self, database: &str, tables: &[&str]) -> Result<u64> {
        let statements: Vec<String> = tables.iter().map(|table| format!("DELETE FROM cofre.{table}")).collect();
        let free = "SET session_replication_role = replica";
        let all: Vec<&str> = std::iter::once(free).chain(statements.iter().map(String::as_str)).collect();
        self.run(database, &all).await
    }

    /// Drops the databases of a folder, whoever is connected to them.
    ///
    /// # Errors
    /// Where the server does not do it.
    pub async fn drop_all(&self, folder: &Path) -> Result<()> {
        let mut connection = self.administrator("postgres").await?;
        for store in Store::ALL {
            drop_one(&mut connection, &name(folder, store)).await?;
        }
        Ok(connection.close().await?)
    }

    /// Makes `to` a copy of the database `from`, in the place of what was there. Nobody may be connected to `from`.
    ///
    /// # Errors
    /// Where somebody is, or the server does not do it.
    pub async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let mut connection = self.administrator("postgres").await?;
        let about = sqlx::query(
            "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = $1",
        );
        let about: String = about.bind(from.to_owned()).fetch_one(&mut connection).await?.get(0);
        let rights = sqlx::query("SELECT coalesce(datacl::text, '') FROM pg_database WHERE datname = $1");
        let rights: String = rights.bind(from.to_owned()).fetch_one(&mut connection).await?.get(0);
        drop_one(&mut connection, to).await?;
        make(&mut connection, to, from, Path::new(&about)).await?;
        let put = "UPDATE pg_database SET datacl = NULLIF($1, '')::aclitem[] WHERE datname = $2";
        sqlx::query(put).bind(rights).bind(to.to_owned()).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// A place in this cluster, without a password.
    ///
    /// # Errors
    /// Where the environment would change the connection.
    pub fn place(&self, database: &str, user: &str) -> Result<Place> {
        Ok(Place::Postgres(Postgres::parse(&self.text(database, user), None)?))
    }

    async fn migrate(&self, database: impl Fn(Store) -> String) -> Result<()> {
        let at = |store| self.place(&database(store), OWNER);
        let owner = StoreConfig {
            records: at(Store::Records)?,
            ciphertexts: at(Store::Ciphertexts)?,
            keyring: at(Store::Keyring)?,
            mode: Mode::Dev,
            ceiling: None,
        };
        let roles = ServingRoles {
            records: serving(Store::Records),
            ciphertexts: serving(Store::Ciphertexts),
            keyring: serving(Store::Keyring),
        };
        Ok(Stores::migrate(owner, &roles).await?)
    }

    /// Makes the templates where they are missing, whichever process comes first.
    async fn share(&self, connection: &mut PgConnection) -> Result<()> {
        let made = "SELECT count(*) FROM pg_database WHERE datistemplate AND datname LIKE 'cofre\\_template\\_%'";
        let count = async |connection: &mut PgConnection| {
            sqlx::query(made).fetch_one(connection).await.map(|row| row.get::<i64, _>(0))
        };
        if count(connection).await? == 3 {
            return Ok(());
        }
        connection.execute(LOCK).await?;
        if count(connection).await? == 3 {
            connection.execute("SELECT pg_advisory_unlock_all()").await?;
            return Ok(());
        }
        roles(connection).await?;
        for store in Store::ALL {
            drop_one(connection, &template(store)).await?;
            make(connection, &template(store), "template0", Path::new("/")).await?;
        }
        self.migrate(template).await?;
        // Tests move their clocks by months.
        let far = "UPDATE cofre.clock_bound SET ahead = 3155760000000000";
        self.run(&template(Store::Records), &[far]).await?;
        for store in Store::ALL {
            let name = template(store);
            // Each copy gets a name of its own; what refuses to take one back is a trigger.
            self.run(&name, &["SET session_replication_role = replica", "DELETE FROM cofre.meta"]).await?;
            let sealed = format!("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false");
            connection.execute(AssertSqlSafe(sealed)).await?;
        }
        connection.execute("SELECT pg_advisory_unlock_all()").await?;
        Ok(())
    }
}

/// Makes the roles of the cluster where they are missing.
async fn roles(connection: &mut PgConnection) -> Result<()> {
    let login = Store::ALL.map(|store| (serving(store), "LOGIN"));
    for (role, kind) in [(OWNER.to_owned(), "LOGIN"), (WITH_PASSWORD.to_owned(), "NOLOGIN")].into_iter().chain(login) {
        // Another process may be first: that there is one already is no error.
        let text = format!(
            "DO $$ BEGIN CREATE ROLE {role} {kind};
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        );
        connection.execute(AssertSqlSafe(text)).await.with_context(|| format!("role {role}"))?;
    }
    Ok(())
}

async fn exists(connection: &mut PgConnection, database: &str) -> Result<bool> {
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(database.to_owned());
    Ok(found.fetch_optional(connection).await?.is_some())
}

pub(super) async fn make(connection: &mut PgConnection, database: &str, template: &str, folder: &Path) -> Result<()> {
    let text = format!("CREATE DATABASE {database} OWNER {OWNER} TEMPLATE {template}");
    connection.execute(AssertSqlSafe(text)).await.with_context(|| format!("database {database}"))?;
    let about = folder.display().to_string().replace('\'', "''");
    let text = format!("COMMENT ON DATABASE {database} IS '{about}'");
    connection.execute(AssertSqlSafe(text)).await?;
    Ok(())
}

async fn drop_one(connection: &mut PgConnection, database: &str) -> Result<()> {
    let text = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
    connection.execute(AssertSqlSafe(text)).await.with_context(|| format!("database {database}"))?;
    Ok(())
}

/// Drops the databases of folders that are gone, as a test's is when it has ended.
async fn collect(connection: &mut PgConnection) -> Result<()> {
    let all = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database
               WHERE datname LIKE 't\\_%' AND shobj_description(oid, 'pg_database') IS NOT NULL";
    for row in sqlx::query(all).fetch_all(&mut *connection).await? {
        let (database, folder): (String, String) = (row.get(0), row.get(1));
        if !Path::new(&folder).exists() {
            drop_one(connection, &database).await?;
        }
    }
    Ok(())
}
