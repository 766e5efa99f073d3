//! What can go wrong with a challenge, and what its caller is told.

use cofre_model::reason::Reason;

/// Why a call about a challenge did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused.
    #[error("refused: {0}")]
    Refused(Reason),
    /// A field of the request does not hold against the records.
    #[error("refused: {field} {advice}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it has to be.
        advice: &'static str,
    },
    /// The stores cannot be reached or do not answer.
    #[error("store: {0}")]
    Store(#[from] cofre_store::Error),
    /// The commit refused, or could not be had.
    #[error("commit: {0}")]
    Commit(#[from] cofre_store::CommitError),
}

impl Error {
    /// The exact reason for the register.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(reason) => *reason,
            Self::Field { .. } => Reason::BadRequest,
            Self::Store(_) => Reason::AuditUnavailable,
            Self::Commit(error) => error.reason(),
        }
    }
}
