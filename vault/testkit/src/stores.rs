//! Hands on the stores, as a database administrator has them: for controls and for tests that edit rows behind the
//! vault's back.

use std::path::Path;

use anyhow::{Context, Result};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

/// Runs statements on a SQLite file that no vault has open; says how many rows they touched.
///
/// # Errors
/// Where the file cannot be opened or a statement does not run.
pub async fn edit(file: &Path, statements: &[&str]) -> Result<u64> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false);
    let mut connection = options.connect().await.with_context(|| format!("{}", file.display()))?;
    let mut touched = 0;
    for statement in statements {
        touched += connection.execute(AssertSqlSafe((*statement).to_owned())).await?.rows_affected();
    }
    connection.close().await?;
    Ok(touched)
}

/// Empties tables of a SQLite file that no vault has open.
///
/// # Errors
/// As [`edit`].
pub async fn empty(file: &Path, tables: &[&str]) -> Result<u64> {
    let statements: Vec<String> = tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
    edit(file, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await
}
