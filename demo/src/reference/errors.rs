//! The chapter of refusals, from the reason table of `model`, the one map of `edge` and the causes of `custody`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use cofre_custody::Cause;
use cofre_edge::status;
use cofre_model::reason::{PublicReason, Reason};

use super::{cell, head};

/// Where the reasons stand; their doc comments are inside a macro.
const FILE: &str = "vault/model/src/reason.rs";

/// The doc comment above `Name = number "TEXT",` in the list that begins with `list {`.
fn meaning(text: &str, list: &str, variant: &str, number: i32, word: &str) -> Result<String> {
    let line = format!("{variant} = {number} \"{word}\",");
    let start = text.find(&format!("    {list} {{")).with_context(|| format!("{FILE}: {list}"))?;
    let text = text.get(start..).unwrap_or_default();
    let at = text.find(&line).with_context(|| format!("{FILE}: {line}"))?;
    let above = text.get(..at).unwrap_or_default().lines().rev().skip(1);
    let mut said: Vec<&str> = above.map_while(|line| line.trim().strip_prefix("///")).map(str::trim).collect();
    said.reverse();
    Ok(said.join(" "))
}

pub(super) fn chapter(root: &Path) -> Result<String> {
    let text = std::fs::read_to_string(root.join(FILE)).context(FILE)?;
    let mut out = head("Refusals", "`vault/model/src/reason.rs` and `vault/edge/src/status.rs`");
    out += "\nA caller is told a **public reason**, a sentence, and the index of the ledger entry that records the refusal. \
            The **exact\nreason** stands in that entry, for auditors. Both tables are closed.\n\n\
            On the wire: a gRPC status with `google.rpc.ErrorInfo` (domain `cofre`, reason = public reason, metadata \
            `entry`), where\nthe same call may do better `google.rpc.RetryInfo`, and where a field is to be mended \
            `google.rpc.BadRequest`.\n\n## Public reasons\n\n\
            | public reason | gRPC code | try again after | what to do |\n|---|---|---|---|\n";
    for public in PublicReason::ALL {
        let rows: Vec<_> =
            Reason::ALL.iter().filter(|reason| reason.public() == *public).map(|reason| status::row(*reason)).collect();
        let mut codes: Vec<String> = rows.iter().map(|row| format!("{:?}", row.code)).collect();
        codes.sort();
        codes.dedup();
        let retry = rows.first().and_then(|row| row.retry).map(|span| format!("{} ms", span.as_micros() / 1_000));
        let said = meaning(&text, "PublicReason", &format!("{public:?}"), public.number(), public.as_str())?;
        let (codes, retry) = (codes.join(", "), retry.unwrap_or_default());
        let _ = writeln!(out, "| `{public}` | {codes} | {retry} | {} |", cell(&said));
    }
    out += "\n## Exact reasons\n\n| number | exact reason | public reason | gRPC code | meaning |\n|---|---|---|---|---|\n";
    for reason in Reason::ALL {
        let row = status::row(*reason);
        let said = meaning(&text, "Reason", &format!("{reason:?}"), reason.number(), reason.as_str())?;
        let number = reason.number();
        let _ = writeln!(out, "| {number} | `{reason}` | `{}` | {:?} | {} |", row.public, row.code, cell(&said));
    }
    out += "\n## What a custodian says\n\nIn the log, and in the `custodian` messages of a start that failed: \
            `custodian <name> could not <do>: <cause>`.\n\n| cause | what to do |\n|---|---|\n";
    for cause in Cause::ALL {
        let _ = writeln!(out, "| `{}` | {} |", cause.as_str(), cell(cause.advice()));
    }
    Ok(out)
}
