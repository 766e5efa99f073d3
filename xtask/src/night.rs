//! The long versions: fuzzing for an hour in total, and every test that goes further when it has the night.

use anyhow::Result;

use crate::fuzz;
use crate::run::{cargo, step};

/// Set for every long run; a test that can go further reads it.
const NIGHT: &str = "COFRE_NIGHT";

/// Long runs by name: what `cargo test` is told besides its profile. A row stands here once its tests read [`NIGHT`].
const LONG: &[(&str, &[&str])] = &[
    ("properties of decisions", &["-p", "cofre-policy", "--test", "it", "properties"]),
    ("edits of every column", &["-p", "cofre-store", "--test", "it", "columns::"]),
    ("causes of modules that fail", &["-p", "cofre-custody", "--test", "it", "modules::"]),
    ("what releases cost a custodian", &["-p", "cofre-demo", "--test", "it", "custody_calls::", "--", "--nocapture"]),
    ("keys that move under kills", &["-p", "cofre-demo", "--test", "it", "rewrapped::", "--", "--nocapture"]),
    ("tenants that get new keys under kills", &["-p", "cofre-demo", "--test", "it", "rotated::", "--", "--nocapture"]),
    ("what jobs over a million keys cost", &["-p", "cofre-admin", "--test", "it", "seeded::", "--", "--nocapture"]),
    (
        "rotations of a million keys, and under kills",
        &["-p", "cofre-admin", "--test", "it", "rotate::", "--", "--nocapture"],
    ),
    ("rewraps under kills", &["-p", "cofre-admin", "--test", "it", "kills::", "--", "--nocapture"]),
    ("random lists on both engines", &["-p", "cofre-store", "--test", "it", "lists::", "--", "--nocapture"]),
];

/// Runs all of them.
pub(crate) fn night(fuzz_seconds: u64) -> Result<()> {
    for (name, arguments) in LONG {
        let mut run = cargo(&["test", "--profile", "night"]);
        step(name, run.args(*arguments).env(NIGHT, "1"))?;
    }
    fuzz::fuzz(&fuzz::Plan { seconds: fuzz_seconds, ..fuzz::Plan::default() })
}
