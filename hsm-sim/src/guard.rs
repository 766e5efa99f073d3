//! The one door of the module: every PKCS#11 function comes through [`guard`], which applies the fault plan, stops
//! panics at the C boundary, ends operations that are over and writes the call log. The functions know none of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use crate::DIR_ENV;
use crate::attempts;
use crate::faults::Verdict;
use crate::rv::{self, Answer, Rv, fail};
use crate::session::Kind;
use crate::sim::Sim;

/// `None` before `C_Initialize` and after `C_Finalize`.
static MODULE: Mutex<Option<Sim>> = Mutex::new(None);

/// What a call is about, which decides how an absent token answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    /// The library or the slot itself: works without a token.
    Library,
    /// The token in the slot: `CKR_TOKEN_NOT_PRESENT`.
    Token,
    /// A session: `CKR_DEVICE_REMOVED`.
    Session,
    /// The last step of an operation of a session: as above, and the operation ends by the call.
    Operation(CK_SESSION_HANDLE, Kind),
}

/// Whether an operation goes on after a call that answered `CKR_OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Only the length was asked for.
    Kept,
    /// The answer was given.
    Ended,
}

/// Runs a function that is no last step of an operation.
pub(crate) fn guard(name: &'static str, about: About, work: impl FnOnce(&mut Sim) -> Answer) -> CK_RV {
    enter(name, about, |sim| work(sim).map(|()| Ending::Ended))
}

/// Runs the last step of an operation: it stays alive after [`Ending::Kept`] and `CKR_BUFFER_TOO_SMALL`, and is over
/// after any other outcome, injected ones included (2.40, 5.2).
pub(crate) fn guard_operation(
    name: &'static str,
    session: CK_SESSION_HANDLE,
    kind: Kind,
    work: impl FnOnce(&mut Sim) -> Answer<Ending>,
) -> CK_RV {
    enter(name, About::Operation(session, kind), work)
}

/// `C_Initialize`: opens the token folder that [`DIR_ENV`] names. `check` looks at the arguments.
pub(crate) fn guard_initialize(check: impl FnOnce() -> Answer) -> CK_RV {
    const NAME: &str = "C_Initialize";
    let opened = contain(|| {
        check()?;
        if lock().is_some() {
            return fail(CKR_CRYPTOKI_ALREADY_INITIALIZED);
        }
        let Some(path) = std::env::var_os(DIR_ENV).filter(|path| !path.is_empty()) else {
            complain(&format!("{DIR_ENV} is not set; it names the token folder"));
            return fail(CKR_GENERAL_ERROR);
        };
        let path = PathBuf::from(path);
        Sim::open(path.clone()).inspect_err(|rv| {
            complain(&format!("{DIR_ENV}={}: no usable token folder ({})", path.display(), rv::name(rv.0)));
        })
    });
    let mut sim = match opened {
        Ok(sim) => sim,
        Err(Rv(code)) => return code,
    };
    let verdict = sim.faults.next(NAME);
    if let Ok(verdict) = &verdict {
        std::thread::sleep(verdict.latency);
    }
    if let Some(foreign) = sim.faults.attempts() {
        attempts::make(sim.folder.path(), &foreign);
    }
    let code = match verdict {
        Ok(Verdict { answer: Some(code), .. }) => code,
        Ok(_) => CKR_OK,
        Err(Rv(code)) => code,
    };
    sim.calls.note(NAME, &rv::name(code));
    if code == CKR_OK {
        let mut module = lock();
        if module.is_some() {
            return CKR_CRYPTOKI_ALREADY_INITIALIZED;
        }
        *module = Some(sim);
    }
    code
}

/// `C_Finalize`: forgets everything; secrets are wiped by their drop.
pub(crate) fn guard_finalize(check: impl FnOnce() -> Answer) -> CK_RV {
    let code = guard("C_Finalize", About::Library, |_| check());
    if code == CKR_OK {
        lock().take();
    }
    code
}

fn enter(name: &'static str, about: About, work: impl FnOnce(&mut Sim) -> Answer<Ending>) -> CK_RV {
    let verdict = match lock().as_mut() {
        None => return CKR_CRYPTOKI_NOT_INITIALIZED,
        Some(sim) => sim.faults.next(name),
    };
    if let Ok(verdict) = &verdict {
        // Outside the lock: a slow call of one thread does not hold up the others.
        std::thread::sleep(verdict.latency);
    }
    let mut module = lock();
    let Some(sim) = module.as_mut() else { return CKR_CRYPTOKI_NOT_INITIALIZED };
    let outcome = verdict.and_then(|verdict| contain(|| obey(sim, about, &verdict, work)));
    if let About::Operation(session, kind) = about {
        let goes_on = matches!(outcome, Ok(Ending::Kept) | Err(Rv(CKR_BUFFER_TOO_SMALL)));
        if let (false, Ok(session)) = (goes_on, sim.sessions.at_mut(session)) {
            session.end(kind);
        }
    }
    let code = outcome.map_or_else(|Rv(code)| code, |_| CKR_OK);
    sim.calls.note(name, &rv::name(code));
    code
}

/// Does the work as far as the fault plan lets it.
fn obey(
    sim: &mut Sim,
    about: About,
    verdict: &Verdict,
    work: impl FnOnce(&mut Sim) -> Answer<Ending>,
) -> Answer<Ending> {
    sim.set_present(!verdict.removed);
    match (about, verdict.removed) {
        (About::Token, true) => return fail(CKR_TOKEN_NOT_PRESENT),
        (About::Session | About::Operation(..), true) => return fail(CKR_DEVICE_REMOVED),
        (About::Library, true) | (_, false) => {}
    }
    match verdict.answer {
        None => work(sim),
        Some(code) => {
            if verdict.work_done {
                // The outcome is what gets lost.
                let _ = work(sim);
            }
            if code == CKR_OK { Ok(Ending::Ended) } else { fail(code) }
        }
    }
}

/// A panic becomes `CKR_GENERAL_ERROR`; it must not unwind into C.
fn contain<T>(work: impl FnOnce() -> Answer<T>) -> Answer<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(fail(CKR_GENERAL_ERROR))
}

/// A poisoned lock is taken over: `contain` has already answered for the panic.
fn lock() -> MutexGuard<'static, Option<Sim>> {
    MODULE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A code alone cannot say what to do about a wrong set-up; one line on standard error can.
fn complain(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "cofre-hsm-sim: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_becomes_a_code() {
        assert_eq!(contain(|| -> Answer { panic!("stopped at the boundary") }), Err(Rv(CKR_GENERAL_ERROR)));
        assert_eq!(contain(|| Ok(7)), Ok(7));
    }
}
