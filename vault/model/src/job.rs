//! Statements signed outside the vault: a job by the tenant's scheduler, attendance by its front end.
//! Here they are bytes with a signature, or the content that verification gave.

use crate::id::{AttendanceId, CredentialId, JobId, RecipientId, SigningKeyId, SubjectId, TenantId};
use crate::time::Timestamp;
use crate::wording::{Purpose, ScopeSet, words};

words! {
    /// What a registered key may sign. Consent and attendance, jobs and people: one key, one kind.
    StatementKind {
        /// Jobs of the scheduler.
        Job = 1 "job",
        /// The investor's presence.
        Attendance = 2 "attendance",
    }
}

/// A statement as it arrived: nothing in it may be believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    /// The registered key that claims to have signed.
    pub key_id: SigningKeyId,
    /// The exact bytes that were signed.
    pub statement: Vec<u8>,
    /// Ed25519 over label ‖ 0x00 ‖ statement (RFC 8032).
    pub signature: [u8; 64],
}

/// A registered public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id.
    pub id: SigningKeyId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// What it may sign.
    pub kind: StatementKind,
    /// Ed25519 public key.
    pub public_key: [u8; 32],
    /// Nothing signed by it is believed from this instant on.
    pub not_after: Timestamp,
}

/// A job, once its signature was verified: one login, one worker, one purpose, before a deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The tenant whose scheduler signed it.
    pub tenant: TenantId,
    /// The login it needs.
    pub credential: CredentialId,
    /// The only worker that may use it, as SPIFFE id text.
    pub worker: String,
    /// What for.
    pub purpose: Purpose,
    /// Which data it will read.
    pub scopes: ScopeSet,
    /// Who receives the data.
    pub recipient: RecipientId,
    /// It will read data from this instant on.
    pub history_from: Timestamp,
    /// It is void from this instant on.
    pub deadline: Timestamp,
}

/// The investor's presence, once its signature was verified. Counts for five minutes, and once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttendanceStatement {
    /// Its id; a second use is refused.
    pub id: AttendanceId,
    /// The tenant whose front end signed it.
    pub tenant: TenantId,
    /// Who is present.
    pub owner: SubjectId,
    /// For which login.
    pub credential: CredentialId,
    /// When it was signed.
    pub issued_at: Timestamp,
}
