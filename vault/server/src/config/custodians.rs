//! Who holds keys: a token, or a key of a service. Checked data; `node` opens drivers by it.

use std::path::PathBuf;
use std::time::Duration;

use cofre_custody::Mechanism;
use cofre_custody::pkcs11::TokenName;
use cofre_custody::pkcs11::host::Sandbox;

use super::SecretRef;

/// A custodian, of whatever kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configured {
    /// A token behind a PKCS#11 module.
    Pkcs11(Token),
    /// A key of AWS KMS.
    AwsKms(AwsKey),
    /// A key of Google Cloud KMS.
    GcpKms(GcpKey),
    /// A key of a transit engine.
    Transit(TransitKey),
}

impl Configured {
    /// Whether it has a key that signs.
    #[must_use]
    pub const fn signs(&self) -> bool {
        match self {
            Self::Pkcs11(token) => token.signer_label.is_some(),
            Self::AwsKms(key) => key.signer_key.is_some(),
            Self::GcpKms(key) => key.signer_key.is_some(),
            Self::Transit(key) => key.signer_key.is_some(),
        }
    }

    /// The secret it is reached with, where one is configured.
    #[must_use]
    pub const fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::Pkcs11(token) => Some(&token.pin),
            Self::Transit(key) => Some(&key.token),
            // Found by the SDKs themselves.
            Self::AwsKms(_) | Self::GcpKms(_) => None,
        }
    }
}

/// How a custodian's keys are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceremony {
    /// How many people have to approve and to sign.
    pub people: u8,
    /// The finished record.
    pub record: PathBuf,
    /// The authorities that vouched for them; those of the node where there are none.
    pub bundle: Option<PathBuf>,
}

/// A PKCS#11 token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The module's file.
    pub module: PathBuf,
    /// The SHA-256 that file must have.
    pub module_sha256: Option<[u8; 32]>,
    /// The token; a slot number names nothing.
    pub token: TokenName,
    /// The label of the key that wraps.
    pub key_label: String,
    /// The label of the key that signs, where this token signs.
    pub signer_label: Option<String>,
    /// The mechanism that the wrapping key is held to.
    pub mechanism: Option<Mechanism>,
    /// Its user PIN.
    pub pin: SecretRef,
    /// Sessions to hold.
    pub sessions: usize,
    /// Sessions of the token's limit that are left to others.
    pub reserve: usize,
    /// How long a call may take.
    pub deadline: Duration,
    /// The process that holds the module; none where this one does.
    pub host: Option<Hosted>,
}

/// A module's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosted {
    /// Environment variables it gets, by name.
    pub environment: Vec<String>,
    /// What it may reach.
    pub sandbox: Sandbox,
}

/// A key of AWS KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKey {
    /// ARN of the key that wraps.
    pub key: String,
    /// The region of both keys.
    pub region: String,
    /// Where the service is reached.
    pub endpoint: String,
    /// ARN of the key that signs.
    pub signer_key: Option<String>,
}

/// A key of Google Cloud KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpKey {
    /// Resource name of the key that wraps.
    pub key: String,
    /// Where the service is reached.
    pub endpoint: String,
    /// Resource name of the key version that signs.
    pub signer_key: Option<String>,
}

/// A key of a transit engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitKey {
    /// Where the engine is reached.
    pub address: String,
    /// PEM authorities of its certificate, where it has one.
    pub ca: Option<PathBuf>,
    /// Where the engine is mounted.
    pub mount: String,
    /// The key that wraps.
    pub key: String,
    /// The key that signs, with its version.
    pub signer_key: Option<(String, u32)>,
    /// Its token.
    pub token: SecretRef,
}
