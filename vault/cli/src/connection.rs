//! Which vault, whose key it signs with, and who calls. From arguments, the environment or a profile, in this order.
//! The deployment's signer is pinned here: there is no way to take it from the vault itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use cofre_client::ceremony::Authorities;
use cofre_client::{Deployment, Identity};
use cofre_ledger::note::NoteKey;
use cofre_model::time::Clock;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::clock::SystemClock;
use crate::failure::Failure;

const HEADING: &str = "Connection";

/// How to reach the vault. Every part may stand in the environment or in a profile instead.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// TOML file with any of address, trust_domain, signer, certificate, key, bundle; paths are relative to it.
    #[arg(long, global = true, value_name = "FILE", env = "COFRE_PROFILE", help_heading = HEADING)]
    profile: Option<PathBuf>,
    /// `host:port` of the listener for personal roles.
    #[arg(long, global = true, env = "COFRE_ADDRESS", help_heading = HEADING)]
    address: Option<String>,
    /// The trust domain of the deployment's identities.
    #[arg(long, global = true, env = "COFRE_TRUST_DOMAIN", help_heading = HEADING)]
    trust_domain: Option<String>,
    /// The deployment's verifier key, `name+id+key`, or @FILE with it. Get it from another source than the vault.
    #[arg(long, global = true, value_name = "KEY|@FILE", env = "COFRE_SIGNER", help_heading = HEADING)]
    signer: Option<String>,
    /// PEM file with the caller's certificate and its intermediates.
    #[arg(long, global = true, value_name = "FILE", env = "COFRE_CERTIFICATE", help_heading = HEADING)]
    certificate: Option<PathBuf>,
    /// PEM file with the key of the certificate.
    #[arg(long, global = true, value_name = "FILE", env = "COFRE_KEY", help_heading = HEADING)]
    key: Option<PathBuf>,
    /// PEM file with the authorities of the trust domain.
    #[arg(long, global = true, value_name = "FILE", env = "COFRE_BUNDLE", help_heading = HEADING)]
    bundle: Option<PathBuf>,
}

/// The same parts as a file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    address: Option<String>,
    trust_domain: Option<String>,
    signer: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    bundle: Option<PathBuf>,
}

/// Everything a call needs.
#[derive(Debug)]
pub(crate) struct Session {
    /// The pinned deployment.
    pub(crate) deployment: Deployment,
    /// The caller.
    pub(crate) identity: Identity,
    /// The machine's clock.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Connection {
    /// Puts the parts together and reads the files they name. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the part that is missing or not usable.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let profile = self.kept()?;
        let address = part(&self.address, profile.address, "address")?;
        let trust_domain = part(&self.trust_domain, profile.trust_domain, "trust-domain")?;
        let signer = part(&self.signer, profile.signer, "signer")?;
        let signer = verifier_key(&signer).map_err(|why| Failure::Usage(format!("--signer: {why}")))?;
        let (identity, _) = self.identity()?;
        let deployment = Deployment { address, trust_domain, signer };
        Ok(Session { deployment, identity, clock: Arc::new(SystemClock::new()) })
    }
}

impl Connection {
    /// Who takes part in something offline, and the trust domain.
    ///
    /// # Errors
    /// As [`Connection::session`].
    pub(crate) fn identity(&self) -> Result<(Identity, String), Failure> {
        let profile = self.kept()?;
        let trust_domain = part(&self.trust_domain, profile.trust_domain, "trust-domain")?;
        let certificate = part(&self.certificate, profile.certificate, "certificate")?;
        let key = part(&self.key, profile.key, "key")?;
        let bundle = part(&self.bundle, profile.bundle, "bundle")?;
        let identity = Identity::from_pem(&read(&certificate)?, &Zeroizing::new(read(&key)?), &read(&bundle)?)
            .map_err(|why| Failure::Usage(why.to_string()))?;
        Ok((identity, trust_domain))
    }

    /// Whom certificates are believed from.
    ///
    /// # Errors
    /// As [`Connection::session`].
    pub(crate) fn authorities(&self) -> Result<Authorities, Failure> {
        let profile = self.kept()?;
        let trust_domain = part(&self.trust_domain, profile.trust_domain, "trust-domain")?;
        let bundle = part(&self.bundle, profile.bundle, "bundle")?;
        Authorities::from_pem(&read(&bundle)?, &trust_domain).map_err(|why| Failure::Usage(why.to_string()))
    }

    /// The deployment's verifier key, where one is given.
    ///
    /// # Errors
    /// [`Failure::Usage`] where it is none.
    pub(crate) fn pinned(&self) -> Result<Option<NoteKey>, Failure> {
        let given = self.signer.clone().or(self.kept()?.signer);
        given.map(|given| verifier_key(&given).map_err(|why| Failure::Usage(format!("--signer: {why}")))).transpose()
    }

    fn kept(&self) -> Result<Profile, Failure> {
        Ok(self.profile.as_deref().map(Profile::read).transpose()?.unwrap_or_default())
    }
}

fn part<T: Clone>(given: &Option<T>, kept: Option<T>, name: &str) -> Result<T, Failure> {
    given.clone().or(kept).ok_or_else(|| missing(name))
}

impl Profile {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|why| Failure::unreadable(path, &why))?;
        let mut profile: Self =
            toml::from_str(&text).map_err(|why| Failure::Usage(format!("profile {}: {why}", path.display())))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        for file in [&mut profile.certificate, &mut profile.key, &mut profile.bundle].into_iter().flatten() {
            *file = beside.join(&*file);
        }
        profile.signer = profile.signer.map(|signer| match signer.strip_prefix('@') {
            Some(file) => format!("@{}", beside.join(file).display()),
            None => signer,
        });
        Ok(profile)
    }
}

fn missing(name: &str) -> Failure {
    let variable = name.to_uppercase().replace('-', "_");
    let member = name.replace('-', "_");
    Failure::Usage(format!("--{name} is missing; give it, set COFRE_{variable}, or write {member} in a --profile"))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|why| Failure::unreadable(path, &why))
}

/// A verifier key from its text, or from the file after an `@`.
///
/// # Errors
/// What is wrong, without the name of the argument.
pub(crate) fn verifier_key(given: &str) -> Result<NoteKey, String> {
    let text = match given.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).map_err(|why| format!("{file}: cannot be read: {why}"))?,
        None => given.to_owned(),
    };
    NoteKey::parse(text.trim_end()).map_err(|why| why.to_string())
}
