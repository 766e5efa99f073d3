//! What is asked for a permit that is no release. Each comes with the entry that will record it.

use cofre_model::entry::Entry;
use cofre_model::id::{DepositKeyId, EnrolmentId, KeyJobId, TenantId};
use cofre_model::wording::Class;

/// Asks to ask a custodian for a tenant key.
#[derive(Debug, Clone)]
pub struct WarmRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// The version of its key.
    pub tenant_key_version: u32,
    /// The id the key must have.
    pub tenant_key_id: [u8; 16],
    /// The entry, of kind WARM.
    pub entry: Entry,
}

/// Asks to ask custodians for a tenant key, to wrap it anew.
#[derive(Debug, Clone)]
pub struct RewrapRequest {
    /// The job, which must be running.
    pub job: KeyJobId,
    /// Where it moves the key. The entry comes to say so.
    pub target: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The version of its key.
    pub tenant_key_version: u32,
    /// The id the key must have.
    pub tenant_key_id: [u8; 16],
    /// The entry, of kind REWRAP.
    pub entry: Entry,
}

/// Asks to open keys that lie under one version of a tenant's key, to wrap them under the one in force.
#[derive(Debug, Clone)]
pub struct MoveRequest {
    /// The job, a rotation of this tenant's key or of all that is running.
    pub job: KeyJobId,
    /// The tenant.
    pub tenant: TenantId,
    /// The version they leave.
    pub from_version: u32,
    /// The id that version's key must have.
    pub from_id: [u8; 16],
    /// The version they go to: the one in force.
    pub to_version: u32,
    /// The id that version's key must have.
    pub to_id: [u8; 16],
    /// Keys at most, and at least one.
    pub count: u32,
    /// The entry, of kind KEYS_MOVE. It comes to say all of this.
    pub entry: Entry,
}

/// Asks to seal a deposit for rest.
#[derive(Debug, Clone)]
pub struct DepositIntent {
    /// The tenant.
    pub tenant: TenantId,
    /// The enrolment session.
    pub enrolment: EnrolmentId,
    /// The class of secret.
    pub class: Class,
    /// The deposit key it was sealed to.
    pub deposit_key: DepositKeyId,
    /// The entry, of kind DEPOSIT_INTENDED.
    pub entry: Entry,
}
