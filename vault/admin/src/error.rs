//! What can go wrong with a registration or a stop button, and what its caller is told.

use cofre_model::reason::Reason;

/// Why an administrative call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused; where the caller can mend it, the field and the way out are named.
    #[error("refused: {reason}")]
    Refused {
        /// The exact reason.
        reason: Reason,
        /// The field and what it has to be.
        field: Option<(String, &'static str)>,
    },
    /// The stores cannot be reached or do not answer.
    #[error("store: {0}")]
    Store(#[from] cofre_store::Error),
    /// The commit refused, or could not be had.
    #[error("commit: {0}")]
    Commit(#[from] cofre_store::CommitError),
    /// A tenant key could not be wrapped.
    #[error("keys: {0}")]
    Keys(#[from] cofre_custody::Error),
    /// No randomness was to be had.
    #[error("envelope: {0}")]
    Envelope(#[from] cofre_envelope::Error),
}

impl Error {
    pub(crate) fn field(reason: Reason, field: impl Into<String>, advice: &'static str) -> Self {
        Self::Refused { reason, field: Some((field.into(), advice)) }
    }

    /// The exact reason for the register.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { reason, .. } => *reason,
            Self::Store(_) => Reason::AuditUnavailable,
            Self::Commit(error) => error.reason(),
            Self::Keys(cofre_custody::Error::Journal(cofre_custody::JournalError::Refused(reason))) => *reason,
            Self::Keys(_) | Self::Envelope(_) => Reason::KeyServiceUnavailable,
        }
    }
}
