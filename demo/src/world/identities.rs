//! The development authority and every identity of the world, as PEM files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cofre_client::Identity;
use cofre_model::time::{Span, Timestamp};
use cofre_testkit::ca::{Options, TestCa};

use super::{NAME, REGION};

/// The folder of identities.
#[derive(Debug, Clone)]
pub struct Identities {
    /// Where they are.
    pub folder: PathBuf,
}

impl Identities {
    /// Makes the authority, its revocation list and every identity that is missing.
    ///
    /// # Errors
    /// Where a file cannot be made or read.
    pub fn make(folder: &Path, workers: usize, now: Timestamp) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        let authority = folder.join("authority");
        let ca = if authority.exists() {
            TestCa::open(&authority, NAME, now)?
        } else {
            std::fs::create_dir(&authority)?;
            let ca = TestCa::new(NAME, now)?;
            ca.save(&authority)?;
            ca
        };
        std::fs::write(folder.join("bundle.pem"), ca.bundle_pem())?;
        // A fresh list at each start: a stale one would refuse everybody.
        let revocations = ca.revocations(&[], now.minus(Span::hours(1)), now.plus(Span::days(30)))?;
        std::fs::write(folder.join("crl.pem"), revocations)?;
        let made = Self { folder: folder.to_path_buf() };
        for (file, path) in paths(workers) {
            if !folder.join(format!("{file}.pem")).exists() {
                ca.issue(&format!("spiffe://{NAME}/{path}"), &Options::default())?.write(folder, &file)?;
            }
        }
        Ok(made)
    }

    /// Makes the identity of another tenant's front end, where it is missing.
    ///
    /// # Errors
    /// Where the authority is not there, or a file cannot be written.
    pub fn add_front_end(&self, slug: &str, now: Timestamp) -> Result<()> {
        let (file, path) = front_end(slug);
        if !self.folder.join(format!("{file}.pem")).exists() {
            let ca = TestCa::open(&self.folder.join("authority"), NAME, now)?;
            ca.issue(&format!("spiffe://{NAME}/{path}"), &Options::default())?.write(&self.folder, &file)?;
        }
        Ok(())
    }

    /// Loads the identity of a file name such as `worker-w01`.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn load(&self, file: &str) -> Result<Identity> {
        let read = |name: String| std::fs::read(self.folder.join(&name)).with_context(|| format!("identity {name}"));
        let (certificate, key) = (read(format!("{file}.pem"))?, read(format!("{file}.key"))?);
        Ok(Identity::from_pem(&certificate, &key, &read("bundle.pem".to_owned())?)?)
    }
}

/// File name and SPIFFE path of a tenant's front end.
fn front_end(slug: &str) -> (String, String) {
    (format!("frontend-{slug}"), format!("tenant/{slug}/frontend/web"))
}

/// File name and SPIFFE path of every identity.
fn paths(workers: usize) -> Vec<(String, String)> {
    let mut paths = vec![("node".to_owned(), format!("node/{REGION}/n1"))];
    for tenant in ["gestora-norte", "gestora-sur"] {
        paths.push(front_end(tenant));
    }
    for (role, name) in [("operator", "olga"), ("auditor", "ada"), ("security", "sergi"), ("privacy", "pilar")] {
        paths.push((format!("person-{role}-{name}"), format!("person/{role}/{name}")));
    }
    for number in 1..=workers {
        paths.push((format!("worker-w{number:02}"), format!("worker/pool-a/w{number:02}")));
    }
    paths.push(("worker-stranger".to_owned(), "worker/pool-b/stranger".to_owned()));
    paths
}
