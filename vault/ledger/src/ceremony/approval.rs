//! One person's word that a plan may be carried out, signed with the key of their certificate.

use std::fmt;

use cofre_model::time::{Span, Timestamp};

use super::lines::{Reader, Writer};
use super::{CeremonyError, Person, Plan};
use crate::Hash;
use crate::note::{Note, NoteKey};
use crate::text::{base64, from_base64};

const TEXT: &str = "approval";
const LABEL: &str = "cofre/v1/key-approval";

/// How long an approval holds.
pub const APPROVED_FOR: Span = Span::days(1);
/// How far ahead the clock of another machine may be.
const AHEAD: Span = Span::minutes(5);

/// An approval as it was read: its signature holds under nobody's key yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    person: String,
    plan: Hash,
    at: Timestamp,
    chain: Vec<Vec<u8>>,
    note: Note,
}

impl Approval {
    /// The approval of `plan` by whoever `key` names, to be signed. `chain` is DER, the person's certificate first; of
    /// `at` whole seconds count.
    ///
    /// # Errors
    /// [`CeremonyError::Note`].
    pub fn of(plan: &Plan, key: &NoteKey, at: Timestamp, chain: &[Vec<u8>]) -> Result<Self, CeremonyError> {
        let mut text = Writer::new(LABEL);
        text.line("plan", &hex::encode(plan.digest()));
        text.line("deployment", &plan.deployment);
        text.line("custodian", &plan.custodian);
        text.line("person", key.name());
        text.line("at", &at.to_string());
        for certificate in chain {
            text.line("certificate", &base64(certificate));
        }
        Self::read(Note::new(&text.finish()).map_err(|cause| CeremonyError::Note { text: TEXT, cause })?)
    }

    /// Reads a signed approval.
    ///
    /// # Errors
    /// [`CeremonyError::Note`] and [`CeremonyError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CeremonyError> {
        Self::read(Note::parse(text).map_err(|cause| CeremonyError::Note { text: TEXT, cause })?)
    }

    fn read(note: Note) -> Result<Self, CeremonyError> {
        let mut lines = Reader::new(TEXT, LABEL, note.text())?;
        let plan = lines.parsed("plan", hash)?;
        lines.value("deployment")?;
        lines.value("custodian")?;
        let person = lines.value("person")?.to_owned();
        let at = lines.parsed("at", time)?;
        let mut chain = Vec::new();
        while let Some(certificate) = lines.maybe("certificate") {
            chain.push(from_base64(certificate).ok_or_else(|| lines.malformed("certificate"))?);
        }
        if chain.is_empty() {
            return Err(lines.malformed("certificate"));
        }
        lines.end()?;
        Ok(Self { person, plan, at, chain, note })
    }

    /// Adds the person's signature, as a note carries it.
    ///
    /// # Errors
    /// [`CeremonyError::Signature`] where it does not hold.
    pub fn sign(&mut self, key: &NoteKey, signature: Vec<u8>) -> Result<(), CeremonyError> {
        self.note.add(key, signature).map_err(|_| CeremonyError::Signature(self.person.clone()))
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.text()
    }

    /// Who is named. Believed once [`approvers`] took it.
    #[must_use]
    pub fn person(&self) -> &str {
        &self.person
    }

    /// When it was given.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Their certificates, DER, their own first.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Whether it is this person's, over this plan, and held at `at`.
    fn holds(&self, person: &Person, plan: Hash, at: Timestamp) -> Result<(), CeremonyError> {
        let name = || self.person.clone();
        if person.name != self.person {
            let why = format!("the certificate is that of {}", person.name);
            return Err(CeremonyError::Person { person: name(), why });
        }
        let key = NoteKey::new(&person.name, person.key.clone())
            .map_err(|cause| CeremonyError::Person { person: name(), why: cause.to_string() })?;
        self.note.verify(&[key]).map_err(|_| CeremonyError::Signature(name()))?;
        if self.plan != plan {
            return Err(CeremonyError::OtherPlan(name()));
        }
        if self.at > at.plus(AHEAD) {
            return Err(CeremonyError::NotYet(name()));
        }
        if at >= self.at.plus(APPROVED_FOR) { Err(CeremonyError::Expired(name())) } else { Ok(()) }
    }
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// The people whose approvals let `plan` be carried out at `at`: each over this plan and of the last day, each another
/// person with another key, and as many as the plan asks for. `identify` says whom the chain of an approval proves at a
/// time, and is asked about `at`: what an approval says of its own time decides nothing but how old it is.
///
/// # Errors
/// The first rule that is broken, by person.
pub fn approvers(
    plan: &Plan,
    approvals: &[Approval],
    at: Timestamp,
    mut identify: impl FnMut(&Approval, Timestamp) -> Result<Person, CeremonyError>,
) -> Result<Vec<Person>, CeremonyError> {
    let digest = plan.digest();
    let mut people: Vec<Person> = Vec::new();
    for approval in approvals {
        let person = identify(approval, at)?;
        approval.holds(&person, digest, at)?;
        if people.iter().any(|other| other.name == person.name || other.key == person.key) {
            return Err(CeremonyError::Twice(person.name));
        }
        people.push(person);
    }
    if people.len() < usize::from(plan.people) {
        return Err(CeremonyError::TooFew { wanted: plan.people, given: people.len() });
    }
    Ok(people)
}

pub(super) fn hash(text: &str) -> Option<Hash> {
    let bytes: Hash = hex::decode(text).ok()?.try_into().ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}

/// RFC 3339 in UTC and whole seconds, as it is written here, and no other way.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text).ok().filter(|at| at.to_string() == text)
}
