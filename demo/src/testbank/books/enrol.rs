//! Opening an account: what the demonstration does for its investors before it starts.

use std::collections::hash_map::Entry;

use super::account::{Account, Behaviour, Counts, Identifiers, Tries, secrets};
use super::phone::Phone;
use super::{Books, Form};
use crate::testbank::codes::{self, CodesError, KnownSecret, Seed};

/// A wish to open an account.
#[derive(Clone, Copy)]
pub struct Enrolment<'a> {
    /// Slug of the institution.
    pub institution: &'a str,
    /// The customer's phone: `+` and 8 to 15 digits.
    pub phone: &'a str,
    /// Key and value of every login field.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// What the site shall do whatever is typed; `None` for a usual account.
    pub behaviour: Option<Behaviour>,
}

impl std::fmt::Debug for Enrolment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment").field("institution", &self.institution).finish_non_exhaustive()
    }
}

/// An account that was opened.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Enrolled {
    /// Its name in the counts.
    pub account: String,
    /// Opens `/phone/<number>/`; only the investor's side may have it. A later account on the same phone replaces it.
    pub phone_token: String,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Why no account was opened.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No such institution.
    #[error("institution: no site is called {0:?}")]
    Institution(String),
    /// A login field has no value.
    #[error("fields: {0} is missing or empty; every required login field needs a value")]
    FieldMissing(String),
    /// A value was given for something that is not a login field.
    #[error("fields: {0:?} is not a login field of this institution; leave it out")]
    FieldUnknown(String),
    /// Not a phone number.
    #[error("phone: write + and 8 to 15 digits, without spaces")]
    Phone,
    /// These identifiers have an account.
    #[error("fields: the institution has a customer with these identifiers")]
    Taken,
    /// A random value was needed and not to be had.
    #[error(transparent)]
    Codes(#[from] CodesError),
}

impl Books {
    /// Opens an account. Changes nothing when it fails.
    pub(in crate::testbank) fn enrol(&mut self, wish: &Enrolment<'_>) -> Result<Enrolled, EnrolError> {
        let institution =
            self.institution(wish.institution).ok_or_else(|| EnrolError::Institution(wish.institution.to_owned()))?;
        if !is_phone(wish.phone) {
            return Err(EnrolError::Phone);
        }
        let form = Form::of(wish.fields);
        for (key, _) in wish.fields {
            if !institution.login_fields().any(|f| f.key == *key) {
                return Err(EnrolError::FieldUnknown((*key).to_owned()));
            }
        }
        let empty = |key: &str| form.value(key).is_none_or(<[u8]>::is_empty);
        if let Some(field) = institution.login_fields().find(|f| empty(&f.key)) {
            return Err(EnrolError::FieldMissing(field.key.clone()));
        }
        let taken = |a: &Account| a.institution == institution.slug && a.identifiers.is_of(institution, &form);
        if self.accounts.iter().any(taken) {
            return Err(EnrolError::Taken);
        }
        let account = Account {
            name: format!("{}-{:04}", institution.slug, self.accounts.len() + 1),
            institution: institution.slug.clone(),
            phone: wish.phone.to_owned(),
            identifiers: Identifiers::of(institution, &form),
            known: KnownSecret::remember(secrets(institution, &form))?,
            held: Seed(codes::random()?),
            behaviour: wish.behaviour,
            tries: Tries::default(),
            counts: Counts::default(),
        };
        let phone_token = hex::encode(codes::random::<16>()?);
        match self.phones.entry(wish.phone.to_owned()) {
            Entry::Occupied(mut phone) => phone.get_mut().change_token(&phone_token),
            Entry::Vacant(place) => {
                place.insert(Phone::new(&phone_token));
            }
        }
        let name = account.name.clone();
        self.accounts.push(account);
        Ok(Enrolled { account: name, phone_token })
    }
}

fn is_phone(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}
