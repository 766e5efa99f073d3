//! What is to be made, and where: the text that people approve before anything exists.

use sha2::{Digest as _, Sha256};

use super::CeremonyError;
use super::lines::{Reader, Writer};
use crate::Hash;
use crate::text::decimal;

const TEXT: &str = "plan";
const LABEL: &str = "cofre/v1/key-plan";

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Wrapping shares of tenant keys.
    Wrap,
    /// Signing the ledger.
    Sign,
}

impl Use {
    /// The word in texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Sign => "sign",
        }
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        [Self::Wrap, Self::Sign].into_iter().find(|each| each.as_str() == text)
    }
}

/// A key that is to be made, or looked at where it is a service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedKey {
    /// What it is for.
    pub used_to: Use,
    /// Its label in the token, or its name at the service.
    pub label: String,
    /// What it may become, best first, such as `aes-gcm` or `ed25519 or ecdsa-p256-sha256`.
    pub mechanism: String,
}

impl PlannedKey {
    /// Whether a key that goes with this mechanism is one that it may become.
    #[must_use]
    pub fn may_become(&self, mechanism: &str) -> bool {
        self.mechanism.split(" or ").any(|each| each == mechanism)
    }
}

/// A plan. Its text has one spelling, and people approve the SHA-256 of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The deployment's name.
    pub deployment: String,
    /// The custodian's name in the configuration.
    pub custodian: String,
    /// Where the keys are to live: `token label …`, `token serial …`, or kind and address of a service.
    pub place: String,
    /// SHA-256 of the module's file, in hexadecimal digits; `-` of a service.
    pub module_sha256: String,
    /// How many people have to approve, and to sign the record.
    pub people: u8,
    /// The keys, the one that wraps first.
    pub keys: Vec<PlannedKey>,
}

impl Plan {
    /// The text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = Writer::new(LABEL);
        text.line("deployment", &self.deployment);
        text.line("custodian", &self.custodian);
        text.line("place", &self.place);
        text.line("module-sha256", &self.module_sha256);
        text.line("people", &self.people.to_string());
        for key in &self.keys {
            text.line("key", key.used_to.as_str());
            text.line("label", &key.label);
            text.line("mechanism", &key.mechanism);
        }
        text.finish()
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`CeremonyError::Malformed`] names the line.
    pub fn parse(text: &str) -> Result<Self, CeremonyError> {
        let mut lines = Reader::new(TEXT, LABEL, text)?;
        let mut plan = Self {
            deployment: lines.value("deployment")?.to_owned(),
            custodian: lines.value("custodian")?.to_owned(),
            place: lines.value("place")?.to_owned(),
            module_sha256: lines.value("module-sha256")?.to_owned(),
            people: lines.parsed("people", |text| decimal(text).and_then(|count| u8::try_from(count).ok()))?,
            keys: Vec::new(),
        };
        while let Some(used_to) = lines.maybe("key") {
            plan.keys.push(PlannedKey {
                used_to: Use::from_text(used_to).ok_or_else(|| lines.malformed("key"))?,
                label: lines.value("label")?.to_owned(),
                mechanism: lines.value("mechanism")?.to_owned(),
            });
        }
        lines.end()?;
        // One spelling: what a writer would drop or write otherwise is not read.
        if plan.to_text() == text { Ok(plan) } else { Err(lines.malformed("end")) }
    }

    /// What people approve.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Sha256::digest(self.to_text()).into()
    }
}
