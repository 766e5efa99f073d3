//! Notice → grant → revocation. AWAITING_AUTHORISATION → ACTIVE → REVOKED or EXPIRED; the two last are final.

use cofre_envelope::{random, sha256};
use cofre_model::caller::Caller;
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::ConsentId;
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::{GrantRequest, NoticeRequest};
use cofre_model::time::{Span, Timestamp};
use cofre_policy::facts::Evidence;
use cofre_store::columns::Shown;
use cofre_store::{ConsentRecord, CredentialRecord, Operation, TenantRecord, columns};

use crate::notice::{self, Notice, Subject};
use crate::receipt::owed;
use crate::{Consents, Error, tenant_ref};

/// A consent that nobody decides on lapses after this.
const LAPSES_AFTER: Span = Span::minutes(60);
/// Longest a consent may run in the EU profile (RTS 2018/389, Article 10a: renewal of authentication).
const LONGEST: Span = Span::days(180);

/// A notice and the consent that awaits the investor's word on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The consent.
    pub consent: ConsentId,
    /// What to show.
    pub notice: Notice,
    /// When it lapses.
    pub lapses_at: Timestamp,
}

/// A consent that came into force, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The entry.
    pub entry: EntryRef,
    /// The signed receipt; nothing while the custodian cannot sign an ending's.
    pub receipt: Option<String>,
}

/// A consent's receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    /// Where the consent stands.
    pub state: ConsentState,
    /// Compact JWS, oldest first.
    pub receipts: Vec<String>,
}

impl Consents {
    /// Renders the notice and opens a consent that awaits authorisation.
    ///
    /// # Errors
    /// NOT_FOUND for a login or recipient this tenant does not have; BAD_REQUEST for a period that is none.
    pub async fn notice(&self, caller: &Caller, request: &NoticeRequest) -> Result<Offer, Error> {
        let tenant = self.tenant(caller).await?;
        let now = self.clock.now();
        if request.valid_until <= now || now.plus(LONGEST) < request.valid_until {
            let advice = "must lie in the future, at most 180 days ahead";
            return Err(Error::field(Reason::BadRequest, "valid_until_us", advice));
        }
        let record = self.records.credential(&tenant.tenant.id, &request.credential).await?;
        let record = record.ok_or(Error::refused(Reason::NotFound))?;
        let state = record.claimed.state;
        if matches!(state, CredentialState::Erasing | CredentialState::Erased | CredentialState::Discarded) {
            return Err(Error::refused(Reason::WrongState));
        }
        // Whose login it is goes under the consent's MAC: it has to be what the enrolment wrote.
        let credential = self.login(&tenant, record).await?;
        let recipient = self.records.recipient(&tenant.tenant.id, &request.recipient).await?;
        let recipient = recipient.ok_or(Error::field(
            Reason::NotFound,
            "recipient_id",
            "must be a registered recipient of this tenant",
        ))?;
        let institution = self.records.institution(&credential.institution).await?;
        let institution = institution.ok_or(Error::refused(Reason::NotFound))?;
        let notice = notice::render(
            request.locale,
            &Subject {
                aisp: &self.aisp,
                tenant: &tenant.tenant.legal_name,
                institution: &institution.name,
                recipient: &recipient.name,
                scopes: &request.scopes,
                history_from: request.history_from,
                valid_until: request.valid_until,
                unattended_per_day: request.unattended_per_day,
            },
        );
        let consent = Consent {
            id: ConsentId::from_parts(now.millis(), random::array()?),
            tenant: tenant.tenant.id,
            subject: credential.owner,
            credential: credential.id,
            recipient: request.recipient,
            purpose: request.purpose,
            scopes: request.scopes.clone(),
            valid_from: now,
            valid_until: request.valid_until,
            history_from: request.history_from,
            unattended_per_day: request.unattended_per_day,
            state: ConsentState::AwaitingAuthorisation,
        };
        let lapses_at = now.plus(LAPSES_AFTER);
        let mut entry =
            Self::entry(EntryKind::ConsentRequested, Some("cofre.v1.ConsentService/Notice"), &tenant)?.by(caller);
        describe(&mut entry, &consent);
        entry.digest = Some(notice.sha256);
        entry.reference = Some(notice.id.clone());
        let offer = Offer { consent: consent.id, lapses_at, notice };
        let notice_digest = offer.notice.sha256;
        let shown = Shown { lapses_at, notice_digest, locale: request.locale };
        let tag = self.tag(&tenant, &consent, &shown, &entry).await?;
        let operation = Operation::RequestConsent { consent, tag, lapses_at, notice_digest, locale: request.locale };
        self.records.apply(entry, operation).await?;
        Ok(offer)
    }

    /// The investor said yes to exactly the notice whose digest is named.
    ///
    /// # Errors
    /// NOT_FOUND for another tenant's consent, or none; BAD_REQUEST where another text was shown; WRONG_STATE where it
    /// was decided or has lapsed; KEY_SERVICE_UNAVAILABLE where no receipt can be signed: no consent without one.
    pub async fn grant(&self, caller: &Caller, request: &GrantRequest) -> Result<Given, Error> {
        let tenant = self.tenant(caller).await?;
        let record = self.records.consent(&tenant.tenant.id, &request.consent).await?;
        let record = record.ok_or(Error::refused(Reason::NotFound))?;
        let (notice_digest, locale, now) = (record.notice_digest, record.locale, self.clock.now());
        if record.claimed.state != ConsentState::AwaitingAuthorisation || record.lapses_at <= now {
            return Err(Error::refused(Reason::WrongState));
        }
        if notice_digest != request.notice_sha256 {
            let advice = "must be the digest of the notice that was shown for this consent";
            return Err(Error::field(Reason::BadRequest, "notice_sha256", advice));
        }
        let shown = record.shown();
        let awaited = self.genuine(&tenant, record).await?;
        let consent = Consent { state: ConsentState::Active, valid_from: now, ..awaited };
        let mut entry =
            Self::entry(EntryKind::ConsentGranted, Some("cofre.v1.ConsentService/Grant"), &tenant)?.by(caller);
        describe(&mut entry, &consent);
        entry.digest = Some(notice_digest);
        // Signed before the commit and kept by it: a consent that cannot be proven to the investor does not begin.
        let (id, receipt) = self.sign_receipt(&tenant, &consent, locale, notice_digest, now).await?;
        let evidence = format!("method={};session={}", request.authn_method, request.session).into_bytes();
        entry.request_digest = Some(sha256(&evidence));
        entry.reference = Some(format!("{id} sha256:{}", hex::encode(sha256(receipt.as_bytes()))));
        let tag = self.tag(&tenant, &consent, &shown, &entry).await?;
        let operation = Operation::GrantConsent { consent, tag, evidence, receipt: (id, receipt.clone()) };
        let at = self.records.apply(entry, operation).await?;
        Ok(Given { entry: at, receipt: Some(receipt) })
    }

    /// Ends a consent. No reason asked, and no custodian needed: the receipt follows when it can be signed.
    ///
    /// # Errors
    /// NOT_FOUND for another tenant's consent, or none; WRONG_STATE where it has ended already.
    pub async fn revoke(&self, caller: &Caller, consent: ConsentId) -> Result<Given, Error> {
        let tenant = self.tenant_of(caller, &consent).await?;
        let record = self.records.consent(&tenant.tenant.id, &consent).await?;
        let record = record.ok_or(Error::refused(Reason::NotFound))?;
        let mut entry =
            Self::entry(EntryKind::ConsentRevoked, Some("cofre.v1.ConsentService/Revoke"), &tenant)?.by(caller);
        describe(&mut entry, &record.claimed);
        let operation = Operation::EndConsent { tenant: tenant.tenant.id, consent, to: ConsentState::Revoked };
        let at = self.records.apply(entry, operation).await?;
        let receipt = self.receipt_of_ending(&tenant, &record, ConsentState::Revoked).await;
        Ok(Given { entry: at, receipt })
    }

    /// The receipts of a consent; one that is missing because the custodian could not sign is made up for now.
    ///
    /// # Errors
    /// NOT_FOUND for another tenant's consent, or none; CONSENT_EVIDENCE_INVALID where a receipt is owed on a row that
    /// is not as it was written: nothing is signed on it.
    pub async fn receipts(&self, caller: &Caller, consent: &ConsentId) -> Result<Receipts, Error> {
        let tenant = self.tenant_of(caller, consent).await?;
        let record = self.records.consent(&tenant.tenant.id, consent).await?.ok_or(Error::refused(Reason::NotFound))?;
        let state = record.claimed.state;
        let mut receipts = self.records.receipts(consent).await?;
        let ended = matches!(state, ConsentState::Revoked | ConsentState::Expired);
        if ended && receipts.last().is_some_and(|last| last.state == ConsentState::Active) {
            match self.make_up(&tenant, &record, state).await {
                Err(error) if error.reason() == Reason::ConsentEvidenceInvalid => return Err(error),
                Err(error) => owed(&error),
                Ok(_) => receipts = self.records.receipts(consent).await?,
            }
        }
        Ok(Receipts { state, receipts: receipts.into_iter().map(|receipt| receipt.jws).collect() })
    }

    /// What an awaiting or active row says, if its MAC holds.
    async fn genuine(&self, tenant: &TenantRecord, record: ConsentRecord) -> Result<Consent, Error> {
        let mac = self.keys.integrity(&tenant_ref(tenant)).await?;
        match record.row.verify(|table, columns, entry, tag| mac.verify(table, columns, entry, tag).is_ok()) {
            Evidence::Genuine(consent) => Ok(consent),
            Evidence::Absent => Err(Error::refused(Reason::NotFound)),
            Evidence::Forged => Err(Error::refused(Reason::ConsentEvidenceInvalid)),
        }
    }

    /// The terms of a consent, if its MAC holds; also of one that has ended since.
    pub(crate) async fn terms(&self, tenant: &TenantRecord, record: &ConsentRecord) -> Result<Consent, Error> {
        let mac = self.keys.integrity(&tenant_ref(tenant)).await?;
        match record.row.clone().verify_as_tagged(|table, columns, entry| mac.tag(table, columns, entry)) {
            Evidence::Genuine(consent) => Ok(consent),
            Evidence::Absent => Err(Error::refused(Reason::NotFound)),
            Evidence::Forged => {
                tracing::error!(consent = %record.claimed.id, "incident: a consent's row is not as it was written");
                Err(Error::refused(Reason::ConsentEvidenceInvalid))
            }
        }
    }

    /// A login, if its MAC holds; also one whose secret was refused since.
    pub(crate) async fn login(&self, tenant: &TenantRecord, record: CredentialRecord) -> Result<Credential, Error> {
        let mac = self.keys.integrity(&tenant_ref(tenant)).await?;
        match record.row.verify_as_tagged(|table, columns, entry| mac.tag(table, columns, entry)) {
            Evidence::Genuine(credential) => Ok(credential),
            Evidence::Absent => Err(Error::refused(Reason::NotFound)),
            Evidence::Forged => {
                tracing::error!(credential = %record.claimed.id, "incident: a login's row is not as it was written");
                Err(Error::refused(Reason::IntegrityFailure))
            }
        }
    }

    async fn tag(
        &self,
        tenant: &TenantRecord,
        consent: &Consent,
        shown: &Shown,
        entry: &Entry,
    ) -> Result<[u8; 32], Error> {
        let mac = self.keys.integrity(&tenant_ref(tenant)).await?;
        let row = columns::consent(consent, shown);
        let row: Vec<&[u8]> = row.iter().map(Vec::as_slice).collect();
        Ok(mac.tag(columns::CONSENTS, &row, &entry.id))
    }
}

/// Puts what a consent says into its entry.
pub(crate) fn describe(entry: &mut Entry, consent: &Consent) {
    entry.credential = Some(consent.credential);
    entry.owner = Some(consent.subject);
    entry.consents = vec![consent.id];
    entry.purpose = Some(consent.purpose);
    entry.scopes = consent.scopes.clone();
}
