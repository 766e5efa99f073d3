//! Why a file cannot be read, told by key, line and column. Never by the line itself: a PIN or a password that was put
//! where its reference belongs would stand in the journal.

use std::fmt;

/// Where a configuration cannot be read, and why. Holds no value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    key: Option<String>,
    line: usize,
    column: usize,
    why: String,
}

impl Unread {
    /// Takes from `error` what quotes no value of `text`.
    pub(super) fn of(text: &str, mut error: toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        // The library names the keys only where it has no text to quote.
        error.set_input(None);
        let shown = error.to_string();
        let key = shown
            .strip_prefix(error.message())
            .and_then(|rest| rest.trim().strip_prefix("in `")?.strip_suffix('`'))
            .map(str::to_owned);
        // What is no TOML at all is told in fixed words; only what does not fit a key quotes what it found there.
        let is_toml = toml::from_str::<toml::Table>(text).is_ok();
        let why = if is_toml { without_value(error.message()) } else { error.message().to_owned() };
        Self { key, line, column, why }
    }
}

/// The part of a message that is about keys and what is expected of them.
fn without_value(message: &str) -> String {
    let about_a_key = ["unknown field `", "missing field `", "duplicate field `"];
    if about_a_key.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("the value does not fit, expected {expected}"),
        None => "the value does not fit".to_owned(),
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.why)
    }
}
