//! What can go wrong on the path. A denial is no error: it is an answer.

use cofre_model::permit::{EntryRef, TooLate};
use cofre_model::reason::Reason;

/// Why a release ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stores cannot be reached or do not answer.
    #[error("records: {0}")]
    Store(#[from] cofre_store::Error),
    /// The commit refused, or could not be had.
    #[error("commit: {0}")]
    Commit(#[from] cofre_store::CommitError),
    /// The custodian or a key in its chain failed.
    #[error("keys: {0}")]
    Keys(#[from] cofre_custody::Error),
    /// A ciphertext did not open, or the answer could not be sealed.
    #[error("envelope: {0}")]
    Envelope(#[from] cofre_envelope::Error),
    /// The rows that the grant names are not there.
    #[error("the stores lack what the records say is there")]
    Missing,
    /// The answer was not ready in time to leave.
    #[error(transparent)]
    TooLate(#[from] TooLate),
    /// What the decision relied on kept changing.
    #[error("what the decision relied on changed three times")]
    Contended,
    /// The secret that the grant names was entered anew before it could be opened, or its owner's key was moved to the
    /// tenant's next one.
    #[error("the login was entered anew, or moved to the tenant's next key, meanwhile")]
    Renewed,
    /// No randomness was to be had.
    #[error("the system gives no randomness")]
    Randomness,
    /// After a grant: what failed, and the entry that says so.
    #[error("not delivered: {cause}")]
    Undelivered {
        /// What failed.
        cause: Box<Error>,
        /// The grant.
        granted: EntryRef,
    },
}

impl Error {
    /// The exact reason for the register. Classified by where it happened, never by a code alone.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Store(cofre_store::Error::Corrupt { .. }) => Reason::IntegrityFailure,
            Self::Store(_) => Reason::AuditUnavailable,
            Self::Commit(error) => error.reason(),
            Self::Keys(error) => key_reason(error),
            Self::Envelope(cofre_envelope::Error::SlabFull | cofre_envelope::Error::Randomness) => {
                Reason::KeyServiceUnavailable
            }
            // A position beyond the value's end, or a form its content cannot take.
            Self::Envelope(
                cofre_envelope::Error::FieldAbsent
                | cofre_envelope::Error::FormRefused
                | cofre_envelope::Error::Position
                | cofre_envelope::Error::NotText,
            ) => Reason::FieldNotReleasable,
            Self::Envelope(cofre_envelope::Error::PublicKey | cofre_envelope::Error::Encapsulation) => {
                Reason::BadRequest
            }
            Self::Envelope(_) | Self::Missing => Reason::IntegrityFailure,
            Self::TooLate(_) => Reason::NotDelivered,
            Self::Contended | Self::Renewed => Reason::ConsentChanged,
            Self::Randomness => Reason::Internal,
            Self::Undelivered { cause, .. } => cause.reason(),
        }
    }

    /// The grant this error follows, if there was one.
    #[must_use]
    pub fn granted(&self) -> Option<u64> {
        match self {
            Self::Undelivered { granted, .. } => Some(granted.index),
            _ => None,
        }
    }
}

fn key_reason(error: &cofre_custody::Error) -> Reason {
    use cofre_custody::{Cause, Error as Keys, JournalError};
    match error {
        Keys::Custodian(fault) => match fault.cause {
            Cause::KeyDisabled | Cause::KeyMissing | Cause::KeyPendingDeletion | Cause::KeyDestroyed => {
                Reason::KeyDisabled
            }
            Cause::Integrity => Reason::IntegrityFailure,
            _ => Reason::KeyServiceUnavailable,
        },
        Keys::Integrity(_) | Keys::Foreign => Reason::IntegrityFailure,
        // What the register said, not what the custodian never got to say.
        Keys::Journal(JournalError::Refused(reason)) => *reason,
        Keys::UnknownCustodian(_)
        | Keys::Incomplete
        | Keys::Stricter
        | Keys::Journal(JournalError::NoSuchKey | JournalError::Unavailable)
        | Keys::Envelope(_) => Reason::KeyServiceUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofre_custody::{Error as Keys, JournalError};

    #[test]
    fn a_refused_warm_up_gives_the_registers_reason() {
        for reason in [Reason::Lockdown, Reason::TenantSuspended, Reason::IntegrityFailure] {
            assert_eq!(Error::Keys(Keys::Journal(JournalError::Refused(reason))).reason(), reason);
        }
        let absent = Error::Keys(Keys::Journal(JournalError::Unavailable));
        assert_eq!(absent.reason(), Reason::KeyServiceUnavailable);
    }

    #[test]
    fn a_corrupt_row_is_no_outage() {
        let corrupt = cofre_store::Error::Corrupt { table: "ciphertexts", column: "sealed" };
        assert_eq!(Error::Store(corrupt).reason(), Reason::IntegrityFailure);
    }
}
