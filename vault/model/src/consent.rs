//! A consent: who may use which login for what, until when. What decides is here; wording and receipts are made
//! by the use case.

use crate::id::{ConsentId, CredentialId, RecipientId, SubjectId, TenantId};
use crate::time::Timestamp;
use crate::wording::{Purpose, ScopeSet, words};

words! {
    /// Where a consent stands. EXPIRED and REVOKED are final.
    ConsentState {
        /// The notice was made; the investor has not decided. Lapses after an hour.
        AwaitingAuthorisation = 1 "AWAITING_AUTHORISATION",
        /// In force.
        Active = 2 "ACTIVE",
        /// Withdrawn.
        Revoked = 3 "REVOKED",
        /// Past its end, or never decided in time.
        Expired = 4 "EXPIRED",
    }
}

/// The deciding content of a consent, all of it under the row MAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// The tenant it was given to.
    pub tenant: TenantId,
    /// Who gave it.
    pub subject: SubjectId,
    /// The login it covers.
    pub credential: CredentialId,
    /// Who receives the data.
    pub recipient: RecipientId,
    /// What for.
    pub purpose: Purpose,
    /// Which data.
    pub scopes: ScopeSet,
    /// In force from this instant.
    pub valid_from: Timestamp,
    /// In force before this instant.
    pub valid_until: Timestamp,
    /// Data not older than this instant.
    pub history_from: Timestamp,
    /// Releases a rolling day may bring while nobody is present; 0 to 4.
    pub unattended_per_day: u8,
    /// Where it stands.
    pub state: ConsentState,
}
