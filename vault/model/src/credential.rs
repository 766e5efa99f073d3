//! A credential: one e-banking login of an investor at an institution. Its values are secret fields; here is
//! only what may be known about them.

use crate::id::{CredentialId, InstitutionId, SubjectId, TenantId};
use crate::time::Timestamp;
use crate::wording::{Form, words};

words! {
    /// Where a credential stands. ERASED is final.
    CredentialState {
        /// Enrolment is open; no secret is kept yet, or no consent was given yet.
        Enrolling = 1 "ENROLLING",
        /// A login rests and may be released under a live consent.
        Active = 2 "ACTIVE",
        /// The institution refused the secret: nothing is released until it is entered anew.
        SecretRejected = 3 "SECRET_REJECTED",
        /// Erasure was accepted: nothing is released any more.
        Erasing = 4 "ERASING",
        /// Keys and ciphertext are gone.
        Erased = 5 "ERASED",
        /// The enrolment ended without a login.
        Discarded = 6 "DISCARDED",
    }
}

/// The key of a field in a login template: `[a-z][a-z0-9_]{0,31}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldKey(String);

/// A text is not a field key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field key must match [a-z][a-z0-9_]{{0,31}}")]
pub struct NotAFieldKey;

impl FieldKey {
    /// The text, exactly as parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for FieldKey {
    type Error = NotAFieldKey;
    fn try_from(text: &str) -> Result<Self, NotAFieldKey> {
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let tail = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if head && tail && text.len() <= 32 { Ok(Self(text.to_owned())) } else { Err(NotAFieldKey) }
    }
}

impl std::fmt::Display for FieldKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A field as a worker asks for it: the narrowest form that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequest {
    /// Which field.
    pub key: FieldKey,
    /// In which form.
    pub form: Form,
    /// For [`Form::Positions`]: the 1-based character positions asked for, ascending and without repeats.
    pub positions: Vec<u16>,
}

/// What records know about a credential, without any secret. All of it decides, so all of it is under the row MAC
/// except `epoch`, which the commit bumps without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// The tenant that enrolled it.
    pub tenant: TenantId,
    /// Where the login works.
    pub institution: InstitutionId,
    /// The template its fields follow.
    pub template_version: u32,
    /// The credential holder; never changes.
    pub owner: SubjectId,
    /// Where it stands.
    pub state: CredentialState,
    /// The current version of its secret; 0 while none rests.
    pub secret_version: u32,
    /// Not released before this instant (an institution's lock), 0 for none.
    pub not_before: Timestamp,
    /// Keyed tag that finds the same login deposited twice in one tenant; empty while none rests.
    pub dedupe_tag: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_keys_are_strict() {
        for bad in ["", "1a", "A", "a-b", "a b", "a.b", "é", &"a".repeat(33)] {
            assert!(FieldKey::try_from(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(FieldKey::try_from("birth_date").is_ok());
    }
}
