//! Who holds keys in a world: a token, two keys of it, or custodians of different makes. Tokens lie in the world's folder;
//! services are whoever starts them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cofre_testkit::hsm::{INSTALL_SOFTHSM, Module, softhsm, softhsm_configuration};
use cofre_testkit::kms::{CALLER, Kms, REGION, SECRET};

use super::token::{self, CUSTODIAN, LABEL, ROOT, SECOND, SIGNER, SIM_FOLDER};

/// The custodian that is a token of SoftHSM2.
pub const SOFT: &str = "soft-1";
/// The custodian that is a key of a service.
pub const SERVICE: &str = "kms-1";
/// The custodian that is a key of a service which a tenant runs itself.
pub const OWN: &str = "kms-own";

/// Who holds keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Custody {
    /// A key of hsm-sim.
    One,
    /// Beside it another key of the same token, to move tenant keys to.
    SecondKey,
    /// hsm-sim and SoftHSM2, either of which opens a new tenant's key; and keys by the name [`ROOT`] of two services that
    /// speak the AWS form at these addresses, for tenants that ask for them.
    Mixed {
        /// Where [`SERVICE`] is.
        service: String,
        /// Where [`OWN`] is.
        own: String,
    },
}

impl Custody {
    /// The custody set of a new tenant, as the configuration writes it.
    pub(super) fn default_set(&self) -> String {
        match self {
            Self::One | Self::SecondKey => format!("{{ any_of = [\"{CUSTODIAN}\"] }}"),
            Self::Mixed { .. } => format!("{{ any_of = [\"{CUSTODIAN}\", \"{SOFT}\"] }}"),
        }
    }

    /// The tables of the configuration that say who is who.
    ///
    /// # Errors
    /// Where SoftHSM2 is wanted and not installed; says what to type.
    pub(super) fn tables(&self, folder: &Path, module: &Path) -> Result<String> {
        let sim = Tokens { module: module.to_path_buf(), variable: SIM_FOLDER, tokens: folder.join("token") };
        let pin = folder.join("pin");
        let first = sim.table(CUSTODIAN, &format!("key_label = \"{ROOT}\", signer_label = \"{SIGNER}\""), &pin);
        Ok(match self {
            Self::One => first,
            Self::SecondKey => first + &sim.table(SECOND.0, &format!("key_label = \"{}\"", SECOND.1), &pin),
            Self::Mixed { service, own } => {
                let soft = soft(folder)?.table(SOFT, &format!("key_label = \"{ROOT}\""), &pin);
                first + &soft + &kms(SERVICE, service) + &kms(OWN, own)
            }
        })
    }

    /// What the vault has in its environment for its custodians.
    pub(super) fn environment(&self, folder: &Path) -> Vec<(&'static str, OsString)> {
        let mut all = vec![(SIM_FOLDER, folder.join("token").into_os_string())];
        if let Self::Mixed { .. } = self {
            all.push((Module::SoftHsm.variable(), configuration(folder).into_os_string()));
            all.push(("AWS_ACCESS_KEY_ID", CALLER.into()));
            all.push(("AWS_SECRET_ACCESS_KEY", SECRET.into()));
        }
        all
    }

    /// Makes the keys that the configuration names and the tokens lack.
    ///
    /// # Errors
    /// What the ceremony said.
    pub(super) fn complete(&self, folder: &Path, config: &Path) -> Result<()> {
        match self {
            Self::One => Ok(()),
            Self::SecondKey => token::complete(folder, config),
            Self::Mixed { .. } => {
                let soft = soft(folder)?;
                std::fs::create_dir_all(&soft.tokens)?;
                std::fs::write(configuration(folder), softhsm_configuration(&soft.tokens))?;
                token::ceremony((soft.variable, &configuration(folder)), &soft.module).map(drop)
            }
        }
    }
}

/// Tokens behind a module.
struct Tokens {
    module: PathBuf,
    /// The variable that it reads.
    variable: &'static str,
    /// The folder that it writes.
    tokens: PathBuf,
}

fn configuration(folder: &Path) -> PathBuf {
    folder.join("softhsm2.conf")
}

fn soft(folder: &Path) -> Result<Tokens> {
    let module = softhsm().with_context(|| format!("SoftHSM2 is missing: {INSTALL_SOFTHSM}"))?;
    Ok(Tokens { module, variable: Module::SoftHsm.variable(), tokens: folder.join("token-soft") })
}

impl Tokens {
    fn table(&self, name: &str, keys: &str, pin: &Path) -> String {
        let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
        let (module, variable, tokens) = (quoted(&self.module), self.variable, quoted(&self.tokens));
        let pin = quoted(pin);
        format!(
            "[custodians.{name}]\npkcs11 = {{ module = {module}, token_label = \"{LABEL}\", {keys}, pin = {{ file = {pin} }}, \
             sessions = 4, environment = [\"{variable}\"], sandbox = {{ writable = [{tokens}] }} }}\n"
        )
    }
}

fn kms(name: &str, endpoint: &str) -> String {
    let key = Kms::arn(ROOT);
    format!("[custodians.{name}]\naws_kms = {{ key = \"{key}\", region = \"{REGION}\", endpoint = \"{endpoint}\" }}\n")
}
