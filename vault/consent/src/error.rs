//! What can go wrong in the life of a consent, and what its caller is told.

use cofre_model::reason::Reason;

/// Why a call about a consent did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused; where the caller can mend it, the field and the way out are named.
    #[error("refused: {reason}")]
    Refused {
        /// The exact reason.
        reason: Reason,
        /// The field and what it has to be.
        field: Option<(&'static str, &'static str)>,
    },
    /// The stores cannot be reached or do not answer.
    #[error("store: {0}")]
    Store(#[from] cofre_store::Error),
    /// The commit refused, or could not be had.
    #[error("commit: {0}")]
    Commit(#[from] cofre_store::CommitError),
    /// The tenant's integrity key cannot be had.
    #[error("keys: {0}")]
    Keys(#[from] cofre_custody::Error),
    /// The signer in the token failed.
    #[error("signer: {0}")]
    Signer(#[from] cofre_custody::Fault),
    /// No randomness was to be had.
    #[error("envelope: {0}")]
    Envelope(#[from] cofre_envelope::Error),
    /// A receipt could not be put into its format.
    #[error("receipt: {0}")]
    Receipt(#[from] cofre_ledger::jws::JwsError),
}

impl Error {
    pub(crate) const fn refused(reason: Reason) -> Self {
        Self::Refused { reason, field: None }
    }

    pub(crate) const fn field(reason: Reason, field: &'static str, advice: &'static str) -> Self {
        Self::Refused { reason, field: Some((field, advice)) }
    }

    /// The exact reason for the register.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { reason, .. } => *reason,
            Self::Store(_) => Reason::AuditUnavailable,
            Self::Commit(error) => error.reason(),
            Self::Keys(cofre_custody::Error::Integrity(_)) => Reason::IntegrityFailure,
            Self::Keys(cofre_custody::Error::Journal(cofre_custody::JournalError::Refused(reason))) => *reason,
            Self::Keys(_) | Self::Signer(_) | Self::Envelope(_) => Reason::KeyServiceUnavailable,
            Self::Receipt(_) => Reason::Internal,
        }
    }
}
