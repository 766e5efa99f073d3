//! Erasure of a person, with a certificate that is verified before it is handed on.

use std::sync::Arc;

use cofre_ledger::note::NoteKey;
use cofre_model::id::{ConsentId, ErasureId};
use cofre_model::permit::EntryRef;
use cofre_model::request::Person;
use cofre_model::time::Clock;
use cofre_proto::v1;
use cofre_proto::v1::consent_service_client::ConsentServiceClient;
use cofre_proto::v1::privacy_service_client::PrivacyServiceClient;
use tonic::transport::Channel;

use crate::connect::ConnectError;
use crate::deployment::Deployment;
use crate::error::{Error, NotVerified};
use crate::identity::Identity;
use crate::paper::{self, Paper};
use crate::wire::{call, entry, id};

/// A person whose erasure was accepted. Nothing of theirs is released any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The erasure.
    pub id: ErasureId,
    /// The ledger entry.
    pub entry: EntryRef,
    /// The certificate, verified; none while the custodian cannot sign.
    pub certificate: Option<Paper>,
}

/// A privacy officer.
#[derive(Debug, Clone)]
pub struct PrivacyOfficer {
    channel: Channel,
    signer: NoteKey,
}

impl PrivacyOfficer {
    /// Connects with the identity of a privacy officer.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        deployment: &Deployment,
        identity: &Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Ok(Self { channel: deployment.channel(identity, clock).await?, signer: deployment.signer.clone() })
    }

    /// Erases a person.
    ///
    /// # Errors
    /// NOT_FOUND; a certificate that does not hold.
    pub async fn erase(&self, person: &Person) -> Result<Erased, Error> {
        erase(&self.channel, &self.signer, person).await
    }

    /// The certificate of an erasure; none while the custodian cannot sign.
    ///
    /// # Errors
    /// NOT_FOUND; a certificate that does not hold.
    pub async fn certificate(&self, erasure: &ErasureId) -> Result<Option<Paper>, Error> {
        certificate(&self.channel, &self.signer, erasure).await
    }

    /// Withdraws a consent on a person's behalf.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub async fn revoke(&self, consent: &ConsentId) -> Result<EntryRef, Error> {
        let request = v1::RevokeRequest { consent_id: consent.to_string() };
        let mut consents = ConsentServiceClient::new(self.channel.clone());
        entry(consents.revoke(call(request)).await?.into_inner().entry)
    }
}

pub(crate) async fn erase(channel: &Channel, signer: &NoteKey, person: &Person) -> Result<Erased, Error> {
    use v1::erase_request::Person as Wire;
    let subject = match person {
        Person::Id(subject) => Some(subject.to_string()),
        Person::Ref(_) => None,
    };
    let person = match person {
        Person::Id(subject) => Wire::SubjectId(subject.to_string()),
        Person::Ref(pseudonym) => Wire::SubjectRef(pseudonym.as_str().to_owned()),
    };
    let request = v1::EraseRequest { person: Some(person) };
    let wire = PrivacyServiceClient::new(channel.clone()).erase(call(request)).await?.into_inner();
    let erasure = id("erasure_id", &wire.erasure_id)?;
    let (at, certificate) = (entry(wire.entry)?, verified(&wire.certificate, signer, &erasure)?);
    // Another person's certificate is as genuine: it has to be about this acceptance, and about whom was named.
    if let Some(paper) = &certificate {
        let accepted =
            paper.content.get("accepted").and_then(|place| place.get("index")).and_then(|index| index.as_u64());
        let named = subject.is_none_or(|subject| paper.text("subject") == Some(subject.as_str()));
        if accepted != Some(at.index) || !named {
            return Err(NotVerified::Paper.into());
        }
    }
    Ok(Erased { id: erasure, entry: at, certificate })
}

pub(crate) async fn certificate(
    channel: &Channel,
    signer: &NoteKey,
    erasure: &ErasureId,
) -> Result<Option<Paper>, Error> {
    let request = v1::CertificateRequest { erasure_id: erasure.to_string() };
    let wire = PrivacyServiceClient::new(channel.clone()).certificate(call(request)).await?.into_inner();
    verified(&wire.certificate, signer, erasure)
}

fn verified(jws: &str, signer: &NoteKey, erasure: &ErasureId) -> Result<Option<Paper>, Error> {
    Ok((!jws.is_empty()).then(|| paper::certificate(jws, signer, erasure)).transpose()?)
}
