//! Contexts: what a sealed or wrapped thing is bound to. Each is a struct of its own with one encoder, so that
//! nothing sealed for one place opens in another. No context is secret, and none contains a secret.
//!
//! The encoding is canonical: the label, then each part, every one as u16 big-endian length and its bytes.
//! Identifiers are their exact text, numbers are big-endian of fixed width, digests are raw.

#[cfg(test)]
mod tests;

use cofre_model::credential::FieldKey;
use cofre_model::id::{ChallengeId, CredentialId, DepositKeyId, EnrolmentId, SubjectId, TenantId};
use cofre_model::permit::{DepositWarrant, Evidence, ReleaseWarrant};
use cofre_model::time::Timestamp;
use cofre_model::wording::Class;

use crate::primitive;
use crate::sealing::Suite;

/// Collects a label and its parts in the canonical encoding.
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn new(label: &str) -> Self {
        Self(Vec::with_capacity(256)).part(label.as_bytes())
    }

    pub(crate) fn part(mut self, bytes: &[u8]) -> Self {
        // INVARIANT: every part is an id, a number, a digest or a name of a closed length, far below 65,536 bytes.
        // A longer one is replaced by nothing that could collide: its digest, under a length no other part can have.
        match u16::try_from(bytes.len()) {
            Ok(len) if len < u16::MAX => {
                self.0.extend_from_slice(&len.to_be_bytes());
                self.0.extend_from_slice(bytes);
            }
            _ => {
                self.0.extend_from_slice(&u16::MAX.to_be_bytes());
                self.0.extend_from_slice(&primitive::sha256(bytes));
            }
        }
        self
    }

    pub(crate) fn text(self, text: impl std::fmt::Display) -> Self {
        self.part(text.to_string().as_bytes())
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// What every secret of one version of one login shares; the field key completes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretContext {
    /// The tenant.
    pub tenant: TenantId,
    /// The credential holder.
    pub owner: SubjectId,
    /// The login.
    pub credential: CredentialId,
    /// The class of secret.
    pub class: Class,
    /// The version of the secret.
    pub version: u32,
}

impl SecretContext {
    fn encoder(&self, label: &str) -> Encoder {
        Encoder::new(label)
            .text(self.tenant)
            .text(self.owner)
            .text(self.credential)
            .text(self.class)
            .part(&self.version.to_be_bytes())
    }
}

impl From<&ReleaseWarrant> for SecretContext {
    fn from(warrant: &ReleaseWarrant) -> Self {
        Self {
            tenant: warrant.tenant,
            owner: warrant.owner,
            credential: warrant.credential,
            class: warrant.class,
            version: warrant.secret_version,
        }
    }
}

impl From<&DepositWarrant> for SecretContext {
    fn from(warrant: &DepositWarrant) -> Self {
        Self {
            tenant: warrant.tenant,
            owner: warrant.owner,
            credential: warrant.credential,
            class: warrant.class,
            version: warrant.secret_version,
        }
    }
}

/// `field`: one sealed field at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldContext<'a> {
    /// Whose login, and which version of it.
    pub secret: SecretContext,
    /// Which field of it.
    pub field: &'a FieldKey,
}

impl FieldContext<'_> {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.secret.encoder("field").part(self.field.as_str().as_bytes()).done()
    }
}

/// `wrap/data`: a data key under its owner's subject key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapData {
    /// Whose login, and which version of it.
    pub secret: SecretContext,
    /// The version of the subject key.
    pub subject_key_version: u32,
}

impl WrapData {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.secret.encoder("wrap/data").part(&self.subject_key_version.to_be_bytes()).done()
    }
}

/// `wrap/subject`: a subject key under the tenant key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapSubject {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose key.
    pub owner: SubjectId,
    /// Its version.
    pub subject_key_version: u32,
    /// The id derived from the tenant key.
    pub tenant_key_id: [u8; 16],
    /// The version of the tenant key.
    pub tenant_key_version: u32,
}

impl WrapSubject {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new("wrap/subject")
            .text(self.tenant)
            .text(self.owner)
            .part(&self.subject_key_version.to_be_bytes())
            .part(&self.tenant_key_id)
            .part(&self.tenant_key_version.to_be_bytes())
            .done()
    }
}

/// `wrap/tenant`: a share of a tenant key under one custodian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapTenant<'a> {
    /// The region.
    pub region: &'a str,
    /// The tenant.
    pub tenant: TenantId,
    /// The version of the tenant key.
    pub tenant_key_version: u32,
    /// Digest of the custody set.
    pub custody_set: [u8; 32],
    /// The custodian's name in the configuration.
    pub custodian: &'a str,
    /// Which share, from 0.
    pub share_index: u16,
    /// Of how many.
    pub share_count: u16,
}

impl WrapTenant<'_> {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new("wrap/tenant")
            .part(self.region.as_bytes())
            .text(self.tenant)
            .part(&self.tenant_key_version.to_be_bytes())
            .part(&self.custody_set)
            .part(self.custodian.as_bytes())
            .part(&self.share_index.to_be_bytes())
            .part(&self.share_count.to_be_bytes())
            .done()
    }

    /// SHA-256 of the canonical bytes: what stands beside the share, and what a custodian gets as AAD.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        primitive::sha256(&self.encode())
    }
}

/// `wrap/deposit-key`: the private half of a deposit key pair under the tenant key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapDepositKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The key pair.
    pub key: DepositKeyId,
    /// Its suite.
    pub suite: Suite,
    /// It seals from this instant on.
    pub not_before: Timestamp,
    /// It seals nothing from this instant on.
    pub not_after: Timestamp,
}

impl WrapDepositKey {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new("wrap/deposit-key")
            .text(self.tenant)
            .text(self.key)
            .part(&self.suite.id().to_be_bytes())
            .part(&self.not_before.micros().to_be_bytes())
            .part(&self.not_after.micros().to_be_bytes())
            .done()
    }
}

/// Which key of a tenant's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKeyKind {
    /// Of row MACs.
    Integrity,
    /// Of duplicate tags.
    Dedupe,
}

/// `wrap/row-key`: a key of the tenant's rows under a later version of the tenant key than the one it was derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapRowKey {
    /// The tenant.
    pub tenant: TenantId,
    /// Which key.
    pub kind: RowKeyKind,
    /// The id derived from the tenant key that wraps it.
    pub tenant_key_id: [u8; 16],
    /// The version of that tenant key.
    pub tenant_key_version: u32,
}

impl WrapRowKey {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let kind: &[u8] = match self.kind {
            RowKeyKind::Integrity => b"integrity",
            RowKeyKind::Dedupe => b"dedupe",
        };
        Encoder::new("wrap/row-key")
            .text(self.tenant)
            .part(kind)
            .part(&self.tenant_key_id)
            .part(&self.tenant_key_version.to_be_bytes())
            .done()
    }
}

/// `wrap/evidence`: an owner's evidence key under the tenant key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapEvidence {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose evidence.
    pub owner: SubjectId,
    /// The version of the evidence key.
    pub evidence_key_version: u32,
}

impl WrapEvidence {
    fn encoder(&self, label: &str) -> Encoder {
        Encoder::new(label).text(self.tenant).text(self.owner).part(&self.evidence_key_version.to_be_bytes())
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encoder("wrap/evidence").done()
    }

    /// `evidence`: one document sealed under the evidence key.
    pub(crate) fn document(&self, name: &str) -> Vec<u8> {
        self.encoder("evidence").part(name.as_bytes()).done()
    }
}

/// `cofre/v1/deposit`: the HPKE info of one deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepositContext {
    /// The tenant.
    pub tenant: TenantId,
    /// The deposit key it is sealed to.
    pub key: DepositKeyId,
    /// The enrolment it belongs to.
    pub enrolment: EnrolmentId,
    /// The credential holder.
    pub owner: SubjectId,
    /// The login.
    pub credential: CredentialId,
    /// The template its fields follow.
    pub template_version: u32,
}

impl DepositContext {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new("cofre/v1/deposit")
            .text(self.tenant)
            .text(self.key)
            .text(self.enrolment)
            .text(self.owner)
            .text(self.credential)
            .part(&self.template_version.to_be_bytes())
            .done()
    }

    /// `cofre/v1/deposit/field`: the AAD of one field of a deposit.
    pub(crate) fn field(field: &FieldKey, position: u16) -> Vec<u8> {
        Encoder::new("cofre/v1/deposit/field").part(field.as_str().as_bytes()).part(&position.to_be_bytes()).done()
    }
}

/// `cofre/v1/release`: the HPKE info of one released answer. The entry hash commits to consents and policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseContext<'a> {
    /// The ledger's origin, `<deployment>/ledger`.
    pub origin: &'a str,
    /// The index of the grant.
    pub index: u64,
    /// The RFC 6962 leaf hash of the grant.
    pub entry_hash: [u8; 32],
    /// The digest of the request.
    pub request_digest: [u8; 32],
    /// The worker, as SPIFFE id text.
    pub worker: &'a str,
}

impl<'a> ReleaseContext<'a> {
    /// The context of a committed grant in the ledger called `origin`.
    #[must_use]
    pub fn of(origin: &'a str, evidence: &'a Evidence<ReleaseWarrant>) -> Self {
        Self {
            origin,
            index: evidence.at.index,
            entry_hash: evidence.at.leaf_hash,
            request_digest: evidence.warrant.request_digest,
            worker: &evidence.warrant.worker,
        }
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new("cofre/v1/release")
            .part(self.origin.as_bytes())
            .part(&self.index.to_be_bytes())
            .part(&self.entry_hash)
            .part(&self.request_digest)
            .part(self.worker.as_bytes())
            .done()
    }
}

/// `cofre/v1/answer`: the HPKE info of one answer to a second-factor challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerContext {
    /// The tenant.
    pub tenant: TenantId,
    /// The login that is being challenged.
    pub credential: CredentialId,
    /// The challenge.
    pub challenge: ChallengeId,
    /// Which attempt, from 1.
    pub attempt: u32,
}

impl AnswerContext {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new("cofre/v1/answer")
            .text(self.tenant)
            .text(self.credential)
            .text(self.challenge)
            .part(&self.attempt.to_be_bytes())
            .done()
    }
}
