//! What the ledger says: one entry per event that matters. Ids are random and opaque; no value, no length of a
//! value, no login name, no challenge text and no hash of anything guessable ever stands in an entry.
//! `ledger` gives an entry its bytes, the commit gives it index and time.

use std::borrow::Cow;

use crate::caller::Caller;
use crate::id::{ConsentId, CredentialId, InstitutionId, JobId, SubjectId, TenantId};
use crate::reason::Reason;
use crate::time::Timestamp;
use crate::wording::{Attendance, Class, Form, Outcome, Purpose, ScopeSet, words};

words! {
    /// What happened.
    EntryKind {
        /// A node started; its incarnation begins.
        NodeStarted = 1 "NODE_STARTED",
        /// The custodian's signer certified a node key.
        NodeCertified = 2 "NODE_CERTIFIED",
        /// A policy set came into force.
        PolicyActivated = 3 "POLICY_ACTIVATED",
        /// A tenant was registered or changed.
        TenantPut = 4 "TENANT_PUT",
        /// An institution was registered or changed.
        InstitutionPut = 5 "INSTITUTION_PUT",
        /// A login template was registered.
        TemplatePut = 6 "TEMPLATE_PUT",
        /// A worker was registered or changed.
        WorkerPut = 7 "WORKER_PUT",
        /// A deposit key pair was made.
        DepositKeyMade = 8 "DEPOSIT_KEY_MADE",
        /// An enrolment session was opened.
        EnrolmentOpened = 9 "ENROLMENT_OPENED",
        /// An enrolment session was cancelled or lapsed.
        EnrolmentEnded = 10 "ENROLMENT_ENDED",
        /// A deposit is about to be sealed: the permit to open the deposit key.
        DepositIntended = 11 "DEPOSIT_INTENDED",
        /// A login rests.
        Deposited = 12 "DEPOSITED",
        /// A notice was made and a consent awaits authorisation.
        ConsentRequested = 13 "CONSENT_REQUESTED",
        /// A consent came into force.
        ConsentGranted = 14 "CONSENT_GRANTED",
        /// A consent was withdrawn.
        ConsentRevoked = 15 "CONSENT_REVOKED",
        /// A consent ended by time.
        ConsentExpired = 16 "CONSENT_EXPIRED",
        /// A receipt was signed.
        ReceiptIssued = 17 "RECEIPT_ISSUED",
        /// A release was decided and granted.
        Granted = 18 "GRANTED",
        /// A release or another call was refused.
        Denied = 19 "DENIED",
        /// A repeated request was granted again under its first count.
        Redelivered = 20 "REDELIVERED",
        /// What became of a grant inside the vault after its commit.
        Outcome = 21 "OUTCOME",
        /// What the worker reports of the login.
        Reported = 22 "REPORTED",
        /// A custodian is about to be asked for a tenant key.
        Warm = 23 "WARM",
        /// What the custodian answered.
        WarmOutcome = 24 "WARM_OUTCOME",
        /// A second-factor challenge was opened.
        ChallengeOpened = 25 "CHALLENGE_OPENED",
        /// A sealed answer was handed to the worker.
        ChallengeAnswered = 26 "CHALLENGE_ANSWERED",
        /// A challenge ended.
        ChallengeEnded = 27 "CHALLENGE_ENDED",
        /// A stop button was pressed.
        Lockdown = 28 "LOCKDOWN",
        /// A worker was quarantined.
        WorkerQuarantined = 29 "WORKER_QUARANTINED",
        /// An erasure was accepted: nothing is released any more.
        ErasureAccepted = 30 "ERASURE_ACCEPTED",
        /// Keys were destroyed.
        KeysDestroyed = 31 "KEYS_DESTROYED",
        /// Ciphertexts are gone and the certificate was signed.
        ErasureCertified = 32 "ERASURE_CERTIFIED",
        /// The register was searched, read or exported.
        AuditRead = 33 "AUDIT_READ",
        /// Unauthenticated or rate-limited calls, counted per listener and cause.
        Refusals = 34 "REFUSALS",
        /// A node's incarnation ended in order.
        NodeStopped = 35 "NODE_STOPPED",
        /// A job over keys was opened.
        KeyJobOpened = 36 "KEY_JOB_OPENED",
        /// A job over keys has nothing left to do, or was stopped.
        KeyJobEnded = 37 "KEY_JOB_ENDED",
        /// Custodians are about to be asked to move a tenant key: the permit to open its shares.
        Rewrap = 38 "REWRAP",
        /// What became of that.
        Rewrapped = 39 "REWRAPPED",
        /// What is still wrapped by a custodian was counted, and the count signed.
        KeysCounted = 40 "KEYS_COUNTED",
        /// What a custodian wrapped is used no more.
        KeysRetired = 41 "KEYS_RETIRED",
        /// The next version of a tenant key was made and wrapped. Nothing is wrapped under it yet.
        TenantKeyMade = 42 "TENANT_KEY_MADE",
        /// A version of a tenant key is in force from here on; what is new is wrapped under it.
        TenantKeyOpened = 43 "TENANT_KEY_OPENED",
        /// Keys under an older version of a tenant key are about to be wrapped under the one in force: the permit to open them.
        KeysMove = 44 "KEYS_MOVE",
        /// Nothing is left under older versions of a tenant key.
        TenantKeyMoved = 45 "TENANT_KEY_MOVED",
    }

    /// Whether an entry says yes or no.
    Verdict {
        /// Granted.
        Granted = 1 "GRANTED",
        /// Denied.
        Denied = 2 "DENIED",
    }
}

/// The random id of an entry, known before its index is. Row MACs carry it.
pub type EntryId = [u8; 16];

/// The epochs a decision relied on. The commit compares them; any change sends the path back to the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// Of the cell (lockdown).
    pub cell: u64,
    /// Of the policy set.
    pub policy: u64,
    /// Of the tenant.
    pub tenant: u64,
    /// Of the institution.
    pub institution: u64,
    /// Of the worker.
    pub worker: u64,
    /// Of the credential; any change to a consent or party bumps it.
    pub credential: u64,
}

/// What the caller was, as far as evidence needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerRef {
    /// SPIFFE id text.
    pub identity: String,
    /// SHA-256 over the leaf certificate's DER.
    pub fingerprint: [u8; 32],
}

impl From<&Caller> for CallerRef {
    fn from(caller: &Caller) -> Self {
        Self { identity: caller.identity().to_string(), fingerprint: *caller.fingerprint() }
    }
}

/// The node that made an entry, in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRef {
    /// SPIFFE id text.
    pub identity: String,
    /// Random id of the node's life, new at each start.
    pub incarnation: [u8; 16],
}

/// The body of a ledger entry. Fields that do not apply stay empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub kind: EntryKind,
    /// Random id, known before the index.
    pub id: EntryId,
    /// Who called.
    pub caller: Option<CallerRef>,
    /// The node that made it. The committing node puts this on.
    pub node: Option<NodeRef>,
    /// The method called, `cofre.v1.Service/Method`.
    pub method: Option<Cow<'static, str>>,
    /// The tenant concerned.
    pub tenant: Option<TenantId>,
    /// The region concerned.
    pub region: Option<String>,
    /// The login concerned.
    pub credential: Option<CredentialId>,
    /// Its class.
    pub class: Option<Class>,
    /// The version of its secret.
    pub secret_version: Option<u32>,
    /// The credential holder.
    pub owner: Option<SubjectId>,
    /// The institution.
    pub institution: Option<InstitutionId>,
    /// Consents relied on or changed.
    pub consents: Vec<ConsentId>,
    /// The epochs a decision relied on.
    pub epochs: Option<Epochs>,
    /// The purpose.
    pub purpose: Option<Purpose>,
    /// The scopes.
    pub scopes: ScopeSet,
    /// Attended or not.
    pub attendance: Option<Attendance>,
    /// The job.
    pub job: Option<JobId>,
    /// Digest of the request.
    pub request_digest: Option<[u8; 32]>,
    /// Digest of the policy set in force.
    pub policy_digest: Option<[u8; 32]>,
    /// Ids of the rules that decided.
    pub rules: Vec<String>,
    /// Canonical, non-personal policy input, at most 2 KiB, so that the decision can be replayed.
    pub policy_input: Vec<u8>,
    /// Yes or no.
    pub verdict: Option<Verdict>,
    /// The exact reason of a refusal or failure.
    pub reason: Option<Reason>,
    /// Fields by name and form.
    pub fields: Vec<(String, Form)>,
    /// Id and version of the tenant key.
    pub tenant_key: Option<([u8; 16], u32)>,
    /// The lease ends at this instant.
    pub lease_until: Option<Timestamp>,
    /// The index of the entry this one follows up.
    pub follows: Option<u64>,
    /// How the login went.
    pub outcome: Option<Outcome>,
    /// The custodian's request id.
    pub custodian_request: Option<String>,
    /// How long the custodian took, in microseconds.
    pub custodian_us: Option<u64>,
    /// A count (rows destroyed, calls refused).
    pub count: Option<u64>,
    /// Digest of a thing that is kept elsewhere: notice, certificate, public key, statement.
    pub digest: Option<[u8; 32]>,
    /// Opaque id of a thing without a field of its own: enrolment, challenge, erasure, deposit key, receipt.
    pub reference: Option<String>,
}

impl Entry {
    /// An entry of this kind and id with every other field empty.
    #[must_use]
    pub fn new(kind: EntryKind, id: EntryId) -> Self {
        Self {
            kind,
            id,
            caller: None,
            node: None,
            method: None,
            tenant: None,
            region: None,
            credential: None,
            class: None,
            secret_version: None,
            owner: None,
            institution: None,
            consents: Vec::new(),
            epochs: None,
            purpose: None,
            scopes: ScopeSet::default(),
            attendance: None,
            job: None,
            request_digest: None,
            policy_digest: None,
            rules: Vec::new(),
            policy_input: Vec::new(),
            verdict: None,
            reason: None,
            fields: Vec::new(),
            tenant_key: None,
            lease_until: None,
            follows: None,
            outcome: None,
            custodian_request: None,
            custodian_us: None,
            count: None,
            digest: None,
            reference: None,
        }
    }

    /// The same entry, naming who called.
    #[must_use]
    pub fn by(mut self, caller: &Caller) -> Self {
        self.caller = Some(caller.into());
        self
    }
}
