//! What is written down of a ceremony that has not come to its end: for whoever has to find out what is on the token now.
//! Nobody signs it and no program takes it for a record.

use std::fmt;

use cofre_model::time::Timestamp;

use super::lines::Writer;
use super::record::TOKEN;
use super::{Key, Plan};
use crate::text::base64;

const LABEL: &str = "cofre/v1/key-ceremony-unfinished";

pub(super) fn is_one(text: &str) -> bool {
    text.lines().next() == Some(LABEL)
}

/// How far a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The token was told to make it. It may be there.
    Asked,
    /// The token said that it made it.
    Made,
    /// What was made was read back, and is as asked.
    ReadBack,
}

impl Reached {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Made => "made",
            Self::ReadBack => "read-back",
        }
    }
}

/// All that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// When it was begun; whole seconds.
    pub at: Timestamp,
    /// Program and version.
    pub tool: String,
    /// What was to be made.
    pub plan: Plan,
    /// Why it did not come to its end, or how far it is.
    pub why: String,
    /// Label, serial number, manufacturer and model of the token, where it told them.
    pub token: Option<[String; 4]>,
    /// The throw-away value, wrapped, where there is one.
    pub witness: Option<Vec<u8>>,
    /// The keys that the token was told to make.
    pub keys: Vec<(Reached, Key)>,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Writer::new(LABEL);
        text.line("deployment", &self.plan.deployment);
        text.line("custodian", &self.plan.custodian);
        text.line("at", &self.at.to_string());
        text.line("tool", &self.tool);
        text.line("why", &self.why);
        text.line("place", &self.plan.place);
        text.line("module-sha256", &self.plan.module_sha256);
        for key in &self.plan.keys {
            text.line("planned", &format!("{} {} by {}", key.used_to.as_str(), key.label, key.mechanism));
        }
        for (name, value) in TOKEN.iter().zip(self.token.iter().flatten()) {
            text.line(name, value);
        }
        for (reached, key) in &self.keys {
            text.line("reached", reached.as_str());
            key.write(&mut text);
        }
        if let Some(witness) = &self.witness {
            text.line("witness", &base64(witness));
        }
        f.write_str(&text.finish())
    }
}
