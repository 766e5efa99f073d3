//! Values from arguments and TOML files, each refused with what it should have been.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Reads a TOML file of a closed shape.
///
/// # Errors
/// [`Failure::Usage`] with the line and the key.
pub(crate) fn toml<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|why| Failure::unreadable(path, &why))?;
    toml::from_str(&text).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
}

/// A word of a closed list, exactly.
///
/// # Errors
/// The list.
pub(crate) fn word<T: Copy + ToString>(all: &[T], text: &str) -> Result<T, String> {
    all.iter().copied().find(|each| each.to_string() == text).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(ToString::to_string).collect();
        format!("must be one of {}", known.join(", "))
    })
}

/// Writes a file that does not exist yet: what was kept as evidence is never overwritten.
///
/// # Errors
/// [`Failure::Usage`] where it exists, [`Failure::Failed`] where it cannot be written.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut file = fs::File::create_new(path).map_err(|why| Failure::unwritable(path, &why))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|why| Failure::unwritable(path, &why))
}
