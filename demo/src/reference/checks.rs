//! The chapter of the checks of a release, from the table that the decision runs through.

use std::fmt::Write as _;

use cofre_policy::checks::ORDER;

use super::{cell, head};

pub(super) fn chapter() -> String {
    let mut out = head("The checks of a release", "`vault/policy/src/checks.rs`");
    out += "\nThe first that does not hold decides. An entry names it in `rules` as `invariant:` and its number; the one step \
            that asks the\npolicies names the policies instead. What is missing from the numbers is not built, or is held \
            elsewhere: check 1, the\npeer's certificate, at the counter; 19, the commit, and 20, opening and sealing, after the \
            decision.\n\n| number | what has to hold | exact reasons |\n|---|---|---|\n";
    for step in &ORDER {
        let reasons = step.reasons.iter().map(|reason| format!("`{reason}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "| {} | {} | {reasons} |", step.number, cell(step.title));
    }
    out
}
