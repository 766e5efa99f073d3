//! Return codes read by operation and context. The same code means different things in different calls and on
//! different modules, so none is judged alone, and what is not known counts against the session.

use std::fmt;

use cryptoki::error::{Error, RvError};

use crate::custodian::{CustodianId, RequestId};
use crate::fault::{Cause, Detail, Fault, Operation};

/// What becomes of the session on which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// It is sound: the call itself was refused.
    Sound,
    /// It may be broken: never used again.
    Replace,
    /// It was dead before the call did anything: replace it and do the call once more.
    Dead,
    /// The answer may mean a bad call or a broken session: find out with bytes known to be good.
    Unclear,
}

/// A failure inside the driver.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) operation: Operation,
    pub(super) cause: Cause,
    pub(super) session: Session,
    detail: Option<Detail>,
}

impl Trouble {
    /// A failure of our own finding; the session is sound.
    pub(super) const fn of(operation: Operation, cause: Cause) -> Self {
        Self { operation, cause, session: Session::Sound, detail: None }
    }

    /// Reads what the library answered to a call made for `operation`.
    pub(super) fn answered(operation: Operation, error: &Error) -> Self {
        let (cause, session) = match error {
            Error::Pkcs11(rv, _) => judge(operation, *rv),
            Error::LibraryLoading(_) | Error::MissingSymbol(_) => (Cause::ModuleUnusable, Session::Sound),
            Error::NotSupported | Error::NullFunctionPointer => (Cause::Unsupported, Session::Sound),
            // Lengths and values that do not fit their types: the module does not keep to the standard.
            _ => (Cause::Transient, Session::Replace),
        };
        let detail = match error {
            Error::Pkcs11(rv, function) => format!("{function:?}: {rv:?}"),
            Error::LibraryLoading(_) => "the file cannot be loaded as a library".to_owned(),
            other => other.to_string(),
        };
        Self { operation, cause, session, detail: Some(Detail(detail)) }
    }

    /// The same failure, found to be about something else.
    pub(super) fn but(self, cause: Cause, session: Session) -> Self {
        Self { cause, session, ..self }
    }

    /// A failure as another process told it.
    pub(super) fn told(operation: Operation, cause: Cause, session: Session, detail: Option<String>) -> Self {
        Self { operation, cause, session, detail: detail.map(Detail) }
    }

    /// What the library said, where it said anything.
    pub(super) fn detail(&self) -> Option<&str> {
        self.detail.as_ref().map(|detail| detail.0.as_str())
    }

    /// The token has no more sessions to give, now.
    pub(super) fn is_out_of_sessions(&self) -> bool {
        self.cause == Cause::Busy && self.operation == Operation::Connect
    }

    pub(super) fn into_fault(self, custodian: CustodianId, request: Option<RequestId>) -> Fault {
        Fault { custodian, operation: self.operation, cause: self.cause, detail: self.detail, request }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.detail.as_ref().map_or("", |detail| detail.0.as_str());
        write!(f, "{}: {} {said}", self.operation.as_str(), self.cause)
    }
}

impl From<cofre_envelope::Error> for Trouble {
    /// Inside the driver the envelope only lends locked memory.
    fn from(_: cofre_envelope::Error) -> Self {
        Self::of(Operation::Unwrap, Cause::LockedMemory)
    }
}

/// The table of recoveries; `docs/custody/hosts.md` says it for operators.
fn judge(operation: Operation, rv: RvError) -> (Cause, Session) {
    use RvError as R;
    match rv {
        // The call did nothing, on a session that is of no more use: another session does it.
        R::SessionHandleInvalid | R::SessionClosed | R::UserNotLoggedIn => (Cause::Transient, Session::Dead),
        R::KeyHandleInvalid | R::ObjectHandleInvalid | R::WrappingKeyHandleInvalid | R::UnwrappingKeyHandleInvalid => {
            (Cause::Transient, Session::Dead)
        }
        // What another call left in the session.
        R::OperationActive | R::OperationNotInitialized => (Cause::Transient, Session::Dead),
        R::DeviceRemoved | R::TokenNotPresent | R::TokenNotRecognized | R::SlotIdInvalid => {
            (Cause::TokenAbsent, Session::Dead)
        }
        R::TokenWriteProtected | R::SessionReadOnly => (Cause::TokenReadOnly, Session::Sound),
        R::SessionCount => (Cause::Busy, Session::Sound),
        R::PinIncorrect => (Cause::PinIncorrect, Session::Sound),
        R::PinLocked => (Cause::PinLocked, Session::Sound),
        R::PinExpired | R::PinInvalid | R::PinLenRange | R::PinTooWeak | R::UserPinNotInitialized => {
            (Cause::PinUnusable, Session::Sound)
        }
        R::KeyFunctionNotPermitted
        | R::ActionProhibited
        | R::FunctionRejected
        | R::KeyNotNeeded
        | R::KeyUnextractable
        | R::KeyNotWrappable => (Cause::KeyDisabled, Session::Replace),
        R::MechanismInvalid
        | R::MechanismParamInvalid
        | R::FunctionNotSupported
        | R::CurveNotSupported
        | R::KeyTypeInconsistent
        | R::KeySizeRange
        | R::WrappingKeyTypeInconsistent
        | R::WrappingKeySizeRange
        | R::UnwrappingKeyTypeInconsistent
        | R::UnwrappingKeySizeRange
        | R::ArgumentsBad
        | R::AttributeSensitive
        | R::AttributeTypeInvalid
        | R::AttributeValueInvalid
        | R::TemplateIncomplete
        | R::TemplateInconsistent => (Cause::Unsupported, Session::Replace),
        R::EncryptedDataInvalid
        | R::EncryptedDataLenRange
        | R::DataInvalid
        | R::DataLenRange
        | R::WrappedKeyInvalid
        | R::WrappedKeyLenRange
            if matches!(operation, Operation::Unwrap | Operation::Probe) =>
        {
            (Cause::Integrity, Session::Replace)
        }
        // One module answers these for a tag that does not match, another for a login that is gone, others for a
        // failing device.
        R::GeneralError | R::FunctionFailed if is_a_call(operation) => (Cause::Transient, Session::Unclear),
        // Another answers so for a padding or a wrapped key that does not fit.
        R::DeviceError if operation == Operation::Unwrap => (Cause::Transient, Session::Unclear),
        // The module has to be loaded and initialised anew.
        R::LibraryLoadFailed | R::CryptokiNotInitialized | R::FipsSelfTestFailed | R::CantLock => {
            (Cause::ModuleUnusable, Session::Replace)
        }
        // About the device and not about what it was given.
        R::HostMemory | R::DeviceMemory | R::FunctionCanceled => (Cause::Transient, Session::Replace),
        // Codes of vendors and of later standards may be about the bytes: whoever changed them must not pass for a glitch.
        R::VendorDefined(_) | R::UnknownErrorCode(_) if operation == Operation::Unwrap => {
            (Cause::Transient, Session::Unclear)
        }
        // The call failed and the session is not trusted any more.
        _ => (Cause::Transient, Session::Replace),
    }
}

/// Whether a session that could not be closed is gone all the same.
pub(super) const fn is_over(error: &Error) -> bool {
    use RvError as R;
    matches!(
        error,
        Error::Pkcs11(
            R::SessionHandleInvalid
                | R::SessionClosed
                | R::DeviceRemoved
                | R::TokenNotPresent
                | R::TokenNotRecognized
                | R::SlotIdInvalid
                | R::CryptokiNotInitialized,
            _
        )
    )
}

/// Whether this is done for a caller, on a session that served before.
const fn is_a_call(operation: Operation) -> bool {
    matches!(operation, Operation::Unwrap | Operation::Wrap | Operation::Sign | Operation::Check)
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn read(operation: Operation, rv: RvError) -> (Cause, Session) {
        let trouble = Trouble::answered(operation, &Error::Pkcs11(rv, Function::Decrypt));
        (trouble.cause, trouble.session)
    }

    #[test]
    fn one_code_reads_differently_in_different_operations() {
        assert_eq!(read(Operation::Unwrap, RvError::GeneralError), (Cause::Transient, Session::Unclear));
        assert_eq!(read(Operation::Sign, RvError::GeneralError), (Cause::Transient, Session::Unclear));
        assert_eq!(read(Operation::Probe, RvError::GeneralError), (Cause::Transient, Session::Replace));
        assert_eq!(read(Operation::Unwrap, RvError::DeviceError), (Cause::Transient, Session::Unclear));
        assert_eq!(read(Operation::Sign, RvError::DeviceError), (Cause::Transient, Session::Replace));
        assert_eq!(read(Operation::Unwrap, RvError::EncryptedDataInvalid), (Cause::Integrity, Session::Replace));
        assert_eq!(read(Operation::Sign, RvError::EncryptedDataInvalid), (Cause::Transient, Session::Replace));
    }

    #[test]
    fn an_unknown_code_counts_against_the_session() {
        assert_eq!(read(Operation::Sign, RvError::VendorDefined(0x8000_0001)), (Cause::Transient, Session::Replace));
        assert_eq!(read(Operation::Unwrap, RvError::UnknownErrorCode(0x42)), (Cause::Transient, Session::Unclear));
        assert_eq!(read(Operation::Unwrap, RvError::DeviceMemory), (Cause::Transient, Session::Replace));
    }

    #[test]
    fn nothing_about_a_pin_is_worth_a_retry() {
        for rv in [RvError::PinIncorrect, RvError::PinLocked, RvError::PinExpired, RvError::UserPinNotInitialized] {
            let (cause, session) = read(Operation::LogIn, rv);
            assert!(!cause.retryable(), "{cause}");
            assert_eq!(session, Session::Sound);
        }
    }
}
