//! A row that decides, before its MAC was looked at. It gives its content only through [`Unverified::verify`] and
//! [`Unverified::verify_as_tagged`], and what it gives is parsed from exactly the bytes that were checked.
//!
//! A row that only ends things is written without a key. Its MAC is then set aside, and only as a digest: who reads
//! the file can still hold the row against it, and who edits the file cannot put it back.

use std::marker::PhantomData;

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::EntryId;
use cofre_policy::facts::Evidence;
use sha2::{Digest as _, Sha256};

use crate::columns::{self, Kind};
use crate::error::Error;
use crate::row::Row;
use crate::standing::{Standing, Word};

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
    /// What the ledger says of this row, as `written` by the entry of that id.
    #[doc(hidden)]
    fn word(&self, written: &EntryId, standing: &Standing) -> Word;
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
    fn word(&self, written: &EntryId, standing: &Standing) -> Word {
        standing.consent(&self.id, &self.subject, written)
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
        // SECURITY: what a deposit makes active is what was tagged when the enrolment was opened.
        matches!(self.state, CredentialState::Active | CredentialState::Enrolling)
    }
    fn word(&self, written: &EntryId, standing: &Standing) -> Word {
        standing.login(&self.id, &self.owner, written)
    }
}

/// What a row's MAC becomes when the row is ended without a key: proof for whoever can compute the MAC, and no way
/// back to it for whoever cannot.
pub(crate) fn set_aside(tag: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cofre/v1/row/aside").chain_update(tag).finalize().into()
}

/// Compares without telling where two digests differ.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
}

#[derive(Debug, Clone)]
struct Content {
    columns: Vec<Vec<u8>>,
    entry: EntryId,
    tag: [u8; 32],
    /// The state the row was in when it was last tagged. Not believed: it is part of what the MAC is computed over.
    tagged_state: Vec<u8>,
    last_tag: [u8; 32],
    /// What the ledger says of this row.
    word: Word,
}

/// A column of fixed length. One of another length cannot be true: all-zero bytes are as false.
fn fixed<const N: usize>(row: &Row, column: &str) -> [u8; N]
where
    [u8; N]: Default,
{
    row.blob(column).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

/// A row as the database gave it, or its absence.
#[derive(Debug, Clone)]
#[must_use = "a row not verified says nothing"]
pub struct Unverified<T> {
    row: Option<Content>,
    kind: PhantomData<T>,
}

impl<T: Deciding> Unverified<T> {
    pub(crate) const fn absent() -> Self {
        Self { row: None, kind: PhantomData }
    }

    pub(crate) fn of(row: &Row) -> Result<Self, Error> {
        let mut columns = Vec::with_capacity(T::spec().0.len());
        for (name, kind) in T::spec().0 {
            let bytes = match kind {
                Kind::Text => row.text(name).map(|text| text.as_bytes().to_vec()),
                Kind::Number => row.int(name).map(|value| value.to_be_bytes().to_vec()),
                Kind::Bytes => row.blob(name).map(<[u8]>::to_vec),
            };
            columns.push(bytes.ok_or_else(|| Error::corrupt(T::TABLE, name))?);
        }
        let (entry, tag, last_tag) = (fixed(row, "entry_id"), fixed(row, "tag"), fixed(row, "last_tag"));
        let tagged_state = row.text("tagged_state").map(|text| text.as_bytes().to_vec()).unwrap_or_default();
        let row = Content { columns, entry, tag, tagged_state, last_tag, word: Word::Replaced };
        Ok(Self { row: Some(row), kind: PhantomData })
    }

    /// Holds the row against the ledger, and says whether it stands there; one that can permit nothing always does.
    pub(crate) fn held_against(&mut self, standing: &Standing) -> bool {
        let Some(row) = &mut self.row else { return true };
        let Some(content) = T::read(&row.columns) else { return true };
        row.word = content.word(&row.entry, standing);
        if content.permits() { row.word == Word::Stands } else { row.word != Word::Replaced }
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
    /// that wrote the row, and its tag. Rows that only end things are given without asking it. A row whose MAC holds
    /// while the ledger says that it was replaced or ended was put back: it is [`Evidence::Forged`].
    pub fn verify(self, check: impl FnOnce(&str, &[&[u8]], &EntryId, &[u8; 32]) -> bool) -> Evidence<T> {
        let Some(row) = self.row else { return Evidence::Absent };
        let Some(content) = T::read(&row.columns) else { return Evidence::Forged };
        let columns: Vec<&[u8]> = row.columns.iter().map(Vec::as_slice).collect();
        if !content.permits() || (row.word == Word::Stands && check(T::TABLE, &columns, &row.entry, &row.tag)) {
            Evidence::Genuine(content)
        } else {
            Evidence::Forged
        }
    }

    /// Looks at the MAC of every row, also of one that was ended since it was last tagged: ending changes nothing but
    /// the state, so the MAC is held against the columns with the state they were tagged in. `mac` gives the MAC of
    /// a table, its deciding columns and the id of the entry that wrote the row. What comes back carries the state of
    /// now. For whoever relies on the terms of a row that may permit nothing any more: a receipt, a new secret.
    ///
    /// An erased login is [`Evidence::Forged`] here: what found its like was taken out of it.
    pub fn verify_as_tagged(self, mac: impl FnOnce(&str, &[&[u8]], &EntryId) -> [u8; 32]) -> Evidence<T> {
        let Some(Content { columns, entry, tag, tagged_state, last_tag, word }) = self.row else {
            return Evidence::Absent;
        };
        let Some(content) = T::read(&columns) else { return Evidence::Forged };
        if content.permits() {
            let columns: Vec<&[u8]> = columns.iter().map(Vec::as_slice).collect();
            let holds = word == Word::Stands && same(&mac(T::TABLE, &columns, &entry), &tag);
            return if holds { Evidence::Genuine(content) } else { Evidence::Forged };
        }
        let tagged: Vec<&[u8]> = T::spec()
            .0
            .iter()
            .zip(&columns)
            .map(|((name, _), bytes)| if *name == "state" { tagged_state.as_slice() } else { bytes.as_slice() })
            .collect();
        // SECURITY: an old genuine row, dressed as one that was ended, is no newest row.
        let holds = word != Word::Replaced && same(&set_aside(&mac(T::TABLE, &tagged, &entry)), &last_tag);
        if holds { Evidence::Genuine(content) } else { Evidence::Forged }
    }
}
