//! What a process does to itself before it holds a secret: no core dump, no ptrace by equals, no new privileges.
//! It only asks the kernel and reports; whether to serve without is the caller's decision.

#[cfg(test)]
mod tests;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

/// The kernel refused one protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// RLIMIT_CORE could not be set to 0.
    #[error("core dumps could not be switched off (errno {0})")]
    CoreDumps(i32),
    /// PR_SET_DUMPABLE could not be set to 0.
    #[error("the process could not be made undumpable and closed to ptrace (errno {0})")]
    Dumpable(i32),
    /// PR_SET_NO_NEW_PRIVS could not be set.
    #[error("new privileges could not be given up (errno {0})")]
    NoNewPrivs(i32),
}

/// What was had, protection by protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a protection that was refused must stop the start, or be reported"]
pub struct Report {
    /// RLIMIT_CORE is 0, soft and hard.
    pub core_dumps: Result<(), Refused>,
    /// The process writes no dump and can be traced by nobody without CAP_SYS_PTRACE.
    pub dumpable: Result<(), Refused>,
    /// Nothing it executes can gain privileges; set for the calling thread and all threads it starts from now on.
    pub no_new_privs: Result<(), Refused>,
}

impl Report {
    /// Whether every protection was had.
    ///
    /// # Errors
    /// The first one that was refused.
    pub fn all(&self) -> Result<(), Refused> {
        self.core_dumps.and(self.dumpable).and(self.no_new_privs)
    }
}

/// Asks for all protections. Call it first in `main`, before any thread is started: `no_new_privs` belongs to a
/// thread and is inherited.
pub fn lock_process() -> Report {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Report {
        core_dumps: setrlimit(Resource::Core, none).map_err(|e| Refused::CoreDumps(e.raw_os_error())),
        dumpable: set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| Refused::Dumpable(e.raw_os_error())),
        no_new_privs: set_no_new_privs(true).map_err(|e| Refused::NoNewPrivs(e.raw_os_error())),
    }
}
