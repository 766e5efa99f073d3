//! From a database row to the vocabulary's types, strictly: what no operation writes is named as corrupt, with its
//! table and column, and never guessed at.

use cofre_model::caller::SpiffeId;
use cofre_model::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, ValueRef as _};

use crate::error::Error;

/// A row as either engine gives it.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl std::fmt::Debug for Row {
    // What stands in a row is nobody's business but its reader's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "Row::Sqlite",
            Self::Postgres(_) => "Row::Postgres",
        })
    }
}

/// Nothing where the column is missing, null, or of another type: the caller says what that means.
impl Row {
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        match self {
            Self::Sqlite(row) => row.try_get(column).ok(),
            Self::Postgres(row) => row.try_get(column).ok(),
        }
    }

    pub(crate) fn blob(&self, column: &str) -> Option<&[u8]> {
        match self {
            Self::Sqlite(row) => row.try_get(column).ok(),
            Self::Postgres(row) => row.try_get(column).ok(),
        }
    }

    pub(crate) fn int(&self, column: &str) -> Option<i64> {
        match self {
            Self::Sqlite(row) => row.try_get(column).ok(),
            Self::Postgres(row) => row.try_get(column).ok(),
        }
    }

    /// Whether the column is null; nothing where there is no such column.
    pub(crate) fn is_null(&self, column: &str) -> Option<bool> {
        match self {
            Self::Sqlite(row) => row.try_get_raw(column).ok().map(|value| value.is_null()),
            Self::Postgres(row) => row.try_get_raw(column).ok().map(|value| value.is_null()),
        }
    }
}

/// One row of one table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<'r> {
    row: &'r Row,
    table: &'static str,
}

impl<'r> Cells<'r> {
    pub(crate) const fn of(table: &'static str, row: &'r Row) -> Self {
        Self { row, table }
    }

    fn corrupt(&self, column: &'static str) -> Error {
        Error::corrupt(self.table, column)
    }

    pub(crate) fn is_null(&self, column: &'static str) -> Result<bool, Error> {
        self.row.is_null(column).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<&'r str, Error> {
        self.row.text(column).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn string(&self, column: &'static str) -> Result<String, Error> {
        self.text(column).map(str::to_owned)
    }

    pub(crate) fn blob(&self, column: &'static str) -> Result<&'r [u8], Error> {
        self.row.blob(column).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], Error> {
        self.blob(column)?.try_into().map_err(|_| self.corrupt(column))
    }

    pub(crate) fn int<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, Error> {
        let value = self.row.int(column).ok_or_else(|| self.corrupt(column))?;
        T::try_from(value).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn flag(&self, column: &'static str) -> Result<bool, Error> {
        match self.int::<u8>(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt(column)),
        }
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, Error> {
        self.int(column).map(Timestamp::from_micros)
    }

    /// An identifier, by its strict parser.
    pub(crate) fn id<T: for<'a> TryFrom<&'a str>>(&self, column: &'static str) -> Result<T, Error> {
        T::try_from(self.text(column)?).map_err(|_| self.corrupt(column))
    }

    /// A word of a closed list, by its `from_text`.
    pub(crate) fn word<T>(&self, column: &'static str, from_text: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
        from_text(self.text(column)?).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn optional<T>(
        &self,
        column: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.is_null(column)? { Ok(None) } else { read(self, column).map(Some) }
    }

    pub(crate) fn spiffe(&self, column: &'static str) -> Result<SpiffeId, Error> {
        spiffe(self.text(column)?).ok_or_else(|| self.corrupt(column))
    }
}

/// An identity as it was stored: its own text names its trust domain, which was checked when it came in.
pub(crate) fn spiffe(text: &str) -> Option<SpiffeId> {
    let domain = text.strip_prefix("spiffe://")?.split('/').next()?;
    SpiffeId::parse(text, domain).ok()
}

/// A number for a column. Numbers beyond 2^63 do not occur: times end in the year 294247, sizes long before.
pub(crate) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An instant for a column.
pub(crate) fn instant(at: Timestamp) -> i64 {
    column(at.micros())
}
