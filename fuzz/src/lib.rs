//! Hostile bytes for every parser of the vault, and for the whole front door. Each target is a plain function: the
//! engine feeds it, and `tests/replay.rs` feeds it what is kept in `corpus/` and `regressions/`.
//!
//! A target says what must hold and panics where it does not; that nothing crashes is the least of it. Nothing here
//! ships, opens a socket in a run, or depends on the clock of the machine.
#![forbid(unsafe_code)]

pub mod custody;
pub mod door;
pub mod envelope;
pub mod identity;
pub mod input;
pub mod ledger;
pub mod policy;
pub mod wire;

/// One thing to attack.
pub struct Target {
    /// Its name: of the folder of its corpus, and on the command line.
    pub name: &'static str,
    /// Takes any bytes; panics where a property does not hold.
    pub run: fn(&[u8]),
    /// Inputs that reach its depths, made by its own code. Names are of files.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every target. `cargo xtask fuzz` reads the names from the folders of `corpus/`; `tests/replay.rs` holds both equal.
pub const TARGETS: &[Target] = &[
    Target { name: "envelope", run: envelope::run, seeds: envelope::seeds },
    Target { name: "wire", run: wire::run, seeds: wire::seeds },
    Target { name: "identity", run: identity::run, seeds: identity::seeds },
    Target { name: "policy", run: policy::run, seeds: policy::seeds },
    Target { name: "ledger", run: ledger::run, seeds: ledger::seeds },
    Target { name: "custody", run: custody::run, seeds: custody::seeds },
    Target { name: "door", run: door::run, seeds: door::seeds },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
