//! The file that a record is to stand in. It is made before the token is asked for anything, with what was planned in it; it
//! becomes the record, or what is known of a ceremony that failed. It is taken away only where no key can have been made.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use cofre_ledger::ceremony::{Record, Unfinished};

use super::Broken;

#[cfg(test)]
mod tests;

pub(super) struct Paper {
    path: PathBuf,
    file: File,
}

impl Paper {
    /// A new file.
    pub(super) fn begin(path: &Path, planned: &Unfinished) -> Result<Self> {
        let file = File::create_new(path)
            .with_context(|| format!("{}: cannot be made; a record is never overwritten", path.display()))?;
        let mut paper = Self { path: path.to_owned(), file };
        match paper.write(&planned.to_string()) {
            Ok(()) => Ok(paper),
            Err(why) => {
                // Nothing was asked of the token, and the same order may be given again.
                let _ = std::fs::remove_file(path);
                Err(Error::new(why).context(format!("{}: cannot be written", path.display())))
            }
        }
    }

    /// Lets the record stand in it.
    pub(super) fn finish(mut self, record: &Record) -> Result<()> {
        let written = self.write(&record.to_string());
        written
            .with_context(|| format!("{}: keep this record, it could not be written:\n{record}", self.path.display()))
    }

    /// Lets what is known of a ceremony that failed stand in it, and answers why it failed.
    pub(super) fn broken(mut self, broken: Broken) -> Error {
        let path = self.path.display().to_string();
        let Some(left) = broken.left else {
            let _ = std::fs::remove_file(&self.path);
            return broken.why;
        };
        let left = Unfinished { why: format!("{:#}", broken.why), ..*left }.to_string();
        let advice = "UNFINISHED: the token was told to make keys, and there is no record of them";
        let said = match self.write(&left) {
            Ok(()) => format!("{advice}; {path} says how far each came"),
            Err(why) => format!("{advice}; keep what is known, {path} could not be written ({why}):\n{left}"),
        };
        broken.why.context(said)
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()
    }
}
