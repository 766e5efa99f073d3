//! The Google Cloud KMS driver: one symmetric key that wraps, and where wanted one key version that signs, through the
//! official SDK (JSON over HTTP).
//!
//! The context travels as additional authenticated data. Every value goes with its CRC32C, and comes back with one that
//! is compared: what was changed on the way is neither kept nor used. Credentials come from the SDK's own default chain.
//! The service gives no request ids, so each call has one of the driver's own.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cofre_envelope::Slab;
use cofre_model::time::Clock;
use crc::{CRC_32_ISCSI, Crc};
use google_cloud_gax::client_builder::internal::with_follow_redirects;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_kms_v1::client::KeyManagementService;
use google_cloud_kms_v1::model::crypto_key::CryptoKeyPurpose;
use google_cloud_kms_v1::model::crypto_key_version::{CryptoKeyVersionAlgorithm, CryptoKeyVersionState};
use google_cloud_kms_v1::model::{CryptoKeyVersion, Digest as Digests};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::custodian::{CustodianId, Mechanism, VerifyingKey};
use crate::fault::{Cause, Fault, Operation};
use crate::remote::{Answer, Facts, Patience, Remote, Sealed, Service, Trouble, point, way};

mod bearer;
mod trouble;

use trouble::Reader;

/// CRC-32C (Castagnoli, RFC 3720).
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Longest ciphertext that the service takes.
const LONGEST: usize = 64 * 1024;

/// Where the service is reached unless it is said otherwise.
pub const ENDPOINT: &str = "https://cloudkms.googleapis.com";

/// Who the node is to the service.
#[expect(missing_debug_implementations, reason = "may hold a secret")]
pub enum Credentials {
    /// By the SDK's default chain: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's, the instance's.
    Default,
    /// This bearer token and no other.
    Bearer(SecretString),
}

/// One custodian of kind `gcp_kms`, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its configured name.
    pub id: CustodianId,
    /// Resource name of the symmetric key that wraps shares, `projects/…/cryptoKeys/…`.
    pub key: String,
    /// Where the service is reached.
    pub endpoint: String,
    /// Resource name of the key version that signs, `projects/…/cryptoKeyVersions/…`, where this custodian is the signer.
    pub signer_key: Option<String>,
    /// How long the service is waited for.
    pub patience: Patience,
}

/// A key of Google Cloud KMS.
pub type GcpKms = Remote<Gcp>;

impl Remote<Gcp> {
    /// Looks at the keys and proves that wrapping and unwrapping work. The clock tells a refusal for the hour from one
    /// for the caller.
    ///
    /// # Errors
    /// The [`Fault`] of the first step that failed.
    pub async fn connect(
        settings: Settings,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        slab: &Arc<Slab>,
    ) -> Result<Arc<Self>, Fault> {
        let Settings { id, key, endpoint, signer_key, patience } = settings;
        way::direct(&endpoint).map_err(|trouble| trouble.of_custodian(id.clone(), Operation::Connect))?;
        let building = KeyManagementService::builder()
            .with_endpoint(&endpoint)
            // Tries are counted in one place, for all services alike.
            .with_retry_policy(NeverRetry);
        // SECURITY: without this a share would go wherever an answer says.
        let building = with_follow_redirects(building, false);
        let building = match credentials {
            Credentials::Default => building,
            Credentials::Bearer(token) => building.with_credentials(bearer::Bearer::new(token)),
        };
        let client = match building.build().await {
            Ok(client) => client,
            Err(_) => {
                let trouble = Trouble::of(Cause::Denied).said("no credentials could be had");
                return Err(trouble.of_custodian(id, Operation::Connect));
            }
        };
        Self::open(id, patience, Gcp { client, key, signer_key, endpoint, patience, clock }, slab).await
    }
}

/// How Google Cloud KMS says things.
pub struct Gcp {
    client: KeyManagementService,
    key: String,
    signer_key: Option<String>,
    endpoint: String,
    patience: Patience,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Gcp {
    // What the client shows of itself tells who the node is to the service.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gcp").field("key", &self.key).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

const fn answer<T>(value: T) -> Answer<T> {
    Answer { value, request: None }
}

fn sum(bytes: &[u8]) -> i64 {
    i64::from(CRC32C.checksum(bytes))
}

/// Whether what came is what was sent.
fn whole(bytes: &[u8], said: Option<i64>) -> Result<(), Trouble> {
    if said == Some(sum(bytes)) { Ok(()) } else { Err(Trouble::of(Cause::BadChecksum).said("of an answer")) }
}

/// Whether the service says that it compared the checksums it was sent.
fn compared(verified: bool) -> Result<(), Trouble> {
    if verified { Ok(()) } else { Err(Trouble::of(Cause::BadChecksum).said("the service did not compare what it got")) }
}

/// What the state of a version means for its use.
fn usable(version: &CryptoKeyVersion) -> Result<(), Trouble> {
    use CryptoKeyVersionState as S;
    let (cause, word) = match version.state {
        S::Enabled => return Ok(()),
        S::Disabled => (Cause::KeyDisabled, "DISABLED"),
        S::DestroyScheduled => (Cause::KeyPendingDeletion, "DESTROY_SCHEDULED"),
        S::Destroyed => (Cause::KeyDestroyed, "DESTROYED"),
        S::PendingGeneration | S::PendingImport => (Cause::Transient, "PENDING"),
        _ => (Cause::KeyDisabled, "not ENABLED"),
    };
    Err(Trouble::of(cause).said(word))
}

impl Gcp {
    fn signer_key(&self) -> Result<&str, Trouble> {
        self.signer_key.as_deref().ok_or(Trouble::of(Cause::KeyMissing))
    }

    /// Whether a resource name is a version of the wrapping key.
    fn is_version(&self, name: &str) -> bool {
        let version = name.strip_prefix(&self.key).and_then(|rest| rest.strip_prefix("/cryptoKeyVersions/"));
        version
            .is_some_and(|number| (1..20).contains(&number.len()) && number.bytes().all(|digit| digit.is_ascii_digit()))
    }

    fn reader(&self, about: Operation) -> Reader<'_> {
        Reader { about, clock: &*self.clock }
    }
}

impl Service for Gcp {
    async fn look(&self) -> Result<Answer<Facts>, Trouble> {
        let asked = self.client.get_crypto_key().set_name(&self.key).with_attempt_timeout(self.patience.attempt);
        let key = asked.send().await.map_err(|error| self.reader(Operation::FindKey).read(&error))?;
        if key.name != self.key {
            return Err(Trouble::of(Cause::EndpointWrong).said("an answer about another key, or about none"));
        }
        if key.purpose != CryptoKeyPurpose::EncryptDecrypt {
            return Err(Trouble::of(Cause::Unsupported).said("not ENCRYPT_DECRYPT"));
        }
        let primary = key.primary.ok_or_else(|| Trouble::of(Cause::KeyDisabled).said("no primary version"))?;
        usable(&primary)?;
        if primary.algorithm != CryptoKeyVersionAlgorithm::GoogleSymmetricEncryption {
            return Err(Trouble::of(Cause::Unsupported).said("not GOOGLE_SYMMETRIC_ENCRYPTION"));
        }
        let told = vec![
            ("purpose", key.purpose.to_string()),
            ("primary", primary.name.clone()),
            ("state", primary.state.to_string()),
            ("protectionLevel", primary.protection_level.to_string()),
            ("importOnly", key.import_only.to_string()),
            // A version may have been imported into a key that also makes its own.
            ("importJob", if primary.import_job.is_empty() { "none".to_owned() } else { primary.import_job.clone() }),
            ("rotates", key.next_rotation_time.is_some().to_string()),
        ];
        Ok(answer(Facts {
            service: "Google Cloud KMS",
            kind: "GOOGLE_SYMMETRIC_ENCRYPTION".to_owned(),
            account: self.key.split('/').nth(1).unwrap_or_default().to_owned(),
            address: self.endpoint.clone(),
            key: self.key.clone(),
            mechanism: Mechanism::GcpKms,
            told,
        }))
    }

    async fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Answer<Sealed>, Trouble> {
        let asked = self.client.encrypt().set_name(&self.key).with_attempt_timeout(self.patience.attempt);
        let asked = asked.set_plaintext(Bytes::from_owner(Zeroizing::new(plain.to_vec())));
        let asked = asked.set_plaintext_crc32c(sum(plain));
        let asked = asked.set_additional_authenticated_data(context.to_vec());
        let asked = asked.set_additional_authenticated_data_crc32c(sum(context));
        let said = asked.send().await.map_err(|error| self.reader(Operation::Wrap).read(&error))?;
        if !self.is_version(&said.name) {
            return Err(Trouble::of(Cause::EndpointWrong).said("an answer of another key, or of none"));
        }
        compared(said.verified_plaintext_crc32c && said.verified_additional_authenticated_data_crc32c)?;
        whole(&said.ciphertext, said.ciphertext_crc32c)?;
        Ok(answer(Sealed { bytes: said.ciphertext.to_vec(), key: said.name }))
    }

    async fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Answer<Zeroizing<Vec<u8>>>, Trouble> {
        let asked = self.client.decrypt().set_name(&self.key).with_attempt_timeout(self.patience.attempt);
        let asked = asked.set_ciphertext(sealed.to_vec()).set_ciphertext_crc32c(sum(sealed));
        let asked = asked.set_additional_authenticated_data(context.to_vec());
        let asked = asked.set_additional_authenticated_data_crc32c(sum(context));
        let said = asked.send().await.map_err(|error| self.reader(Operation::Unwrap).read(&error))?;
        let plain = Zeroizing::new(Vec::from(said.plaintext));
        // An answer without any plaintext is not the service's: what we wrap is never empty.
        if plain.is_empty() {
            return Err(Trouble::of(Cause::EndpointWrong).said("no plaintext"));
        }
        whole(&plain, said.plaintext_crc32c)?;
        Ok(answer(plain))
    }

    fn fits(&self, sealed: &[u8]) -> bool {
        (1..=LONGEST).contains(&sealed.len())
    }

    fn wrapped_by(&self, key: &str) -> bool {
        key == self.key || self.is_version(key)
    }

    fn signs(&self) -> bool {
        self.signer_key.is_some()
    }

    async fn public_key(&self) -> Result<Answer<VerifyingKey>, Trouble> {
        let name = self.signer_key()?;
        let asked = self.client.get_public_key().set_name(name).with_attempt_timeout(self.patience.attempt);
        let said = asked.send().await.map_err(|error| self.reader(Operation::FindKey).read(&error))?;
        if said.name != name {
            return Err(Trouble::of(Cause::EndpointWrong).said("an answer about another key, or about none"));
        }
        whole(said.pem.as_bytes(), said.pem_crc32c)?;
        let key = point::pem(&said.pem).and_then(|der| point::public_key(&der));
        key.map(answer)
            .ok_or_else(|| Trouble::of(Cause::Unsupported).said("not EC_SIGN_ED25519 or EC_SIGN_P256_SHA256"))
    }

    async fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Answer<[u8; 64]>, Trouble> {
        let name = self.signer_key()?;
        let asked = self.client.asymmetric_sign().set_name(name).with_attempt_timeout(self.patience.attempt);
        let asked = match key {
            VerifyingKey::Ed25519(_) => asked.set_data(message.to_vec()).set_data_crc32c(sum(message)),
            VerifyingKey::P256(_) => {
                let digest = Sha256::digest(message).to_vec();
                asked.set_digest_crc32c(sum(&digest)).set_digest(Digests::new().set_sha256(digest))
            }
        };
        let said = asked.send().await.map_err(|error| self.reader(Operation::Sign).read(&error))?;
        if said.name != name {
            return Err(Trouble::of(Cause::EndpointWrong).said("an answer of another key, or of none"));
        }
        compared(match key {
            VerifyingKey::Ed25519(_) => said.verified_data_crc32c,
            VerifyingKey::P256(_) => said.verified_digest_crc32c,
        })?;
        whole(&said.signature, said.signature_crc32c)?;
        let signature = match key {
            VerifyingKey::Ed25519(_) => said.signature.as_ref().try_into().ok(),
            VerifyingKey::P256(_) => point::signature(&said.signature),
        };
        signature
            .map(answer)
            .ok_or_else(|| Trouble::of(Cause::EndpointWrong).said("no signature of the form asked for"))
    }
}
