//! Which columns of a row decide, and their canonical bytes: what a row MAC is computed over. The epoch never
//! takes part, because the commit bumps it without a key. Text is its UTF-8 bytes, a number is 8 bytes big-endian;
//! lengths are the MAC's business.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::time::Timestamp;
use cofre_model::wording::{Locale, Purpose, ScopeSet};

/// The table name under the MAC of a consent.
pub const CONSENTS: &str = "consents";
/// The table name under the MAC of a credential.
pub const CREDENTIALS: &str = "credentials";

/// How a column is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Number,
    Bytes,
}

pub(crate) const CONSENT: &[(&str, Kind)] = &[
    ("id", Kind::Text),
    ("tenant_id", Kind::Text),
    ("subject_id", Kind::Text),
    ("credential_id", Kind::Text),
    ("recipient_id", Kind::Text),
    ("purpose", Kind::Text),
    ("scopes", Kind::Text),
    ("valid_from", Kind::Number),
    ("valid_until", Kind::Number),
    ("history_from", Kind::Number),
    ("unattended_per_day", Kind::Number),
    ("state", Kind::Text),
    ("lapses_at", Kind::Number),
    ("notice_digest", Kind::Bytes),
    ("locale", Kind::Text),
];

/// What was put before the investor, beside the terms: part of what a consent's MAC is computed over, because a yes
/// counts for that text alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The offer lapses at this instant.
    pub lapses_at: Timestamp,
    /// SHA-256 over the notice.
    pub notice_digest: [u8; 32],
    /// Its language.
    pub locale: Locale,
}

pub(crate) const CREDENTIAL: &[(&str, Kind)] = &[
    ("id", Kind::Text),
    ("tenant_id", Kind::Text),
    ("institution_id", Kind::Text),
    ("template_version", Kind::Number),
    ("owner_id", Kind::Text),
    ("state", Kind::Text),
    ("secret_version", Kind::Number),
    ("not_before", Kind::Number),
    ("dedupe_tag", Kind::Bytes),
];

fn text(value: &impl std::fmt::Display) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn number(value: u64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// The deciding columns of a consent, and of what was shown for it.
#[must_use]
pub fn consent(row: &Consent, shown: &Shown) -> Vec<Vec<u8>> {
    vec![
        text(&row.id),
        text(&row.tenant),
        text(&row.subject),
        text(&row.credential),
        text(&row.recipient),
        text(&row.purpose),
        row.scopes.to_text().into_bytes(),
        number(row.valid_from.micros()),
        number(row.valid_until.micros()),
        number(row.history_from.micros()),
        number(u64::from(row.unattended_per_day)),
        text(&row.state),
        number(shown.lapses_at.micros()),
        shown.notice_digest.to_vec(),
        shown.locale.as_str().as_bytes().to_vec(),
    ]
}

/// The deciding columns of a credential.
#[must_use]
pub fn credential(row: &Credential) -> Vec<Vec<u8>> {
    vec![
        text(&row.id),
        text(&row.tenant),
        text(&row.institution),
        number(u64::from(row.template_version)),
        text(&row.owner),
        text(&row.state),
        number(u64::from(row.secret_version)),
        number(row.not_before.micros()),
        row.dedupe_tag.clone(),
    ]
}

/// Reads columns back, in order; anything but exactly what the functions above write is nothing.
struct Reader<'a>(std::slice::Iter<'a, Vec<u8>>);

impl Reader<'_> {
    fn bytes(&mut self) -> Option<&[u8]> {
        self.0.next().map(Vec::as_slice)
    }
    fn text(&mut self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
    fn id<T: for<'a> TryFrom<&'a str>>(&mut self) -> Option<T> {
        self.text().and_then(|text| T::try_from(text).ok())
    }
    fn number(&mut self) -> Option<u64> {
        self.bytes().and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
    }
    fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.number().and_then(|value| T::try_from(value).ok())
    }
    fn time(&mut self) -> Option<Timestamp> {
        self.number().map(Timestamp::from_micros)
    }
    fn end(mut self) -> Option<()> {
        self.0.next().is_none().then_some(())
    }
}

pub(crate) fn read_consent(columns: &[Vec<u8>]) -> Option<Consent> {
    let mut read = Reader(columns.iter());
    let row = Consent {
        id: read.id()?,
        tenant: read.id()?,
        subject: read.id()?,
        credential: read.id()?,
        recipient: read.id()?,
        purpose: Purpose::from_text(read.text()?)?,
        scopes: ScopeSet::from_text(read.text()?)?,
        valid_from: read.time()?,
        valid_until: read.time()?,
        history_from: read.time()?,
        unattended_per_day: read.small()?,
        state: ConsentState::from_text(read.text()?)?,
    };
    // What was shown decides no release, but a row that says none of it is no row of ours.
    let (_lapses_at, _notice_digest, _locale) =
        (read.time()?, <[u8; 32]>::try_from(read.bytes()?).ok()?, Locale::from_text(read.text()?)?);
    read.end().map(|()| row)
}

pub(crate) fn read_credential(columns: &[Vec<u8>]) -> Option<Credential> {
    let mut read = Reader(columns.iter());
    let row = Credential {
        id: read.id()?,
        tenant: read.id()?,
        institution: read.id()?,
        template_version: read.small()?,
        owner: read.id()?,
        state: CredentialState::from_text(read.text()?)?,
        secret_version: read.small()?,
        not_before: read.time()?,
        dedupe_tag: read.bytes()?.to_vec(),
    };
    read.end().map(|()| row)
}
