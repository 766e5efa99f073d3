//! A person's part in a key ceremony: approving a plan, signing the record, and verifying one, all without a vault.

use std::sync::Arc;

use cofre_ledger::ceremony::{Approval, CeremonyError, Person, Plan, Record};
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed::VerifyingKey;
use cofre_model::caller::Role;
use cofre_model::time::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::answer::ALGORITHMS;
use crate::identity::{self, Identity, MaterialError, leaf_identity};

/// Why a person cannot take part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// The certificate names nobody who takes part, or its key is of another kind.
    #[error("certificate: must be that of person/custodian/<name>, with a key of Ed25519 or P-256")]
    Custodian,
    /// Certificate or key.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The plan or the record.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
}

/// Approves a plan at `at`, for a day.
///
/// # Errors
/// [`PartError`].
pub fn approve(identity: &Identity, trust_domain: &str, plan: &Plan, at: Timestamp) -> Result<Approval, PartError> {
    let key = note_key(identity, trust_domain)?;
    let chain: Vec<Vec<u8>> = identity.chain().iter().map(|each| each.to_vec()).collect();
    let mut approval = Approval::of(plan, &key, at, &chain)?;
    let signature = identity.sign(approval.text().as_bytes())?;
    approval.sign(&key, signature)?;
    Ok(approval)
}

/// Signs a record as one who approved its plan. What it says is to be verified before.
///
/// # Errors
/// [`PartError`].
pub fn countersign(identity: &Identity, trust_domain: &str, record: &mut Record) -> Result<(), PartError> {
    let key = note_key(identity, trust_domain)?;
    let signature = identity.sign(record.text().as_bytes())?;
    Ok(record.countersign(&key, signature)?)
}

fn note_key(identity: &Identity, trust_domain: &str) -> Result<NoteKey, PartError> {
    let leaf = identity.chain().first().ok_or(PartError::Custodian)?;
    let person = person(leaf, trust_domain).map_err(|_| PartError::Custodian)?;
    NoteKey::new(&person.name, person.key).map_err(|_| PartError::Custodian)
}

/// The custodian whom a certificate names, and its key. The chain is verified elsewhere.
fn person(leaf: &[u8], trust_domain: &str) -> Result<Person, String> {
    let name = leaf_identity(leaf, trust_domain).map_err(|why| why.to_string())?;
    if name.role() != Role::Custodian {
        return Err(format!("{name} is no custodian"));
    }
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| "the certificate is malformed")?;
    let key = VerifyingKey::from_spki(certificate.public_key().raw);
    let key = key.map_err(|_| "the certificate's key is neither Ed25519 nor P-256")?;
    Ok(Person { name: name.to_string(), key })
}

/// Whom certificates are believed from.
#[derive(Clone)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    trust_domain: String,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl Authorities {
    /// From PEM.
    ///
    /// # Errors
    /// [`MaterialError::Bundle`].
    pub fn from_pem(bundle: &[u8], trust_domain: &str) -> Result<Self, MaterialError> {
        Ok(Self { roots: identity::roots(bundle)?, trust_domain: trust_domain.to_owned() })
    }

    /// Whom the chain of an approval proves at a time. Whether it was revoked before, it does not say.
    ///
    /// # Errors
    /// [`CeremonyError::Person`].
    pub fn identify(&self, approval: &Approval, at: Timestamp) -> Result<Person, CeremonyError> {
        self.proves(approval.chain(), at)
            .map_err(|why| CeremonyError::Person { person: approval.person().to_owned(), why })
    }

    fn proves(&self, chain: &[Vec<u8>], at: Timestamp) -> Result<Person, String> {
        let mut certificates = chain.iter().map(|der| CertificateDer::from(der.as_slice()));
        let leaf = certificates.next().ok_or("no certificate")?;
        let between: Vec<_> = certificates.collect();
        let end = EndEntityCert::try_from(&leaf).map_err(|why| why.to_string())?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.secs()));
        end.verify_for_usage(&ALGORITHMS, &self.roots.roots, &between, at, KeyUsage::client_auth(), None, None)
            .map_err(|why| format!("the certificate is not vouched for: {why}"))?;
        person(&leaf, &self.trust_domain)
    }
}
