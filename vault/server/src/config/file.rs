//! The file as it is written, before it is checked. Every table refuses unknown keys.
//!
//! The doc comments are the reference of operators: `cargo xtask docs` writes `docs/reference/configuration.md` from
//! them. A key says what it means, then `Default:` where it may be left out, then `Example:`; tests hold both against
//! the parser.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cofre_custody::{CustodianId, CustodySet, Member, Rule};
use cofre_model::id::Slug;
use cofre_model::time::Span;
use serde::Deserialize;

use super::stores::FileStores;
use super::{Ceremony, Config, ConfigError, Configured, Identity, Listen, Memory, Mode, SecretRef};

mod services;
mod telemetry;
mod token;
use services::{FileAws, FileGcp, FileTransit};
use telemetry::FileTelemetry;
use token::FileToken;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Whether the data is for development. Each mode refuses stores that the other made, and production refuses the
    /// hsm-sim module.
    ///
    /// Example: `"production"`
    mode: FileMode,
    /// The deployment's name, of `[a-z0-9.-]`. The ledger's origin is this name and `/ledger`.
    ///
    /// Example: `"cofre.example"`
    deployment: String,
    /// The operator's legal name, as notices to investors show it.
    ///
    /// Example: `"AISP Ejemplo SL"`
    operator: String,
    /// The region this node decides for, `[a-z0-9][a-z0-9-]{0,62}`. A tenant of another region is refused.
    ///
    /// Example: `"eu-nl"`
    region: String,
    /// Where the node listens.
    listen: FileListen,
    /// Who the node is, and whose certificates it trusts. The files are looked at every five seconds, and at SIGHUP.
    identity: FileIdentity,
    /// Which custodians wrap tenant keys and which one signs.
    custody: FileCustody,
    /// The policy set.
    policies: FilePolicies,
    /// The three stores.
    stores: FileStores,
    /// Who holds keys, each under a name of its own, `[a-z0-9][a-z0-9-]{0,62}`: a token, or a key of a service. Exactly
    /// one of `pkcs11`, `aws_kms`, `gcp_kms` and `transit` each.
    custodians: BTreeMap<String, FileCustodian>,
    /// How pages that hold secrets are locked.
    ///
    /// Default: `"memfd_secret"`
    /// Example: `"mlock"`
    #[serde(default)]
    memory: FileMemory,
    /// What is logged, as a filter of levels and targets.
    ///
    /// Default: `"info"`
    /// Example: `"info,cofre_release=debug"`
    #[serde(default = "default_log")]
    log: String,
    /// What is sent to a collector; nothing without it.
    telemetry: Option<FileTelemetry>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileMode {
    /// Written by `cofre-dev` only.
    Dev,
    /// Real logins.
    Production,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum FileMemory {
    /// Pages that the kernel itself does not map; refused where the kernel has none.
    #[default]
    #[serde(rename = "memfd_secret")]
    MemfdSecret,
    /// Locked pages that no core dump holds.
    #[serde(rename = "mlock")]
    Mlock,
}

fn default_log() -> String {
    "info".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListen {
    /// For front ends, tenant administrators, workers and nodes. Port 0 takes a free one; the `ready` line says which.
    ///
    /// Example: `"0.0.0.0:7443"`
    tenants_and_workers: SocketAddr,
    /// For security, auditors, operators, privacy officers and custodians.
    ///
    /// Example: `"127.0.0.1:7444"`
    people: SocketAddr,
    /// Where metrics can be scraped; nowhere without it.
    ///
    /// Example: `"127.0.0.1:9464"`
    metrics: Option<SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIdentity {
    /// The trust domain of every SPIFFE identity here.
    ///
    /// Example: `"cofre.example"`
    trust_domain: String,
    /// PEM chain of the node's certificate, leaf first. It carries `spiffe://<trust domain>/node/<region>/<name>`.
    ///
    /// Example: `"/etc/cofre/node.pem"`
    certificate: PathBuf,
    /// PEM private key of that certificate.
    key: FileSecret,
    /// PEM certificates of the authorities.
    ///
    /// Example: `"/etc/cofre/bundle.pem"`
    bundle: PathBuf,
    /// PEM revocation lists, one for each authority. Once any is stale nobody at all is let in.
    ///
    /// Example: `"/etc/cofre/crl.pem"`
    revocations: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSecret {
    /// A file that holds the secret, without more than a newline after it. Exactly one of this and `credential`.
    ///
    /// Example: `"/etc/cofre/secret"`
    file: Option<PathBuf>,
    /// The name of a systemd credential, read below `$CREDENTIALS_DIRECTORY`. Exactly one of this and `file`.
    ///
    /// Example: `"secret"`
    credential: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCustody {
    /// The custody set of a new tenant's key.
    default: FileSet,
    /// The custodian that signs checkpoints, receipts, certificates and deposit keys; it needs a `signer_label` or a
    /// `signer_key`.
    ///
    /// Example: `"hsm-1"`
    signer: String,
    /// How long an unwrapped tenant key may stay in locked memory: nothing, so that a custodian is asked for every use, or
    /// at least one second. Holds for tenants registered from then on.
    ///
    /// Default: `"300s"`
    /// Example: `"60s"`
    #[serde(default = "default_warm", with = "humantime_serde")]
    warm_for: Duration,
}

fn default_warm() -> Duration {
    cofre_custody::WARM_FOR.to_std()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSet {
    /// Each of these wraps the whole key: one is enough to unwrap it. Exactly one of this and `all_of`. A member is a
    /// custodian, or `{ all_of = ["…"] }` over custodians.
    ///
    /// Example: `["hsm-1"]`
    any_of: Option<Vec<FileMember>>,
    /// Each of these wraps a share: all are needed to unwrap the key. Exactly one of this and `any_of`. A member is a
    /// custodian, or `{ any_of = ["…"] }` over custodians.
    ///
    /// Example: `["hsm-1"]`
    all_of: Option<Vec<FileMember>>,
}

/// Member.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FileMember {
    /// A custodian.
    One(String),
    /// A set of the other rule.
    Inner(BTreeMap<String, Vec<String>>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePolicies {
    /// The folder of `*.cedarschema` and `*.cedar` files. A set with any fault keeps the node from starting.
    ///
    /// Example: `"/etc/cofre/policies"`
    dir: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCustodian {
    /// The token behind a PKCS#11 module.
    pkcs11: Option<FileToken>,
    /// A key of AWS KMS. Credentials are found by the SDK's default chain.
    aws_kms: Option<FileAws>,
    /// A key of Google Cloud KMS. Credentials are found by the SDK's default chain.
    gcp_kms: Option<FileGcp>,
    /// A key of the transit engine of Vault or OpenBao.
    transit: Option<FileTransit>,
    /// How its keys are made, and where it is recorded that they were. With it, the node starts on keys of a finished
    /// record only.
    ceremony: Option<FileCeremony>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCeremony {
    /// How many people have to approve the plan and to sign the record, 0 to 8. With 0 the key that was made signs alone,
    /// which a custodian that only wraps does not have.
    ///
    /// Example: `2`
    people: u8,
    /// The finished record, as `cofre keys countersign` writes it. Not looked at while keys are being made.
    ///
    /// Example: `"/etc/cofre/hsm-1.ceremony"`
    record: PathBuf,
    /// PEM certificates of the authorities that vouched for the people when they approved. Those of `identity.bundle`
    /// without it; needed once an authority of then is no longer in there.
    ///
    /// Example: `"/etc/cofre/ceremony-bundle.pem"`
    bundle: Option<PathBuf>,
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
        let refused = || {
            value(
                "custody.default",
                "must be { any_of = [\"…\"] } or { all_of = [\"…\"] } over different custodians, or over them and sets of the other rule",
            )
        };
        let (rule, other, members) = match (self.any_of, self.all_of) {
            (Some(members), None) => (Rule::Any, "all_of", members),
            (None, Some(members)) => (Rule::All, "any_of", members),
            _ => return Err(refused()),
        };
        let ids = |names: Vec<String>| names.iter().map(|name| custodian(name)).collect::<Result<Vec<_>, _>>();
        let members = members.into_iter().map(|member| match member {
            FileMember::One(name) => Ok(Member::One(custodian(&name)?)),
            FileMember::Inner(mut set) => match (set.remove(other), set.is_empty()) {
                (Some(names), true) => Ok(Member::Inner(ids(names)?)),
                _ => Err(refused()),
            },
        });
        CustodySet::of(rule, members.collect::<Result<_, _>>()?).map_err(|_| refused())
    }
}

fn custodian(name: &str) -> Result<CustodianId, ConfigError> {
    CustodianId::try_from(name).map_err(|_| value("custodians", "must be named by [a-z0-9][a-z0-9-]{0,62}"))
}

impl FileCeremony {
    fn check(self, signs: bool) -> Result<Ceremony, ConfigError> {
        if self.people > 8 {
            return Err(value("custodians.*.ceremony.people", "must be 0 to 8"));
        }
        if self.people == 0 && !signs {
            return Err(value(
                "custodians.*.ceremony.people",
                "must be at least 1 where the custodian has no key that signs",
            ));
        }
        Ok(Ceremony { people: self.people, record: self.record, bundle: self.bundle })
    }
}

impl FileCustodian {
    fn check(self) -> Result<Configured, ConfigError> {
        match (self.pkcs11, self.aws_kms, self.gcp_kms, self.transit) {
            (Some(token), None, None, None) => token.check().map(Configured::Pkcs11),
            (None, Some(key), None, None) => key.check().map(Configured::AwsKms),
            (None, None, Some(key), None) => key.check().map(Configured::GcpKms),
            (None, None, None, Some(key)) => key.check().map(Configured::Transit),
            _ => Err(value("custodians.*", "must have exactly one of pkcs11, aws_kms, gcp_kms and transit")),
        }
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
        let (mut custodians, mut ceremonies) = (BTreeMap::new(), BTreeMap::new());
        for (name, mut entry) in self.custodians {
            let (id, ceremony) = (custodian(&name)?, entry.ceremony.take());
            let configured = entry.check()?;
            if let Some(ceremony) = ceremony {
                ceremonies.insert(id.clone(), ceremony.check(configured.signs())?);
            }
            custodians.insert(id, configured);
        }
        // With no warm span the answer's way is one custodian call longer, and the second check of the epochs after
        // that call is not built yet.
        if !self.custody.warm_for.is_zero() && self.custody.warm_for < Duration::from_secs(1) {
            return Err(value("custody.warm_for", "must be 0s or at least 1s"));
        }
        let custody = self.custody.default.check()?;
        let signer = custodian(&self.custody.signer)?;
        if custody.custodians().any(|named| !custodians.contains_key(named)) {
            return Err(value("custody.default", "must name custodians that stand under [custodians]"));
        }
        if !custodians.get(&signer).is_some_and(Configured::signs) {
            return Err(value("custody.signer", "must name a custodian with a signer_label or a signer_key"));
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
            ceremonies,
            memory: match self.memory {
                FileMemory::MemfdSecret => Memory::MemfdSecret,
                FileMemory::Mlock => Memory::Mlock,
            },
            log: self.log,
            telemetry: self.telemetry.map(FileTelemetry::check).transpose()?,
        })
    }
}
