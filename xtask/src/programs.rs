//! The test programs of the workspace, as one build of all of it makes them. They are run from here where a run is of
//! some crates only: cargo would build what they need a second time, with the features that those crates alone ask for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::run::{cargo, output};

/// One test program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The package it tests.
    pub(crate) package: String,
    executable: PathBuf,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    profile: Profile,
}

#[derive(Deserialize, Default)]
struct Profile {
    #[serde(default)]
    test: bool,
}

/// Every test program of the workspace, built.
pub(crate) fn built(kinds: &[&str]) -> Result<Vec<Program>> {
    let arguments =
        [&["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"], kinds].concat();
    output(&mut cargo(&arguments))?.lines().filter_map(|line| program(line).transpose()).collect()
}

/// The program of one line of cargo's messages, if it is about one.
fn program(line: &str) -> Result<Option<Program>> {
    let message: Message = serde_json::from_str(line).with_context(|| format!("cargo said: {line}"))?;
    if message.reason != "compiler-artifact" || !message.profile.test {
        return Ok(None);
    }
    let (Some(executable), Some(manifest)) = (message.executable, message.manifest_path) else { return Ok(None) };
    let folder = manifest.parent().context("a manifest without a folder")?.to_owned();
    let package = package(&folder).context("a folder without a name")?;
    Ok(Some(Program { package, executable, folder }))
}

/// Folder and package have one name (docs/adr/0001).
fn package(folder: &Path) -> Option<String> {
    Some(format!("cofre-{}", folder.file_name()?.to_str()?))
}

impl Program {
    /// Runs it where cargo would.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }

    /// Whether it is the tests of a crate from outside (`tests/it`).
    pub(crate) fn is_integration(&self) -> bool {
        self.file().starts_with("it-")
    }

    fn file(&self) -> String {
        self.executable.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// How it is called in what is printed.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.package, self.file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_taken_from_what_cargo_says() {
        let artefact = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/here/vault/store/Cargo.toml","profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let found = program(&artefact(true, r#""/there/it-0""#)).expect("read").expect("one");
        assert_eq!((found.package.as_str(), found.name().as_str()), ("cofre-store", "cofre-store it-0"));
        assert_eq!(found.folder, Path::new("/here/vault/store"));
        assert!(found.is_integration());
        let unit = program(&artefact(true, r#""/there/cofre_store-0""#)).expect("read").expect("one");
        assert!(!unit.is_integration());
        assert_eq!(program(&artefact(false, r#""/there/cofred""#)).expect("read"), None);
        assert_eq!(program(&artefact(true, "null")).expect("read"), None);
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#).expect("read"), None);
        assert!(program("not what cargo says").is_err());
    }
}
