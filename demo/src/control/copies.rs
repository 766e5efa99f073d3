//! Copies of stores, as a thief takes them: files as they lie, or a dump of each database. The copies of databases are
//! put back beside the originals, named after the folder they were taken to, so that a trial can open them.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::{self, Store};

/// Copies stores from a folder to another.
///
/// # Errors
/// Where one cannot be copied.
pub async fn copy_stores(cluster: Option<&Cluster>, from: &Path, to: &Path, which: &[Store]) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for store in which {
        match cluster {
            None => copy_file(from, to, *store)?,
            Some(cluster) => copy_database(cluster, from, to, *store).await?,
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, store: Store) -> Result<()> {
    for suffix in ["", "-wal"] {
        let file = format!("{}.db{suffix}", store.name());
        if from.join(&file).exists() {
            std::fs::copy(from.join(&file), to.join(&file)).with_context(|| file.clone())?;
        }
    }
    Ok(())
}

async fn copy_database(cluster: &Cluster, from: &Path, to: &Path, store: Store) -> Result<()> {
    let dump = to.join(format!("{}.sql", store.name()));
    cluster.dump(&databases::name(from, store), &dump)?;
    // A dump writes bytes as digits: they are looked through as what they are.
    let mut bytes = std::fs::File::create(to.join(format!("{}.bytes", store.name())))?;
    let text = std::fs::read_to_string(&dump)?;
    for word in text.split(|letter: char| letter.is_whitespace()) {
        if let Some(value) = word.strip_prefix(r"\\x").and_then(|digits| hex::decode(digits).ok()) {
            bytes.write_all(&value)?;
            bytes.write_all(b"\n")?;
        }
    }
    cluster.restore(&dump, &databases::name(to, store), to).await
}

/// Empties one of the copied stores: its rows go, its marks stay, so that the set still opens as one.
///
/// # Errors
/// Where the database refuses.
pub async fn empty(cluster: Option<&Cluster>, folder: &Path, store: Store) -> Result<()> {
    let tables: &[&str] = match store {
        Store::Ciphertexts => &["sealed_fields"],
        Store::Keyring => &["tenant_keys", "row_keys", "subject_keys", "data_keys", "deposit_keys"],
        Store::Records => bail!("records are not emptied by this control"),
    };
    match cluster {
        None => stores::empty_file(&store.file(folder), tables).await?,
        Some(cluster) => cluster.empty(&databases::name(folder, store), tables).await?,
    };
    Ok(())
}

/// How many times any of the values, where it is long enough to mean something, occurs in a copied store.
///
/// # Errors
/// Where nothing of the store is there, or it cannot be read.
pub fn occurrences<'a>(copy: &Path, store: Store, values: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<usize> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(copy)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{}.", store.name())) {
            bytes.extend(std::fs::read(entry.path())?);
        }
    }
    if bytes.is_empty() {
        bail!("{}: no copy of the {}", copy.display(), store.name());
    }
    let long = values.filter(|(_, value)| value.len() >= 6);
    Ok(long.map(|(_, value)| bytes.windows(value.len()).filter(|window| *window == value).count()).sum())
}
