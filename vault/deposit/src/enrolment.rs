//! Enrolment sessions: single use, thirty minutes, for a new login or a new version of one.

use cofre_envelope::random;
use cofre_model::caller::Caller;
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::{EntryId, EntryKind};
use cofre_model::id::{CredentialId, EnrolmentId, InstitutionId, SubjectId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::registry::{InstitutionState, Template};
use cofre_model::request::{Login, OpenEnrolment, SubjectRef};
use cofre_model::time::{Span, Timestamp};
use cofre_policy::facts::Evidence;
use cofre_store::{CredentialRecord, Operation, Subject, SubjectKind, SubjectState, TenantRecord, columns};

use crate::{Deposits, Error, tenant_ref};

/// How long a session stays open.
const OPEN_FOR: Span = Span::minutes(30);

/// An opened session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// The session.
    pub enrolment: EnrolmentId,
    /// The login it is for.
    pub credential: CredentialId,
    /// The credential holder.
    pub owner: SubjectId,
    /// The form to fill.
    pub template: Template,
    /// When it closes by itself.
    pub expires_at: Timestamp,
}

/// What a front end may know of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateOf {
    /// Where it works.
    pub institution: InstitutionId,
    /// Where it stands.
    pub state: CredentialState,
    /// The version of its secret.
    pub secret_version: u32,
}

impl Deposits {
    /// Opens a session.
    ///
    /// # Errors
    /// NOT_FOUND for an institution or login this tenant does not have; WRONG_STATE for a login that ended;
    /// INTEGRITY_FAILURE for one whose row is not as it was written; KEY_SERVICE_UNAVAILABLE where rows cannot be tagged.
    pub async fn open(&self, caller: &Caller, request: &OpenEnrolment) -> Result<OpenSession, Error> {
        let tenant = self.tenant(caller).await?;
        let (subject, credential) = match &request.login {
            Login::New { institution, subject } => self.new_login(&tenant, institution, subject).await?,
            Login::Existing(id) => (None, self.existing(&tenant, id).await?),
        };
        let template = self.template(&credential).await?;
        let now = self.clock.now();
        let enrolment = EnrolmentId::from_parts(now.millis(), random::array()?);
        let expires_at = now.plus(OPEN_FOR);
        let method = "cofre.v1.DepositService/OpenEnrolment";
        let mut entry = Self::entry(EntryKind::EnrolmentOpened, caller, method, &tenant)?;
        entry.credential = Some(credential.id);
        entry.owner = Some(credential.owner);
        entry.institution = Some(credential.institution.clone());
        entry.reference = Some(enrolment.to_string());
        let opened =
            OpenSession { enrolment, credential: credential.id, owner: credential.owner, template, expires_at };
        // What is written here is what the deposit will make active: it is under a MAC from the start.
        let tag = match credential.state {
            CredentialState::Enrolling => Some(self.tag(&tenant, &credential, &entry.id).await?),
            _ => None,
        };
        let operation = Operation::OpenEnrolment { subject, credential, tag, enrolment, expires_at };
        self.records.apply(entry, operation).await?;
        Ok(opened)
    }

    async fn new_login(
        &self,
        tenant: &TenantRecord,
        institution: &InstitutionId,
        reference: &SubjectRef,
    ) -> Result<(Option<Subject>, Credential), Error> {
        let unknown = || Error::field(Reason::NotFound, "new_login.institution_id", "must be a registered institution");
        let institution = self.records.institution(institution).await?.ok_or_else(unknown)?;
        if institution.state == InstitutionState::Suspended {
            return Err(Error::refused(Reason::InstitutionSuspended));
        }
        let now = self.clock.now();
        let known = self.records.subject_by_ref(&tenant.tenant.id, reference.as_str()).await?;
        if known.as_ref().is_some_and(|subject| subject.state != SubjectState::Active) {
            return Err(Error::refused(Reason::WrongState));
        }
        let (new, owner) = match known {
            Some(subject) => (None, subject.id),
            None => {
                let id = SubjectId::from_parts(now.millis(), random::array()?);
                let subject = Subject {
                    id,
                    tenant: tenant.tenant.id,
                    kind: SubjectKind::Natural,
                    external_ref: Some(reference.as_str().to_owned()),
                    state: SubjectState::Active,
                };
                (Some(subject), id)
            }
        };
        let template = self.records.template(&institution.id).await?.ok_or_else(unknown)?;
        let credential = Credential {
            id: CredentialId::from_parts(now.millis(), random::array()?),
            tenant: tenant.tenant.id,
            institution: institution.id,
            template_version: template.version,
            owner,
            state: CredentialState::Enrolling,
            secret_version: 0,
            not_before: Timestamp::default(),
            dedupe_tag: Vec::new(),
        };
        Ok((new, credential))
    }

    async fn existing(&self, tenant: &TenantRecord, id: &CredentialId) -> Result<Credential, Error> {
        let record = self.records.credential(&tenant.tenant.id, id).await?.ok_or(Error::refused(Reason::NotFound))?;
        match record.claimed.state {
            CredentialState::Active | CredentialState::SecretRejected => self.genuine(tenant, record).await,
            CredentialState::Enrolling
            | CredentialState::Erasing
            | CredentialState::Erased
            | CredentialState::Discarded => Err(Error::refused(Reason::WrongState)),
        }
    }

    /// What a row says, if its MAC holds; also one whose secret was refused since.
    pub(crate) async fn genuine(&self, tenant: &TenantRecord, record: CredentialRecord) -> Result<Credential, Error> {
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

    /// The MAC of a row that this entry writes.
    pub(crate) async fn tag(
        &self,
        tenant: &TenantRecord,
        credential: &Credential,
        entry: &EntryId,
    ) -> Result<[u8; 32], Error> {
        let mac = self.keys.integrity(&tenant_ref(tenant)).await?;
        let row = columns::credential(credential);
        let row: Vec<&[u8]> = row.iter().map(Vec::as_slice).collect();
        Ok(mac.tag(columns::CREDENTIALS, &row, entry))
    }

    pub(crate) async fn template(&self, credential: &Credential) -> Result<Template, Error> {
        self.records
            .template_version(&credential.institution, credential.template_version)
            .await?
            .ok_or(Error::refused(Reason::NotFound))
    }

    /// Ends a session without a login.
    ///
    /// # Errors
    /// NOT_FOUND for a session of another tenant, or none; WRONG_STATE where it ended already.
    pub async fn cancel(&self, caller: &Caller, enrolment: EnrolmentId) -> Result<EntryRef, Error> {
        let tenant = self.tenant(caller).await?;
        let method = "cofre.v1.DepositService/CancelEnrolment";
        let mut entry = Self::entry(EntryKind::EnrolmentEnded, caller, method, &tenant)?;
        entry.reference = Some(enrolment.to_string());
        let operation = Operation::EndEnrolment { tenant: tenant.tenant.id, enrolment };
        Ok(self.records.apply(entry, operation).await?)
    }

    /// Where a login stands.
    ///
    /// # Errors
    /// NOT_FOUND for a login of another tenant, or none.
    pub async fn state(&self, caller: &Caller, credential: &CredentialId) -> Result<StateOf, Error> {
        let tenant = self.tenant(caller).await?;
        let record = self.records.credential(&tenant.tenant.id, credential).await?;
        let credential = record.ok_or(Error::refused(Reason::NotFound))?.claimed;
        Ok(StateOf {
            institution: credential.institution,
            state: credential.state,
            secret_version: credential.secret_version,
        })
    }
}
