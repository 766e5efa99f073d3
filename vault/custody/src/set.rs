//! Custody sets: which custodians hold a tenant's key, and whether one of them or all of them must agree.
//! This is data; [`crate::shares`] acts on it.

use std::collections::BTreeSet;
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
        "custody set must read any_of(<member>,…) or all_of(<member>,…), each member a custodian [a-z0-9][a-z0-9-]{{0,62}} or, once, a set of the other rule over custodians"
    )]
    Form,
    /// No custodian is named.
    #[error("custody set, or a set in it, names no custodian")]
    Empty,
    /// More custodians than a set may have.
    #[error("custody set names more than {} custodians", CustodySet::MOST)]
    TooMany,
    /// A custodian is named twice.
    #[error("custodian {0} is named twice")]
    Twice(CustodianId),
}

/// How the members of a set stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Each member alone is enough.
    Any,
    /// Every member must agree.
    All,
}

impl Rule {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any_of",
            Self::All => "all_of",
        }
    }

    /// The rule of a set inside a set: the same one again would only be a longer way to write the set.
    const fn other(self) -> Self {
        match self {
            Self::Any => Self::All,
            Self::All => Self::Any,
        }
    }
}

/// A member of a custody set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// A custodian.
    One(CustodianId),
    /// A set of custodians under the rule that the outer set has not. There is one level and no more.
    Inner(Vec<CustodianId>),
}

impl Member {
    pub(crate) fn custodians(&self) -> &[CustodianId] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Inner(several) => several,
        }
    }
}

impl From<CustodianId> for Member {
    fn from(one: CustodianId) -> Self {
        Self::One(one)
    }
}

/// Which custodians hold a tenant's key. Its text stands beside the shares in the keyring, its digest is part of what
/// every share is bound to, so a set cannot be loosened there without the shares refusing to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustodySet {
    rule: Rule,
    members: Vec<Member>,
}

/// Where a custodian's share belongs: its index and how many there are beside it, as its context says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u16,
    pub(crate) count: u16,
}

impl CustodySet {
    /// The most custodians a set may have.
    pub const MOST: usize = 8;

    /// Each custodian wraps the whole key: the set survives the loss of all but one.
    ///
    /// # Errors
    /// [`SetError`] for no member, too many, or one named twice.
    pub fn any_of(members: Vec<CustodianId>) -> Result<Self, SetError> {
        Self::of(Rule::Any, members.into_iter().map(Member::One).collect())
    }

    /// Each custodian wraps one share of an n-of-n split: every one of them must agree.
    ///
    /// # Errors
    /// [`SetError`] for no member, too many, or one named twice.
    pub fn all_of(members: Vec<CustodianId>) -> Result<Self, SetError> {
        Self::of(Rule::All, members.into_iter().map(Member::One).collect())
    }

    /// A set whose members may be sets of the other rule.
    ///
    /// # Errors
    /// [`SetError`] for no member, also in a set inside; too many custodians, or one named twice, in the whole set.
    pub fn of(rule: Rule, members: Vec<Member>) -> Result<Self, SetError> {
        if members.is_empty() || members.iter().any(|member| member.custodians().is_empty()) {
            return Err(SetError::Empty);
        }
        let set = Self { rule, members };
        if set.custodians().count() > Self::MOST {
            return Err(SetError::TooMany);
        }
        let mut seen = BTreeSet::new();
        let twice = set.custodians().find(|custodian| !seen.insert(*custodian)).cloned();
        match twice {
            Some(twice) => Err(SetError::Twice(twice)),
            None => Ok(set),
        }
    }

    /// Every custodian, in the order of the set's text.
    pub fn custodians(&self) -> impl Iterator<Item = &CustodianId> {
        self.members.iter().flat_map(Member::custodians)
    }

    /// Whether a key of this set can be opened by those of its members that are there.
    #[must_use]
    pub fn opens_with(&self, there: impl Fn(&CustodianId) -> bool) -> bool {
        self.openings().iter().any(|opening| opening.iter().all(|custodian| there(custodian)))
    }

    /// SHA-256 over a label and the set's text, for the context of its shares.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"cofre/v1/custody-set\0").chain_update(self.to_string()).finalize().into()
    }

    /// Whether older shares under `other` would open a key by fewer custodians, or by others, than this set says: then
    /// wrapping the same key anew would promise more than holds. A custodian that came in the place of one that left is no
    /// stricter: `other` is no looser where, with custodians that this set alone has replaced by as many that `other` alone
    /// has, whatever opens by `other` opens by this set too. Whoever is in both stays who it is: it may not change places
    /// with another. The order in which either is written says nothing.
    #[must_use]
    pub fn stricter_than(&self, other: &Self) -> bool {
        let there: Vec<_> = other.custodians().collect();
        let place = |custodian: &CustodianId| there.iter().position(|one| *one == custodian).map_or(0, |nth| 1 << nth);
        let all = |custodians: &mut dyn Iterator<Item = &CustodianId>| custodians.fold(0, |all, one| all | place(one));
        let mut places = Places {
            rule: self.rule,
            members: self
                .members
                .iter()
                .map(|member| (member.custodians().len(), all(&mut member.custodians().iter())))
                .collect(),
            openings: other.openings().iter().map(|opening| all(&mut opening.iter().copied())).collect(),
        };
        let here = all(&mut self.custodians());
        let left: Vec<u16> = (0..there.len()).map(|nth| 1 << nth).filter(|one| here & one == 0).collect();
        // Whoever has a place can only open more: as many as there can be have one.
        let came = self.custodians().filter(|custodian| place(custodian) == 0).count();
        !places.found(&left, left.len().saturating_sub(came))
    }

    /// Every combination of custodians that opens a key, none of whom could be spared.
    fn openings(&self) -> Vec<BTreeSet<&CustodianId>> {
        match self.rule {
            Rule::Any => self.members.iter().map(|member| member.custodians().iter().collect()).collect(),
            // One of each inner set, or the one there is.
            Rule::All => self.members.iter().fold(vec![BTreeSet::new()], |openings, member| {
                let mut longer = Vec::new();
                for opening in &openings {
                    longer.extend(member.custodians().iter().map(|one| opening.iter().copied().chain([one]).collect()));
                }
                longer
            }),
        }
    }

    pub(crate) const fn rule(&self) -> Rule {
        self.rule
    }

    /// The members, and where each one's shares belong: the shares of an inner `all_of` have their own count, those of an
    /// inner `any_of` are one and the same.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Member, Place)> {
        // INVARIANT: at most MOST members.
        let count = |many: usize| u16::try_from(many).unwrap_or(u16::MAX);
        let outer = count(self.members.len());
        self.members.iter().zip(0u16..).map(move |(member, index)| match self.rule {
            Rule::Any => (member, Place { index: 0, count: count(member.custodians().len()) }),
            Rule::All => (member, Place { index, count: outer }),
        })
    }

    /// Where the share of a member's `nth` custodian belongs.
    pub(crate) const fn place(&self, member: Place, nth: u16) -> Place {
        match self.rule {
            Rule::Any => Place { index: nth, count: member.count },
            Rule::All => member,
        }
    }
}

impl fmt::Display for CustodySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            |custodians: &[CustodianId]| custodians.iter().map(CustodianId::as_str).collect::<Vec<_>>().join(",");
        let members = self.members.iter().map(|member| match member {
            Member::One(one) => one.to_string(),
            Member::Inner(several) => format!("{}({})", self.rule.other().as_str(), named(several)),
        });
        write!(f, "{}({})", self.rule.as_str(), members.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for CustodySet {
    type Err = SetError;
    fn from_str(text: &str) -> Result<Self, SetError> {
        let (rule, list) = called(text)?;
        let mut members = Vec::new();
        let mut rest = Some(list).filter(|list| !list.is_empty());
        while let Some(list) = rest {
            let (member, after) = first(list, rule)?;
            members.push(member);
            rest = after;
        }
        Self::of(rule, members)
    }
}

/// Which custodians of one set stand in the places of another's members: those of both in their own, those that left in
/// the places of those that came. What a set opens with does not change where custodians of one member change places, so
/// this has few hundred cases and not as many as there are orders of eight.
struct Places {
    rule: Rule,
    /// How many custodians each member has, and who stands in their places: one bit each.
    members: Vec<(usize, u16)>,
    /// Every combination of custodians that is to open by these members.
    openings: Vec<u16>,
}

impl Places {
    /// Whether those that `left` can be put in places that are free, but for `spare` of them, so that every opening is one.
    fn found(&mut self, left: &[u16], spare: usize) -> bool {
        let Some((one, left)) = left.split_first() else { return self.all_open() };
        let mut tried = Vec::new();
        for nth in 0..self.members.len() {
            let Some(member) = self.members.get_mut(nth) else { continue };
            let before = *member;
            // Of two members that are alike one is enough.
            if before.1.count_ones() as usize == before.0 || tried.contains(&before) {
                continue;
            }
            tried.push(before);
            member.1 |= one;
            let found = self.found(left, spare);
            if let Some(member) = self.members.get_mut(nth) {
                *member = before;
            }
            if found {
                return true;
            }
        }
        spare > 0 && self.found(left, spare - 1)
    }

    fn all_open(&self) -> bool {
        self.openings.iter().all(|opening| match self.rule {
            Rule::Any => {
                let whole = |(size, who): &(usize, u16)| who.count_ones() as usize == *size && who & !opening == 0;
                self.members.iter().any(whole)
            }
            Rule::All => self.members.iter().all(|(_, who)| who & opening != 0),
        })
    }
}

/// A rule and what stands in its parentheses, which end the text.
fn called(text: &str) -> Result<(Rule, &str), SetError> {
    let (rule, rest) = text.split_once('(').ok_or(SetError::Form)?;
    let rule = [Rule::Any, Rule::All].into_iter().find(|known| known.as_str() == rule).ok_or(SetError::Form)?;
    Ok((rule, rest.strip_suffix(')').ok_or(SetError::Form)?))
}

fn custodian(name: &str) -> Result<CustodianId, SetError> {
    CustodianId::try_from(name).map_err(|_| SetError::Form)
}

/// The first member of a list and what comes after its comma.
fn first(list: &str, outer: Rule) -> Result<(Member, Option<&str>), SetError> {
    let comma = list.find(',').unwrap_or(list.len());
    if list.find('(').is_none_or(|parenthesis| comma < parenthesis) {
        let one = list.get(..comma).map(custodian).ok_or(SetError::Form)??;
        return Ok((Member::One(one), list.get(comma + 1..)));
    }
    let end = list.find(')').ok_or(SetError::Form)?;
    let (rule, inner) = called(list.get(..=end).unwrap_or_default())?;
    if rule != outer.other() {
        return Err(SetError::Form);
    }
    let several = match inner {
        "" => Vec::new(),
        inner => inner.split(',').map(custodian).collect::<Result<_, _>>()?,
    };
    let after = match list.get(end + 1..).unwrap_or_default() {
        "" => None,
        more => Some(more.strip_prefix(',').ok_or(SetError::Form)?),
    };
    Ok((Member::Inner(several), after))
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
    /// Who holds it, as it stands beside the shares.
    pub set: CustodySet,
    /// The shares, in any order.
    pub shares: Vec<WrappedShare>,
    /// The keys of the tenant's rows, under this key; nothing beside the first version, which they are derived from.
    pub carried: Option<CarriedKeys>,
}

/// The keys of a tenant's rows, wrapped by a later version of the tenant key than the one they were derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedKeys {
    /// The key of row MACs.
    pub integrity: WrappedKey,
    /// The key of duplicate tags.
    pub dedupe: WrappedKey,
}

#[cfg(test)]
mod tests;
