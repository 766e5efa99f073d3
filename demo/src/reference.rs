//! The reference chapters of the book, written from code: configuration from the types that are parsed, methods from the
//! protocol and the gate, refusals from the reason table, commands from the programs' own help. Nothing is told here that
//! the code does not say; what it does not say is an error naming the place.

mod checks;
mod cli;
mod configuration;
mod errors;
mod methods;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use configuration::{Key, keys, samples};

/// A chapter: its file below `docs/reference` and its text.
pub type Chapter = (&'static str, String);

/// The repository's root.
///
/// # Errors
/// Where this crate was built outside of it.
pub fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?.to_path_buf())
}

/// Every chapter, as it has to be.
///
/// # Errors
/// What the code leaves undocumented, by file and name, or a program that is not built.
pub fn chapters() -> Result<Vec<Chapter>> {
    let root = root()?;
    Ok(vec![
        ("configuration.md", configuration::chapter(&root)?),
        ("methods.md", methods::chapter(&root)?),
        ("checks.md", checks::chapter()),
        ("errors.md", errors::chapter(&root)?),
        ("cli.md", cli::chapter()?),
    ])
}

/// What stands at the head of each chapter.
fn head(title: &str, from: &str) -> String {
    format!("# {title}\n\nWritten by `cargo xtask docs` from {from}. Change it there; a test holds this page to it.\n")
}

/// A cell of a table: one line, with what would end it escaped.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
