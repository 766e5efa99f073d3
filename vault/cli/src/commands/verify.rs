//! Offline verification: of an export, and of the proof of one entry. No socket is opened and nothing the vault says
//! is believed unless the pinned key signed it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::entry::leaf_hash;
use cofre_ledger::export::{ExportError, PairingFaultKind, Report, verify_export};
use cofre_ledger::note::NoteKey;
use cofre_ledger::proof::ProofFile;
use serde_json::{Value, json};

use crate::answer::{Answer, pairs, table};
use crate::connection::verifier_key;
use crate::entry_text;
use crate::failure::Failure;

const NOT_PINNED: &str = "\
WARNING: THE KEY WAS NOT PINNED. The export was checked with the verifier key written inside it, so it is only shown \
to agree with itself. Compare the key below with one from another source, or give it as --key.";

/// Verify an export of the register.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The export, JSON Lines as `cofre audit export` writes it; `-` reads standard input.
    #[arg(value_name = "EXPORT")]
    export: PathBuf,
    /// The deployment's verifier key, `name+id+key`, or @FILE with it, from another source than the export. Without it
    /// the key inside is used, and the answer says so loudly.
    #[arg(long, value_name = "KEY|@FILE", value_parser = verifier_key)]
    key: Option<NoteKey>,
    /// A checkpoint note seen earlier: the export must continue it. Needs --key, which must have signed it.
    #[arg(long, value_name = "FILE", requires = "key")]
    known: Option<PathBuf>,
    /// Exit with 1 also where the export verifies but holds open intents or faults in their pairing.
    #[arg(long)]
    strict: bool,
}

/// Verify that an entry stands in the register at its index. Exit code 0 if it verifies, 1 if not.
#[derive(Debug, Args)]
pub(crate) struct VerifyProof {
    /// The proof file (C2SP tlog-proof), as `cofre audit prove --out` writes it.
    #[arg(value_name = "PROOF")]
    proof: PathBuf,
    /// The exact bytes of the entry, as `cofre audit entry --leaf-out` writes them.
    #[arg(long, value_name = "FILE")]
    leaf: PathBuf,
    /// The deployment's verifier key, `name+id+key`, or @FILE with it.
    #[arg(long, value_name = "KEY|@FILE", value_parser = verifier_key)]
    key: NoteKey,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let known = match (&self.known, &self.key) {
            (Some(path), Some(key)) => Some(match known(path, key)? {
                Ok(checkpoint) => checkpoint,
                Err(why) => return Ok(refuted(&format!("known checkpoint: {why}"), None, None)),
            }),
            _ => None,
        };
        match verify_export(open(&self.export)?, self.key.as_ref(), known.as_ref()) {
            Ok(report) => Ok(verified(&report, self.strict)),
            Err(why) => {
                let (line, index) = place(&why);
                Ok(refuted(&why.to_string(), line, index))
            }
        }
    }
}

impl VerifyProof {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let text = fs::read_to_string(&self.proof).map_err(|why| Failure::unreadable(&self.proof, &why))?;
        let leaf = fs::read(&self.leaf).map_err(|why| Failure::unreadable(&self.leaf, &why))?;
        let proof = match ProofFile::parse(&text) {
            Ok(proof) => proof,
            Err(why) => return Ok(refuted(&why.to_string(), None, None)),
        };
        let index = Some(proof.index);
        let checkpoint = match proof.verify(&leaf_hash(&leaf), &self.key) {
            Ok(checkpoint) => checkpoint,
            Err(why) => return Ok(refuted(&why.to_string(), None, index)),
        };
        let (parsed, entry) = match entry_text::parse(&leaf) {
            Ok(parsed) => parsed,
            Err(why) => return Ok(refuted(&format!("entry: {why}"), None, index)),
        };
        if parsed.index != proof.index {
            let why = format!("the leaf says it is entry {}, the proof is about entry {}", parsed.index, proof.index);
            return Ok(refuted(&why, None, index));
        }
        let head = format!(
            "VERIFIED: entry {} of {} at {}, under the checkpoint of size {}",
            proof.index, checkpoint.origin, parsed.time, checkpoint.size
        );
        let json = json!({
            "verified": true, "index": proof.index, "time": parsed.time.to_string(),
            "checkpoint": checkpoint_json(&checkpoint), "entry": entry_text::json(&entry),
        });
        Ok(Answer::new(format!("{head}\n\n{}", pairs(entry_text::fields(&entry))), json))
    }
}

/// Reads the known checkpoint. The outer error is about the file, the inner about what stands in it.
fn known(path: &Path, key: &NoteKey) -> Result<Result<Checkpoint, String>, Failure> {
    let note = fs::read_to_string(path).map_err(|why| Failure::unreadable(path, &why))?;
    Ok(Checkpoint::open(&note, key).map_err(|why| why.to_string()))
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|why| Failure::unreadable(path, &why))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

fn refuted(why: &str, line: Option<u64>, index: Option<u64>) -> Answer {
    Answer::negative(
        format!("DOES NOT VERIFY: {why}"),
        json!({ "verified": false, "reason": why, "line": line, "index": index }),
    )
}

/// Where the fault was found: line of the file, index of the entry.
fn place(error: &ExportError) -> (Option<u64>, Option<u64>) {
    match error {
        ExportError::Read { line, .. } | ExportError::Truncated { line } | ExportError::Malformed { line, .. } => {
            (Some(*line), None)
        }
        ExportError::Order { line, expected, .. } => (Some(*line), Some(*expected)),
        ExportError::Entry { index, .. }
        | ExportError::Index { index, .. }
        | ExportError::Time { index }
        | ExportError::Path { index, .. } => (None, Some(*index)),
        ExportError::Missing { found, .. } => (None, Some(*found)),
        ExportError::Key(_) | ExportError::OtherKey | ExportError::Checkpoint(_) => (Some(1), None),
        ExportError::Known(_)
        | ExportError::Shrunk { .. }
        | ExportError::Inconsistent { .. }
        | ExportError::Root
        | ExportError::Trailer => (None, None),
    }
}

fn verified(report: &Report, strict: bool) -> Answer {
    let (text, json) = (text(report), report_json(report));
    let unfinished = !report.open.is_empty() || !report.faults.is_empty();
    if strict && unfinished {
        Answer::negative(text + "\n--strict: open intents or faults stand above", json)
    } else {
        Answer::new(text, json)
    }
}

fn text(report: &Report) -> String {
    let mut parts = Vec::new();
    if !report.key_was_trusted {
        parts.push(NOT_PINNED.to_owned());
    }
    let head = if report.key_was_trusted { "VERIFIED with the pinned key" } else { "consistent, KEY NOT PINNED" };
    parts.push(format!("{head}: {} entries of {}", report.entries, report.checkpoint.origin));
    let range = match report.entries {
        0 => "none".to_owned(),
        count => {
            format!("{} to {}, none missing, each later than the one before", report.from, report.from + count - 1)
        }
    };
    let time = match (report.first_time, report.last_time) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    };
    let continues = match report.continues {
        Some(size) => format!("the known checkpoint of size {size}"),
        None => "not compared; give --known to find rewritten or shortened history".to_owned(),
    };
    parts.push(pairs([
        ("order", range),
        ("time", time),
        ("checkpoint size", report.checkpoint.size.to_string()),
        ("checkpoint root", STANDARD.encode(report.checkpoint.root)),
        ("continues", continues),
        ("verifier key", report.key.to_string()),
    ]));
    let kinds = report.kinds.iter().map(|(kind, count)| [kind.to_string(), count.to_string()]);
    parts.push(table(["kind", "entries"], kinds));
    parts.push(format!("open intents (nothing followed up to the end): {}", report.open.len()));
    if !report.open.is_empty() {
        let rows =
            report.open.iter().map(|each| [each.index.to_string(), each.kind.to_string(), each.time.to_string()]);
        parts.push(table(["entry", "kind", "time"], rows));
    }
    parts.push(format!("faults (follow-ups that fit nothing): {}", report.faults.len()));
    if !report.faults.is_empty() {
        let rows = report.faults.iter().map(|each| [each.index.to_string(), fault(each.fault).to_owned()]);
        parts.push(table(["entry", "fault"], rows));
    }
    parts.join("\n")
}

fn report_json(report: &Report) -> Value {
    json!({
        "verified": true,
        "key_pinned": report.key_was_trusted,
        "verifier_key": report.key.to_string(),
        "checkpoint": checkpoint_json(&report.checkpoint),
        "continues": report.continues,
        "from": report.from,
        "entries": report.entries,
        "first_time": report.first_time.map(|time| time.to_string()),
        "last_time": report.last_time.map(|time| time.to_string()),
        "kinds": report.kinds.iter().map(|(kind, count)| (kind.to_string(), json!(count)))
            .collect::<serde_json::Map<_, _>>(),
        "open": report.open.iter()
            .map(|each| json!({
                "index": each.index, "kind": each.kind.as_str(), "time": each.time.to_string(),
            }))
            .collect::<Vec<_>>(),
        "faults": report.faults.iter()
            .map(|each| json!({ "index": each.index, "fault": fault(each.fault) }))
            .collect::<Vec<_>>(),
    })
}

/// A checkpoint for programs; the root in base64, as in its note.
pub(super) fn checkpoint_json(checkpoint: &Checkpoint) -> Value {
    json!({ "origin": checkpoint.origin, "size": checkpoint.size, "root": STANDARD.encode(checkpoint.root) })
}

fn fault(kind: PairingFaultKind) -> &'static str {
    match kind {
        PairingFaultKind::NamesNothing => "names no entry it follows",
        PairingFaultKind::NamesLater => "names itself or a later entry",
        PairingFaultKind::NamesOther => "names an entry of a kind it cannot follow",
        PairingFaultKind::SecondOutcome => "is a second outcome of one custodian call",
    }
}
