//! The register as custody sees it: no tenant key is asked for before an entry says so, and what came of it is
//! recorded. `server` implements this over the store.

use std::fmt;

use cofre_model::permit::{Evidence, Permit, Warm, WarmWarrant};
use cofre_model::reason::Reason;

use crate::custodian::{CustodianId, Pending, RequestId};
use crate::error::{Broken, Error};
use crate::fault::{Cause, Fault};
use crate::set::WrappedTenantKey;
use crate::warm::TenantRef;

/// Why the register did not let a tenant key be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The commit refused: lockdown, suspension, or an epoch that moved.
    #[error("the register refused the warm-up: {0}")]
    Refused(Reason),
    /// The keyring has no such tenant key, or none that can be read.
    #[error("the keyring has no such tenant key, or none that can be read")]
    NoSuchKey,
    /// The register or the keyring cannot be reached.
    #[error("the register or the keyring cannot be reached")]
    Unavailable,
}

/// One call of a custodian, as it goes into the outcome of a Warm entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which custodian.
    pub custodian: CustodianId,
    /// Its id for the call; none when the call never reached it.
    pub request: Option<RequestId>,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What came of it.
    pub result: Result<(), Cause>,
}

impl Call {
    pub(crate) fn of(custodian: &CustodianId, answer: Result<&RequestId, &Fault>, took_us: u64) -> Self {
        let (request, result) = match answer {
            Ok(request) => (Some(request.clone()), Ok(())),
            Err(fault) => (fault.request.clone(), Err(fault.cause)),
        };
        Self { custodian: custodian.clone(), request, took_us, result }
    }
}

/// Why a warm-up brought no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// A custodian did not serve.
    Custodian(Cause),
    /// A share or the key was not what the records say: an incident.
    Integrity,
    /// No room in locked memory.
    Locked,
    /// Shares were missing, or a custodian of the set is not configured.
    Incomplete,
}

impl Failed {
    /// The text for the entry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Custodian(cause) => cause.as_str(),
            Self::Integrity => "INTEGRITY_FAILURE",
            Self::Locked => "LOCKED_MEMORY",
            Self::Incomplete => "INCOMPLETE",
        }
    }
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        match error {
            Error::Custodian(fault) => Self::Custodian(fault.cause),
            Error::Integrity(Broken::Share | Broken::TenantKey) | Error::Integrity(_) | Error::Foreign => {
                Self::Integrity
            }
            Error::Envelope(_) => Self::Locked,
            Error::UnknownCustodian(_) | Error::Incomplete | Error::Stricter | Error::Journal(_) => Self::Incomplete,
        }
    }
}

/// What came of a warm-up. Every call is listed, so that entries and the custodian's own log can be reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmOutcome {
    /// The custodian calls, in order.
    pub calls: Vec<Call>,
    /// Whether the tenant key came.
    pub result: Result<(), Failed>,
}

/// Commits Warm entries and their outcomes.
pub trait Journal: Send + Sync + fmt::Debug {
    /// Commits the Warm entry and reads the wrapped key. Called once per asking, however many wait for it.
    ///
    /// # Errors
    /// [`JournalError`]; the custodian is then not asked.
    fn warm<'a>(&'a self, tenant: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError>;

    /// Records what came of it. When this fails the key is dropped: a call that is not on record serves nobody.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    fn warmed(&self, entry: Evidence<WarmWarrant>, outcome: WarmOutcome) -> Pending<'_, (), JournalError>;
}
