//! A PKCS#11 token as the file has it.

use std::path::PathBuf;
use std::time::Duration;

use cofre_custody::Mechanism;
use cofre_custody::pkcs11::TokenName;
use cofre_custody::pkcs11::host::{Profile, Sandbox};
use serde::Deserialize;

use super::super::{ConfigError, Hosted, SecretRef, Token};
use super::value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileToken {
    /// The module's shared library.
    ///
    /// Example: `"/usr/lib/softhsm/libsofthsm2.so"`
    module: PathBuf,
    /// The SHA-256 of that file, in 64 hexadecimal digits. A file with another one is not loaded.
    ///
    /// Example: `"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
    module_sha256: Option<String>,
    /// The token's label; exactly one token must carry it. Exactly one of this and `token_serial`. Slots are never named
    /// by number.
    ///
    /// Example: `"cofre"`
    token_label: Option<String>,
    /// The token's serial number. Exactly one of this and `token_label`.
    ///
    /// Example: `"0f3a91c2"`
    token_serial: Option<String>,
    /// The label of the key that wraps: AES-256, or an RSA pair.
    ///
    /// Example: `"root-1"`
    key_label: String,
    /// The label of the key that signs, where this token signs.
    ///
    /// Example: `"ledger-1"`
    signer_label: Option<String>,
    /// The token's user PIN. It is tried once at a start, and never again once the token refused it.
    pin: FilePin,
    /// The mechanism that wraps: `aes-gcm`, `aes-kwp` or `rsa-oaep-sha256`. Without it, the one that the key's kind and
    /// usages allow; the start says which and why. With it, any other is refused, and `cofred init` makes such a key.
    ///
    /// Example: `"aes-gcm"`
    mechanism: Option<FileMechanism>,
    /// Sessions to hold, 1 to 64; fewer where the token allows fewer.
    ///
    /// Default: `8`
    /// Example: `4`
    sessions: Option<usize>,
    /// Sessions of the token's limit that are left to others: a ceremony, a person with a tool.
    ///
    /// Default: `1`
    /// Example: `2`
    reserve: Option<usize>,
    /// How long a call may take, its wait for a session included; 1 to 60 seconds. A module that leaves a call unanswered
    /// for so long hangs: its process is ended and started again.
    ///
    /// Default: `"5s"`
    /// Example: `"10s"`
    #[serde(default, with = "humantime_serde::option")]
    deadline: Option<Duration>,
    /// Where the module runs. In a process of its own, a module that crashes or hangs costs one call.
    ///
    /// Default: `"child"`
    /// Example: `"inside"`
    #[serde(default)]
    host: FileHost,
    /// Environment variables that the module's process gets, by name and with the vault's own values. It gets no others.
    ///
    /// Default: `[]`
    /// Example: `["SOFTHSM2_CONF"]`
    #[serde(default)]
    environment: Vec<String>,
    /// What the module's process may reach.
    #[serde(default)]
    sandbox: FileSandbox,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum FileMechanism {
    /// An AES-256 key that encrypts and decrypts.
    #[serde(rename = "aes-gcm")]
    AesGcm,
    /// An AES-256 key that wraps and unwraps.
    #[serde(rename = "aes-kwp")]
    AesKwp,
    /// An RSA pair of at least 2048 bits.
    #[serde(rename = "rsa-oaep-sha256")]
    RsaOaepSha256,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePin {
    /// A file that holds the PIN, without more than a newline after it. Exactly one of the four.
    ///
    /// Example: `"/etc/cofre/pin"`
    file: Option<PathBuf>,
    /// The name of a systemd credential, read below `$CREDENTIALS_DIRECTORY`. Exactly one of the four.
    ///
    /// Example: `"hsm-1-pin"`
    credential: Option<String>,
    /// The number of a descriptor that whoever starts the vault opened for reading, 3 or more. Exactly one of the four.
    ///
    /// Example: `3`
    descriptor: Option<u32>,
    /// Whether a person types it at the terminal from which the vault is started. Exactly one of the four.
    ///
    /// Example: `true`
    prompt: Option<bool>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileHost {
    /// In a process of its own, walled in.
    #[default]
    Child,
    /// In the vault's own process, for development.
    Inside,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSandbox {
    /// `files`: the files named here and no socket, for tokens in files. `network`: connections besides, for HSMs on a
    /// network. `off`: whatever the vault's user may.
    ///
    /// Default: `"files"`
    /// Example: `"network"`
    #[serde(default)]
    profile: FileProfile,
    /// Files and folders the module may read, besides the system's libraries, itself, and files that its environment names.
    ///
    /// Default: `[]`
    /// Example: `["/opt/vendor/etc"]`
    #[serde(default)]
    readable: Vec<PathBuf>,
    /// Files and folders the module may change.
    ///
    /// Default: `[]`
    /// Example: `["/var/lib/softhsm/tokens"]`
    #[serde(default)]
    writable: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileProfile {
    /// Files that are named.
    #[default]
    Files,
    /// Connections besides.
    Network,
    /// No walls.
    Off,
}

impl FilePin {
    fn check(self) -> Result<SecretRef, ConfigError> {
        let key = "custodians.*.pkcs11.pin";
        match (self.file, self.credential, self.descriptor, self.prompt) {
            (Some(path), None, None, None) => Ok(SecretRef::File(path)),
            (None, Some(name), None, None) if !name.contains('/') => Ok(SecretRef::Credential(name)),
            (None, None, Some(number @ 3..), None) => Ok(SecretRef::Descriptor(number)),
            (None, None, None, Some(true)) => Ok(SecretRef::Prompt),
            _ => Err(value(
                key,
                "must name exactly one of { file = … }, { credential = … }, { descriptor = 3 } and { prompt = true }",
            )),
        }
    }
}

impl FileSandbox {
    fn check(self) -> Result<Sandbox, ConfigError> {
        if self.readable.iter().chain(&self.writable).any(|path| !path.is_absolute()) {
            return Err(value("custodians.*.pkcs11.sandbox", "must name absolute paths"));
        }
        let profile = match self.profile {
            FileProfile::Files => Profile::Files,
            FileProfile::Network => Profile::Network,
            FileProfile::Off => Profile::Off,
        };
        Ok(Sandbox { profile, readable: self.readable, writable: self.writable })
    }
}

impl FileToken {
    pub(super) fn check(self) -> Result<Token, ConfigError> {
        let sessions = self.sessions.unwrap_or(8);
        if !(1..=64).contains(&sessions) {
            return Err(value("custodians.*.pkcs11.sessions", "must be 1 to 64"));
        }
        let deadline = self.deadline.unwrap_or(Duration::from_secs(5));
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&deadline) {
            return Err(value("custodians.*.pkcs11.deadline", "must be 1s to 60s"));
        }
        let token = match (self.token_label, self.token_serial) {
            (Some(label), None) => TokenName::Label(label),
            (None, Some(serial)) => TokenName::Serial(serial),
            _ => {
                return Err(value(
                    "custodians.*.pkcs11",
                    "must name its token by exactly one of token_label and token_serial",
                ));
            }
        };
        let digest = self.module_sha256.map(|text| {
            let mut digest = [0; 32];
            hex::decode_to_slice(text, &mut digest).map(|()| digest)
        });
        let module_sha256 = digest
            .transpose()
            .map_err(|_| value("custodians.*.pkcs11.module_sha256", "must be 64 hexadecimal digits"))?;
        let name = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !self.environment.iter().all(name) {
            return Err(value(
                "custodians.*.pkcs11.environment",
                "must be names of environment variables, without values",
            ));
        }
        let sandbox = self.sandbox.check()?;
        Ok(Token {
            module: self.module,
            module_sha256,
            token,
            key_label: self.key_label,
            signer_label: self.signer_label,
            mechanism: self.mechanism.map(|mechanism| match mechanism {
                FileMechanism::AesGcm => Mechanism::AesGcm,
                FileMechanism::AesKwp => Mechanism::AesKwp,
                FileMechanism::RsaOaepSha256 => Mechanism::RsaOaepSha256,
            }),
            pin: self.pin.check()?,
            sessions,
            reserve: self.reserve.unwrap_or(1),
            deadline,
            host: match self.host {
                FileHost::Inside => None,
                FileHost::Child => Some(Hosted { environment: self.environment, sandbox }),
            },
        })
    }
}
