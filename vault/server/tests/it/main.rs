//! What `deploy/` holds, read by the parsers that will read it: the vault's own for configurations, the service manager's
//! for the unit, and YAML for the rest.

#[cfg(test)]
mod containers;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod unit;
#[cfg(test)]
mod watching;

#[cfg(test)]
mod folder {
    use std::path::{Path, PathBuf};

    /// A path below `deploy/`.
    pub(crate) fn deploy(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
    }

    /// The text of a file below `deploy/`.
    pub(crate) fn text(path: &str) -> String {
        std::fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
    }

    /// The one document of a YAML file below `deploy/`.
    pub(crate) fn yaml(path: &str) -> yaml_rust2::Yaml {
        let mut documents =
            yaml_rust2::YamlLoader::load_from_str(&text(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"));
        assert_eq!(documents.len(), 1, "deploy/{path}");
        documents.remove(0)
    }
}
