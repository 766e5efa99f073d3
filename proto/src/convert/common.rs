//! Pieces that several messages share.

use cofre_model::id::{IdError, InstitutionId};
use cofre_model::permit::EntryRef;
use cofre_model::time::Timestamp;

use super::Malformed;
use crate::v1;

/// Parses an identifier of any kind.
///
/// # Errors
/// [`Malformed`] naming `field`.
pub fn id<'a, T: TryFrom<&'a str, Error = IdError>>(field: &str, text: &'a str) -> Result<T, Malformed> {
    T::try_from(text).map_err(|problem| Malformed::new(field, problem.to_string()))
}

/// Parses an institution id.
///
/// # Errors
/// [`Malformed`] naming `field`.
pub fn institution(field: &str, text: &str) -> Result<InstitutionId, Malformed> {
    id(field, text)
}

/// Parses a closed list's number; 0 and unknown numbers are refused.
pub(super) fn word<T>(field: &str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new(field, "must be one of the listed values, not the unspecified one"))
}

/// Takes exactly `N` bytes.
pub(super) fn bytes<const N: usize>(field: &str, value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed::new(field, format!("must be exactly {N} bytes")))
}

/// Takes between 1 and `most` bytes.
pub(super) fn bounded(field: &str, value: Vec<u8>, most: usize) -> Result<Vec<u8>, Malformed> {
    if (1..=most).contains(&value.len()) {
        Ok(value)
    } else {
        Err(Malformed::new(field, format!("must be 1 to {most} bytes")))
    }
}

/// Takes a text of 1 to `most` characters without control characters.
pub(super) fn text(field: &str, value: String, most: usize) -> Result<String, Malformed> {
    if value.is_empty() || value.chars().count() > most || value.chars().any(char::is_control) {
        return Err(Malformed::new(field, format!("must be 1 to {most} characters without control characters")));
    }
    Ok(value)
}

/// Takes a present message.
pub(super) fn present<T>(field: &str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new(field, "is required"))
}

/// The first instant of the year 9999: what lies behind it has no date of four digits, and is a mistake of units.
const YEAR_9999_US: u64 = 253_370_764_800_000_000;

/// Takes an instant before the year 9999; 0 is refused.
pub(super) fn instant(field: &str, micros: u64) -> Result<Timestamp, Malformed> {
    if micros == 0 {
        return Err(Malformed::new(field, "must be microseconds since 1970, not 0"));
    }
    if micros >= YEAR_9999_US {
        return Err(Malformed::new(field, "must be microseconds since 1970, before the year 9999"));
    }
    Ok(Timestamp::from_micros(micros))
}

/// Where an entry stands, for the wire.
#[must_use]
pub fn entry_ref(at: &EntryRef) -> v1::EntryRef {
    v1::EntryRef { index: at.index, leaf_hash: at.leaf_hash.to_vec(), time_us: at.time.micros() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_lie_between_1970_and_the_year_9999() {
        assert!(instant("at_us", 0).is_err());
        assert_eq!(instant("at_us", 1).ok(), Some(Timestamp::from_micros(1)));
        assert_eq!(instant("at_us", YEAR_9999_US - 1).map(Timestamp::date).ok(), Some("9998-12-31".to_owned()));
        assert!(instant("at_us", YEAR_9999_US).is_err() && instant("at_us", u64::MAX).is_err());
    }
}
