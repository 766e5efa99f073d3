//! The file as it is written, before it is checked. Every table refuses unknown keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cofre_custody::{CustodianId, CustodySet};
use cofre_model::id::Slug;
use cofre_model::time::Span;
use serde::Deserialize;

use super::stores::FileStores;
use super::{Config, ConfigError, Identity, Listen, Memory, Mode, SecretRef, Token};

mod telemetry;
use telemetry::FileTelemetry;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    mode: FileMode,
    deployment: String,
    operator: String,
    region: String,
    listen: FileListen,
    identity: FileIdentity,
    custody: FileCustody,
    policies: FilePolicies,
    stores: FileStores,
    custodians: BTreeMap<String, FileCustodian>,
    #[serde(default)]
    memory: FileMemory,
    #[serde(default = "default_log")]
    log: String,
    telemetry: Option<FileTelemetry>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileMode {
    Dev,
    Production,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum FileMemory {
    #[default]
    #[serde(rename = "memfd_secret")]
    MemfdSecret,
    #[serde(rename = "mlock")]
    Mlock,
}

fn default_log() -> String {
    "info".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListen {
    tenants_and_workers: SocketAddr,
    people: SocketAddr,
    metrics: Option<SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIdentity {
    trust_domain: String,
    certificate: PathBuf,
    key: FileSecret,
    bundle: PathBuf,
    revocations: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSecret {
    file: Option<PathBuf>,
    credential: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCustody {
    default: FileSet,
    signer: String,
    #[serde(default = "default_warm", with = "humantime_serde")]
    warm_for: Duration,
}

fn default_warm() -> Duration {
    cofre_custody::WARM_FOR.to_std()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSet {
    any_of: Option<Vec<String>>,
    all_of: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePolicies {
    dir: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCustodian {
    pkcs11: FileToken,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToken {
    module: PathBuf,
    token_label: String,
    key_label: String,
    signer_label: Option<String>,
    pin: FileSecret,
    mechanism: Option<String>,
    sessions: Option<usize>,
}

const fn value(key: &'static str, advice: &'static str) -> ConfigError {
    ConfigError::Value { key, advice }
}

impl FileSecret {
    pub(super) fn check(self, key: &'static str) -> Result<SecretRef, ConfigError> {
        match (self.file, self.credential) {
            (Some(path), None) => Ok(SecretRef::File(path)),
            (None, Some(name)) if !name.contains('/') => Ok(SecretRef::Credential(name)),
            _ => Err(value(key, "must name exactly one of { file = … } and { credential = … }")),
        }
    }
}

impl FileSet {
    fn check(self) -> Result<CustodySet, ConfigError> {
        let ids = |names: Vec<String>| names.iter().map(|name| custodian(name)).collect::<Result<Vec<_>, _>>();
        let advice = "must be { any_of = [\"…\"] } or { all_of = [\"…\"] } over different custodians";
        match (self.any_of, self.all_of) {
            (Some(names), None) => CustodySet::any_of(ids(names)?).map_err(|_| value("custody.default", advice)),
            (None, Some(names)) => CustodySet::all_of(ids(names)?).map_err(|_| value("custody.default", advice)),
            _ => Err(value("custody.default", advice)),
        }
    }
}

fn custodian(name: &str) -> Result<CustodianId, ConfigError> {
    CustodianId::try_from(name).map_err(|_| value("custodians", "must be named by [a-z0-9][a-z0-9-]{0,62}"))
}

impl FileToken {
    fn check(self) -> Result<Token, ConfigError> {
        if self.mechanism.is_some_and(|mechanism| mechanism != "aes-gcm") {
            return Err(value("custodians.*.pkcs11.mechanism", "must be \"aes-gcm\", or be left out"));
        }
        let sessions = self.sessions.unwrap_or(8);
        if !(1..=64).contains(&sessions) {
            return Err(value("custodians.*.pkcs11.sessions", "must be 1 to 64"));
        }
        Ok(Token {
            module: self.module,
            token_label: self.token_label,
            key_label: self.key_label,
            signer_label: self.signer_label,
            pin: self.pin.check("custodians.*.pkcs11.pin")?,
            sessions,
        })
    }
}

impl File {
    pub(super) fn check(self) -> Result<Config, ConfigError> {
        let region =
            Slug::try_from(self.region.as_str()).map_err(|_| value("region", "must match [a-z0-9][a-z0-9-]{0,62}"))?;
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        if self.deployment.is_empty() || !self.deployment.chars().all(known) {
            return Err(value("deployment", "must be a lower-case name such as cofre.example"));
        }
        let mut custodians = BTreeMap::new();
        for (name, entry) in self.custodians {
            custodians.insert(custodian(&name)?, entry.pkcs11.check()?);
        }
        // With no warm span the answer's way is one custodian call longer, and the second check of the epochs after
        // that call is not built yet.
        if self.custody.warm_for < Duration::from_secs(1) {
            return Err(value("custody.warm_for", "must be at least 1s"));
        }
        let custody = self.custody.default.check()?;
        let signer = custodian(&self.custody.signer)?;
        if custody.members().iter().any(|member| !custodians.contains_key(member)) {
            return Err(value("custody.default", "must name custodians that stand under [custodians]"));
        }
        if custodians.get(&signer).is_none_or(|token| token.signer_label.is_none()) {
            return Err(value("custody.signer", "must name a custodian with a signer_label"));
        }
        Ok(Config {
            mode: match self.mode {
                FileMode::Dev => Mode::Dev,
                FileMode::Production => Mode::Production,
            },
            deployment: self.deployment,
            operator: self.operator,
            region,
            listen: Listen {
                tenants_and_workers: self.listen.tenants_and_workers,
                people: self.listen.people,
                metrics: self.listen.metrics,
            },
            identity: Identity {
                trust_domain: self.identity.trust_domain,
                certificate: self.identity.certificate,
                key: self.identity.key.check("identity.key")?,
                bundle: self.identity.bundle,
                revocations: self.identity.revocations,
            },
            custody,
            signer,
            warm_for: Span::micros(u64::try_from(self.custody.warm_for.as_micros()).unwrap_or(u64::MAX)),
            policies: self.policies.dir,
            stores: self.stores.check()?,
            custodians,
            memory: match self.memory {
                FileMemory::MemfdSecret => Memory::MemfdSecret,
                FileMemory::Mlock => Memory::Mlock,
            },
            log: self.log,
            telemetry: self.telemetry.map(FileTelemetry::check).transpose()?,
        })
    }
}
