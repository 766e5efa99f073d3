//! The one login of a token. A PIN that was refused is never tried again by this driver; a PIN that was accepted may
//! be used again when the token was away, because the token has forgotten the login and not the PIN.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::TokenInfo;

use tokio::time::Instant;

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
    /// The token took it once, and how its last try ended is not known.
    Doubted,
    /// It is not used any more.
    Refused(Cause),
}

/// Guards the PIN of one token.
pub(super) struct Login {
    pin: Pin,
    held: Mutex<Held>,
}

struct Held {
    standing: Standing,
    /// When a try ended without an answer, here.
    doubted: Option<Instant>,
}

/// How long after a try of unknown end the PIN rests. A device that comes up again answers vaguely for a moment, and the
/// sessions that all have to log in then are not to spend a try each.
pub(super) const REST: Duration = Duration::from_secs(5);

impl Login {
    /// A PIN, and what is known of it from before.
    pub(super) fn new(pin: Pin, standing: Standing) -> Self {
        Self { pin, held: Mutex::new(Held { standing, doubted: None }) }
    }

    /// Logs the application in, unless it is. The lock is held during the call: two threads never spend two tries.
    ///
    /// `token` asks the token what it says of itself: one that counts down to its lock is not helped by another try, which
    /// other programs, replicas and restarts may have left it.
    pub(super) fn ensure(
        &self,
        session: &Session,
        token: impl FnOnce() -> Result<TokenInfo, Trouble>,
        note: &dyn Fn(Note),
    ) -> Result<(), Trouble> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Held { standing, doubted } = &mut *held;
        let info = session.get_session_info().map_err(|e| Trouble::answered(Operation::LogIn, &e))?;
        if matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        if let Standing::Refused(cause) = *standing {
            return Err(Trouble::of(Operation::LogIn, cause));
        }
        if doubted.is_some_and(|at| at.elapsed() < REST) {
            return Err(Trouble::of(Operation::LogIn, Cause::Transient));
        }
        if let Some(cause) = spent(&token()?) {
            *standing = Standing::Refused(cause);
            note(Note::Pin(*standing));
            return Err(Trouble::of(Operation::LogIn, cause));
        }
        note(Note::Pin(Standing::Trying));
        let answer = match session.login(UserType::User, Some(&self.pin.0)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                (*standing, *doubted) = (Standing::Accepted, None);
                Ok(())
            }
            Err(error) => {
                let trouble = Trouble::answered(Operation::LogIn, &error);
                *standing = after(*standing, &trouble);
                *doubted = (*standing == Standing::Doubted).then(Instant::now);
                match *standing {
                    Standing::Refused(cause) => Err(trouble.but(cause, trouble::Session::Sound)),
                    Standing::Untried | Standing::Trying | Standing::Accepted | Standing::Doubted => Err(trouble),
                }
            }
        };
        note(Note::Pin(*standing));
        answer
    }
}

/// Whether the token has too few tries left to spend one.
fn spent(token: &TokenInfo) -> Option<Cause> {
    match (token.user_pin_locked(), token.user_pin_final_try()) {
        (true, _) => Some(Cause::PinLocked),
        (false, true) => Some(Cause::PinInDoubt),
        (false, false) => None,
    }
}

/// A refusal that names the PIN ends its use. Any other failure may have cost a try, unless the token was not even there.
fn after(standing: Standing, trouble: &Trouble) -> Standing {
    let about_the_pin = matches!(trouble.cause, Cause::PinIncorrect | Cause::PinLocked | Cause::PinUnusable);
    match (about_the_pin, trouble.session == trouble::Session::Dead) {
        (true, _) => Standing::Refused(trouble.cause),
        (false, true) => standing,
        (false, false) => standing.unresolved(),
    }
}

impl Standing {
    /// What is known after a try of which nobody knows how it ended. Once that is allowed to a PIN that the token took
    /// before: it may have been changed meanwhile. Else a person has to look: a cause that asks for another try would be
    /// a lie.
    pub(super) const fn unresolved(self) -> Self {
        match self {
            Self::Accepted => Self::Doubted,
            Self::Untried | Self::Trying | Self::Doubted => Self::Refused(Cause::PinInDoubt),
            Self::Refused(cause) => Self::Refused(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_one_try_of_unknown_end_between_two_that_were_accepted() {
        assert_eq!(Standing::Untried.unresolved(), Standing::Refused(Cause::PinInDoubt));
        assert_eq!(Standing::Accepted.unresolved(), Standing::Doubted);
        assert_eq!(Standing::Doubted.unresolved(), Standing::Refused(Cause::PinInDoubt));
        let refused = Standing::Refused(Cause::PinIncorrect);
        assert_eq!(refused.unresolved(), refused);
        let vague = Trouble::of(Operation::LogIn, Cause::Transient).but(Cause::Transient, trouble::Session::Replace);
        assert_eq!(after(Standing::Accepted, &vague), Standing::Doubted);
        let away = Trouble::of(Operation::LogIn, Cause::TokenAbsent).but(Cause::TokenAbsent, trouble::Session::Dead);
        assert_eq!(after(Standing::Untried, &away), Standing::Untried, "nobody was there to count it");
    }
}
