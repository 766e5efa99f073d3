//! Keys of services as they are written. Where a service is reached is settled here, once: nothing that a service answers,
//! and nothing in the environment, moves it.

use std::path::PathBuf;

use serde::Deserialize;

use super::{FileSecret, value};
use crate::config::{AwsKey, ConfigError, GcpKey, TransitKey};

/// Where Google Cloud KMS is reached unless it is said otherwise.
const GCP_ENDPOINT: &str = "https://cloudkms.googleapis.com";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileAws {
    /// ARN of the symmetric key that wraps. Not an alias: whoever may move an alias could move the vault to another key.
    ///
    /// Example: `"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"`
    key: String,
    /// The region of the keys.
    ///
    /// Example: `"eu-west-1"`
    region: String,
    /// Where the service is reached: `https://<host>[:<port>]`, or `http://<address>:<port>` at a loopback address. A
    /// private endpoint is named here: variables and profiles of the SDK are not heeded. Without it, the service's public
    /// endpoint of the region.
    ///
    /// Example: `"https://vpce-0123-abcd.kms.eu-west-1.vpce.amazonaws.com"`
    endpoint: Option<String>,
    /// ARN of the key pair that signs, of ECC_NIST_P256 or ECC_NIST_EDWARDS25519, where this custodian signs.
    ///
    /// Example: `"arn:aws:kms:eu-west-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"`
    signer_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileGcp {
    /// Resource name of the symmetric key that wraps, without a version: its primary version wraps, any opens.
    ///
    /// Example: `"projects/cofre/locations/europe-west4/keyRings/vault/cryptoKeys/root-1"`
    key: String,
    /// Where the service is reached: `https://<host>[:<port>]`, or `http://<address>:<port>` at a loopback address.
    ///
    /// Default: `"https://cloudkms.googleapis.com"`
    /// Example: `"https://cloudkms.europe-west4.rep.googleapis.com"`
    endpoint: Option<String>,
    /// Resource name of the key version that signs, of EC_SIGN_P256_SHA256 or EC_SIGN_ED25519, where this custodian signs.
    ///
    /// Example: `"projects/cofre/locations/europe-west4/keyRings/vault/cryptoKeys/ledger-1/cryptoKeyVersions/1"`
    signer_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTransit {
    /// Where the engine is reached: `https://<host>[:<port>]`, or `http://<address>:<port>` of an agent at a loopback
    /// address.
    ///
    /// Example: `"https://bao.example:8200"`
    address: String,
    /// PEM authorities of the server's certificate; goes with https, and https with it.
    ///
    /// Example: `"/etc/cofre/bao-ca.pem"`
    ca: Option<PathBuf>,
    /// Where the engine is mounted, namespaces before it.
    ///
    /// Default: `"transit"`
    /// Example: `"transit"`
    mount: Option<String>,
    /// The key that wraps, of aes256-gcm96, not exportable. The token's policy must not have `create` for it.
    ///
    /// Example: `"root-1"`
    key: String,
    /// The key that signs and its version, of ecdsa-p256 or ed25519, where this custodian signs.
    ///
    /// Example: `"ledger-1:v1"`
    signer_key: Option<String>,
    /// The engine's token. It is read for every call: an agent may renew it in place.
    token: FileSecret,
}

/// An address that a service may be reached at, without a path.
fn endpoint(text: String, key: &'static str) -> Result<String, ConfigError> {
    let advice = "must be https://<host>[:<port>], or http://<address>:<port> at a loopback address, without a path";
    let uri: http::Uri = text.parse().map_err(|_| value(key, advice))?;
    let authority = uri.authority().ok_or(value(key, advice))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let here = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => here && authority.port().is_some(),
        _ => false,
    };
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
    if secure && bare && !host.is_empty() { Ok(text.trim_end_matches('/').to_owned()) } else { Err(value(key, advice)) }
}

/// Whether a part of a name is one: nothing that could end it, or climb out of it.
fn plain(part: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(known)
}

/// The partition of the ARN of a key in a region.
fn arn<'a>(text: &'a str, region: &str) -> Option<&'a str> {
    let ["arn", partition, "kms", place, account, key] = text.split(':').collect::<Vec<_>>()[..] else { return None };
    let of_key = key.strip_prefix("key/").is_some_and(plain);
    let account = account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit());
    (plain(partition) && place == region && plain(place) && account && of_key).then_some(partition)
}

impl FileAws {
    pub(super) fn check(self) -> Result<AwsKey, ConfigError> {
        let advice = "must be the ARN of a key of `region`, arn:aws:kms:<region>:<account>:key/<id>, not of an alias";
        let partition = arn(&self.key, &self.region).ok_or(value("custodians.*.aws_kms.key", advice))?;
        if self.signer_key.as_deref().is_some_and(|key| arn(key, &self.region).is_none()) {
            return Err(value("custodians.*.aws_kms.signer_key", advice));
        }
        let key = "custodians.*.aws_kms.endpoint";
        let endpoint = match (self.endpoint, partition) {
            (Some(text), _) => endpoint(text, key)?,
            (None, "aws" | "aws-us-gov") => format!("https://kms.{}.amazonaws.com", self.region),
            (None, "aws-cn") => format!("https://kms.{}.amazonaws.com.cn", self.region),
            (None, _) => return Err(value(key, "must be named for this partition")),
        };
        Ok(AwsKey { key: self.key, region: self.region, endpoint, signer_key: self.signer_key })
    }
}

/// Whether a text is the resource name of a key; with a version, of a version of one.
fn resource(text: &str, with_version: bool) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let words = ["projects", "locations", "keyRings", "cryptoKeys", "cryptoKeyVersions"];
    let wanted = if with_version { 5 } else { 4 };
    let pairs = parts.chunks(2).zip(words);
    let fits = pairs.clone().all(|(pair, word)| matches!(pair, [name, part] if *name == word && plain(part)));
    let numbered = parts.get(9).is_none_or(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
    parts.len() == 2 * wanted && fits && numbered
}

impl FileGcp {
    pub(super) fn check(self) -> Result<GcpKey, ConfigError> {
        if !resource(&self.key, false) {
            let advice = "must be projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>, no version";
            return Err(value("custodians.*.gcp_kms.key", advice));
        }
        if self.signer_key.as_deref().is_some_and(|key| !resource(key, true)) {
            let advice = "must name a version: projects/…/cryptoKeys/<key>/cryptoKeyVersions/<number>";
            return Err(value("custodians.*.gcp_kms.signer_key", advice));
        }
        let text = self.endpoint.unwrap_or_else(|| GCP_ENDPOINT.to_owned());
        let endpoint = endpoint(text, "custodians.*.gcp_kms.endpoint")?;
        Ok(GcpKey { key: self.key, endpoint, signer_key: self.signer_key })
    }
}

impl FileTransit {
    pub(super) fn check(self) -> Result<TransitKey, ConfigError> {
        let address = endpoint(self.address, "custodians.*.transit.address")?;
        if address.starts_with("https") != self.ca.is_some() {
            return Err(value("custodians.*.transit.ca", "must be there for an https address, and for no other"));
        }
        let mount = self.mount.unwrap_or_else(|| "transit".to_owned());
        if !mount.split('/').all(plain) {
            return Err(value("custodians.*.transit.mount", "must be a path such as transit, without / at its ends"));
        }
        if !plain(&self.key) {
            return Err(value("custodians.*.transit.key", "must be the name of a key, of [A-Za-z0-9._-]"));
        }
        let signer = self.signer_key.as_deref().map(|text| {
            let (name, version) = text.rsplit_once(":v")?;
            let version = version.parse().ok().filter(|version| *version > 0)?;
            plain(name).then(|| (name.to_owned(), version))
        });
        let signer_key = match signer {
            None => None,
            Some(Some(signer)) => Some(signer),
            Some(None) => {
                return Err(value("custodians.*.transit.signer_key", "must be <key>:v<version>, such as ledger-1:v1"));
            }
        };
        let token = self.token.check("custodians.*.transit.token")?;
        Ok(TransitKey { address, ca: self.ca, mount, key: self.key, signer_key, token })
    }
}
