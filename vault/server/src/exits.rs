//! What the exit code tells a service manager. Decides nothing but whether starting again can do harm.

use cofre_custody::{Cause, Fault};

/// The configuration is refused (EX_USAGE of sysexits).
pub const CONFIGURATION: u8 = 64;
/// A token refused the PIN or may have, or is locked (EX_NOPERM of sysexits). Each start is another try of the same PIN: a manager
/// that restarts on this code locks the token for good.
pub const PIN: u8 = 77;
/// A record was made, and people have still to sign it (EX_TEMPFAIL of sysexits).
pub const UNFINISHED: u8 = 75;
/// Whatever else kept the process from doing what it was told.
pub const FAILED: u8 = 1;

/// The exit code for `error`.
#[must_use]
pub fn of(error: &anyhow::Error) -> u8 {
    let about_the_pin = |fault: &Fault| {
        matches!(fault.cause, Cause::PinIncorrect | Cause::PinLocked | Cause::PinUnusable | Cause::PinInDoubt)
    };
    if error.chain().filter_map(|cause| cause.downcast_ref::<Fault>()).any(about_the_pin) { PIN } else { FAILED }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use cofre_custody::{CustodianId, Operation};

    use super::*;

    fn failed(cause: Cause) -> anyhow::Error {
        let custodian = CustodianId::try_from("hsm-1").expect("a name");
        let fault = Fault { custodian, operation: Operation::LogIn, cause, detail: None, request: None };
        Err::<(), _>(fault).context("custodian hsm-1").context("start").expect_err("failed")
    }

    #[test]
    fn a_refused_pin_has_a_code_of_its_own_and_nothing_else_has_it() {
        for cause in Cause::ALL {
            let about_the_pin =
                [Cause::PinIncorrect, Cause::PinLocked, Cause::PinUnusable, Cause::PinInDoubt].contains(cause);
            let expected = if about_the_pin { PIN } else { FAILED };
            assert_eq!(of(&failed(*cause)), expected, "{cause}");
        }
        assert_eq!(of(&anyhow::anyhow!("PIN_INCORRECT")), FAILED);
    }
}
