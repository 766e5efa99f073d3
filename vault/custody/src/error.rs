//! Why keys could not be opened or wrapped.

use crate::custodian::CustodianId;
use crate::fault::Fault;
use crate::journal::JournalError;

/// What did not fit its context, its parent key or its recorded id. Each is an incident, never a reason to try on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A share did not open, or was bound to something else.
    Share,
    /// The tenant key is not the one the records name.
    TenantKey,
    /// The owner's subject key did not open.
    SubjectKey,
    /// The login's data key did not open.
    DataKey,
    /// The deposit key pair did not open.
    DepositKey,
    /// The keys of the tenant's rows did not open, or are missing beside a later key.
    RowKeys,
}

impl Broken {
    /// The text for entries and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share of a tenant key",
            Self::TenantKey => "tenant key",
            Self::SubjectKey => "subject key",
            Self::DataKey => "data key",
            Self::DepositKey => "deposit key",
            Self::RowKeys => "keys of the tenant's rows",
        }
    }
}

/// Why keys could not be opened or wrapped. Nothing was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A custodian did not serve.
    #[error(transparent)]
    Custodian(#[from] Fault),
    /// A custody set names a custodian that is not configured.
    #[error("custodian {0} is in a custody set but not configured; add [custodians.{0}]")]
    UnknownCustodian(CustodianId),
    /// The keyring lacks shares that the custody set needs.
    #[error("the keyring lacks shares of the tenant key")]
    Incomplete,
    /// The custody set a key shall have is stricter than the one it has.
    #[error(
        "the custody set is stricter than the one the key has, and its older shares would still open by that one; name a set that is no stricter"
    )]
    Stricter,
    /// A key, a share or a row is not what the records say.
    #[error("the {} is not what the records say", .0.as_str())]
    Integrity(Broken),
    /// The rows handed in belong to another tenant, key version or deposit key than the permit.
    #[error("the rows do not belong to the permit")]
    Foreign,
    /// The Warm entry could not be committed, or its outcome not recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Locked memory or randomness failed.
    #[error(transparent)]
    Envelope(cofre_envelope::Error),
}

impl Error {
    /// Whether the same call may succeed later with nothing changed by a person.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Custodian(fault) => fault.cause.retryable(),
            Self::Journal(cause) => matches!(cause, JournalError::Unavailable),
            Self::Envelope(cause) => matches!(cause, cofre_envelope::Error::SlabFull),
            Self::UnknownCustodian(_) | Self::Incomplete | Self::Stricter | Self::Integrity(_) | Self::Foreign => false,
        }
    }

    /// Tells a key that does not open from a process that is out of memory or randomness.
    pub(crate) fn opening(what: Broken) -> impl FnOnce(cofre_envelope::Error) -> Self {
        move |cause| match cause {
            cofre_envelope::Error::SlabFull | cofre_envelope::Error::Randomness => Self::Envelope(cause),
            _ => Self::Integrity(what),
        }
    }
}

impl From<cofre_envelope::Error> for Error {
    fn from(cause: cofre_envelope::Error) -> Self {
        Self::Envelope(cause)
    }
}
