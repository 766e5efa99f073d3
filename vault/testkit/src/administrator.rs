//! An administrator of one store: a connection of their own, beside a vault that runs, by which rows are read as they
//! are and taken out, put in or exchanged. What the tables are is read from the store itself, on either engine, so that
//! a column added later is met by every test that goes through all of them. Never a way in for anything but tests.

use std::path::Path;

use anyhow::{Context, Result, bail};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Postgres, Row as _, Sqlite,
    SqliteConnection,
};

use crate::postgres::{Cluster, databases};
use crate::stores::{Engine, Store};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit number.
    Number,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A JSON document, read and written as its text.
    Document,
}

/// A column, as the store describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether it is part of the table's key.
    pub key: bool,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// None.
    Null,
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The values of a row, in the order of the columns.
pub type Line = Vec<Cell>;

/// A table with its columns, as the store describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

impl Table {
    /// The place of a column in a row.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn place(&self, column: &str) -> Result<usize> {
        let place = self.columns.iter().position(|each| each.name == column);
        place.with_context(|| format!("{} has no column {column}", self.name))
    }

    /// The value of a column in a row.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn cell<'a>(&self, row: &'a Line, column: &str) -> Result<&'a Cell> {
        row.get(self.place(column)?).with_context(|| format!("a row of {} is too short", self.name))
    }

    /// The row with another value in one column.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn with(&self, row: &Line, column: &str, cell: Cell) -> Result<Line> {
        let mut changed = row.clone();
        *changed.get_mut(self.place(column)?).context("a row is too short")? = cell;
        Ok(changed)
    }
}

/// An administrator's connection to one store.
#[derive(Debug)]
pub enum Administrator {
    /// To a file.
    Sqlite(SqliteConnection),
    /// To a database, as its superuser.
    Postgres(PgConnection),
}

impl Administrator {
    /// Connects to a store of a folder.
    ///
    /// # Errors
    /// Where the store is not there.
    pub async fn of(folder: &Path, store: Store, engine: Engine) -> Result<Self> {
        match engine {
            Engine::Sqlite => {
                let file = store.file(folder);
                let options = SqliteConnectOptions::new()
                    .filename(&file)
                    .create_if_missing(false)
                    .foreign_keys(false)
                    .synchronous(SqliteSynchronous::Off);
                Ok(Self::Sqlite(options.connect().await.with_context(|| file.display().to_string())?))
            }
            Engine::Postgres => {
                let mut session = Cluster::here()?.administrator(&databases::name(folder, store)).await?;
                // Neither triggers nor foreign keys stop who owns the tables.
                session.execute("SET search_path = cofre").await?;
                session.execute("SET session_replication_role = replica").await?;
                Ok(Self::Postgres(session))
            }
        }
    }

    /// Every table with its columns, but the engine's own and the list of migrations.
    ///
    /// # Errors
    /// A column of a kind nobody thought of.
    pub async fn tables(&mut self) -> Result<Vec<Table>> {
        let columns = match self {
            Self::Sqlite(_) => {
                "SELECT t.name AS tab, c.name AS col, lower(c.type) AS kind, iif(c.pk > 0, 'key', '') AS part
                 FROM sqlite_schema t, pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND t.name <> '_sqlx_migrations'
                 ORDER BY t.name, c.cid"
            }
            Self::Postgres(_) => {
                "SELECT c.table_name::text AS tab, c.column_name::text AS col, c.data_type::text AS kind,
                   CASE WHEN EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
                     WHERE i.indisprimary AND i.indrelid = ('cofre.' || c.table_name)::regclass AND a.attname = c.column_name)
                   THEN 'key' ELSE '' END AS part
                 FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
                 WHERE c.table_schema = 'cofre' AND t.table_type = 'BASE TABLE' AND c.table_name <> '_sqlx_migrations'
                 ORDER BY c.table_name, c.ordinal_position"
            }
        };
        let rows: Vec<[String; 4]> = match self {
            Self::Sqlite(session) => {
                let rows = session.fetch_all(columns).await?;
                rows.iter().map(|row| [row.get("tab"), row.get("col"), row.get("kind"), row.get("part")]).collect()
            }
            Self::Postgres(session) => {
                let rows = session.fetch_all(columns).await?;
                rows.iter().map(|row| [row.get("tab"), row.get("col"), row.get("kind"), row.get("part")]).collect()
            }
        };
        let mut tables: Vec<Table> = Vec::new();
        for [table, name, kind, part] in rows {
            let kind = match kind.as_str() {
                "integer" | "bigint" => Kind::Number,
                "text" => Kind::Text,
                "blob" | "bytea" => Kind::Bytes,
                "jsonb" => Kind::Document,
                other => bail!("{table}.{name} is of kind {other}: say how an administrator edits it"),
            };
            if tables.last().is_none_or(|last| last.name != table) {
                tables.push(Table { name: table, columns: Vec::new() });
            }
            if let Some(last) = tables.last_mut() {
                last.columns.push(Column { name, kind, key: part == "key" });
            }
        }
        Ok(tables)
    }

    /// One table.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub async fn table(&mut self, name: &str) -> Result<Table> {
        let tables = self.tables().await?;
        tables.into_iter().find(|table| table.name == name).with_context(|| format!("no table {name}"))
    }

    /// The rows of a table as they stand, in the order of their columns.
    ///
    /// # Errors
    /// The store's.
    pub async fn rows(&mut self, table: &Table) -> Result<Vec<Line>> {
        let read = |column: &Column| match column.kind {
            Kind::Document => format!(r#""{0}"::text AS "{0}""#, column.name),
            Kind::Number | Kind::Text | Kind::Bytes => format!(r#""{}""#, column.name),
        };
        let read: Vec<String> = table.columns.iter().map(read).collect();
        let text = format!("SELECT {} FROM {} ORDER BY {}", read.join(", "), table.name, quoted(table));
        match self {
            Self::Sqlite(session) => {
                let rows = session.fetch_all(AssertSqlSafe(text)).await?;
                rows.iter().map(|row| read_sqlite(table, row)).collect()
            }
            Self::Postgres(session) => {
                let rows = session.fetch_all(AssertSqlSafe(text)).await?;
                rows.iter().map(|row| read_postgres(table, row)).collect()
            }
        }
    }

    /// Takes rows out and puts others in, all at once. A row to take out has to stand there exactly as it is given.
    ///
    /// # Errors
    /// Where one does not; then nothing is changed.
    pub async fn exchange(&mut self, table: &Table, taken: &[Line], put: &[Line]) -> Result<()> {
        self.run(match self {
            // With the write lock from the start, so that a vault that writes is waited for.
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        })
        .await?;
        let done = self.exchange_within(table, taken, put).await;
        self.run(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        done
    }

    async fn exchange_within(&mut self, table: &Table, taken: &[Line], put: &[Line]) -> Result<()> {
        let same = |number: usize, column: &Column| {
            format!(r#""{}" IS NOT DISTINCT FROM {}"#, column.name, place(number, column))
        };
        let same: Vec<String> = table.columns.iter().enumerate().map(|(number, column)| same(number, column)).collect();
        let delete = format!("DELETE FROM {} WHERE {}", table.name, same.join(" AND "));
        for row in taken {
            if self.bound(&delete, table, row).await? != 1 {
                bail!("{}: a row to be taken out is not there: {row:?}", table.name);
            }
        }
        let places: Vec<String> =
            table.columns.iter().enumerate().map(|(number, column)| place(number, column)).collect();
        let places = places.join(", ");
        // A number that a server gives out by itself is put back as it was.
        let given = if matches!(self, Self::Postgres(_)) { " OVERRIDING SYSTEM VALUE" } else { "" };
        let insert = format!("INSERT INTO {} ({}){given} VALUES ({places})", table.name, quoted(table));
        for row in put {
            self.bound(&insert, table, row).await.with_context(|| format!("{insert}: {row:?}"))?;
        }
        Ok(())
    }

    /// Runs one statement; says how many rows it touched.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn run(&mut self, statement: &str) -> Result<u64> {
        let text = AssertSqlSafe(statement.to_owned());
        let done = match self {
            Self::Sqlite(session) => session.execute(text).await.map(|done| done.rows_affected()),
            Self::Postgres(session) => session.execute(text).await.map(|done| done.rows_affected()),
        };
        done.with_context(|| statement.to_owned())
    }

    async fn bound(&mut self, statement: &str, table: &Table, row: &Line) -> Result<u64> {
        let text = AssertSqlSafe(statement.to_owned());
        Ok(match self {
            Self::Sqlite(session) => {
                let bound = table.columns.iter().zip(row).fold(sqlx::query(text), bind_sqlite);
                session.execute(bound).await?.rows_affected()
            }
            Self::Postgres(session) => {
                let bound = table.columns.iter().zip(row).fold(sqlx::query(text), bind_postgres);
                session.execute(bound).await?.rows_affected()
            }
        })
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// Where it does not end in order.
    pub async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(session) => Ok(session.close().await?),
            Self::Postgres(session) => Ok(session.close().await?),
        }
    }
}

/// How a value of a column stands in a statement.
fn place(number: usize, column: &Column) -> String {
    match column.kind {
        Kind::Document => format!("${}::jsonb", number + 1),
        Kind::Number | Kind::Text | Kind::Bytes => format!("${}", number + 1),
    }
}

fn quoted(table: &Table) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| format!(r#""{}""#, column.name)).collect();
    names.join(", ")
}

macro_rules! cells {
    ($read:ident, $bind:ident, $row:ty, $engine:ty, $arguments:ty) => {
        fn $read(table: &Table, row: &$row) -> Result<Line> {
            let cell = |column: &Column| {
                let name = column.name.as_str();
                Ok(match column.kind {
                    Kind::Number => row.try_get::<Option<i64>, _>(name)?.map(Cell::Number),
                    Kind::Text | Kind::Document => row.try_get::<Option<String>, _>(name)?.map(Cell::Text),
                    Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(name)?.map(Cell::Bytes),
                }
                .unwrap_or(Cell::Null))
            };
            table.columns.iter().map(cell).collect()
        }

        fn $bind<'q>(
            query: Query<'q, $engine, $arguments>,
            (column, cell): (&Column, &Cell),
        ) -> Query<'q, $engine, $arguments> {
            match (cell, column.kind) {
                (Cell::Number(value), _) => query.bind(*value),
                (Cell::Text(value), _) => query.bind(value.clone()),
                (Cell::Bytes(value), _) => query.bind(value.clone()),
                (Cell::Null, Kind::Number) => query.bind(None::<i64>),
                (Cell::Null, Kind::Text | Kind::Document) => query.bind(None::<String>),
                (Cell::Null, Kind::Bytes) => query.bind(None::<Vec<u8>>),
            }
        }
    };
}

cells!(read_sqlite, bind_sqlite, SqliteRow, Sqlite, SqliteArguments);
cells!(read_postgres, bind_postgres, PgRow, Postgres, PgArguments);
