//! Use case: erasure of a person, with a signed certificate.
//!
//! Order: records (unreleasable, entry) → keyring (keys destroyed, tombstone; entry) → ciphertexts → certificate
//! (entry). Every step may be done twice, and where it stopped is in records, so that a crash or an absent custodian
//! delays the certificate and never the destruction.
//!
//! Records alone destroy nothing: whoever writes them could otherwise have any person's keys shredded. Keys go where the
//! caller asked for it in this very process, or where the acceptance proves to lie under a checkpoint that the
//! deployment's signer signed ([`Known`]). What remains: who writes records *and* is not noticed until the integrator
//! has signed over the invented entry has it carried out; the entry then stands in the signed register, under the node's
//! name, for good. And who writes records can keep an erasure from being carried out, which is logged as an incident
//! at every turn.
//!
//! No key is opened here. Nor is a warm one left behind: subject keys and data keys live for one operation, what stays
//! warm is the tenant's key, which opens nothing of a person whose subject key is gone.

mod certificate;
mod erase;
mod error;
mod known;

use std::sync::Arc;

pub use certificate::{HORIZON, SCHEMA, TYPE};
pub use erase::Erased;
pub use error::Error;
pub use known::Known;

use cofre_custody::Signer;
use cofre_model::caller::{Caller, Role};
use cofre_model::id::{SubjectId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::request::Person;
use cofre_model::time::Clock;
use cofre_store::{Ciphertexts, Keyring, Records};

/// What `server` hands to this use case: no more than it may use.
#[derive(Debug)]
pub struct Erasures {
    /// Records.
    pub records: Records,
    /// Ciphertexts, to delete.
    pub ciphertexts: Ciphertexts,
    /// The keyring, to destroy in.
    pub keyring: Keyring,
    /// The deployment's signer, which signs certificates in the token.
    pub signer: Arc<dyn Signer>,
    /// The `kid` of that signer in certificates.
    pub signer_name: String,
    /// The deployment's name, as certificates give it.
    pub deployment: String,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
    /// Erasures whose acceptance is beyond doubt; empty when the process starts.
    pub known: Known,
}

impl Erasures {
    /// The tenant a caller is bound to; none for a privacy officer or an auditor, who serve all. Everybody else has
    /// no business here.
    async fn bound(&self, caller: &Caller) -> Result<Option<TenantId>, Error> {
        match (caller.identity().role(), caller.identity().tenant()) {
            (Role::FrontEnd | Role::TenantAdmin, Some(slug)) => {
                let record = self.records.tenant_by_slug(slug).await?.ok_or(Error::refused(Reason::NotFound))?;
                // A suspended tenant's investors keep their rights.
                Ok(Some(record.tenant.id))
            }
            (Role::Privacy | Role::Auditor, None) => Ok(None),
            _ => Err(Error::refused(Reason::NotFound)),
        }
    }

    /// The person meant, if the caller's tenant has it. A person of another tenant is as absent as one that never was.
    async fn person(&self, caller: &Caller, person: &Person) -> Result<(TenantId, SubjectId), Error> {
        let absent = || Error::refused(Reason::NotFound);
        let bound = self.bound(caller).await?;
        let subject = match (person, bound) {
            (Person::Id(id), Some(tenant)) => self.records.subject(&tenant, id).await?,
            (Person::Id(id), None) => {
                let tenant = self.records.tenant_of_subject(id).await?.ok_or_else(absent)?;
                self.records.subject(&tenant, id).await?
            }
            (Person::Ref(reference), Some(tenant)) => self.records.subject_by_ref(&tenant, reference.as_str()).await?,
            (Person::Ref(_), None) => {
                let advice = "is known to its own tenant only; give subject_id instead";
                return Err(Error::field(Reason::BadRequest, "subject_ref", advice));
            }
        };
        let subject = subject.ok_or_else(absent)?;
        Ok((subject.tenant, subject.id))
    }
}
