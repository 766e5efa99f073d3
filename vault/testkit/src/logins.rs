//! Logins for the fixture institutions: values that match each field's pattern, the same for the same seed.
//! Identity numbers carry a right check letter but lie in ranges that are not issued, so that none belongs to a person.
//! Never used with a real bank.

use crate::institutions::{FieldType, Institution, LoginField};
use draw::Draw;
use pattern::Pattern;

pub use pattern::PatternError;

mod draw;
mod pattern;
#[cfg(test)]
mod tests;

/// A value shorter than this is not searched for in memory: chance would find it.
pub const CANARY_LEN: usize = 16;

/// The control letter of a Spanish DNI or NIE is chosen by the number modulo 23.
const CHECK_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// Why no login could be made.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The field's pattern uses more than the generator understands.
    #[error("field {field}: {source}")]
    Pattern {
        /// The field's key.
        field: String,
        /// What was not understood.
        #[source]
        source: PatternError,
    },
    /// The operating system gave no randomness.
    #[error("the system gave no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// One login: what an investor would type into an institution's form.
pub struct Login {
    institution: String,
    values: Vec<Value>,
}

/// One typed value.
struct Value {
    key: String,
    bytes: Vec<u8>,
    secret: bool,
}

/// Which secrets a login gets.
#[derive(Clone, Copy)]
enum Style {
    /// Of the length people choose.
    Usual,
    /// As long as the field allows, to be searched for later.
    Canary,
}

impl Login {
    /// Slug of the institution it is for.
    #[must_use]
    pub fn institution(&self) -> &str {
        &self.institution
    }

    /// Every field's key and value, in the order of the form.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|v| (v.key.as_str(), v.bytes.as_slice()))
    }

    /// The value of one field.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.fields().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The values that say whose login it is; unique per seed.
    pub fn identifiers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().filter(|v| !v.secret).map(|v| (v.key.as_str(), v.bytes.as_slice()))
    }

    /// The secret values long enough to be searched for in dumps and memory.
    pub fn canaries(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().filter(|v| v.secret && v.bytes.len() >= CANARY_LEN).map(|v| v.bytes.as_slice())
    }
}

impl std::fmt::Debug for Login {
    /// Names the fields, never their values: a failed assertion must not plant a canary in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("institution", &self.institution)
            .field("fields", &self.values.iter().map(|v| &v.key).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The login number `seed` at `institution`, with secrets of usual length.
///
/// # Errors
/// [`LoginError::Pattern`] when a field's pattern is beyond the generator.
pub fn login(institution: &Institution, seed: u64) -> Result<Login, LoginError> {
    assemble(institution, seed, "usual", Style::Usual)
}

/// The same person's login as [`login`], its secrets as long as the form allows. The secrets differ from those of [`login`].
///
/// # Errors
/// As [`login`].
pub fn canary_login(institution: &Institution, seed: u64) -> Result<Login, LoginError> {
    assemble(institution, seed, "canary", Style::Canary)
}

/// The same identifiers as [`login`] with at least one secret that is wrong for it and for its canary variant.
///
/// # Errors
/// As [`login`].
pub fn wrong_login(institution: &Institution, seed: u64) -> Result<Login, LoginError> {
    let right = [login(institution, seed)?, canary_login(institution, seed)?];
    let wrong = assemble(institution, seed, "wrong", Style::Usual)?;
    if right.iter().any(|r| r.fields().eq(wrong.fields())) {
        // Short PINs meet by chance once in some ten thousand seeds; a longer one cannot.
        return assemble(institution, seed, "wrong", Style::Canary);
    }
    Ok(wrong)
}

/// A canary login nobody can repeat: its seed comes from the operating system.
///
/// # Errors
/// [`LoginError::Randomness`], and as [`login`].
pub fn random_login(institution: &Institution) -> Result<Login, LoginError> {
    let mut seed = [0u8; 8];
    getrandom::fill(&mut seed).map_err(LoginError::Randomness)?;
    canary_login(institution, u64::from_le_bytes(seed))
}

/// Key and value of every field of the form that can sign orders: what a deposit must refuse.
///
/// # Errors
/// As [`login`].
pub fn signing_factors(institution: &Institution, seed: u64) -> Result<Vec<(String, Vec<u8>)>, LoginError> {
    institution
        .fields
        .iter()
        .filter(|f| f.signing_factor)
        .map(|f| {
            let mut draw = Draw::new(&institution.slug, &f.key, "signing", seed);
            Ok((f.key.clone(), typed(f, &mut draw, seed, &[], Style::Canary)?))
        })
        .collect()
}

/// Fills every login field. `secrets` names the stream secret values come from; identifiers come from one shared stream, so
/// that a right and a wrong login of one seed are the same person's.
fn assemble(institution: &Institution, seed: u64, secrets: &str, style: Style) -> Result<Login, LoginError> {
    let mut values: Vec<Value> = Vec::new();
    for field in institution.login_fields() {
        let stream = if field.secret { secrets } else { "identifier" };
        let mut draw = Draw::new(&institution.slug, &field.key, stream, seed);
        let style = if field.secret { style } else { Style::Usual };
        let bytes = typed(field, &mut draw, seed, &values, style)?;
        values.push(Value { key: field.key.clone(), bytes, secret: field.secret });
    }
    Ok(Login { institution: institution.slug.clone(), values })
}

/// One value for one field.
fn typed(
    field: &LoginField,
    draw: &mut Draw,
    seed: u64,
    before: &[Value],
    style: Style,
) -> Result<Vec<u8>, LoginError> {
    if field.field_type == FieldType::Document {
        let foreigner = before.iter().any(|v| v.bytes == b"NIE");
        return Ok(identity_number(seed, foreigner));
    }
    let pattern =
        Pattern::parse(&field.regexp).map_err(|source| LoginError::Pattern { field: field.key.clone(), source })?;
    Ok(pattern.sample(draw, matches!(style, Style::Canary)))
}

/// A DNI or NIE with its check letter, from ranges beyond those issued. Unique for a million seeds in a row.
fn identity_number(seed: u64, foreigner: bool) -> Vec<u8> {
    // 7919 and 1,000,000 share no factor, so neighbouring seeds scatter without meeting.
    let serial = (seed % 1_000_000).wrapping_mul(7919) % 1_000_000;
    let (text, number) = if foreigner {
        // The prefix Z counts as the leading digit 2.
        (format!("Z{}", 9_000_000 + serial), 29_000_000 + serial)
    } else {
        (format!("{}", 99_000_000 + serial), 99_000_000 + serial)
    };
    let mut bytes = text.into_bytes();
    bytes.push(check_letter(number));
    bytes
}

/// The control letter of an identity number.
fn check_letter(number: u64) -> u8 {
    usize::try_from(number % 23).ok().and_then(|at| CHECK_LETTERS.get(at)).copied().unwrap_or(b'T')
}
