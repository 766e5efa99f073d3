//! Custody sets: which custodians hold a tenant's key, and whether one of them or all of them must agree.
//! This is data; [`crate::shares`] acts on it.

use std::fmt;
use std::str::FromStr;

use cofre_model::sealed::WrappedKey;
use sha2::{Digest, Sha256};

use crate::custodian::{CustodianId, Mechanism};

/// Why a custody set is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The text has another form.
    #[error(
        "custody set must read any_of(<custodian>,…) or all_of(<custodian>,…), each custodian [a-z0-9][a-z0-9-]{{0,62}}"
    )]
    Form,
    /// No custodian is named.
    #[error("custody set names no custodian")]
    Empty,
    /// More custodians than a set may have.
    #[error("custody set names more than {} custodians", CustodySet::MOST)]
    TooMany,
    /// A custodian is named twice.
    #[error("custodian {0} is named twice")]
    Twice(CustodianId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Any,
    All,
}

/// Which custodians hold a tenant's key. Its text is what the tenant's row records, its digest is part of what every
/// share is bound to, so a set cannot be loosened in the records without the shares refusing to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustodySet {
    rule: Rule,
    members: Vec<CustodianId>,
}

impl CustodySet {
    /// The most custodians a set may have.
    pub const MOST: usize = 8;

    /// Each custodian wraps the whole key: the set survives the loss of all but one.
    ///
    /// # Errors
    /// [`SetError`] for no member, too many, or one named twice.
    pub fn any_of(members: Vec<CustodianId>) -> Result<Self, SetError> {
        Self::of(Rule::Any, members)
    }

    /// Each custodian wraps one share of an n-of-n split: every one of them must agree.
    ///
    /// # Errors
    /// [`SetError`] for no member, too many, or one named twice.
    pub fn all_of(members: Vec<CustodianId>) -> Result<Self, SetError> {
        Self::of(Rule::All, members)
    }

    fn of(rule: Rule, members: Vec<CustodianId>) -> Result<Self, SetError> {
        if members.is_empty() {
            return Err(SetError::Empty);
        }
        if members.len() > Self::MOST {
            return Err(SetError::TooMany);
        }
        let mut seen = std::collections::BTreeSet::new();
        match members.iter().find(|member| !seen.insert(*member)) {
            Some(twice) => Err(SetError::Twice(twice.clone())),
            None => Ok(Self { rule, members }),
        }
    }

    /// The custodians, in the order of their shares.
    #[must_use]
    pub fn members(&self) -> &[CustodianId] {
        &self.members
    }

    /// Whether a key of this set can be opened by those of its members that are there.
    #[must_use]
    pub fn opens_with(&self, there: impl Fn(&CustodianId) -> bool) -> bool {
        match self.rule {
            Rule::Any => self.members.iter().any(there),
            Rule::All => self.members.iter().all(there),
        }
    }

    /// SHA-256 over a label and the set's text, for the context of its shares.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"cofre/v1/custody-set\0").chain_update(self.to_string()).finalize().into()
    }

    pub(crate) const fn rule(&self) -> Rule {
        self.rule
    }

    /// Into how many shares the key is split.
    pub(crate) fn share_count(&self) -> u16 {
        match self.rule {
            Rule::Any => 1,
            // INVARIANT: at most MOST members.
            Rule::All => u16::try_from(self.members.len()).unwrap_or(u16::MAX),
        }
    }

    /// Each custodian with the index of its share.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u16, &CustodianId)> {
        self.members.iter().zip(0u16..).map(|(member, index)| match self.rule {
            Rule::Any => (0, member),
            Rule::All => (index, member),
        })
    }
}

impl fmt::Display for CustodySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            Rule::Any => "any_of",
            Rule::All => "all_of",
        };
        let members: Vec<&str> = self.members.iter().map(CustodianId::as_str).collect();
        write!(f, "{rule}({})", members.join(","))
    }
}

impl FromStr for CustodySet {
    type Err = SetError;
    fn from_str(text: &str) -> Result<Self, SetError> {
        let (rule, rest) = text.split_once('(').ok_or(SetError::Form)?;
        let rule = match rule {
            "any_of" => Rule::Any,
            "all_of" => Rule::All,
            _ => return Err(SetError::Form),
        };
        let list = rest.strip_suffix(')').ok_or(SetError::Form)?;
        if list.is_empty() {
            return Err(SetError::Empty);
        }
        let members = list.split(',').map(CustodianId::try_from).collect::<Result<_, _>>();
        Self::of(rule, members.map_err(|_| SetError::Form)?)
    }
}

/// One share of a tenant key as the keyring keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedShare {
    /// Whose it is.
    pub custodian: CustodianId,
    /// Its index; 0 where each custodian wraps the whole key.
    pub share: u16,
    /// The wrapped bytes.
    pub wrapped: WrappedKey,
    /// How they were wrapped.
    pub mechanism: Mechanism,
    /// Which of the custodian's keys wrapped them.
    pub custodian_key: String,
}

/// A tenant key as the keyring keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedTenantKey {
    /// Who holds it, from the tenant's row in records.
    pub set: CustodySet,
    /// The shares, in any order.
    pub shares: Vec<WrappedShare>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_opens_with_one_and_all_with_every_one() {
        let (any, all) = ["any_of(a,b)", "all_of(a,b)"].map(|text| text.parse::<CustodySet>().expect("valid")).into();
        for (there, by_any, by_all) in [(&["a", "b"][..], true, true), (&["b"], true, false), (&["c"], false, false)] {
            let known = |id: &CustodianId| there.contains(&id.as_str());
            assert_eq!((any.opens_with(known), all.opens_with(known)), (by_any, by_all), "{there:?}");
        }
    }

    #[test]
    fn a_set_survives_its_text_and_rules_differ_in_digest() {
        for text in ["any_of(hsm-1)", "all_of(hsm-1,kms-1)", "any_of(a,b,c)"] {
            let set: CustodySet = text.parse().expect("valid");
            assert_eq!(set.to_string(), text);
        }
        let any: CustodySet = "any_of(a,b)".parse().expect("valid");
        let all: CustodySet = "all_of(a,b)".parse().expect("valid");
        let turned: CustodySet = "all_of(b,a)".parse().expect("valid");
        assert_ne!(any.digest(), all.digest());
        assert_ne!(all.digest(), turned.digest());
        assert_eq!(any.places().map(|(index, _)| index).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(all.places().map(|(index, _)| index).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for (text, wrong) in [
            ("", SetError::Form),
            ("any_of", SetError::Form),
            ("any_of(a", SetError::Form),
            ("some_of(a)", SetError::Form),
            ("any_of(a, b)", SetError::Form),
            ("any_of(A)", SetError::Form),
            ("all_of(a,any_of(b,c))", SetError::Form),
            ("any_of()", SetError::Empty),
            ("any_of(a,b,c,d,e,f,g,h,i)", SetError::TooMany),
        ] {
            assert_eq!(text.parse::<CustodySet>(), Err(wrong), "{text}");
        }
        assert!(matches!("all_of(a,a)".parse::<CustodySet>(), Err(SetError::Twice(_))));
    }
}
