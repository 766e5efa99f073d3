//! Logins of the world, and the consents their owners give.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::EntryKind;
use cofre_model::id::*;
use cofre_model::permit::EntryRef;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_model::wording::*;
use cofre_store::*;

use super::{World, consent_tag, credential_tag};

impl World {
    pub(crate) fn subject(&self) -> Subject {
        let id = SubjectId::from_parts(self.ms(), self.bytes());
        Subject {
            id,
            tenant: self.tenant.id,
            kind: SubjectKind::Natural,
            external_ref: Some(format!("client-{id}")),
            state: SubjectState::Active,
        }
    }

    pub(crate) fn blank(&self, owner: SubjectId) -> Credential {
        Credential {
            id: CredentialId::from_parts(self.ms(), self.bytes()),
            tenant: self.tenant.id,
            institution: self.institution.clone(),
            template_version: 1,
            owner,
            state: CredentialState::Enrolling,
            secret_version: 0,
            not_before: Timestamp::default(),
            dedupe_tag: Vec::new(),
        }
    }

    pub(crate) async fn enrol(
        &self,
        subject: Option<Subject>,
        credential: &Credential,
    ) -> Result<EnrolmentId, CommitError> {
        let enrolment = EnrolmentId::from_parts(self.ms(), self.bytes());
        let expires_at = self.clock.now().plus(Span::minutes(30));
        let entry = self.entry(EntryKind::EnrolmentOpened);
        let new = credential.state == CredentialState::Enrolling;
        let tag = new.then(|| credential_tag(credential, &entry));
        let open = Operation::OpenEnrolment { subject, credential: credential.clone(), tag, enrolment, expires_at };
        self.records().apply(entry, open).await.map(|_| enrolment)
    }

    pub(crate) async fn intend(&self, enrolment: EnrolmentId) -> Result<u32, CommitError> {
        let intent = DepositIntent {
            tenant: self.tenant.id,
            enrolment,
            class: Class::Login,
            deposit_key: DepositKeyId::from_parts(self.ms(), [4; 10]),
            entry: self.entry(EntryKind::DepositIntended),
        };
        self.records().intend_deposit(intent).await.map(|permit| permit.entry().warrant.secret_version)
    }

    pub(crate) async fn complete(
        &self,
        enrolment: EnrolmentId,
        blank: &Credential,
        version: u32,
        dedupe_tag: Vec<u8>,
    ) -> Result<Credential, CommitError> {
        let credential =
            Credential { state: CredentialState::Active, secret_version: version, dedupe_tag, ..blank.clone() };
        let entry = self.entry(EntryKind::Deposited);
        let tag = credential_tag(&credential, &entry);
        let complete = Operation::CompleteDeposit { enrolment, credential: credential.clone(), tag };
        self.records().apply(entry, complete).await.map(|_| credential)
    }

    /// A login that rests, of a new subject.
    pub(crate) async fn login(&self) -> Credential {
        let subject = self.subject();
        let blank = self.blank(subject.id);
        let enrolment = self.enrol(Some(subject), &blank).await.expect("enrolment");
        let version = self.intend(enrolment).await.expect("intent");
        self.complete(enrolment, &blank, version, blank.id.to_bytes().to_vec()).await.expect("deposit")
    }

    pub(crate) async fn request_consent(&self, credential: &Credential, per_day: u8) -> Result<Consent, CommitError> {
        let now = self.clock.now();
        let consent = Consent {
            id: ConsentId::from_parts(self.ms(), self.bytes()),
            tenant: self.tenant.id,
            subject: credential.owner,
            credential: credential.id,
            recipient: self.recipient,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Positions, Scope::Accounts].into_iter().collect(),
            valid_from: now,
            valid_until: now.plus(Span::days(180)),
            history_from: now.minus(Span::days(90)),
            unattended_per_day: per_day,
            state: ConsentState::AwaitingAuthorisation,
        };
        let entry = self.entry(EntryKind::ConsentRequested);
        let lapses_at = now.plus(Span::hours(1));
        let shown = columns::Shown { lapses_at, notice_digest: [6; 32], locale: Locale::Es };
        let request = Operation::RequestConsent {
            tag: consent_tag(&consent, &shown, &entry),
            consent: consent.clone(),
            lapses_at,
            notice_digest: shown.notice_digest,
            locale: shown.locale,
        };
        self.records().apply(entry, request).await.map(|_| consent)
    }

    pub(crate) async fn grant_consent(&self, awaited: &Consent) -> Result<Consent, CommitError> {
        let consent = Consent { state: ConsentState::Active, ..awaited.clone() };
        let entry = self.entry(EntryKind::ConsentGranted);
        let row = self.records().consent(&awaited.tenant, &awaited.id).await.expect("read").expect("there");
        let grant = Operation::GrantConsent {
            tag: consent_tag(&consent, &row.shown(), &entry),
            consent: consent.clone(),
            evidence: b"signed in the front end".to_vec(),
            receipt: (ReceiptId::from_parts(self.ms(), self.bytes()), "e30.e30.c2ln".into()),
        };
        self.records().apply(entry, grant).await.map(|_| consent)
    }

    /// A login that rests under a consent in force.
    pub(crate) async fn releasable(&self, per_day: u8) -> (Credential, Consent) {
        let credential = self.login().await;
        let awaited = self.request_consent(&credential, per_day).await.expect("request");
        let consent = self.grant_consent(&awaited).await.expect("grant");
        (credential, consent)
    }

    pub(crate) async fn revoke(&self, consent: &Consent) -> Result<EntryRef, CommitError> {
        let end = Operation::EndConsent { tenant: consent.tenant, consent: consent.id, to: ConsentState::Revoked };
        self.apply(EntryKind::ConsentRevoked, end).await
    }
}
