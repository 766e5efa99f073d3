//! Reads a folder of policy files into names and texts for [`crate::Rules::from_files`]. Reads and nothing else: it
//! follows no configuration, watches nothing and judges no content.
//!
//! Taken are `*.cedarschema` and `*.cedar` in the folder and below. Left aside are the folder `cases` (tests of the
//! set) and names that begin with a dot. Anything else is refused, so that no rule is lost to a misspelt name.

use std::path::{Path, PathBuf};

/// A set larger than this is a mistake.
const MOST_BYTES: u64 = 1 << 20;
/// Folders below folders, at most.
const DEEPEST: usize = 4;

/// A folder cannot be read as a policy set.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file system refuses.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path.
        path: PathBuf,
        /// What it says.
        #[source]
        source: std::io::Error,
    },
    /// A file has no business in a policy folder.
    #[error("{path} is neither *.cedarschema nor *.cedar: rename it, or keep it outside the policy folder")]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// A name is not UTF-8.
    #[error("{path} has a name that is not UTF-8: rename it")]
    Name {
        /// The path.
        path: PathBuf,
    },
    /// Folders are nested too deeply.
    #[error("{path} lies more than {DEEPEST} folders deep: flatten the policy folder")]
    Depth {
        /// The path.
        path: PathBuf,
    },
    /// All files together are too large.
    #[error("{path} holds more than {MOST_BYTES} bytes of policies: split off what is not policy")]
    Size {
        /// The path.
        path: PathBuf,
    },
}

/// The files of a policy folder as (name, text), sorted by name. Names are relative to the folder, with `/`.
///
/// # Errors
/// [`BundleError`] names the path and what to do about it.
pub fn read_dir(folder: &Path) -> Result<Vec<(String, String)>, BundleError> {
    let mut found = Walk { files: Vec::new(), left: MOST_BYTES };
    found.folder(folder, "", 0)?;
    found.files.sort();
    Ok(found.files)
}

struct Walk {
    files: Vec<(String, String)>,
    left: u64,
}

impl Walk {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), BundleError> {
        if depth > DEEPEST {
            return Err(BundleError::Depth { path: folder.to_owned() });
        }
        for item in std::fs::read_dir(folder).map_err(refused(folder))? {
            let path = item.map_err(refused(folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(BundleError::Name { path });
            };
            if name.starts_with('.') || (depth == 0 && name == "cases") {
                continue;
            }
            let name = format!("{prefix}{name}");
            if path.is_dir() {
                self.folder(&path, &format!("{name}/"), depth + 1)?;
            } else {
                self.file(&path, name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: String) -> Result<(), BundleError> {
        if !path.extension().is_some_and(|end| end == "cedar" || end == "cedarschema") {
            return Err(BundleError::Unknown { path: path.to_owned() });
        }
        let size = std::fs::metadata(path).map_err(refused(path))?.len();
        self.left = self.left.checked_sub(size).ok_or_else(|| BundleError::Size { path: path.to_owned() })?;
        let text = std::fs::read_to_string(path).map_err(refused(path))?;
        self.files.push((name, text));
        Ok(())
    }
}

fn refused(path: &Path) -> impl FnOnce(std::io::Error) -> BundleError + '_ {
    move |source| BundleError::Read { path: path.to_owned(), source }
}
