//! Why something was refused. The exact reason goes to the register and its auditors; a caller learns only the
//! public one, so that refusals tell nothing about other people's data.

use crate::wording::words;

words! {
    /// The exact reason of a refusal, in the order of the checks that find it.
    Reason {
        /// The peer's certificate is not, or no longer, trusted.
        PeerUntrusted = 1 "PEER_UNTRUSTED",
        /// The worker is unknown, or quarantined.
        WorkerQuarantined = 2 "WORKER_QUARANTINED",
        /// The request is malformed or out of its time window.
        BadRequest = 3 "BAD_REQUEST",
        /// The request id was seen with another content or another seal key.
        Replay = 4 "REPLAY",
        /// Somebody pressed the stop button.
        Lockdown = 5 "LOCKDOWN",
        /// The ledger cannot be written.
        AuditUnavailable = 6 "AUDIT_UNAVAILABLE",
        /// The custodian of the key cannot be reached.
        KeyServiceUnavailable = 7 "KEY_SERVICE_UNAVAILABLE",
        /// The clock is not to be believed.
        ClockUntrusted = 8 "CLOCK_UNTRUSTED",
        /// The tenant is suspended.
        TenantSuspended = 9 "TENANT_SUSPENDED",
        /// The tenant's logins are released in another region.
        WrongRegion = 10 "WRONG_REGION",
        /// The job's signature, worker, credential or deadline does not hold.
        JobInvalid = 11 "JOB_INVALID",
        /// What the job wants is not a read.
        OperationNotReadOnly = 12 "OPERATION_NOT_READ_ONLY",
        /// There is no such credential in this tenant.
        CredentialNotFound = 13 "CREDENTIAL_NOT_FOUND",
        /// The worker may not serve this tenant at this institution.
        WorkerNotAssigned = 14 "WORKER_NOT_ASSIGNED",
        /// The institution is suspended.
        InstitutionSuspended = 15 "INSTITUTION_SUSPENDED",
        /// The institution refused the secret; it has to be entered anew.
        SecretRejected = 16 "SECRET_REJECTED",
        /// The institution has locked the login.
        LockedAtInstitution = 17 "LOCKED_AT_INSTITUTION",
        /// No login rests yet.
        CredentialEnrolling = 18 "CREDENTIAL_ENROLLING",
        /// The login was erased, or is being erased.
        Erased = 19 "ERASED",
        /// No consent covers this login.
        ConsentMissing = 20 "CONSENT_MISSING",
        /// The consent is not in force yet.
        ConsentNotActive = 21 "CONSENT_NOT_ACTIVE",
        /// The consent is past its end.
        ConsentExpired = 22 "CONSENT_EXPIRED",
        /// The consent was withdrawn.
        ConsentRevoked = 23 "CONSENT_REVOKED",
        /// The consent's row does not carry a true MAC.
        ConsentEvidenceInvalid = 24 "CONSENT_EVIDENCE_INVALID",
        /// Purpose, recipient, scopes or history go beyond the consent.
        ConsentScopeExceeded = 25 "CONSENT_SCOPE_EXCEEDED",
        /// The attendance statement does not hold, is stale or was used.
        AttendanceInvalid = 26 "ATTENDANCE_INVALID",
        /// More unattended releases than the consent allows.
        FrequencyExceeded = 27 "FREQUENCY_EXCEEDED",
        /// A policy forbids it, none permits it, or one could not be evaluated.
        PolicyDenied = 28 "POLICY_DENIED",
        /// A field was asked for that the template lacks, or in a wider form than it allows.
        FieldNotReleasable = 29 "FIELD_NOT_RELEASABLE",
        /// Another job or worker holds this login.
        LeaseHeld = 30 "LEASE_HELD",
        /// What the decision relied on kept changing while it was being committed.
        ConsentChanged = 31 "CONSENT_CHANGED",
        /// The custodian says that the key is disabled or gone.
        KeyDisabled = 32 "KEY_DISABLED",
        /// A key, a row or a ciphertext is not what the records say. Raises an incident.
        IntegrityFailure = 33 "INTEGRITY_FAILURE",
        /// The answer was not ready in time to leave.
        NotDelivered = 34 "NOT_DELIVERED",
        /// The method is not for this role, or is not listed at all.
        MethodNotAllowed = 35 "METHOD_NOT_ALLOWED",
        /// A thing named in the request does not exist for this caller.
        NotFound = 36 "NOT_FOUND",
        /// A thing is not in the state this call needs.
        WrongState = 37 "WRONG_STATE",
        /// The same login already rests in this tenant.
        DuplicateLogin = 38 "DUPLICATE_LOGIN",
        /// A signing factor was offered; the vault does not take any.
        SigningFactorRefused = 39 "SIGNING_FACTOR_REFUSED",
        /// A sealed value does not open, or does not follow the template.
        DepositMalformed = 40 "DEPOSIT_MALFORMED",
        /// The caller asks too often.
        RateLimited = 41 "RATE_LIMITED",
        /// The challenge looks like an order, not a login.
        TransactionChallenge = 42 "TRANSACTION_CHALLENGE",
        /// The challenge is over.
        ChallengeEnded = 43 "CHALLENGE_ENDED",
        /// The vault has a fault of its own.
        Internal = 44 "INTERNAL",
    }

    /// What a caller is told.
    PublicReason {
        /// Come back with a trusted certificate.
        PeerUntrusted = 1 "PEER_UNTRUSTED",
        /// Stop: this worker is not trusted.
        WorkerQuarantined = 2 "WORKER_QUARANTINED",
        /// Mend the request; the message names the field.
        BadRequest = 3 "BAD_REQUEST",
        /// This request id is taken.
        Replay = 4 "REPLAY",
        /// Back off and try again.
        Unavailable = 5 "UNAVAILABLE",
        /// The tenant is not served, or not here.
        TenantNotServed = 6 "TENANT_NOT_SERVED",
        /// The job does not hold.
        JobInvalid = 7 "JOB_INVALID",
        /// There is no such thing for this caller.
        NotFound = 8 "NOT_FOUND",
        /// The worker is not assigned.
        WorkerNotAssigned = 9 "WORKER_NOT_ASSIGNED",
        /// The investor has to act first.
        UserActionNeeded = 10 "USER_ACTION_NEEDED",
        /// No consent makes this releasable.
        ConsentRequired = 11 "CONSENT_REQUIRED",
        /// Ask the investor to be present, or come back later.
        AttendanceRequired = 12 "ATTENDANCE_REQUIRED",
        /// Not permitted; ask for less.
        NotPermitted = 13 "NOT_PERMITTED",
        /// Another job holds this login; come back later.
        LeaseHeld = 14 "LEASE_HELD",
        /// Something changed meanwhile; repeat with the same request id.
        TryAgain = 15 "TRY_AGAIN",
        /// The vault failed; it is recorded.
        Internal = 16 "INTERNAL",
        /// A state does not allow this call.
        WrongState = 17 "WRONG_STATE",
        /// The deposit was refused; the message names the field.
        DepositRefused = 18 "DEPOSIT_REFUSED",
    }
}

impl Reason {
    /// The public reason: checks 10 to 13 collapse to one, 16 and 17 to one, and everything that would tell of
    /// somebody else's data to NOT_FOUND.
    #[must_use]
    pub const fn public(self) -> PublicReason {
        use PublicReason as P;
        match self {
            Self::PeerUntrusted => P::PeerUntrusted,
            Self::WorkerQuarantined => P::WorkerQuarantined,
            Self::BadRequest => P::BadRequest,
            Self::Replay => P::Replay,
            Self::Lockdown
            | Self::AuditUnavailable
            | Self::KeyServiceUnavailable
            | Self::ClockUntrusted
            | Self::InstitutionSuspended
            | Self::RateLimited => P::Unavailable,
            Self::TenantSuspended | Self::WrongRegion => P::TenantNotServed,
            Self::JobInvalid | Self::OperationNotReadOnly => P::JobInvalid,
            Self::CredentialNotFound | Self::NotFound => P::NotFound,
            Self::WorkerNotAssigned => P::WorkerNotAssigned,
            Self::SecretRejected | Self::LockedAtInstitution | Self::CredentialEnrolling => P::UserActionNeeded,
            // An erased login answers like one whose consent ended: erasure is nobody else's business.
            Self::Erased
            | Self::ConsentMissing
            | Self::ConsentNotActive
            | Self::ConsentExpired
            | Self::ConsentRevoked
            | Self::ConsentEvidenceInvalid
            | Self::ConsentScopeExceeded => P::ConsentRequired,
            Self::AttendanceInvalid | Self::FrequencyExceeded => P::AttendanceRequired,
            Self::PolicyDenied | Self::FieldNotReleasable | Self::MethodNotAllowed | Self::TransactionChallenge => {
                P::NotPermitted
            }
            Self::LeaseHeld => P::LeaseHeld,
            Self::ConsentChanged | Self::NotDelivered => P::TryAgain,
            Self::KeyDisabled | Self::IntegrityFailure | Self::Internal => P::Internal,
            Self::WrongState | Self::ChallengeEnded => P::WrongState,
            Self::DuplicateLogin | Self::SigningFactorRefused | Self::DepositMalformed => P::DepositRefused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_reasons_are_one_in_public() {
        let exact = [
            Reason::ConsentMissing,
            Reason::ConsentNotActive,
            Reason::ConsentExpired,
            Reason::ConsentRevoked,
            Reason::ConsentEvidenceInvalid,
            Reason::ConsentScopeExceeded,
        ];
        assert!(exact.iter().all(|reason| reason.public() == PublicReason::ConsentRequired));
    }

    #[test]
    fn numbers_are_unique_and_never_zero() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert!(reason.number() > 0 && seen.insert(reason.number()), "{reason}");
        }
    }
}
