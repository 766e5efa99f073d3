//! Orders about the key tree.

use crate::id::{Slug, TenantId};

/// What a custodian calls one of its keys: 1 to 256 visible characters of ASCII, spaces among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// A text is not the name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 256 visible characters of ASCII")]
pub struct NotAKeyName;

impl KeyName {
    /// The text, exactly as parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for KeyName {
    type Error = NotAKeyName;
    fn try_from(text: &str) -> Result<Self, NotAKeyName> {
        let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if visible && (1..=256).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(NotAKeyName) }
    }
}

/// Order every tenant's key to be wrapped by another custody set, or count what that would move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapKeys {
    /// The custody set, as text; which custodians there are is the use case's to judge.
    pub custody_set: String,
    /// A custodian's key that shall wrap nothing any more.
    pub from_key: Option<KeyName>,
    /// Keys a second for each node; none for as many as it can.
    pub rate: Option<u32>,
    /// Only count.
    pub dry_run: bool,
}

/// Order a new key for one tenant or for each, or count whose it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotateKeys {
    /// Whose; every tenant's where nobody is named.
    pub tenant: Option<TenantId>,
    /// Keys under tenant keys a second for each node; none for as many as it can.
    pub rate: Option<u32>,
    /// Only count.
    pub dry_run: bool,
}

/// Use no more what a custodian wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetireKeys {
    /// The custodian.
    pub custodian: Slug,
    /// One of its keys; none for all of them.
    pub key: Option<KeyName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_are_visible_and_short() {
        for good in ["root-1", "arn:aws:kms:eu-west-1:1:key/2", "projects/a/cryptoKeyVersions/1", "a b"] {
            assert_eq!(KeyName::try_from(good).map(|name| name.as_str().to_owned()), Ok(good.to_owned()));
        }
        for bad in ["", "a\n", "a\u{7f}", "ä", &"a".repeat(257)] {
            assert_eq!(KeyName::try_from(bad), Err(NotAKeyName), "{bad:?}");
        }
    }
}
