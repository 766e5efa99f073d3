//! The file that a record is to stand in. It is made before the token is asked for anything, with what was planned in it.
//! What becomes known replaces that, then the record does, or what is known of a ceremony that failed. It is taken away only
//! where no key can have been made.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use cofre_ledger::ceremony::{Record, Unfinished};

use super::Broken;

#[cfg(test)]
pub(super) mod tests;

#[derive(Debug, Clone)]
pub(super) struct Paper {
    path: PathBuf,
}

impl Paper {
    /// A new file, on its disk.
    pub(super) fn begin(path: &Path, planned: &Unfinished) -> Result<Self> {
        let file = File::create_new(path)
            .with_context(|| format!("{}: cannot be made; a record is never overwritten", path.display()))?;
        let paper = Self { path: path.to_owned() };
        match filled(file, &planned.to_string()).and_then(|()| paper.folder_synced()) {
            Ok(()) => Ok(paper),
            Err(why) => {
                // Nothing was asked of the token, and the same order may be given again.
                let _ = std::fs::remove_file(path);
                Err(Error::new(why).context(format!("{}: cannot be written", path.display())))
            }
        }
    }

    /// Lets stand in it what is known while the ceremony goes on.
    pub(super) fn so_far(&self, left: &Unfinished) -> std::io::Result<()> {
        self.write(&left.to_string())
    }

    /// Lets the record stand in it.
    pub(super) fn finish(self, record: &Record) -> Result<()> {
        let written = self.write(&record.to_string());
        written
            .with_context(|| format!("{}: keep this record, it could not be written:\n{record}", self.path.display()))
    }

    /// Lets what is known of a ceremony that failed stand in it, and answers why it failed.
    pub(super) fn broken(self, broken: Broken) -> Error {
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

    /// Puts a new file in its place: whoever reads meanwhile, or after the machine stopped, finds one text or the other.
    fn write(&self, text: &str) -> std::io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let written = File::create(&new)
            .and_then(|file| filled(file, text))
            .and_then(|()| std::fs::rename(&new, &self.path))
            .and_then(|()| self.folder_synced());
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written
    }

    /// A name is on the disk when its folder is.
    fn folder_synced(&self) -> std::io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn filled(mut file: File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
