//! The one login of a token. A PIN that was refused is never tried again by this driver; a PIN that was accepted may
//! be used again when the token was away, because the token has forgotten the login and not the PIN.

use std::sync::{Mutex, PoisonError};

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};

use super::Pin;
use super::message::Note;
use super::trouble::{self, Trouble};
use crate::fault::{Cause, Operation};

/// What is known about the PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was not used yet.
    Untried,
    /// A try is under way, or was when the process that made it ended.
    Trying,
    /// The token took it.
    Accepted,
    /// It is not used any more.
    Refused(Cause),
}

/// Guards the PIN of one token.
pub(super) struct Login {
    pin: Pin,
    standing: Mutex<Standing>,
}

impl Login {
    /// A PIN of which nothing is known, or that the token took before.
    pub(super) fn new(pin: Pin, accepted: bool) -> Self {
        Self { pin, standing: Mutex::new(if accepted { Standing::Accepted } else { Standing::Untried }) }
    }

    /// Logs the application in, unless it is. The lock is held during the call: two threads never spend two tries.
    pub(super) fn ensure(&self, session: &Session, note: &dyn Fn(Note)) -> Result<(), Trouble> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let info = session.get_session_info().map_err(|e| Trouble::answered(Operation::LogIn, &e))?;
        if matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        if let Standing::Refused(cause) = *standing {
            return Err(Trouble::of(Operation::LogIn, cause));
        }
        note(Note::Pin(Standing::Trying));
        let answer = match session.login(UserType::User, Some(&self.pin.0)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                *standing = Standing::Accepted;
                Ok(())
            }
            Err(error) => {
                let trouble = Trouble::answered(Operation::LogIn, &error);
                *standing = after(*standing, &trouble);
                match *standing {
                    Standing::Refused(cause) => Err(trouble.but(cause, trouble::Session::Sound)),
                    Standing::Untried | Standing::Trying | Standing::Accepted => Err(trouble),
                }
            }
        };
        note(Note::Pin(*standing));
        answer
    }
}

/// A refusal that names the PIN ends its use. Any other failure may have cost a try: it is repeated only for a PIN
/// that the token has accepted before, or when the token was not even there. Else a person has to look: a cause that
/// asks for another try would be a lie.
fn after(standing: Standing, trouble: &Trouble) -> Standing {
    let about_the_pin = matches!(trouble.cause, Cause::PinIncorrect | Cause::PinLocked | Cause::PinUnusable);
    let harmless = standing == Standing::Accepted || trouble.session == trouble::Session::Dead;
    match (about_the_pin, harmless) {
        (true, _) => Standing::Refused(trouble.cause),
        (false, false) => Standing::Refused(Cause::PinInDoubt),
        (false, true) => standing,
    }
}
