//! The fixture institutions: fictional banks whose login forms have the shape of real ones.
//! They are data (`fixtures/institutions/*.toml`), read here into types of this crate's own, so that the vault, TestBank and
//! the tests all start from the same six files. Never a real bank, never a real login.

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The files, compiled in: a test binary needs no working directory.
const FILES: [(&str, &str); 6] = [
    ("banco-abierto", include_str!("../fixtures/institutions/banco-abierto.toml")),
    ("caja-colegiados", include_str!("../fixtures/institutions/caja-colegiados.toml")),
    ("banc-valles", include_str!("../fixtures/institutions/banc-valles.toml")),
    ("banque-jeune", include_str!("../fixtures/institutions/banque-jeune.toml")),
    ("courtier-bourse", include_str!("../fixtures/institutions/courtier-bourse.toml")),
    ("harbour-private", include_str!("../fixtures/institutions/harbour-private.toml")),
];

/// Why a fixture could not be used.
#[derive(Debug, thiserror::Error)]
pub enum InstitutionError {
    /// The file is not TOML of the expected shape, or has an unknown key.
    #[error("fixture {file} does not parse: {source}")]
    Shape {
        /// Which fixture.
        file: &'static str,
        /// Where and why, in the words of the TOML reader.
        #[source]
        source: toml::de::Error,
    },
    /// No fixture has this slug.
    #[error("no fixture institution is called {0:?}; see fixtures/institutions")]
    Unknown(String),
}

/// A bank or broker with its rules and the fields of its login form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Institution {
    /// Name in paths and in the vault's identifier `ins_<slug>`.
    pub slug: String,
    /// Name shown to people.
    pub name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// What sort of house it is.
    pub kind: InstitutionKind,
    /// Version of the login form below.
    pub template_version: u32,
    /// Wrong entries in a row after which the institution locks the access.
    pub lockout_threshold: u32,
    /// How long it stays locked.
    pub lockout_hours: u32,
    /// The second factor asked after the login form.
    pub sca: Sca,
    /// The login form, in the order of the page.
    pub fields: Vec<LoginField>,
}

/// Sort of institution, as in the vault's registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstitutionKind {
    /// A bank.
    Bank,
    /// A broker.
    Broker,
}

/// Second factor of an institution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sca {
    /// How the code reaches the investor.
    pub kind: ScaKind,
    /// Digits of the code; 0 when there is none.
    pub code_length: u32,
    /// Seconds a code lives: from sending for an SMS, the time step for an app or a device.
    pub code_ttl_seconds: u64,
}

/// Kinds of second factor used by the fixtures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScaKind {
    /// None is asked.
    None,
    /// A one-time code by SMS.
    SmsOtp,
    /// A code of the investor's authenticator app (RFC 6238).
    TotpApp,
    /// A code shown by a device of the bank's.
    HardwareToken,
}

/// One field of a login form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginField {
    /// Name in the form and in the vault.
    pub key: String,
    /// What the investor types.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// What a value must match, anchored at both ends.
    pub regexp: String,
    /// The values on offer when `field_type` is [`FieldType::Choice`].
    #[serde(default)]
    pub choices: Vec<String>,
    /// Whether the form is refused without it.
    pub required: bool,
    /// Whether knowing it helps to log in; the others only say whose login it is.
    pub secret: bool,
    /// Whether it can sign orders: such a field must be refused at deposit.
    pub signing_factor: bool,
    /// What may leave the vault of it.
    pub release_form: ReleaseForm,
    /// Its name on the page, in the four languages of the notices.
    pub label: Label,
}

/// Type of a login field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FieldType {
    /// Free text.
    Text,
    /// A password.
    Password,
    /// Digits only.
    Pin,
    /// A date, `YYYY-MM-DD`.
    Date,
    /// Number of an identity document with its check letter.
    Document,
    /// One of a list.
    Choice,
}

/// What may leave the vault of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReleaseForm {
    /// The whole value.
    Full,
}

/// A text in the four languages of the product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Spanish.
    pub es: String,
    /// English.
    pub en: String,
    /// French.
    pub fr: String,
    /// Portuguese.
    pub pt: String,
}

impl Institution {
    /// The identifier the vault gives it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("ins_{}", self.slug)
    }

    /// The fields a login consists of: required, and without power to sign.
    pub fn login_fields(&self) -> impl Iterator<Item = &LoginField> {
        self.fields.iter().filter(|f| f.required && !f.signing_factor)
    }

    /// How long a lock-out lasts, in seconds.
    #[must_use]
    pub fn lockout_seconds(&self) -> u64 {
        u64::from(self.lockout_hours).saturating_mul(3600)
    }
}

/// All six fixture institutions, in a fixed order.
///
/// # Errors
/// [`InstitutionError::Shape`] names the file that does not parse.
pub fn all() -> Result<Vec<Institution>, InstitutionError> {
    FILES
        .iter()
        .map(|(file, text)| toml::from_str(text).map_err(|source| InstitutionError::Shape { file, source }))
        .collect()
}

/// The fixture institution with this slug.
///
/// # Errors
/// [`InstitutionError::Unknown`] when there is none, and the errors of [`all`].
pub fn find(slug: &str) -> Result<Institution, InstitutionError> {
    all()?.into_iter().find(|i| i.slug == slug).ok_or_else(|| InstitutionError::Unknown(slug.to_owned()))
}
