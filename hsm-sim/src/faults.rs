//! The fault plan: `faults.toml` in the token folder, read again before every call, so that a test or a person can
//! make the token misbehave while a program uses it. It changes answers and timing; it never touches keys or files.
//!
//! ```toml
//! removed = true               # the token is out of its slot: sessions die, everything on it is refused
//!
//! [[rule]]
//! function = "C_Decrypt"       # or "*" for every function
//! after = 3                    # let this many calls pass first; 0 when left out
//! times = 2                    # then apply to this many; to all further ones when left out
//! return = "CKR_DEVICE_ERROR"  # a name, or a number such as 0x30; the call then does nothing
//! work_done = true             # with `return`: the work is done first and the answer lost
//! latency_ms = 250             # wait before the call, without blocking other threads
//! removed = true               # the token is absent while this rule applies, and back afterwards
//!
//! [quirks]
//! max_sessions = 4             # C_OpenSession answers CKR_SESSION_COUNT beyond this
//! open_failure = "CKR_GENERAL_ERROR"  # what a failed AEAD check answers; CKR_ENCRYPTED_DATA_INVALID by the standard
//! makes_extractable = true     # new keys may leave the token, whatever their template says
//!
//! [attempts]                   # at C_Initialize, try what a module has no business with, and note how it went
//! file = "/some/where"         # a file that is none of the token's; see `attempts.log`
//! ```
//! `C_GetFunctionList` is beyond the plan (no folder is known yet), and `C_Initialize` takes latency and code only.
//! Rules are tried in order and the first that applies wins; calls are counted per rule and per process from
//! `C_Initialize` or from the moment the text of the plan changed. An unknown field or code makes every call answer
//! `CKR_GENERAL_ERROR` and puts the reason into `faults.error`. [`write_plan`] replaces the plan in one step.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cryptoki_sys::{CK_RV, CKR_GENERAL_ERROR};
use serde::Deserialize;

use crate::FAULTS_FILE;
use crate::rv::{self, Answer, fail};

const ERROR_FILE: &str = "faults.error";

/// Replaces the fault plan of a token folder in one step, so that no call sees half of it. The text is checked first.
///
/// # Errors
/// `InvalidInput` with the field and its place when the text is no plan; else what the file system answers.
pub fn write_plan(token_folder: &Path, text: &str) -> io::Result<()> {
    parse(text).map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
    let new = token_folder.join(format!("{FAULTS_FILE}.new"));
    std::fs::write(&new, text)?;
    std::fs::rename(new, token_folder.join(FAULTS_FILE))
}

/// What the plan says about one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The token is absent for this call.
    pub(crate) removed: bool,
    /// Wait this long first.
    pub(crate) latency: Duration,
    /// Answer this instead of the true outcome.
    pub(crate) answer: Option<CK_RV>,
    /// Do the work although `answer` hides its outcome.
    pub(crate) work_done: bool,
}

/// Deviations from the standard that real tokens show.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quirks {
    pub(crate) max_sessions: Option<usize>,
    #[serde(default, deserialize_with = "some_code")]
    pub(crate) open_failure: Option<CK_RV>,
    #[serde(default)]
    pub(crate) makes_extractable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    removed: bool,
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    quirks: Quirks,
    attempts: Option<Attempts>,
}

/// What a module is to try that it has no business with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempts {
    file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    function: String,
    #[serde(default)]
    after: u64,
    times: Option<u64>,
    #[serde(default, rename = "return", deserialize_with = "some_code")]
    answer: Option<CK_RV>,
    #[serde(default)]
    work_done: bool,
    #[serde(default)]
    latency_ms: u64,
    #[serde(default)]
    removed: bool,
    /// Calls of `function` seen under this plan.
    #[serde(skip)]
    seen: u64,
}

impl Rule {
    /// Counts a call and says whether the rule applies to it.
    fn applies(&mut self, function: &str) -> bool {
        if self.function != "*" && self.function != function {
            return false;
        }
        let past = self.seen.checked_sub(self.after);
        self.seen += 1;
        past.is_some_and(|past| self.times.is_none_or(|times| past < times))
    }
}

/// The plan in force for one initialised module.
pub(crate) struct Faults {
    folder: PathBuf,
    text: Option<String>,
    plan: Result<Plan, String>,
}

impl Faults {
    /// A plan that is read from `folder` at the first call.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), text: None, plan: Ok(Plan::default()) }
    }

    /// Counts a call of `function` and answers what shall happen to it.
    ///
    /// # Errors
    /// `CKR_GENERAL_ERROR` while the plan cannot be read: a test with a broken plan must not pass unharmed.
    pub(crate) fn next(&mut self, function: &str) -> Answer<Verdict> {
        self.refresh();
        let Ok(plan) = &mut self.plan else { return fail(CKR_GENERAL_ERROR) };
        let mut verdict = Verdict { removed: plan.removed, ..Verdict::default() };
        // Every rule counts the call, also those behind the one that wins.
        let mut winner = None;
        for rule in &mut plan.rule {
            if rule.applies(function) && winner.is_none() {
                winner = Some(rule);
            }
        }
        if let Some(rule) = winner {
            verdict.removed |= rule.removed;
            verdict.latency = Duration::from_millis(rule.latency_ms);
            verdict.answer = rule.answer;
            verdict.work_done = rule.work_done;
        }
        Ok(verdict)
    }

    /// The quirks in force; none while the plan cannot be read (calls then do not get this far).
    pub(crate) fn quirks(&self) -> Quirks {
        self.plan.as_ref().map(|plan| plan.quirks).unwrap_or_default()
    }

    /// The file that is none of the token's, where the plan has the module try its walls.
    pub(crate) fn attempts(&self) -> Option<PathBuf> {
        self.plan.as_ref().ok()?.attempts.as_ref().map(|attempts| attempts.file.clone())
    }

    /// Reads the text itself each time, not its time stamp: a clock tick is long enough for two writes.
    fn refresh(&mut self) {
        let text = match std::fs::read_to_string(self.folder.join(FAULTS_FILE)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.text = None;
                return self.refuse(format!("{FAULTS_FILE} cannot be read: {error}"));
            }
        };
        if text == self.text && (text.is_some() || self.plan.is_ok()) {
            return;
        }
        match parse(text.as_deref().unwrap_or_default()) {
            Ok(plan) => {
                if self.plan.is_err() {
                    let _ = std::fs::remove_file(self.folder.join(ERROR_FILE));
                }
                self.plan = Ok(plan);
            }
            Err(reason) => self.refuse(reason),
        }
        self.text = text;
    }

    fn refuse(&mut self, reason: String) {
        if self.plan.as_ref().err() != Some(&reason) {
            // The code tells the caller that something is wrong; this file tells a person what.
            let _ = std::fs::write(self.folder.join(ERROR_FILE), format!("{reason}\n"));
            self.plan = Err(reason);
        }
    }
}

/// Parses and checks a plan.
fn parse(text: &str) -> Result<Plan, String> {
    let plan: Plan = toml::from_str(text).map_err(|error| format!("{FAULTS_FILE}: {error}"))?;
    for rule in &plan.rule {
        if rule.function != "*" && !crate::abi::knows(&rule.function) {
            return Err(format!(
                "{FAULTS_FILE}: rule.function = \"{}\" is no PKCS#11 2.40 function; name one such as C_Encrypt, or \"*\"",
                rule.function
            ));
        }
        if rule.work_done && rule.answer.is_none() {
            return Err(format!("{FAULTS_FILE}: rule.work_done needs rule.return, the code that hides the work"));
        }
    }
    Ok(plan)
}

/// A return code by name or by number.
fn some_code<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<CK_RV>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Code {
        Number(CK_RV),
        Name(String),
    }
    match Code::deserialize(from)? {
        Code::Number(number) => Ok(Some(number)),
        Code::Name(name) => rv::code(&name).map(Some).ok_or_else(|| {
            serde::de::Error::custom(format!("{name} is no PKCS#11 return code; write a CKR_ name or a number"))
        }),
    }
}

#[cfg(test)]
mod tests;
