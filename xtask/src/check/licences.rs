//! `deny.toml` held against `cargo tree`: licences, banned crates and floor versions. The same file serves
//! cargo-deny where that tool and its advisory database are at hand; here nothing has to be fetched.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Violation;
use crate::run::root;

/// The parts of `deny.toml` that are held here.
#[derive(Debug, Deserialize)]
pub(crate) struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// Licences that one crate may carry besides.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

impl Licenses {
    /// What `package` may be under.
    fn of(&self, package: &str) -> Vec<&str> {
        let besides = self.exceptions.iter().filter(|exception| exception.name == package);
        self.allow.iter().chain(besides.flat_map(|exception| &exception.allow)).map(String::as_str).collect()
    }
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

/// `name`, or `name@<version` for a floor.
#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
}

impl Rules {
    /// Reads `deny.toml`.
    pub(crate) fn load() -> Result<Self> {
        let text = std::fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
        toml::from_str(&text).context("deny.toml")
    }
}

/// A resolved package.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    name: String,
    version: String,
    license: String,
    from_registry: bool,
    ours: bool,
}

/// Every package that is compiled for any target, from `cargo tree` in the form [`FORMAT`]. `cargo metadata` would also
/// list optional packages that nothing switches on.
pub(crate) fn packages(tree: &str) -> Vec<Package> {
    let lines: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines.into_iter().filter_map(package).collect()
}

/// The form of `cargo tree` that [`packages`] reads.
pub(crate) const FORMAT: &str = "{p}|{l}";

/// One line: `name v1.2.3`, then `(proc-macro)`, a folder of ours or a foreign source in brackets; and the licence.
fn package(line: &str) -> Option<Package> {
    let (package, license) = line.split_once('|')?;
    let mut words = package.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let sources: Vec<&str> = words.filter(|word| *word != "(proc-macro)").collect();
    let ours = sources.iter().any(|source| source.starts_with("(/"));
    Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        license: license.to_owned(),
        from_registry: sources.is_empty(),
        ours,
    })
}

/// Holds every package against the rules.
pub(crate) fn check(packages: &[Package], rules: &Rules) -> Vec<Violation> {
    let mut broken = Vec::new();
    for package in packages {
        let named = format!("{} {}", package.name, package.version);
        if !package.ours && !package.from_registry {
            broken.push(Violation(format!("{named}: comes from no package registry")));
        }
        if !licensed(&package.license, &rules.licenses.of(&package.name)) {
            broken.push(Violation(format!("{named}: licence `{}` is not in deny.toml", package.license)));
        }
        for ban in &rules.bans.deny {
            let hit = match ban.spec.split_once("@<") {
                Some((name, floor)) => name == package.name && older(&package.version, floor),
                None => ban.spec == package.name,
            };
            if hit {
                broken.push(Violation(format!("{named}: banned as `{}`: {}", ban.spec, ban.reason)));
            }
        }
    }
    broken
}

/// SPDX expressions as crates write them: every `AND` part needs one allowed `OR` choice.
fn licensed(expression: &str, allowed: &[&str]) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    !plain.trim().is_empty()
        && plain.split(" AND ").all(|part| part.split(" OR ").any(|choice| allowed.contains(&choice.trim())))
}

/// Whether `version` is older than `floor`, by numeric parts; a pre-release is older than its release.
fn older(version: &str, floor: &str) -> bool {
    let parts = |text: &str| -> (Vec<u64>, bool) {
        let core = text.split(['+']).next().unwrap_or_default();
        let (numbers, pre) = core.split_once('-').map_or((core, false), |(numbers, _)| (numbers, true));
        (numbers.split('.').map(|part| part.parse().unwrap_or(0)).collect(), !pre)
    };
    parts(version) < parts(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            licenses: Licenses {
                allow: vec!["MIT".into(), "Apache-2.0".into()],
                exceptions: vec![Exception { name: "engine".into(), allow: vec!["NCSA".into()] }],
            },
            bans: Bans {
                deny: vec![
                    Ban { spec: "openssl".into(), reason: "one TLS".into() },
                    Ban { spec: "h2@<0.4.18".into(), reason: "floods".into() },
                ],
            },
        }
    }

    fn package(name: &str, version: &str, license: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            license: license.into(),
            from_registry: true,
            ours: false,
        }
    }

    #[test]
    fn lines_of_the_tree_are_read() {
        let read = packages(
            "x v1.0.0|MIT\nx v1.0.0|MIT (*)\ny v2.0.0 (proc-macro)|MIT\nz v0.1.0 (/here/z)|MIT\ng v1.0.0 (https://host/g#1)|MIT\n",
        );
        let seen: Vec<_> = read.iter().map(|p| (p.name.as_str(), p.from_registry, p.ours)).collect();
        assert_eq!(seen, [("g", false, false), ("x", true, false), ("y", true, false), ("z", false, true)]);
    }

    #[test]
    fn each_rule_fails_on_a_planted_package() {
        assert_eq!(check(&[package("engine", "1.0.0", "MIT AND NCSA")], &rules()), []);
        let good = package("h2", "0.4.18", "MIT OR GPL-3.0");
        assert_eq!(check(std::slice::from_ref(&good), &rules()), []);
        for bad in [
            package("h2", "0.4.9", "MIT"),
            package("h2", "0.4.18-rc.1", "MIT"),
            package("openssl", "1.0.0", "MIT"),
            package("x", "1.0.0", "GPL-3.0"),
            package("x", "1.0.0", "MIT AND GPL-3.0"),
            package("x", "1.0.0", ""),
            package("x", "1.0.0", "MIT AND NCSA"),
            Package { from_registry: false, ..good },
        ] {
            assert_eq!(check(std::slice::from_ref(&bad), &rules()).len(), 1, "{bad:?} was not noticed");
        }
    }
}
