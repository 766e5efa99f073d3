//! `cofred migrate`: brings three PostgreSQL databases to this release's tables and gives the configured roles what
//! they serve by. It connects as the databases' owner, whom no serving configuration names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cofre_store::{Place, Postgres, ServingRoles, StoreConfig, Stores};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::config::{Config, SecretRef, StoreKey};

/// A value for one store, or for all that have none of their own: `records=VALUE`, or `VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForStore {
    store: Option<&'static str>,
    value: String,
}

impl std::str::FromStr for ForStore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (store, value) = match text.split_once('=') {
            None => (None, text),
            Some((name, value)) => match StoreKey::ALL.iter().find(|key| key.name() == name) {
                Some(key) => (Some(key.name()), value),
                None => return Err(format!("{name:?} is no store: records, ciphertexts or keyring")),
            },
        };
        if value.is_empty() {
            return Err("the value is empty".to_owned());
        }
        Ok(Self { store, value: value.to_owned() })
    }
}

/// What `--owner` and `--owner-password-file` say.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Owners {
    /// The role that owns the database, for all stores or for one; may be repeated.
    #[arg(long = "owner", value_name = "[STORE=]ROLE", required = true)]
    roles: Vec<ForStore>,
    /// A file with that role's password, where the server asks for one; may be repeated.
    #[arg(long = "owner-password-file", value_name = "[STORE=]FILE")]
    passwords: Vec<ForStore>,
}

/// The value of every store, each given at most once.
fn each(given: &[ForStore], flag: &str) -> Result<BTreeMap<&'static str, String>> {
    let mut all = None;
    let mut found = BTreeMap::new();
    for one in given {
        let before = match one.store {
            None => all.replace(one.value.clone()),
            Some(store) => found.insert(store, one.value.clone()),
        };
        if before.is_some() {
            bail!("{flag} is given twice for {}", one.store.unwrap_or("all stores"));
        }
    }
    for key in StoreKey::ALL {
        if let (false, Some(value)) = (found.contains_key(key.name()), &all) {
            found.insert(key.name(), value.clone());
        }
    }
    Ok(found)
}

impl Owners {
    /// The databases as their owners reach them: what the configuration says, with another role and its password.
    fn places(&self, config: &Config) -> Result<(StoreConfig, ServingRoles)> {
        let (roles, passwords) = (each(&self.roles, "--owner")?, each(&self.passwords, "--owner-password-file")?);
        let owner = |key: StoreKey| -> Result<(Place, String)> {
            let Some(serving) = config.stores.of(key).address(key)? else {
                bail!("stores.{} is a SQLite file, which cofred brings to date when it opens it", key.name());
            };
            let role = roles.get(key.name()).with_context(|| format!("--owner names nobody for {}", key.name()))?;
            if role == serving.role() {
                bail!("--owner: {role} serves from {}; a role that serves must not own the tables", key.name());
            }
            let password = match passwords.get(key.name()) {
                None => None,
                Some(path) => {
                    let text = SecretRef::File(PathBuf::from(path)).read("--owner-password-file")?;
                    Some(Zeroizing::new(text.expose_secret().to_owned()))
                }
            };
            let place: Postgres = serving.as_role(role, password);
            Ok((Place::Postgres(place), serving.role().to_owned()))
        };
        let (records, ciphertexts, keyring) =
            (owner(StoreKey::Records)?, owner(StoreKey::Ciphertexts)?, owner(StoreKey::Keyring)?);
        let stores = StoreConfig {
            records: records.0,
            ciphertexts: ciphertexts.0,
            keyring: keyring.0,
            mode: config.mode.into(),
            ceiling: None,
        };
        Ok((stores, ServingRoles { records: records.1, ciphertexts: ciphertexts.1, keyring: keyring.1 }))
    }
}

/// Migrates the configured databases. Doing it again changes nothing.
///
/// # Errors
/// What is missing or refused, by store.
pub fn migrate(config: &Config, owners: &Owners) -> Result<()> {
    let (stores, serving) = owners.places(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Stores::migrate(stores, &serving)).context("migrate")?;
    for (store, role) in
        [("records", serving.records), ("ciphertexts", serving.ciphertexts), ("keyring", serving.keyring)]
    {
        println!("{store}: at this release; {role} serves");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(words: &[&str]) -> Vec<ForStore> {
        words.iter().map(|word| word.parse().expect("a value")).collect()
    }

    #[test]
    fn a_value_of_its_own_goes_before_the_one_for_all() {
        let found = each(&given(&["keyring=vault", "owner"]), "--owner").expect("each");
        assert_eq!(found.get("keyring").map(String::as_str), Some("vault"));
        assert_eq!(found.get("records").map(String::as_str), Some("owner"));
        assert_eq!(each(&given(&["records=a"]), "--owner").expect("one").len(), 1);
    }

    #[test]
    fn what_is_said_twice_or_of_no_store_is_refused() {
        for words in [["a", "b"], ["records=a", "records=b"]] {
            assert!(each(&given(&words), "--owner").expect_err("twice").to_string().contains("--owner"));
        }
        assert!("ledger=a".parse::<ForStore>().expect_err("no store").contains("ledger"));
        assert!("records=".parse::<ForStore>().is_err() && "".parse::<ForStore>().is_err());
    }
}
