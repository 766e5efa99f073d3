//! The tracked and not yet tracked files of the project, as text.

use std::process::Command;

use anyhow::Result;

use crate::run::{output, root};

/// A file of the project.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Path from the root, with forward slashes.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl Source {
    /// Whether this is code that ships: Rust of a shipped crate, outside tests.
    pub(crate) fn ships(&self) -> bool {
        let shipped = (self.path.starts_with("vault/") && !self.path.starts_with("vault/testkit/"))
            || self.path.starts_with("proto/");
        shipped && self.path.ends_with(".rs") && self.path.contains("/src/") && !self.is_test_file()
    }

    fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The text before its first `#[cfg(test)]` module.
    pub(crate) fn without_tests(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
    }
}

/// Every text file that git knows or would take.
pub(crate) fn tracked() -> Result<Vec<Source>> {
    let mut list = Command::new("git");
    list.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let mut files = Vec::new();
    for path in output(&mut list)?.lines() {
        // Binary files and files deleted in the work tree are no text to look at.
        if let Ok(text) = std::fs::read_to_string(root().join(path)) {
            files.push(Source { path: path.to_owned(), text });
        }
    }
    Ok(files)
}
