//! Lines `name value`, written and read strictly in order. A value runs to the end of its line and has no control
//! character.

use super::CeremonyError;

/// A text under way.
#[derive(Debug, Default)]
pub(super) struct Writer(String);

impl Writer {
    /// Begins with the line that says what the text is.
    pub(super) fn new(label: &str) -> Self {
        Self(format!("{label}\n"))
    }

    /// Adds a line. What a module or a person made is cut to one line.
    pub(super) fn line(&mut self, name: &str, value: &str) {
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        self.0 += &format!("{name} {value}\n");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A text that is read.
pub(super) struct Reader<'a> {
    text: &'static str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Reads the first line, which must be `label`.
    pub(super) fn new(text: &'static str, label: &'static str, from: &'a str) -> Result<Self, CeremonyError> {
        let rest = from.strip_prefix(label).and_then(|rest| rest.strip_prefix('\n'));
        Ok(Self { text, rest: rest.ok_or(CeremonyError::Malformed { text, line: label })? })
    }

    pub(super) fn malformed(&self, line: &'static str) -> CeremonyError {
        CeremonyError::Malformed { text: self.text, line }
    }

    /// The value of the next line where it has this name.
    pub(super) fn maybe(&mut self, name: &str) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        self.rest = rest;
        Some(value)
    }

    /// The value of the next line, which must have this name.
    pub(super) fn value(&mut self, name: &'static str) -> Result<&'a str, CeremonyError> {
        self.maybe(name).ok_or_else(|| self.malformed(name))
    }

    /// The same, as something else.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, CeremonyError> {
        let value = self.value(name)?;
        read(value).ok_or_else(|| self.malformed(name))
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), CeremonyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("end")) }
    }
}
