//! The front end's side of a second factor: challenges of its tenant's investors, each believed only once its key was
//! verified, and the answer sealed to that key. The vault carries it and cannot open it.

use std::sync::Arc;
use std::time::Duration;

use cofre_envelope::context::AnswerContext;
use cofre_envelope::{ClientSecret, PublicKey, SealedAnswer, seal_answer};
use cofre_model::caller::{Role, SpiffeId};
use cofre_model::id::{ChallengeId, CredentialId, SubjectId, TenantId};
use cofre_model::request::ChallengeKey;
use cofre_model::statement;
use cofre_model::time::{Clock, Timestamp};
use cofre_model::wording::ScaKind;
use cofre_proto::{convert, v1};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use tonic::Streaming;
use webpki::{EndEntityCert, KeyUsage, aws_lc_rs as algorithms};

use crate::error::{Error, NotVerified};
use crate::identity::leaf_identity;
use crate::wire::id;

/// The counterpart of [`crate::identity::SIGNATURE_SCHEMES`], for statements and certificates alike.
pub(crate) static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 6] = [
    algorithms::ED25519,
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
];

/// A challenge whose key was verified: it belongs to the worker it names, for this login, attempt and expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its id.
    pub id: ChallengeId,
    /// The tenant.
    pub tenant: TenantId,
    /// The login.
    pub credential: CredentialId,
    /// Whose login it is.
    pub owner: SubjectId,
    /// What the investor is asked for.
    pub kind: ScaKind,
    /// How many characters the code has.
    pub code_length: u32,
    /// Which try this is, from 1.
    pub attempt: u8,
    /// An answer after this instant is refused.
    pub expires: Timestamp,
    /// The worker that will get the answer.
    pub worker: SpiffeId,
    key: PublicKey,
}

impl Challenge {
    /// Seals the investor's code to the worker of this challenge. The code is wiped.
    ///
    /// # Errors
    /// [`cofre_envelope::Error::TooLong`] or [`cofre_envelope::Error::Randomness`].
    pub fn seal(&self, code: ClientSecret) -> Result<SealedAnswer, cofre_envelope::Error> {
        let context = AnswerContext {
            tenant: self.tenant,
            credential: self.credential,
            challenge: self.id,
            attempt: u32::from(self.attempt),
        };
        seal_answer(&self.key, &context, code)
    }
}

/// Whom a front end believes about challenge keys.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) trust_domain: String,
    pub(crate) clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl Trust {
    /// Verifies that a trusted worker signed `signed` with its identity's key, and says which. Revocation is not
    /// checked here: the vault cuts revoked workers off, and their certificates are short-lived.
    fn worker(&self, chain: &[Vec<u8>], signed: &[u8], signature: &[u8]) -> Result<SpiffeId, NotVerified> {
        let mut certificates = chain.iter().map(|der| CertificateDer::from(der.as_slice()));
        let leaf = certificates.next().ok_or(NotVerified::ChallengeIdentity)?;
        let between: Vec<_> = certificates.collect();
        let end = EndEntityCert::try_from(&leaf).map_err(|_| NotVerified::ChallengeIdentity)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(self.clock.now().secs()));
        let usage = KeyUsage::client_auth();
        end.verify_for_usage(&ALGORITHMS, &self.roots.roots, &between, now, usage, None, None)
            .map_err(|_| NotVerified::ChallengeIdentity)?;
        let worker = leaf_identity(&leaf, &self.trust_domain).map_err(|_| NotVerified::ChallengeIdentity)?;
        if worker.role() != Role::Worker {
            return Err(NotVerified::ChallengeIdentity);
        }
        let holds = ALGORITHMS.iter().any(|algorithm| end.verify_signature(*algorithm, signed, signature).is_ok());
        if holds { Ok(worker) } else { Err(NotVerified::ChallengeKey) }
    }

    /// Parses a shown challenge and verifies its key.
    pub(crate) fn challenge(&self, wire: v1::WatchResponse) -> Result<Challenge, Error> {
        let key = wire.key.ok_or(Error::Answer("key"))?;
        let ChallengeKey { key, chain, signature } = convert::challenge_key(key).map_err(|_| Error::Answer("key"))?;
        let credential: CredentialId = id("credential_id", &wire.credential_id)?;
        let challenge: ChallengeId = id("challenge_id", &wire.challenge_id)?;
        let attempt = u8::try_from(wire.attempt).map_err(|_| Error::Answer("attempt"))?;
        let expires = Timestamp::from_micros(wire.expires_us);
        let signed = statement::challenge_key(credential, challenge, attempt, expires, &key);
        let worker = self.worker(&chain, &signed, &signature)?;
        Ok(Challenge {
            id: challenge,
            tenant: id("tenant_id", &wire.tenant_id)?,
            credential,
            owner: id("owner_id", &wire.owner_id)?,
            kind: ScaKind::from_number(wire.kind).ok_or(Error::Answer("kind"))?,
            code_length: wire.code_length,
            attempt,
            expires,
            worker,
            key: PublicKey::try_from(&key).map_err(|_| NotVerified::ChallengeKey)?,
        })
    }
}

/// The challenges of the tenant's investors, as they come.
#[derive(Debug)]
pub struct ChallengeWatch {
    pub(crate) stream: Streaming<v1::WatchResponse>,
    pub(crate) trust: Trust,
}

impl ChallengeWatch {
    /// The next challenge, verified; none once the vault ends the watch. After [`Error::NotVerified`] the watch goes on:
    /// that one challenge must not be shown.
    ///
    /// # Errors
    /// [`Error::NotVerified`], [`Error::Answer`], or why the watch broke.
    pub async fn next(&mut self) -> Result<Option<Challenge>, Error> {
        match self.stream.message().await? {
            Some(shown) => self.trust.challenge(shown).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
