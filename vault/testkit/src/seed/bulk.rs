//! Many rows at once, into an SQLite file by statements of many rows, into PostgreSQL by COPY. Each call is one
//! transaction.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};

use crate::postgres::{Cluster, databases};
use crate::stores::Store;

/// Values bound to one statement of SQLite at most; it takes 32,766.
const BOUND: usize = 6_000;

/// A value of a row.
pub(super) enum Cell {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    pub(super) fn text(value: impl std::fmt::Display) -> Self {
        Self::Text(value.to_string())
    }

    pub(super) fn instant(at: cofre_model::time::Timestamp) -> Self {
        Self::Int(i64::try_from(at.micros()).unwrap_or(i64::MAX))
    }
}

/// A table that is filled, with all of its columns in their order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Tenants,
    TenantKeyVersions,
    Subjects,
    Credentials,
    TenantKeys,
    SubjectKeys,
    DataKeys,
    SealedFields,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::TenantKeyVersions => "tenant_key_versions",
            Self::Subjects => "subjects",
            Self::Credentials => "credentials",
            Self::TenantKeys => "tenant_keys",
            Self::SubjectKeys => "subject_keys",
            Self::DataKeys => "data_keys",
            Self::SealedFields => "sealed_fields",
        }
    }
}

/// A connection to one store that no role holds back.
pub(super) enum Link {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Link {
    pub(super) async fn to(folder: &Path, cluster: Option<&Cluster>, store: Store) -> Result<Self> {
        if let Some(cluster) = cluster {
            let mut connection = cluster.administrator(&databases::name(folder, store)).await?;
            // What is made in bulk can be made again.
            sqlx::raw_sql("SET search_path = cofre; SET synchronous_commit = off").execute(&mut connection).await?;
            return Ok(Self::Postgres(connection));
        }
        let file = store.file(folder);
        if !file.exists() {
            bail!("{}: no such store; bring the deployment up once", file.display());
        }
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(false)
            .foreign_keys(false)
            .synchronous(SqliteSynchronous::Off);
        Ok(Self::Sqlite(options.connect().await.with_context(|| format!("{}", file.display()))?))
    }

    /// Puts rows into tables of this store, all or none.
    pub(super) async fn put(&mut self, tables: Vec<(Table, Vec<Vec<Cell>>)>) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let mut transaction = connection.begin().await?;
                for (table, rows) in tables {
                    insert(&mut transaction, table, rows).await.with_context(|| table.name())?;
                }
                Ok(transaction.commit().await?)
            }
            Self::Postgres(connection) => {
                let mut transaction = connection.begin().await?;
                for (table, rows) in tables {
                    copy(&mut transaction, table, &rows).await.with_context(|| table.name())?;
                }
                Ok(transaction.commit().await?)
            }
        }
    }
}

async fn insert(connection: &mut SqliteConnection, table: Table, rows: Vec<Vec<Cell>>) -> Result<()> {
    let Some(width) = rows.first().map(Vec::len) else { return Ok(()) };
    let one = format!("({})", vec!["?"; width].join(", "));
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let some: Vec<Vec<Cell>> = rows.by_ref().take((BOUND / width).max(1)).collect();
        let text = format!("INSERT INTO {} VALUES {}", table.name(), vec![one.as_str(); some.len()].join(", "));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for cell in some.into_iter().flatten() {
            query = match cell {
                Cell::Int(value) => query.bind(value),
                Cell::Text(value) => query.bind(value),
                Cell::Bytes(value) => query.bind(value),
            };
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// PostgreSQL manual, COPY, text format. Our texts hold nothing that it would have to escape; who seeds others is told.
async fn copy(connection: &mut PgConnection, table: Table, rows: &[Vec<Cell>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut lines = String::new();
    for row in rows {
        for (place, cell) in row.iter().enumerate() {
            if place > 0 {
                lines.push('\t');
            }
            match cell {
                Cell::Int(value) => write!(lines, "{value}")?,
                Cell::Text(value) if value.contains(['\t', '\n', '\r', '\\']) => {
                    bail!("a text that COPY would read anew")
                }
                Cell::Text(value) => lines.push_str(value),
                Cell::Bytes(value) => {
                    lines.push_str("\\\\x");
                    lines.push_str(&hex::encode(value));
                }
            }
        }
        lines.push('\n');
    }
    let mut copying = connection.copy_in_raw(&format!("COPY {} FROM STDIN", table.name())).await?;
    copying.send(lines.as_bytes()).await?;
    copying.finish().await?;
    Ok(())
}
