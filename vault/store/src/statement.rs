//! One statement for both engines: its text, what is bound to it, and how it is run. Both number their placeholders
//! `$1`, `$2`; integers are 64 bits wide, instants are microseconds, ids are text. Where one text cannot serve both,
//! [`either`] takes two, and the reason stands beside it.
//!
//! No text is ever put together from values.

use sqlx::{Executor as _, Postgres, Sqlite};

use crate::engine::Session;
use crate::error::Error;
use crate::row::Row;

/// A value to bind. Nulls keep their type, so that PostgreSQL need not guess it.
#[derive(Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! values {
    ($($from:ty => |$value:ident| $variant:ident($to:expr),)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                Self::$variant(Some($to))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map(|$value| $to))
            }
        }
    )*};
}

values! {
    i64 => |value| Int(value),
    bool => |value| Int(i64::from(value)),
    String => |value| Text(value),
    &String => |value| Text(value.clone()),
    &str => |value| Text(value.to_owned()),
    Vec<u8> => |value| Bytes(value),
    &Vec<u8> => |value| Bytes(value.clone()),
    &[u8] => |value| Bytes(value.to_vec()),
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

/// A statement with what is bound to it.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run"]
pub(crate) struct Statement {
    sqlite: &'static str,
    postgres: &'static str,
    values: Vec<Value>,
}

/// One text for both engines.
pub(crate) const fn statement(text: &'static str) -> Statement {
    either(text, text)
}

/// A text for each engine, with the same placeholders.
pub(crate) const fn either(sqlite: &'static str, postgres: &'static str) -> Statement {
    Statement { sqlite, postgres, values: Vec::new() }
}

macro_rules! bound {
    ($engine:ty, $text:expr, $values:expr) => {
        $values.into_iter().fold(sqlx::query::<$engine>($text), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    };
}

impl Statement {
    /// Binds the next placeholder.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(crate) async fn fetch_all(self, session: &mut Session<'_>) -> Result<Vec<Row>, Error> {
        let Self { sqlite, postgres, values } = self;
        match session {
            Session::Sqlite(session) => {
                let rows = session.connection().fetch_all(bound!(Sqlite, sqlite, values)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Session::Postgres(session) => {
                let query = bound!(Postgres, postgres, values);
                let rows = session.fetch_all(query).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    pub(crate) async fn fetch_optional(self, session: &mut Session<'_>) -> Result<Option<Row>, Error> {
        let Self { sqlite, postgres, values } = self;
        match session {
            Session::Sqlite(session) => {
                Ok(session.connection().fetch_optional(bound!(Sqlite, sqlite, values)).await?.map(Row::Sqlite))
            }
            Session::Postgres(session) => {
                let query = bound!(Postgres, postgres, values);
                let row = session.fetch_optional(query).await?;
                Ok(row.map(Row::Postgres))
            }
        }
    }

    pub(crate) async fn fetch_one(self, session: &mut Session<'_>) -> Result<Row, Error> {
        self.fetch_optional(session).await?.ok_or(Error::Unavailable(sqlx::Error::RowNotFound))
    }

    /// Runs it for its effect; gives the number of rows changed.
    pub(crate) async fn execute(self, session: &mut Session<'_>) -> Result<u64, Error> {
        let Self { sqlite, postgres, values } = self;
        match session {
            Session::Sqlite(session) => {
                Ok(session.connection().execute(bound!(Sqlite, sqlite, values)).await?.rows_affected())
            }
            Session::Postgres(session) => {
                let query = bound!(Postgres, postgres, values);
                let done = session.execute(query).await?;
                Ok(done.rows_affected())
            }
        }
    }
}
