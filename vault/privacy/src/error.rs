//! What can go wrong with an erasure, and what its caller is told.

use cofre_model::reason::Reason;

/// Why an erasure or its certificate did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused; where the caller can mend it, the field and the way out are named.
    #[error("refused: {reason}")]
    Refused {
        /// The exact reason.
        reason: Reason,
        /// The field and what it has to be. Holds nothing of what was sent.
        field: Option<(&'static str, &'static str)>,
    },
    /// The stores cannot be reached or do not answer.
    #[error("store: {0}")]
    Store(#[from] cofre_store::Error),
    /// The commit refused, or could not be had.
    #[error("commit: {0}")]
    Commit(#[from] cofre_store::CommitError),
    /// The signer in the token failed. What was destroyed stays destroyed; the certificate follows.
    #[error("signer: {0}")]
    Signer(#[from] cofre_custody::Fault),
    /// The token gave a signature that does not hold under its own public key, or its key is not usable.
    #[error("the token's signature does not hold under its own public key")]
    FaultySignature,
    /// The certificate could not be written.
    #[error("certificate: {0}")]
    Certificate(&'static str),
    /// A stored entry that the certificate speaks of is not one this program writes.
    #[error("stored entry: {0}")]
    Entry(#[from] cofre_ledger::entry::EntryError),
    /// A row that the erasure's state says is there is not.
    #[error("the stores lack what the records say is there")]
    Missing,
    /// The row of an erasure says something else than the entry of its acceptance, or that entry is not one.
    #[error("entry {index} does not accept the erasure that the records say it does: keep the records as evidence")]
    Contradiction {
        /// The entry.
        index: u64,
    },
    /// This process did not see the acceptance, and no checkpoint covers it yet.
    #[error(
        "the acceptance at entry {index} is not under a signed checkpoint yet: the next one lets the erasure go on"
    )]
    Uncovered {
        /// The entry.
        index: u64,
    },
    /// A checkpoint should cover the acceptance and does not.
    #[error(
        "the acceptance at entry {index} does not prove to be under the newest checkpoint: keep the records as evidence"
    )]
    Unproven {
        /// The entry.
        index: u64,
    },
    /// No randomness was to be had.
    #[error("the system gives no randomness")]
    Randomness,
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
            Self::Store(cofre_store::Error::Corrupt { .. })
            | Self::Entry(_)
            | Self::Missing
            | Self::Contradiction { .. }
            | Self::Unproven { .. } => Reason::IntegrityFailure,
            Self::Uncovered { .. } => Reason::WrongState,
            Self::Store(_) => Reason::AuditUnavailable,
            Self::Commit(error) => error.reason(),
            Self::Signer(_) | Self::FaultySignature => Reason::KeyServiceUnavailable,
            Self::Certificate(_) | Self::Randomness => Reason::Internal,
        }
    }

    /// The field that the caller can mend, and what it has to be.
    #[must_use]
    pub const fn advice(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Refused { field, .. } => *field,
            _ => None,
        }
    }

    /// Whether somebody wrote around the ledger.
    pub(crate) const fn is_incident(&self) -> bool {
        matches!(self, Self::Entry(_) | Self::Missing | Self::Contradiction { .. } | Self::Unproven { .. })
    }

    /// Whether only the signature is missing: everything before it was done.
    pub(crate) const fn only_unsigned(&self) -> bool {
        matches!(self, Self::Signer(_) | Self::FaultySignature)
    }
}
