//! The driver for the transit engine of Vault and OpenBao: one key that wraps, and where wanted one key version that
//! signs, over the engine's own HTTP interface.
//!
//! The context travels as associated data, and derives the key besides where the key was made for that. The token is
//! read from its file for every call, so that an agent may renew it; it goes to the one configured address and is
//! followed by no redirect. An engine makes a missing key on Encrypt where the token's policy has `create`: the driver
//! looks first, and the policy should not have it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofre_envelope::Slab;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::custodian::{CustodianId, Mechanism, VerifyingKey};
use crate::fault::{Cause, Fault, Operation};
use crate::remote::{Answer, Facts, Patience, Remote, Sealed, Service, Trouble, named, point};

mod trouble;
mod wire;

use wire::Wire;
pub use wire::{Address, AddressError};

/// Longest text that is taken for wrapped; a share makes one of some hundred characters.
const LONGEST: usize = 4096;

/// One custodian of kind `transit`, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its configured name.
    pub id: CustodianId,
    /// Where the engine is reached.
    pub address: Address,
    /// PEM certificates of the authorities that the server's certificate is checked against, where it has one.
    pub ca: Option<PathBuf>,
    /// The mount of the engine, such as `transit`.
    pub mount: String,
    /// Name of the key that wraps shares.
    pub key: String,
    /// Name and version of the key that signs, where this custodian is the signer.
    pub signer_key: Option<(String, u32)>,
    /// The file that holds the token.
    pub token: PathBuf,
    /// How long the engine is waited for.
    pub patience: Patience,
}

/// A key of a transit engine.
pub type TransitKey = Remote<Transit>;

impl Remote<Transit> {
    /// Looks at the keys and proves that wrapping and unwrapping work.
    ///
    /// # Errors
    /// The [`Fault`] of the first step that failed.
    pub async fn connect(settings: Settings, slab: &Arc<Slab>) -> Result<Arc<Self>, Fault> {
        let Settings { id, address, ca, mount, key, signer_key, token, patience } = settings;
        let wire = Wire::new(address, ca.as_deref(), token);
        let wire = wire.map_err(|trouble| trouble.of_custodian(id.clone(), Operation::Connect))?;
        Self::open(id, patience, Transit { wire, mount, key, signer_key, form: OnceLock::new() }, slab).await
    }
}

/// How a transit engine says things.
#[derive(Debug)]
pub struct Transit {
    wire: Wire,
    mount: String,
    key: String,
    signer_key: Option<(String, u32)>,
    /// How the key wraps, since it was first looked at; a key's form never changes.
    form: OnceLock<Mechanism>,
}

/// What is under `data` of an answer, as far as it is looked at. Borrowed from the answer: a plaintext is copied nowhere.
#[derive(Deserialize)]
struct Reply<'a, T> {
    #[serde(borrow)]
    request_id: Option<&'a str>,
    data: T,
}

#[derive(Deserialize)]
struct Encrypted<'a> {
    ciphertext: &'a str,
}

#[derive(Deserialize)]
struct Decrypted<'a> {
    plaintext: &'a str,
}

#[derive(Deserialize)]
struct Signature<'a> {
    signature: &'a str,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    convergent_encryption: bool,
    #[serde(default)]
    soft_deleted: bool,
    // A key that does not say whether it may leave is not believed to stay.
    exportable: bool,
    allow_plaintext_backup: bool,
    /// Whether it was made elsewhere; engines before 1.11 do not say.
    imported_key: Option<bool>,
    latest_version: u32,
    min_decryption_version: u32,
    #[serde(default)]
    keys: std::collections::BTreeMap<String, serde_json::Value>,
}

/// Reads an answer of the engine.
fn reply<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Answer<T>, Trouble> {
    let read: Reply<'a, T> = serde_json::from_slice(body)
        .map_err(|_| Trouble::of(Cause::EndpointWrong).said("an answer that is not a transit engine's"))?;
    Ok(Answer { value: read.data, request: named(read.request_id) })
}

/// What the engine wrapped, as the text it is; none where the bytes are no text of its form.
fn ciphertext(sealed: &[u8]) -> Option<&str> {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=:".contains(byte);
    let text = std::str::from_utf8(sealed).ok().filter(|text| text.as_bytes().iter().all(known))?;
    (text.len() <= LONGEST && version(text).is_some()).then_some(text)
}

/// The number in `vault:v<number>:…`, in the one way that the engine writes it: it would open version 0 as the first.
fn version(text: &str) -> Option<(u32, &str)> {
    let (number, rest) = text.strip_prefix("vault:v")?.split_once(':')?;
    let written = number.starts_with(|first: char| ('1'..='9').contains(&first));
    Some((number.parse().ok().filter(|_| written)?, rest))
}

impl Transit {
    async fn read_key(&self, name: &str) -> Result<Answer<Key>, Trouble> {
        let body = self.wire.get(&format!("/v1/{}/keys/{name}", self.mount)).await?;
        let answer: Answer<Key> = reply(&body)?;
        if answer.value.soft_deleted {
            return Err(Trouble::of(Cause::KeyPendingDeletion).of_answer(answer.request));
        }
        if answer.value.exportable || answer.value.allow_plaintext_backup {
            return Err(Trouble::of(Cause::KeyUnsafe)
                .said("exportable, or backed up in the clear")
                .of_answer(answer.request));
        }
        Ok(answer)
    }

    /// The wrapping key, found fit: how it wraps, and whether the engine says that it was imported.
    async fn wrapping_key(&self) -> Result<Answer<(Mechanism, Option<bool>)>, Trouble> {
        let Answer { value: key, request } = self.read_key(&self.key).await?;
        if key.kind != "aes256-gcm96" || key.convergent_encryption {
            return Err(Trouble::of(Cause::Unsupported)
                .said("not aes256-gcm96 with nonces of its own")
                .of_answer(request));
        }
        if key.min_decryption_version > key.latest_version {
            return Err(Trouble::of(Cause::KeyDisabled).said("min_decryption_version").of_answer(request));
        }
        let found = if key.derived { Mechanism::TransitDerived } else { Mechanism::TransitAead };
        if *self.form.get_or_init(|| found) != found {
            return Err(Trouble::of(Cause::KeyMissing).said("another key under the name").of_answer(request));
        }
        Ok(Answer { value: (found, key.imported_key), request })
    }

    /// The body of a request to wrap or unwrap, wiped when it is sent. None of its parts needs escaping: base64, and the
    /// engine's own texts, which are checked.
    fn body(&self, name: &str, value: &str, context: &[u8]) -> Zeroizing<Vec<u8>> {
        let context = STANDARD.encode(context);
        // SECURITY: large enough from the start. A buffer that grows leaves copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(2 * context.len() + value.len() + 128));
        for part in ["{\"", name, "\":\"", value, "\",\"associated_data\":\"", &context] {
            body.extend_from_slice(part.as_bytes());
        }
        if self.form.get() == Some(&Mechanism::TransitDerived) {
            body.extend_from_slice(b"\",\"context\":\"");
            body.extend_from_slice(context.as_bytes());
        }
        body.extend_from_slice(b"\"}");
        body
    }

    fn signer_key(&self) -> Result<(&str, u32), Trouble> {
        self.signer_key.as_ref().map(|(name, version)| (name.as_str(), *version)).ok_or(Trouble::of(Cause::KeyMissing))
    }
}

impl Service for Transit {
    async fn look(&self) -> Result<Answer<Facts>, Trouble> {
        let Answer { value: (mechanism, imported), request } = self.wrapping_key().await?;
        let facts = Facts {
            service: "transit",
            kind: "aes256-gcm96".to_owned(),
            account: self.mount.clone(),
            address: self.wire.address().to_string(),
            key: format!("{}/{}", self.mount, self.key),
            mechanism,
            // A key of another kind, or one that may leave, was refused before.
            told: vec![
                ("type", "aes256-gcm96".to_owned()),
                ("derived", (mechanism == Mechanism::TransitDerived).to_string()),
                ("exportable", "false".to_owned()),
                ("allow_plaintext_backup", "false".to_owned()),
                ("imported_key", imported.map_or_else(|| "not said".to_owned(), |imported| imported.to_string())),
            ],
        };
        Ok(Answer { value: facts, request })
    }

    async fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Answer<Sealed>, Trouble> {
        // Otherwise a key that was deleted might be made anew by this call.
        self.wrapping_key().await?;
        let plain = Zeroizing::new(STANDARD.encode(plain));
        let body = self.body("plaintext", &plain, context);
        let said = self.wire.post(&format!("/v1/{}/encrypt/{}", self.mount, self.key), body, Operation::Wrap).await?;
        let Answer { value, request } = reply::<Encrypted<'_>>(&said)?;
        let Some((version, _)) = version(value.ciphertext) else {
            return Err(Trouble::of(Cause::EndpointWrong)
                .said("no ciphertext of the form agreed on")
                .of_answer(request));
        };
        let key = format!("{}/{}:v{version}", self.mount, self.key);
        Ok(Answer { value: Sealed { bytes: value.ciphertext.as_bytes().to_vec(), key }, request })
    }

    async fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Answer<Zeroizing<Vec<u8>>>, Trouble> {
        let text = ciphertext(sealed).ok_or(Trouble::of(Cause::Integrity).said("not a text of the engine's"))?;
        let body = self.body("ciphertext", text, context);
        let said = self.wire.post(&format!("/v1/{}/decrypt/{}", self.mount, self.key), body, Operation::Unwrap).await?;
        let Answer { value, request } = reply::<Decrypted<'_>>(&said)?;
        match STANDARD.decode(value.plaintext) {
            Ok(plain) => Ok(Answer { value: Zeroizing::new(plain), request }),
            Err(_) => Err(Trouble::of(Cause::EndpointWrong).said("no plaintext").of_answer(request)),
        }
    }

    fn fits(&self, sealed: &[u8]) -> bool {
        ciphertext(sealed).is_some()
    }

    fn wrapped_by(&self, key: &str) -> bool {
        let rest = key.strip_prefix(&self.mount).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(&self.key));
        let of_version = |rest: &str| rest.strip_prefix(":v").is_some_and(|number| number.parse::<u32>().is_ok());
        rest.is_some_and(|rest| rest.is_empty() || of_version(rest))
    }

    fn signs(&self) -> bool {
        self.signer_key.is_some()
    }

    async fn public_key(&self) -> Result<Answer<VerifyingKey>, Trouble> {
        let (name, version) = self.signer_key()?;
        let Answer { value: key, request } = self.read_key(name).await?;
        let shown = key.keys.get(&version.to_string()).ok_or(Trouble::of(Cause::KeyMissing).said("no such version"));
        let public = shown?.get("public_key").and_then(serde_json::Value::as_str).unwrap_or_default();
        let read = match key.kind.as_str() {
            "ed25519" => STANDARD.decode(public).ok().and_then(|key| key.try_into().ok()).map(VerifyingKey::Ed25519),
            "ecdsa-p256" => point::pem(public).and_then(|der| point::public_key(&der)),
            _ => None,
        };
        match read {
            Some(value) => Ok(Answer { value, request }),
            None => Err(Trouble::of(Cause::Unsupported).said("not ed25519 or ecdsa-p256").of_answer(request)),
        }
    }

    async fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Answer<[u8; 64]>, Trouble> {
        let (name, pinned) = self.signer_key()?;
        let (path, input, prehashed) = match key {
            VerifyingKey::Ed25519(_) => ("", STANDARD.encode(message), false),
            VerifyingKey::P256(_) => ("/sha2-256", STANDARD.encode(Sha256::digest(message)), true),
        };
        let body = format!(
            "{{\"input\":\"{input}\",\"prehashed\":{prehashed},\"marshaling_algorithm\":\"asn1\",\"key_version\":{pinned}}}"
        );
        let path = format!("/v1/{}/sign/{name}{path}", self.mount);
        let said = self.wire.post(&path, Zeroizing::new(body.into_bytes()), Operation::Sign).await?;
        let Answer { value, request } = reply::<Signature<'_>>(&said)?;
        let bytes = match version(value.signature) {
            Some((number, text)) if number == pinned => STANDARD.decode(text).unwrap_or_default(),
            _ => Vec::new(),
        };
        let signature = match key {
            VerifyingKey::Ed25519(_) => bytes.try_into().ok(),
            VerifyingKey::P256(_) => point::signature(&bytes),
        };
        match signature {
            Some(value) => Ok(Answer { value, request }),
            None => {
                Err(Trouble::of(Cause::EndpointWrong).said("no signature of the form asked for").of_answer(request))
            }
        }
    }
}
