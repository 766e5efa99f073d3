//! What a tenant's front end does: enrol and deposit, consents with their receipts, answers to second factors, erasure.
//! It holds no secret longer than it takes to seal one, and better leaves sealing to the investor's page.

use std::sync::Arc;

use cofre_envelope::ClientSecret;
use cofre_ledger::note::NoteKey;
use cofre_model::consent::ConsentState;
use cofre_model::credential::CredentialState;
use cofre_model::id::{ChallengeId, ConsentId, CredentialId, EnrolmentId, ErasureId, InstitutionId};
use cofre_model::permit::EntryRef;
use cofre_model::request::{GrantRequest, Login, NoticeRequest, Person};
use cofre_model::time::{Clock, Timestamp};
use cofre_proto::v1::consent_service_client::ConsentServiceClient;
use cofre_proto::v1::deposit_service_client::DepositServiceClient;
use cofre_proto::v1::relay_service_client::RelayServiceClient;
use cofre_proto::{convert, v1};
use tonic::transport::Channel;

use crate::answer::{Challenge, ChallengeWatch, Trust};
use crate::connect::ConnectError;
use crate::deployment::Deployment;
use crate::error::{Error, NotVerified};
use crate::identity::Identity;
use crate::notice::{self, Notice};
use crate::paper::{self, Paper};
use crate::people::privacy::{self, Erased};
use crate::sealing::{Enrolment, SealedLogin, SignedDepositKey, VerifiedDepositKey};
use crate::wire::{bytes, call, entry, id};

/// A front end's connection to the vault. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    channel: Channel,
    signer: NoteKey,
    trust: Trust,
}

/// A login that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposited {
    /// The login.
    pub credential: CredentialId,
    /// The version of its secret.
    pub secret_version: u32,
    /// The ledger entry.
    pub entry: EntryRef,
}

/// Where a login stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialStanding {
    /// The login.
    pub credential: CredentialId,
    /// Where it works.
    pub institution: InstitutionId,
    /// Its state.
    pub state: CredentialState,
    /// The version of its secret; 0 while none rests.
    pub secret_version: u32,
}

/// A consent that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The ledger entry.
    pub entry: EntryRef,
    /// The receipt, verified.
    pub receipt: Paper,
}

/// A consent that was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The ledger entry.
    pub entry: EntryRef,
    /// The receipt, verified; none while the custodian cannot sign. The withdrawal holds all the same.
    pub receipt: Option<Paper>,
}

impl FrontEnd {
    /// Connects with a front end's identity.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        deployment: &Deployment,
        identity: &Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            channel: deployment.channel(identity, Arc::clone(&clock)).await?,
            signer: deployment.signer.clone(),
            trust: Trust { roots: Arc::clone(identity.roots()), trust_domain: deployment.trust_domain.clone(), clock },
        })
    }

    fn deposits(&self) -> DepositServiceClient<Channel> {
        DepositServiceClient::new(self.channel.clone())
    }

    fn consents(&self) -> ConsentServiceClient<Channel> {
        ConsentServiceClient::new(self.channel.clone())
    }

    fn relay(&self) -> RelayServiceClient<Channel> {
        RelayServiceClient::new(self.channel.clone())
    }

    // === deposits ===

    /// The tenant's current deposit key, verified under the pinned signer. The vault's own word about that signer is
    /// not looked at.
    ///
    /// # Errors
    /// [`Error::NotVerified`]: seal nothing to it.
    pub async fn deposit_key(&self) -> Result<VerifiedDepositKey, Error> {
        let wire = self.deposits().deposit_key(call(v1::DepositKeyRequest {})).await?.into_inner();
        let key = SignedDepositKey {
            id: id("key_id", &wire.key_id)?,
            tenant: id("tenant_id", &wire.tenant_id)?,
            key: convert::seal_key("public_key", wire.suite, wire.public_key)
                .map_err(|_| Error::Answer("public_key"))?,
            not_before: Timestamp::from_micros(wire.not_before_us),
            not_after: Timestamp::from_micros(wire.not_after_us),
            signature: wire.signature,
        };
        // The vault answers for the caller's own tenant, which its certificate names; a page pins the tenant itself.
        let tenant = key.tenant;
        Ok(key.verify(&self.signer, &tenant, self.trust.clock.now())?)
    }

    /// Opens an enrolment session for a new login, or for a new secret of an existing one.
    ///
    /// # Errors
    /// NOT_FOUND for an institution or login this tenant does not have.
    pub async fn open_enrolment(&self, login: &Login) -> Result<Enrolment, Error> {
        use v1::open_enrolment_request::Login as Wire;
        let login = match login {
            Login::New { institution, subject } => Wire::NewLogin(v1::NewLogin {
                institution_id: institution.to_string(),
                subject_ref: subject.as_str().to_owned(),
            }),
            Login::Existing(credential) => Wire::CredentialId(credential.to_string()),
        };
        let request = v1::OpenEnrolmentRequest { login: Some(login) };
        let wire = self.deposits().open_enrolment(call(request)).await?.into_inner();
        // The form comes in the shape an operator puts it, and is parsed as strictly.
        let template = v1::PutTemplateRequest {
            institution_id: "ins_any".to_owned(),
            version: wire.template_version,
            fields: wire.fields,
        };
        Ok(Enrolment {
            id: id("enrolment_id", &wire.enrolment_id)?,
            credential: id("credential_id", &wire.credential_id)?,
            owner: id("owner_id", &wire.owner_id)?,
            template_version: wire.template_version,
            fields: convert::put_template(template).map_err(|_| Error::Answer("fields"))?.fields,
            expires: Timestamp::from_micros(wire.expires_us),
        })
    }

    /// Hands over a sealed login.
    ///
    /// # Errors
    /// DEPOSIT_REFUSED names the field; WRONG_STATE for an enrolment that was used or is over.
    pub async fn deposit(&self, sealed: SealedLogin) -> Result<Deposited, Error> {
        let fields = sealed.fields.into_iter();
        let request = v1::DepositRequest {
            enrolment_id: sealed.enrolment.to_string(),
            deposit_key_id: sealed.deposit_key.to_string(),
            encapsulated_key: sealed.encapsulated_key,
            fields: fields.map(|(key, sealed)| v1::SealedField { key: key.to_string(), sealed }).collect(),
        };
        let wire = self.deposits().deposit(call(request)).await?.into_inner();
        Ok(Deposited {
            credential: id("credential_id", &wire.credential_id)?,
            secret_version: wire.secret_version,
            entry: entry(wire.entry)?,
        })
    }

    /// Ends an enrolment without a login.
    ///
    /// # Errors
    /// NOT_FOUND, WRONG_STATE.
    pub async fn cancel_enrolment(&self, enrolment: &EnrolmentId) -> Result<EntryRef, Error> {
        let request = v1::CancelEnrolmentRequest { enrolment_id: enrolment.to_string() };
        entry(self.deposits().cancel_enrolment(call(request)).await?.into_inner().entry)
    }

    /// Where a login stands.
    ///
    /// # Errors
    /// NOT_FOUND for another tenant's login, or none.
    pub async fn credential_state(&self, credential: &CredentialId) -> Result<CredentialStanding, Error> {
        let request = v1::CredentialStateRequest { credential_id: credential.to_string() };
        let wire = self.deposits().credential_state(call(request)).await?.into_inner();
        Ok(CredentialStanding {
            credential: id("credential_id", &wire.credential_id)?,
            institution: id("institution_id", &wire.institution_id)?,
            state: CredentialState::from_number(wire.state).ok_or(Error::Answer("state"))?,
            secret_version: wire.secret_version,
        })
    }

    // === consents ===

    /// Opens a consent and returns the notice to show.
    ///
    /// # Errors
    /// [`NotVerified::Notice`] where its digest is not that of its lines.
    pub async fn notice(&self, about: &NoticeRequest) -> Result<Notice, Error> {
        let request = v1::NoticeRequest {
            credential_id: about.credential.to_string(),
            recipient_id: about.recipient.to_string(),
            purpose: about.purpose.number(),
            scopes: about.scopes.iter().map(cofre_model::wording::Scope::number).collect(),
            valid_until_us: about.valid_until.micros(),
            history_from_us: about.history_from.micros(),
            unattended_per_day: u32::from(about.unattended_per_day),
            locale: about.locale.number(),
        };
        let wire = self.consents().notice(call(request)).await?.into_inner();
        let lines: Vec<_> = wire.lines.into_iter().map(|line| (line.key, line.text)).collect();
        let sha256 = bytes("notice_sha256", &wire.notice_sha256)?;
        if notice::digest(&wire.notice_id, &lines) != sha256 {
            return Err(NotVerified::Notice.into());
        }
        let consent = id("consent_id", &wire.consent_id)?;
        let lapses = Timestamp::from_micros(wire.lapses_us);
        Ok(Notice { consent, notice_id: wire.notice_id, lines, sha256, lapses })
    }

    /// The investor said yes to the notice whose digest is named.
    ///
    /// # Errors
    /// WRONG_STATE for a consent that lapsed or was decided; [`NotVerified::Paper`] for a receipt that does not hold.
    pub async fn grant(&self, grant: &GrantRequest) -> Result<Granted, Error> {
        let request = v1::GrantRequest {
            consent_id: grant.consent.to_string(),
            notice_sha256: grant.notice_sha256.to_vec(),
            authn_method: grant.authn_method.to_string(),
            session_id: grant.session.to_string(),
        };
        let wire = self.consents().grant(call(request)).await?.into_inner();
        let receipt = paper::receipt(&wire.receipt, &self.signer, &grant.consent, Some(ConsentState::Active))?;
        let notice =
            receipt.content.get("notice").and_then(|notice| notice.get("sha256")).and_then(|text| text.as_str());
        if notice != Some(hex::encode(grant.notice_sha256).as_str()) {
            return Err(NotVerified::Paper.into());
        }
        Ok(Granted { entry: entry(wire.entry)?, receipt })
    }

    /// Withdraws a consent.
    ///
    /// # Errors
    /// NOT_FOUND; [`NotVerified::Paper`] for a receipt that does not hold, though the withdrawal does.
    pub async fn revoke(&self, consent: &ConsentId) -> Result<Revoked, Error> {
        let request = v1::RevokeRequest { consent_id: consent.to_string() };
        let wire = self.consents().revoke(call(request)).await?.into_inner();
        let receipt = (!wire.receipt.is_empty())
            .then(|| paper::receipt(&wire.receipt, &self.signer, consent, Some(ConsentState::Revoked)))
            .transpose()?;
        Ok(Revoked { entry: entry(wire.entry)?, receipt })
    }

    /// Where a consent stands, and its receipts, oldest first, all verified.
    ///
    /// # Errors
    /// NOT_FOUND; [`NotVerified::Paper`], [`NotVerified::PaperChain`].
    pub async fn receipts(&self, consent: &ConsentId) -> Result<(ConsentState, Vec<Paper>), Error> {
        let request = v1::ReceiptRequest { consent_id: consent.to_string() };
        let wire = self.consents().receipt(call(request)).await?.into_inner();
        let state = ConsentState::from_number(wire.state).ok_or(Error::Answer("state"))?;
        Ok((state, paper::receipts(&wire.receipts, &self.signer, consent)?))
    }

    // === second factors ===

    /// Watches for challenges of the tenant's investors.
    ///
    /// # Errors
    /// As any call.
    pub async fn challenges(&self) -> Result<ChallengeWatch, Error> {
        let stream = self.relay().watch(v1::WatchRequest {}).await?.into_inner();
        Ok(ChallengeWatch { stream, trust: self.trust.clone() })
    }

    /// Seals the investor's code to the challenge's worker and hands it over. The code is wiped.
    ///
    /// # Errors
    /// WRONG_STATE once the challenge is over.
    pub async fn answer(&self, challenge: &Challenge, code: ClientSecret) -> Result<EntryRef, Error> {
        let sealed = challenge.seal(code)?;
        let request = v1::AnswerRequest {
            challenge_id: challenge.id.to_string(),
            encapsulated_key: sealed.encapsulated_key,
            ciphertext: sealed.ciphertext,
        };
        entry(self.relay().answer(call(request)).await?.into_inner().entry)
    }

    /// The investor does not want to answer.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub async fn cancel_challenge(&self, challenge: &ChallengeId) -> Result<EntryRef, Error> {
        let request = v1::CancelRequest { challenge_id: challenge.to_string() };
        entry(self.relay().cancel(call(request)).await?.into_inner().entry)
    }

    // === erasure ===

    /// Erases a person of the tenant.
    ///
    /// # Errors
    /// NOT_FOUND; [`NotVerified::Paper`] for a certificate that does not hold.
    pub async fn erase(&self, person: &Person) -> Result<Erased, Error> {
        privacy::erase(&self.channel, &self.signer, person).await
    }

    /// The certificate of an erasure; none while the custodian cannot sign.
    ///
    /// # Errors
    /// NOT_FOUND; [`NotVerified::Paper`].
    pub async fn certificate(&self, erasure: &ErasureId) -> Result<Option<Paper>, Error> {
        privacy::certificate(&self.channel, &self.signer, erasure).await
    }
}
