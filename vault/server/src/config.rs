//! Configuration: one TOML file, unknown keys refused, secrets by reference only. What is read is checked into
//! [`Config`] before anything starts.

mod custodians;
mod file;
mod prompt;
mod stores;
mod unread;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cofre_custody::{CustodianId, CustodySet};
use cofre_model::id::Slug;
use cofre_model::time::Span;
use cofre_store::AddressError;
use secrecy::{ExposeSecret as _, SecretString};

pub use custodians::{AwsKey, Ceremony, Configured, GcpKey, Hosted, Token, TransitKey};
pub use stores::{StoreKey, StorePlace, StorePlaces};
pub use unread::Unread;

/// Whether data is for development. Each mode refuses the other's data, and production refuses hsm-sim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Written only by `cofre-dev`.
    Dev,
    /// Real logins.
    Production,
}

impl Mode {
    /// The word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Production => "production",
        }
    }
}

impl From<Mode> for cofre_store::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Dev => Self::Dev,
            Mode::Production => Self::Production,
        }
    }
}

/// How secrets are locked into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Pages outside the kernel's direct map; refused where the kernel has none.
    MemfdSecret,
    /// Locked pages that no core dump holds.
    Mlock,
}

/// Where a secret is to be read. The configuration never holds one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// A file that only the service may read.
    File(PathBuf),
    /// A systemd credential, below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A descriptor this process was started with. PINs only.
    Descriptor(u32),
    /// A person at the terminal. PINs only.
    Prompt,
}

impl SecretRef {
    /// The file it is read from; none for a credential of a process that was given none, and for a person.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Descriptor(number) => Some(PathBuf::from(format!("/proc/self/fd/{number}"))),
            Self::Prompt => None,
            Self::Credential(name) => {
                std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(name))
            }
        }
    }

    /// Reads the secret, without a trailing newline.
    ///
    /// # Errors
    /// [`ConfigError::Secret`] naming the reference, never what it holds.
    pub fn read(&self, key: &'static str) -> Result<SecretString, ConfigError> {
        let path = self.path().ok_or(ConfigError::Secret {
            key,
            advice: "names a systemd credential, and CREDENTIALS_DIRECTORY is not set",
        })?;
        let text = std::fs::read_to_string(path)
            .map(zeroize::Zeroizing::new)
            .map_err(|_| ConfigError::Secret { key, advice: "cannot be read; check that it exists and may be read" })?;
        Ok(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Reads the PIN of a custodian; where a person is to type it, that custodian is named.
    ///
    /// # Errors
    /// As [`SecretRef::read`]; also for an empty one, which a token may count as a try.
    pub fn read_pin(&self, custodian: &CustodianId) -> Result<SecretString, ConfigError> {
        let key = "custodians.*.pkcs11.pin";
        let refused = |advice| ConfigError::Secret { key, advice };
        let pin = match self {
            Self::Prompt => prompt::ask(&format!("PIN of custodian {custodian}: ")).map_err(|_| {
                refused("is to be typed to its end, and no terminal is there, or none any more; start the vault from one, or name a file")
            })?,
            Self::File(_) | Self::Credential(_) | Self::Descriptor(_) => self.read(key)?,
        };
        if pin.expose_secret().is_empty() {
            return Err(refused("is empty; it is not tried"));
        }
        Ok(pin)
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML, or has an unknown or missing key.
    #[error("configuration: {0}")]
    Parse(Unread),
    /// A value is not as it has to be.
    #[error("configuration: {key} {advice}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it has to be.
        advice: &'static str,
    },
    /// A store's connection cannot be used.
    #[error("configuration: {key}: {cause}")]
    Store {
        /// Which key.
        key: &'static str,
        /// Why.
        cause: AddressError,
    },
    /// A secret cannot be read.
    #[error("configuration: {key} {advice}")]
    Secret {
        /// Which key.
        key: &'static str,
        /// What to do.
        advice: &'static str,
    },
}

/// Where spans, metrics and log records go, by OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The collector's host: a name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// PEM authorities of the collector's certificate. None means plain text, which is for a collector on this machine.
    pub ca: Option<PathBuf>,
    /// How often metrics are sent.
    pub interval: Duration,
    /// How many traces of a million are sent.
    pub sampled_ppm: u32,
}

impl Telemetry {
    /// The collector's address as a URI.
    #[must_use]
    pub fn uri(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        match self.host.parse::<std::net::Ipv6Addr>() {
            Ok(host) => format!("{scheme}://[{host}]:{}", self.port),
            Err(_) => format!("{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Addresses to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Front ends, tenant administrators and workers.
    pub tenants_and_workers: SocketAddr,
    /// Security, auditors, operators, privacy.
    pub people: SocketAddr,
    /// Whoever scrapes metrics, in plain text and unasked who it is: an address of this machine, or of a network that only
    /// the scraper shares. None: no scrape.
    pub metrics: Option<SocketAddr>,
}

/// The node's own identity and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The deployment's trust domain.
    pub trust_domain: String,
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: SecretRef,
    /// PEM bundle of authorities.
    pub bundle: PathBuf,
    /// PEM revocation lists, one per authority.
    pub revocations: PathBuf,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Development or production.
    pub mode: Mode,
    /// The deployment's name; the ledger's origin is `<deployment>/ledger`.
    pub deployment: String,
    /// The operator's name, shown in notices.
    pub operator: String,
    /// The region this cell decides for.
    pub region: Slug,
    /// Where to listen.
    pub listen: Listen,
    /// Who the node is.
    pub identity: Identity,
    /// The custodians that wrap a new tenant's key.
    pub custody: CustodySet,
    /// The custodian that signs checkpoints, receipts and deposit keys.
    pub signer: CustodianId,
    /// How long a tenant key may stay warm.
    pub warm_for: Span,
    /// Where the policies stand.
    pub policies: PathBuf,
    /// The stores.
    pub stores: StorePlaces,
    /// The custodians by name.
    pub custodians: BTreeMap<CustodianId, Configured>,
    /// How the keys of custodians are made, for those that say so.
    pub ceremonies: BTreeMap<CustodianId, Ceremony>,
    /// How secrets are locked into memory.
    pub memory: Memory,
    /// What to log, as a filter of `tracing`.
    pub log: String,
    /// The collector, where there is one.
    pub telemetry: Option<Telemetry>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and the way out.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_path_buf(), error })?;
        Self::parse(&text)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and the way out.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: file::File = toml::from_str(text).map_err(|error| ConfigError::Parse(Unread::of(text, error)))?;
        file.check()
    }
}

#[cfg(test)]
mod tests;
