//! Bringing a database to this release's tables, as its owner; and, for whoever serves, looking that it is there.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tokio::time::Instant;

use super::address::Postgres;
use super::pool::{CONNECT, aside};
use super::{SCHEMA, hangs, options, primary, rights, within};
use crate::error::Error;
use crate::migrations::{self, Store};

/// How long one database may take to migrate.
const MIGRATE: Duration = Duration::from_secs(600);

/// Migrates one database and sets the rights of the role that will serve from it. `owner` names the role that owns
/// the schema, or makes it where there is none yet.
pub(crate) async fn migrate(owner: &Postgres, store: Store, serving: &str) -> Result<(), Error> {
    let patient = options(owner).options([("statement_timeout", "300000"), ("lock_timeout", "10000")]);
    let mut connection = aside(async move { patient.connect().await }).await?;
    let brought = match tokio::time::timeout(MIGRATE, bring(&mut connection, store, serving)).await {
        Ok(brought) => brought,
        Err(_) => return Err(hangs()),
    };
    // What the lock was for is done, or was undone: an error here says nothing more.
    let _ = within(Instant::now() + CONNECT, connection.close()).await;
    brought
}

async fn bring(connection: &mut PgConnection, store: Store, serving: &str) -> Result<(), Error> {
    primary(connection).await?;
    // Two who migrate at once take turns; the lock goes with the connection.
    sqlx::query("SELECT pg_advisory_lock(hashtextextended('migrate', 0))").execute(&mut *connection).await?;
    let known = sqlx::query(
        "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = $1::name) AS roles,
           coalesce(pg_has_role(session_user, (SELECT nspowner FROM pg_namespace WHERE nspname = $2), 'USAGE'), true)
             AS owner",
    )
    .bind(serving.to_owned())
    .bind(SCHEMA)
    .fetch_one(&mut *connection)
    .await?;
    if known.try_get::<i64, _>("roles")? == 0 {
        return Err(Error::NoRole { store: store.name(), role: serving.to_owned() });
    }
    // SECURITY: whoever owns the schema can exchange every table in it.
    if !known.try_get::<bool, _>("owner")? {
        return Err(Error::NotOwner { store: store.name() });
    }
    let mut migrator = migrations::postgres(store);
    migrator.create_schema(SCHEMA);
    migrator.run(&mut *connection).await?;
    rights::grant(connection, store, serving).await?;
    rights::check(connection, store, serving).await
}

/// Refuses a database that is not at exactly this release's version, or a role that may do other than it should.
pub(crate) async fn ready(connection: &mut PgConnection, store: Store) -> Result<(), Error> {
    version(connection, store).await?;
    let roles = sqlx::query("SELECT session_user::text AS session, current_user::text AS now")
        .fetch_one(&mut *connection)
        .await?;
    let (session, now): (String, String) = (roles.try_get("session")?, roles.try_get("now")?);
    rights::check(connection, store, &session).await?;
    if now == session { Ok(()) } else { rights::check(connection, store, &now).await }
}

async fn version(connection: &mut PgConnection, store: Store) -> Result<(), Error> {
    let migrator = migrations::postgres(store);
    let wanted = i64::try_from(migrator.iter().count()).unwrap_or(i64::MAX);
    let unmigrated = |found| Error::Unmigrated { store: store.name(), found, wanted };
    let applied = sqlx::query("SELECT version, checksum, success FROM cofre._sqlx_migrations ORDER BY version")
        .fetch_all(connection)
        .await;
    let applied = match applied {
        Ok(applied) => applied,
        // No such schema, no such table, or none of it shown to this role: invalid_schema_name, undefined_table,
        // insufficient_privilege (PostgreSQL manual, appendix A).
        Err(sqlx::Error::Database(cause)) if matches!(cause.code().as_deref(), Some("3F000" | "42P01" | "42501")) => {
            return Err(unmigrated(0));
        }
        Err(cause) => return Err(cause.into()),
    };
    if i64::try_from(applied.len()) != Ok(wanted) {
        return Err(unmigrated(i64::try_from(applied.len()).unwrap_or(i64::MAX)));
    }
    for (row, migration) in applied.iter().zip(migrator.iter()) {
        let version: i64 = row.try_get("version")?;
        if version != migration.version || !row.try_get::<bool, _>("success")? {
            return Err(Error::Migration(MigrateError::Dirty(version)));
        }
        if row.try_get::<Vec<u8>, _>("checksum")? != *migration.checksum {
            return Err(Error::Migration(MigrateError::VersionMismatch(version)));
        }
    }
    Ok(())
}
