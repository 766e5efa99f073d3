//! The typed operations of the commit. Each comes with the entry that records it, and only with an entry of its
//! own kind.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::Credential;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{
    ConsentId, CredentialId, EnrolmentId, ErasureId, InstitutionId, JobId, KeyJobId, ReceiptId, SubjectId, TenantId,
};
use cofre_model::job::SigningKey;
use cofre_model::keys::{KeyJobKind, KeyJobState, reference};
use cofre_model::registry::{Institution, LockdownScope, Recipient, Template, Tenant, Worker};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Locale, Outcome};
use sha2::{Digest as _, Sha256};

use crate::records::subjects::Subject;
use crate::standing;

/// A change of records. A `tag` is the row MAC over [`crate::columns`] and the id of the entry of the same write.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A node's life begins. Entry only.
    NodeStarted,
    /// A node's life ends in order. Entry only.
    NodeStopped,
    /// The signer certified a node key. Entry only.
    NodeCertified,
    /// A deposit key pair was made. Entry only; the pair itself goes to the keyring.
    DepositKeyMade,
    /// Deposit key pairs past their time are about to be destroyed. Entry only; the keyring destroys them under it.
    DepositKeysDestroyed,
    /// A policy set comes into force.
    PolicyActivated {
        /// Its digest.
        digest: [u8; 32],
    },
    /// Registers or changes a tenant. Its id and slug never change.
    PutTenant {
        /// The tenant.
        tenant: Tenant,
        /// The version of its key in force.
        key_version: u32,
        /// The custody set its key is wrapped for, where that is known. It stands in the entry, and with the shares in
        /// the keyring.
        custody_set: Option<String>,
        /// How long its key may stay warm.
        warm_for: Span,
        /// Keys that sign its statements.
        signing_keys: Vec<SigningKey>,
        /// Recipients it names.
        recipients: Vec<Recipient>,
    },
    /// Registers a key that signs statements, or changes the end of its validity.
    PutSigningKey(SigningKey),
    /// Registers a recipient, or changes its name.
    PutRecipient(Recipient),
    /// Registers or changes an institution.
    PutInstitution(Institution),
    /// Registers the next version of a login form. Versions never change.
    PutTemplate(Template),
    /// Registers or changes a worker; its scopes are replaced.
    PutWorker(Worker),
    /// Opens an enrolment session. It replaces an open one of the same login.
    OpenEnrolment {
        /// The holder, where it is new.
        subject: Option<Subject>,
        /// The login: a new row that is ENROLLING, or the id and content of one that exists.
        credential: Credential,
        /// The row MAC of a new login; none for one that exists, whose row is left as it is.
        tag: Option<[u8; 32]>,
        /// The session.
        enrolment: EnrolmentId,
        /// It takes a deposit before this instant.
        expires_at: Timestamp,
    },
    /// Cancels an enrolment session. A login that never had a secret is discarded.
    EndEnrolment {
        /// The tenant that opened it.
        tenant: TenantId,
        /// The session.
        enrolment: EnrolmentId,
    },
    /// Makes a deposited login visible.
    CompleteDeposit {
        /// The session.
        enrolment: EnrolmentId,
        /// The row as it shall be: ACTIVE, with the version of the newest intent and its dedupe tag.
        credential: Credential,
        /// Its row MAC.
        tag: [u8; 32],
    },
    /// Puts a consent before its investor.
    RequestConsent {
        /// The row, AWAITING_AUTHORISATION.
        consent: Consent,
        /// Its row MAC.
        tag: [u8; 32],
        /// It lapses at this instant.
        lapses_at: Timestamp,
        /// SHA-256 over the notice shown.
        notice_digest: [u8; 32],
        /// The language of the notice.
        locale: Locale,
    },
    /// Brings a consent into force and keeps the receipt of that: neither is ever there without the other.
    GrantConsent {
        /// The row, ACTIVE; its terms are those that awaited, its validity no longer.
        consent: Consent,
        /// Its row MAC.
        tag: [u8; 32],
        /// What proves that the investor agreed. The entry names its digest.
        evidence: Vec<u8>,
        /// The signed receipt. The entry names it and its digest.
        receipt: (ReceiptId, String),
    },
    /// Ends a consent. Leases of its login end with it.
    EndConsent {
        /// The tenant it was given to.
        tenant: TenantId,
        /// The consent.
        consent: ConsentId,
        /// REVOKED or EXPIRED.
        to: ConsentState,
    },
    /// Keeps a signed receipt.
    Receipt {
        /// The consent.
        consent: ConsentId,
        /// The receipt's id.
        receipt: ReceiptId,
        /// Its place among the receipts of this consent, from 1 without gaps.
        seq: u32,
        /// The state it attests.
        state: ConsentState,
        /// The receipt itself.
        jws: String,
    },
    /// Takes a worker's report and ends its lease.
    ReportOutcome {
        /// The login.
        credential: CredentialId,
        /// The job.
        job: JobId,
        /// The worker that reports, as SPIFFE id text.
        worker: String,
        /// How it went. WRONG_SECRET means that nothing is released until the secret is entered anew.
        outcome: Outcome,
        /// Where the institution locked the login: the row with its new `not_before`, and its row MAC.
        lock: Option<(Credential, [u8; 32])>,
    },
    /// Presses a stop button.
    Lockdown(Lockdown),
    /// Trusts a worker no more.
    QuarantineWorker {
        /// Its identity, as SPIFFE id text.
        worker: String,
    },
    /// Accepts an erasure: from here on nothing of this holder is released.
    AcceptErasure {
        /// The erasure.
        erasure: ErasureId,
        /// The tenant.
        tenant: TenantId,
        /// Whose.
        subject: SubjectId,
    },
    /// Records that the keys are gone.
    KeysDestroyed {
        /// The erasure.
        erasure: ErasureId,
    },
    /// Records that the ciphertexts are gone, and keeps the certificate.
    CertifyErasure {
        /// The erasure.
        erasure: ErasureId,
        /// The signed certificate.
        certificate: Vec<u8>,
        /// When the last backup that could open anything is gone.
        horizon: Timestamp,
    },
    /// Opens a job over keys.
    OpenKeyJob(NewKeyJob),
    /// Ends a job over keys.
    EndKeyJob {
        /// The job.
        job: KeyJobId,
        /// DONE or STOPPED.
        to: KeyJobState,
        /// Rows it moved.
        moved: u64,
    },
    /// Records that the next version of a tenant's key was made and wrapped.
    MakeTenantKey {
        /// The job, a rotation that is running.
        job: KeyJobId,
        /// The tenant.
        tenant: TenantId,
        /// The version: later than every one before.
        version: u32,
        /// The id that was derived from the key.
        key_id: [u8; 16],
    },
    /// Brings a version of a tenant's key into force. Those before it, opened or not, are closed.
    OpenTenantKey {
        /// The job, a rotation that is running.
        job: KeyJobId,
        /// The tenant.
        tenant: TenantId,
        /// The version: one that was made, later than the one in force.
        version: u32,
    },
    /// Records that nothing is left under versions of a tenant's key before the one in force.
    TenantKeyMoved {
        /// The job, a rotation that is running.
        job: KeyJobId,
        /// The tenant.
        tenant: TenantId,
        /// The version in force.
        version: u32,
        /// How many keys were moved there.
        moved: u64,
    },
    /// Keeps a signed count of what a custodian still wraps, or of what lies under closed versions of tenants' keys.
    CountKeys {
        /// The custodian, with its key where one was named; or [`crate::KeyCount::OF_TENANT_KEYS`].
        subject: String,
        /// How many shares are in force, or keys are left.
        remaining: u64,
        /// The statement and its signature.
        statement: Vec<u8>,
    },
    /// What a custodian wrapped, or closed versions of tenants' keys, are about to be retired. Needs their count of zero,
    /// and uses that up; the keyring retires the shares under it.
    RetireKeys {
        /// What was counted.
        subject: String,
    },
    /// Retired shares past their time are about to be destroyed. Entry only; the keyring destroys them under it.
    RetiredKeysDestroyed {
        /// How many shares.
        shares: u64,
    },
    /// An entry alone: outcomes, refusals, challenges, reads of the register.
    Note,
}

impl Operation {
    /// Actions that take something away go before all others.
    pub(crate) const fn narrows(&self) -> bool {
        matches!(
            self,
            Self::EndConsent { .. }
                | Self::EndKeyJob { to: KeyJobState::Stopped, .. }
                | Self::Lockdown(_)
                | Self::QuarantineWorker { .. }
                | Self::AcceptErasure { .. }
        )
    }

    /// The word it travels by.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::NodeStarted => "NODE_STARTED",
            Self::NodeStopped => "NODE_STOPPED",
            Self::NodeCertified => "NODE_CERTIFIED",
            Self::DepositKeyMade => "DEPOSIT_KEY_MADE",
            Self::DepositKeysDestroyed => "DEPOSIT_KEYS_DESTROYED",
            Self::PolicyActivated { .. } => "ACTIVATE_POLICY",
            Self::PutTenant { .. } => "PUT_TENANT",
            Self::PutSigningKey(_) => "PUT_SIGNING_KEY",
            Self::PutRecipient(_) => "PUT_RECIPIENT",
            Self::PutInstitution(_) => "PUT_INSTITUTION",
            Self::PutTemplate(_) => "PUT_TEMPLATE",
            Self::PutWorker(_) => "PUT_WORKER",
            Self::OpenEnrolment { .. } => "OPEN_ENROLMENT",
            Self::EndEnrolment { .. } => "END_ENROLMENT",
            Self::CompleteDeposit { .. } => "COMPLETE_DEPOSIT",
            Self::RequestConsent { .. } => "REQUEST_CONSENT",
            Self::GrantConsent { .. } => "GRANT_CONSENT",
            Self::EndConsent { .. } => "END_CONSENT",
            Self::Receipt { .. } => "RECEIPT",
            Self::ReportOutcome { .. } => "REPORT",
            Self::Lockdown(_) => "LOCKDOWN",
            Self::QuarantineWorker { .. } => "QUARANTINE",
            Self::AcceptErasure { .. } => "ACCEPT_ERASURE",
            Self::KeysDestroyed { .. } => "KEYS_DESTROYED",
            Self::OpenKeyJob(_) => "OPEN_KEY_JOB",
            Self::EndKeyJob { .. } => "END_KEY_JOB",
            Self::MakeTenantKey { .. } => "MAKE_TENANT_KEY",
            Self::OpenTenantKey { .. } => "OPEN_TENANT_KEY",
            Self::TenantKeyMoved { .. } => "TENANT_KEY_MOVED",
            Self::CountKeys { .. } => "COUNT_KEYS",
            Self::RetireKeys { .. } => "RETIRE_KEYS",
            Self::RetiredKeysDestroyed { .. } => "RETIRED_KEYS_DESTROYED",
            Self::CertifyErasure { .. } => "CERTIFY",
            Self::Note => "NOTE",
        }
    }

    /// Whether an entry of `kind` may record this.
    pub(crate) fn fits(&self, kind: EntryKind) -> bool {
        let named = match self {
            Self::EndConsent { to: ConsentState::Revoked, .. } => kind == EntryKind::ConsentRevoked,
            Self::EndConsent { to: ConsentState::Expired, .. } => kind == EntryKind::ConsentExpired,
            Self::EndConsent { .. } => false,
            Self::EndKeyJob { to, .. } => to.ends(),
            _ => true,
        };
        named && FITS.iter().any(|(word, kinds)| *word == self.word() && kinds.contains(&kind))
    }
}

/// The kinds of entry that may record what is asked for, by its word. PostgreSQL holds to the same list (`words.sql`).
pub(crate) const FITS: &[(&str, &[EntryKind])] = {
    use EntryKind as K;
    &[
        ("NODE_STARTED", &[K::NodeStarted]),
        ("NODE_STOPPED", &[K::NodeStopped]),
        ("NODE_CERTIFIED", &[K::NodeCertified]),
        ("DEPOSIT_KEY_MADE", &[K::DepositKeyMade]),
        ("DEPOSIT_KEYS_DESTROYED", &[K::KeysDestroyed]),
        ("ACTIVATE_POLICY", &[K::PolicyActivated]),
        ("PUT_TENANT", &[K::TenantPut]),
        ("PUT_SIGNING_KEY", &[K::TenantPut]),
        ("PUT_RECIPIENT", &[K::TenantPut]),
        ("PUT_INSTITUTION", &[K::InstitutionPut]),
        ("PUT_TEMPLATE", &[K::TemplatePut]),
        ("PUT_WORKER", &[K::WorkerPut]),
        ("OPEN_ENROLMENT", &[K::EnrolmentOpened]),
        ("END_ENROLMENT", &[K::EnrolmentEnded]),
        ("COMPLETE_DEPOSIT", &[K::Deposited]),
        ("REQUEST_CONSENT", &[K::ConsentRequested]),
        ("GRANT_CONSENT", &[K::ConsentGranted]),
        ("END_CONSENT", &[K::ConsentRevoked, K::ConsentExpired]),
        ("RECEIPT", &[K::ReceiptIssued]),
        ("REPORT", &[K::Reported]),
        ("LOCKDOWN", &[K::Lockdown]),
        ("QUARANTINE", &[K::WorkerQuarantined]),
        ("ACCEPT_ERASURE", &[K::ErasureAccepted]),
        ("KEYS_DESTROYED", &[K::KeysDestroyed]),
        ("OPEN_KEY_JOB", &[K::KeyJobOpened]),
        ("END_KEY_JOB", &[K::KeyJobEnded]),
        ("MAKE_TENANT_KEY", &[K::TenantKeyMade]),
        ("OPEN_TENANT_KEY", &[K::TenantKeyOpened]),
        ("TENANT_KEY_MOVED", &[K::TenantKeyMoved]),
        ("COUNT_KEYS", &[K::KeysCounted]),
        ("RETIRE_KEYS", &[K::KeysRetired]),
        ("RETIRED_KEYS_DESTROYED", &[K::KeysDestroyed]),
        ("CERTIFY", &[K::ErasureCertified]),
        // SECURITY: nothing that means a change, and no grant, can be noted without being done.
        (
            "NOTE",
            &[
                K::Outcome,
                K::Denied,
                K::WarmOutcome,
                K::Rewrapped,
                K::ChallengeOpened,
                K::ChallengeAnswered,
                K::ChallengeEnded,
                K::AuditRead,
                K::Refusals,
            ],
        ),
        ("WARM", &[K::Warm]),
        ("REWRAP", &[K::Rewrap]),
        ("MOVE_KEYS", &[K::KeysMove]),
        ("INTEND", &[K::DepositIntended]),
    ]
};

impl Operation {
    /// Makes the entry say what the operation does to the rows that decide: what stands is read from the entries
    /// alone, so that part is not left to whoever asks.
    pub(crate) fn named_in(&self, mut entry: Entry) -> Entry {
        match self {
            Self::PutTenant { custody_set, warm_for, .. } => {
                let warm_secs = warm_for.as_micros() / 1_000_000;
                entry.reference = Some(format!("{} {warm_secs}", custody_set.as_deref().unwrap_or("-")));
            }
            Self::OpenEnrolment { credential, .. } => {
                (entry.credential, entry.owner) = (Some(credential.id), Some(credential.owner));
            }
            Self::CompleteDeposit { credential, .. } => {
                (entry.credential, entry.owner) = (Some(credential.id), Some(credential.owner));
                entry.secret_version = Some(credential.secret_version);
            }
            Self::RequestConsent { consent, .. } | Self::GrantConsent { consent, .. } => {
                (entry.credential, entry.owner) = (Some(consent.credential), Some(consent.subject));
                entry.consents = vec![consent.id];
            }
            Self::EndConsent { consent, .. } => entry.consents = vec![*consent],
            Self::ReportOutcome { credential, outcome, lock, .. } => {
                (entry.credential, entry.outcome) = (Some(*credential), Some(*outcome));
                entry.digest = lock.as_ref().map(|(_, tag)| Sha256::digest(tag).into());
            }
            Self::Lockdown(lockdown) => entry.reference = Some(standing::stop(lockdown.scope(), &lockdown.id())),
            Self::QuarantineWorker { worker } => entry.reference = Some(worker.clone()),
            Self::AcceptErasure { erasure, tenant, subject } => {
                (entry.tenant, entry.owner) = (Some(*tenant), Some(*subject));
                entry.reference = Some(erasure.to_string());
            }
            Self::OpenKeyJob(NewKeyJob { id, kind, target, from_key, rate }) => {
                entry.reference = Some(reference(id, *kind, target, *rate, from_key.as_deref()));
            }
            Self::EndKeyJob { job, to, moved } => {
                (entry.reference, entry.count) = (Some(format!("{job} {to}")), Some(*moved));
            }
            // The key that is opened or was moved to is named by whoever has it, or by the records.
            Self::MakeTenantKey { job, tenant, version, key_id } => {
                (entry.tenant, entry.reference) = (Some(*tenant), Some(job.to_string()));
                entry.tenant_key = Some((*key_id, *version));
            }
            Self::OpenTenantKey { job, tenant, .. } => {
                (entry.tenant, entry.reference) = (Some(*tenant), Some(job.to_string()));
            }
            Self::TenantKeyMoved { job, tenant, moved, .. } => {
                (entry.tenant, entry.reference) = (Some(*tenant), Some(job.to_string()));
                entry.count = Some(*moved);
            }
            Self::CountKeys { subject, remaining, statement } => {
                (entry.reference, entry.count) = (Some(subject.clone()), Some(*remaining));
                entry.digest = Some(Sha256::digest(statement).into());
            }
            Self::RetireKeys { subject } => entry.reference = Some(subject.clone()),
            Self::RetiredKeysDestroyed { shares } => {
                (entry.reference, entry.count) = (Some(RETIRED_WRAPPINGS.to_owned()), Some(*shares));
                entry = of_nobody(entry);
            }
            Self::DepositKeysDestroyed => {
                entry.reference = Some(DEPOSIT_KEYS.to_owned());
                entry = of_nobody(entry);
            }
            _ => {}
        }
        entry
    }
}

/// How the entry of the destruction of retired shares names them. PostgreSQL holds to these words (`bodies.sql`).
const RETIRED_WRAPPINGS: &str = "retired-wrappings";
/// The same of deposit keys past their time.
const DEPOSIT_KEYS: &str = "deposit-keys";

/// The entry of a destruction that is no holder's: it follows nothing, so that nobody takes it for an erasure's.
fn of_nobody(entry: Entry) -> Entry {
    Entry { tenant: None, credential: None, owner: None, follows: None, ..entry }
}

/// What a lockdown stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lockdown {
    /// The whole deployment.
    Platform,
    /// One tenant.
    Tenant(TenantId),
    /// One institution.
    Institution(InstitutionId),
    /// One login.
    Credential(CredentialId),
}

impl Lockdown {
    /// How wide it is.
    #[must_use]
    pub const fn scope(&self) -> LockdownScope {
        match self {
            Self::Platform => LockdownScope::Platform,
            Self::Tenant(_) => LockdownScope::Tenant,
            Self::Institution(_) => LockdownScope::Institution,
            Self::Credential(_) => LockdownScope::Credential,
        }
    }

    pub(crate) fn id(&self) -> String {
        match self {
            Self::Platform => String::new(),
            Self::Tenant(id) => id.to_string(),
            Self::Institution(id) => id.to_string(),
            Self::Credential(id) => id.to_string(),
        }
    }
}

/// A job over keys that is to be opened.
#[derive(Debug, Clone)]
pub struct NewKeyJob {
    /// Its id.
    pub id: KeyJobId,
    /// What it does.
    pub kind: KeyJobKind,
    /// For a rewrap where to, the text of a custody set; for a rotation whose keys, a tenant's id or
    /// [`cofre_model::keys::KeyJob::ALL`].
    pub target: String,
    /// For a rewrap, a custodian's key that shall wrap nothing any more, though its custodian stays.
    pub from_key: Option<String>,
    /// Rows a second that one node may move at most.
    pub rate: Option<u32>,
}
