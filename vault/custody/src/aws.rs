//! The AWS KMS driver: one symmetric key that wraps, and where wanted one key pair that signs, through the official SDK.
//!
//! The context travels as encryption context, which the service binds as associated data and writes into its own trail;
//! it names region, tenant, key version and custody set, and nothing of a person. Credentials come from the SDK's own
//! default chain. The endpoint is settled when the driver is opened: nothing in the environment or in a profile moves it.

use std::fmt;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::Region;
use aws_sdk_kms::operation::RequestId as _;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    KeyManagerType, KeyMetadata, KeySpec, KeyState, KeyUsageType, MessageType, OriginType, SigningAlgorithmSpec,
};
use cofre_envelope::Slab;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::custodian::{CustodianId, Mechanism, VerifyingKey};
use crate::fault::{Cause, Fault, Operation};
use crate::remote::{Answer, Facts, Patience, Remote, Sealed, Service, Trouble, named, point, way};

mod trouble;

use trouble::read;

/// The one name in our encryption context; its value is the context in hexadecimal.
const CONTEXT: &str = "cofre-context";
/// Longest ciphertext that the service takes.
const LONGEST: usize = 6144;
/// Largest message that the service signs as it is.
const RAW: usize = 4096;

/// Who the node is to the service.
#[expect(missing_debug_implementations, reason = "may hold a secret")]
pub enum Credentials {
    /// By the SDK's default chain: environment, profile, web identity, container, instance.
    Default,
    /// These and no others.
    Fixed {
        /// The access key id.
        id: String,
        /// The secret access key.
        secret: SecretString,
    },
}

/// One custodian of kind `aws_kms`, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its configured name.
    pub id: CustodianId,
    /// ARN of the symmetric key that wraps shares.
    pub key: String,
    /// The region the calls are signed for.
    pub region: String,
    /// Where the service is reached.
    pub endpoint: String,
    /// ARN of the key pair that signs, where this custodian is the signer.
    pub signer_key: Option<String>,
    /// How long the service is waited for.
    pub patience: Patience,
}

/// A key of AWS KMS.
pub type AwsKms = Remote<Aws>;

impl Remote<Aws> {
    /// Looks at the keys and proves that wrapping and unwrapping work.
    ///
    /// # Errors
    /// The [`Fault`] of the first step that failed.
    pub async fn connect(settings: Settings, credentials: Credentials, slab: &Arc<Slab>) -> Result<Arc<Self>, Fault> {
        let Settings { id, key, region, endpoint, signer_key, patience } = settings;
        way::direct(&endpoint).map_err(|trouble| trouble.of_custodian(id.clone(), Operation::Connect))?;
        let limits = TimeoutConfig::builder()
            .connect_timeout(patience.attempt)
            .operation_attempt_timeout(patience.attempt)
            .operation_timeout(patience.attempt)
            .build();
        // What is said here goes for the calls that fetch credentials too: they keep their own tries and limits.
        let mut loading = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region));
        if let Credentials::Fixed { id, secret } = credentials {
            let fixed = aws_sdk_kms::config::Credentials::new(id, secret.expose_secret(), None, None, "cofre");
            loading = loading.credentials_provider(fixed);
        }
        let loaded = loading.load().await;
        // What variables and profiles may say of the way there does not count; nor does what time a server says it is.
        let config = aws_sdk_kms::config::Builder::from(&loaded)
            .endpoint_url(&endpoint)
            // Tries are counted in one place, for all services alike.
            .retry_config(RetryConfig::disabled())
            .timeout_config(limits)
            .use_fips(false)
            .use_dual_stack(false)
            .disable_clock_skew_correction(true)
            .build();
        let service = Aws { client: Client::from_conf(config), key, signer_key, endpoint };
        Self::open(id, patience, service, slab).await
    }
}

/// How AWS KMS says things.
pub struct Aws {
    client: Client,
    key: String,
    signer_key: Option<String>,
    endpoint: String,
}

impl fmt::Debug for Aws {
    // What the client shows of itself tells who the node is to the service.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("key", &self.key).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn answer<T>(value: T, request: Option<&str>) -> Answer<T> {
    Answer { value, request: named(request) }
}

/// What the state of a key means for its use.
fn usable(key: &KeyMetadata) -> Result<(), Trouble> {
    let cause = match key.key_state() {
        Some(KeyState::Enabled) => return Ok(()),
        Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => Cause::KeyPendingDeletion,
        Some(KeyState::Disabled | KeyState::PendingImport) => Cause::KeyDisabled,
        // Being made, being changed, its store away.
        _ => Cause::Transient,
    };
    Err(Trouble::of(cause).said(key.key_state().map_or("no key state", KeyState::as_str)))
}

/// Of the key's metadata, what an auditor asks: who made it where, what it may do, and who else has it.
fn told(key: &KeyMetadata) -> Vec<(&'static str, String)> {
    let text = |said: Option<&str>| said.unwrap_or("not said").to_owned();
    vec![
        ("KeyState", text(key.key_state().map(KeyState::as_str))),
        ("KeyUsage", text(key.key_usage().map(KeyUsageType::as_str))),
        ("Origin", text(key.origin().map(OriginType::as_str))),
        ("KeyManager", text(key.key_manager().map(KeyManagerType::as_str))),
        ("MultiRegion", key.multi_region().map_or_else(|| text(None), |yes| yes.to_string())),
    ]
}

impl Aws {
    fn signer_key(&self) -> Result<&str, Trouble> {
        self.signer_key.as_deref().ok_or(Trouble::of(Cause::KeyMissing))
    }
}

impl Service for Aws {
    async fn look(&self) -> Result<Answer<Facts>, Trouble> {
        let said = self.client.describe_key().key_id(&self.key).send().await.map_err(read)?;
        let request = said.request_id();
        let at = |trouble: Trouble| trouble.of_request(request);
        let key = said.key_metadata().ok_or(at(Trouble::of(Cause::EndpointWrong).said("no KeyMetadata")))?;
        if key.arn() != Some(self.key.as_str()) {
            return Err(at(Trouble::of(Cause::EndpointWrong).said("an answer about another key, or about none")));
        }
        usable(key).map_err(at)?;
        if key.key_spec() != Some(&KeySpec::SymmetricDefault) || key.key_usage() != Some(&KeyUsageType::EncryptDecrypt)
        {
            return Err(at(Trouble::of(Cause::Unsupported).said("not SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT")));
        }
        let facts = Facts {
            service: "AWS KMS",
            kind: KeySpec::SymmetricDefault.as_str().to_owned(),
            account: key.aws_account_id().unwrap_or_default().to_owned(),
            address: self.endpoint.clone(),
            key: self.key.clone(),
            mechanism: Mechanism::AwsKms,
            told: told(key),
        };
        Ok(answer(facts, request))
    }

    async fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Answer<Sealed>, Trouble> {
        let asked = self.client.encrypt().key_id(&self.key).plaintext(Blob::new(plain));
        let said = asked.encryption_context(CONTEXT, hex::encode(context)).send().await.map_err(read)?;
        let request = said.request_id().map(str::to_owned);
        let missing = |what: &str| Trouble::of(Cause::EndpointWrong).said(what).of_request(request.as_deref());
        // The key that the service says it used is recorded, and it must be the one that was asked for.
        let key = said.key_id().ok_or_else(|| missing("no KeyId"))?.to_owned();
        if key != self.key {
            return Err(missing("another KeyId"));
        }
        let bytes = said.ciphertext_blob.ok_or_else(|| missing("no CiphertextBlob"))?.into_inner();
        Ok(answer(Sealed { bytes, key }, request.as_deref()))
    }

    async fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Answer<Zeroizing<Vec<u8>>>, Trouble> {
        // The key is named: bytes made under another one are refused, whoever may use that one.
        let asked = self.client.decrypt().key_id(&self.key).ciphertext_blob(Blob::new(sealed));
        let said = asked.encryption_context(CONTEXT, hex::encode(context)).send().await.map_err(read)?;
        let request = said.request_id().map(str::to_owned);
        let plain = said.plaintext.map(|blob| Zeroizing::new(blob.into_inner()));
        let strange = |what: &str| Trouble::of(Cause::EndpointWrong).said(what).of_request(request.as_deref());
        if said.key_id.as_deref() != Some(self.key.as_str()) {
            return Err(strange("another KeyId"));
        }
        Ok(answer(plain.ok_or_else(|| strange("no Plaintext"))?, request.as_deref()))
    }

    fn fits(&self, sealed: &[u8]) -> bool {
        // Otherwise the service refuses what it calls a bad request: a row that was cut or lengthened is none.
        (1..=LONGEST).contains(&sealed.len())
    }

    fn wrapped_by(&self, key: &str) -> bool {
        key == self.key
    }

    fn signs(&self) -> bool {
        self.signer_key.is_some()
    }

    async fn public_key(&self) -> Result<Answer<VerifyingKey>, Trouble> {
        let said = self.client.get_public_key().key_id(self.signer_key()?).send().await.map_err(read)?;
        let key = said.public_key().and_then(|der| point::public_key(der.as_ref()));
        let unknown = || Trouble::of(Cause::Unsupported).said("not ECC_NIST_P256 or ECC_NIST_EDWARDS25519");
        Ok(answer(key.ok_or_else(|| unknown().of_request(said.request_id()))?, said.request_id()))
    }

    async fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Answer<[u8; 64]>, Trouble> {
        let asked = self.client.sign().key_id(self.signer_key()?);
        let asked = match key {
            VerifyingKey::Ed25519(_) if message.is_empty() || message.len() > RAW => {
                return Err(Trouble::of(Cause::Unsupported).said("Ed25519 signs messages of 1 to 4096 bytes there"));
            }
            VerifyingKey::Ed25519(_) => asked
                .signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512)
                .message_type(MessageType::Raw)
                .message(Blob::new(message)),
            VerifyingKey::P256(_) => asked
                .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
                .message_type(MessageType::Digest)
                .message(Blob::new(Sha256::digest(message).to_vec())),
        };
        let said = asked.send().await.map_err(read)?;
        let bytes = said.signature().map(Blob::as_ref).unwrap_or_default();
        let signature = match key {
            VerifyingKey::Ed25519(_) => bytes.try_into().ok(),
            VerifyingKey::P256(_) => point::signature(bytes),
        };
        let strange = || Trouble::of(Cause::EndpointWrong).said("no signature of the form asked for");
        Ok(answer(signature.ok_or_else(|| strange().of_request(said.request_id()))?, said.request_id()))
    }
}
