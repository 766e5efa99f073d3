//! What can go wrong with a deposit, and what its caller is told.

use cofre_model::reason::Reason;

/// Why an enrolment or a deposit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused; where the caller can mend it, the field and the way out are named.
    #[error("refused: {reason}")]
    Refused {
        /// The exact reason.
        reason: Reason,
        /// The field and what it has to be. Holds nothing of what was sent.
        field: Option<(String, &'static str)>,
    },
    /// The stores cannot be reached or do not answer.
    #[error("store: {0}")]
    Store(#[from] cofre_store::Error),
    /// The commit refused, or could not be had.
    #[error("commit: {0}")]
    Commit(#[from] cofre_store::CommitError),
    /// The custodian or a key in its chain failed.
    #[error("keys: {0}")]
    Keys(#[from] cofre_custody::Error),
    /// The signer in the token failed.
    #[error("signer: {0}")]
    Signer(#[from] cofre_custody::Fault),
    /// Locked memory, randomness or sealing failed.
    #[error("envelope: {0}")]
    Envelope(#[from] cofre_envelope::Error),
}

impl Error {
    pub(crate) const fn refused(reason: Reason) -> Self {
        Self::Refused { reason, field: None }
    }

    pub(crate) fn field(reason: Reason, field: impl Into<String>, advice: &'static str) -> Self {
        Self::Refused { reason, field: Some((field.into(), advice)) }
    }

    /// The exact reason for the register.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { reason, .. } => *reason,
            Self::Store(cofre_store::Error::Destroyed) => Reason::WrongState,
            Self::Store(_) => Reason::AuditUnavailable,
            Self::Commit(error) => error.reason(),
            Self::Keys(cofre_custody::Error::Integrity(_) | cofre_custody::Error::Foreign) => Reason::IntegrityFailure,
            Self::Keys(cofre_custody::Error::Journal(cofre_custody::JournalError::Refused(reason))) => *reason,
            Self::Keys(_) | Self::Signer(_) | Self::Envelope(_) => Reason::KeyServiceUnavailable,
        }
    }
}
