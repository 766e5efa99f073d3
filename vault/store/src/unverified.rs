//! A row that decides, before its MAC was looked at. It gives its content only through [`Unverified::verify`], and
//! what it gives is parsed from exactly the bytes that were checked.

use std::marker::PhantomData;

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::EntryId;
use cofre_policy::facts::Evidence;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::columns::{self, Kind};
use crate::error::Error;

/// A kind of row under a MAC. Closed.
#[expect(unnameable_types, reason = "sealed: no other row is under a MAC")]
pub trait Deciding: Sized {
    #[doc(hidden)]
    const TABLE: &'static str;
    #[doc(hidden)]
    fn spec() -> Spec;
    #[doc(hidden)]
    fn read(columns: &[Vec<u8>]) -> Option<Self>;
    /// Whether this row can permit anything. One that only ends things needs no MAC, so that ending never needs a
    /// custodian.
    #[doc(hidden)]
    fn permits(&self) -> bool;
}

/// The columns of a kind of row.
#[derive(Debug, Clone, Copy)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub struct Spec(pub(crate) &'static [(&'static str, Kind)]);

impl Deciding for Consent {
    const TABLE: &'static str = columns::CONSENTS;
    fn spec() -> Spec {
        Spec(columns::CONSENT)
    }
    fn read(columns: &[Vec<u8>]) -> Option<Self> {
        columns::read_consent(columns)
    }
    fn permits(&self) -> bool {
        // SECURITY: an awaiting row may become an active one; without a MAC its terms could be edited meanwhile.
        matches!(self.state, ConsentState::Active | ConsentState::AwaitingAuthorisation)
    }
}

impl Deciding for Credential {
    const TABLE: &'static str = columns::CREDENTIALS;
    fn spec() -> Spec {
        Spec(columns::CREDENTIAL)
    }
    fn read(columns: &[Vec<u8>]) -> Option<Self> {
        columns::read_credential(columns)
    }
    fn permits(&self) -> bool {
        matches!(self.state, CredentialState::Active)
    }
}

#[derive(Debug, Clone)]
struct Row {
    columns: Vec<Vec<u8>>,
    entry: EntryId,
    tag: [u8; 32],
}

/// A row as the database gave it, or its absence.
#[derive(Debug, Clone)]
#[must_use = "a row not verified says nothing"]
pub struct Unverified<T> {
    row: Option<Row>,
    kind: PhantomData<T>,
}

impl<T: Deciding> Unverified<T> {
    pub(crate) const fn absent() -> Self {
        Self { row: None, kind: PhantomData }
    }

    pub(crate) fn of(row: &SqliteRow) -> Result<Self, Error> {
        let mut columns = Vec::with_capacity(T::spec().0.len());
        for (name, kind) in T::spec().0 {
            let bytes = match kind {
                Kind::Text => row.try_get::<String, _>(*name).map(String::into_bytes),
                Kind::Number => row.try_get::<i64, _>(*name).map(|value| value.to_be_bytes().to_vec()),
                Kind::Bytes => row.try_get::<Vec<u8>, _>(*name),
            };
            columns.push(bytes.map_err(|_| Error::corrupt(T::TABLE, name))?);
        }
        // An entry id or a tag of another length cannot be true: all-zero ones are as false.
        let entry = row.try_get::<Vec<u8>, _>("entry_id").ok().and_then(|id| id.try_into().ok()).unwrap_or_default();
        let tag = row.try_get::<Vec<u8>, _>("tag").ok().and_then(|tag| tag.try_into().ok()).unwrap_or_default();
        Ok(Self { row: Some(Row { columns, entry, tag }), kind: PhantomData })
    }

    /// Whether there is a row at all.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.row.is_some()
    }

    /// What the row claims, unverified: good for showing or ending it.
    pub(crate) fn claimed(&self) -> Option<T> {
        self.row.as_ref().and_then(|row| T::read(&row.columns))
    }

    /// Looks at the MAC and gives the content. `check` gets the table, the deciding columns, the id of the entry
    /// that wrote the row, and its tag. Rows that only end things are given without asking it.
    pub fn verify(self, check: impl FnOnce(&str, &[&[u8]], &EntryId, &[u8; 32]) -> bool) -> Evidence<T> {
        let Some(row) = self.row else { return Evidence::Absent };
        let Some(content) = T::read(&row.columns) else { return Evidence::Forged };
        let columns: Vec<&[u8]> = row.columns.iter().map(Vec::as_slice).collect();
        if !content.permits() || check(T::TABLE, &columns, &row.entry, &row.tag) {
            Evidence::Genuine(content)
        } else {
            Evidence::Forged
        }
    }
}
