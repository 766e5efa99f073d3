//! `cofre verify` on exports made here: what it says and with which exit code.

use std::process::Stdio;

use cofre_model::entry::EntryKind;
use serde_json::Value;

use crate::support::{Ledger, Ran, cofre, entry, note_key};

fn verify(export: &str, more: &[&str]) -> Ran {
    let key = note_key(1).to_string();
    cofre(&[&["verify", export, "--key", key.as_str()], more].concat())
}

#[track_caller]
fn does_not_verify(ran: &Ran, why: &str) {
    assert_eq!(ran.code, 1, "{} {}", ran.out, ran.err);
    assert!(ran.out.starts_with("DOES NOT VERIFY: ") && ran.out.contains(why), "{}", ran.out);
    assert!(!ran.out.contains("VERIFIED"));
}

#[test]
fn a_good_export_verifies_with_everything_said() {
    let ledger = Ledger::good();
    let path = ledger.keep("export.jsonl", ledger.export(20));
    let ran = verify(&path, &["--strict"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let key = note_key(1).to_string();
    for said in [
        "VERIFIED with the pinned key: 20 entries of cofre.test/ledger",
        "0 to 19, none missing",
        "2026-09-21T14:13:20Z to 2026-09-21T14:13:39Z",
        "open intents (nothing followed up to the end): 0",
        "faults (follow-ups that fit nothing): 0",
        "not compared",
        key.as_str(),
    ] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    let counted = |kind: &str, count: &str| {
        ran.out.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == [kind, count])
    };
    assert!(counted("AUDIT_READ", "12") && counted("GRANTED", "1") && counted("DENIED", "1"), "{}", ran.out);
    assert!(!ran.out.contains("WARNING"));
    let file = ledger.keep("key", &key);
    assert_eq!(cofre(&["verify", &path, "--key", &format!("@{file}")]).code, 0);
}

#[test]
fn the_report_is_one_json_object() {
    let ledger = Ledger::good();
    let path = ledger.keep("export.jsonl", ledger.export(20));
    let ran = verify(&path, &["--json"]);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, &report["verified"], &report["key_pinned"]), (0, &Value::Bool(true), &Value::Bool(true)));
    assert_eq!((report["entries"].as_u64(), report["kinds"]["AUDIT_READ"].as_u64()), (Some(20), Some(12)));
    assert_eq!(report["checkpoint"]["size"], 20);
}

#[test]
fn without_a_pinned_key_it_says_so_loudly() {
    let ledger = Ledger::good();
    let path = ledger.keep("export.jsonl", ledger.export(20));
    let ran = cofre(&["verify", &path]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.starts_with("WARNING: THE KEY WAS NOT PINNED."), "{}", ran.out);
    assert!(ran.out.contains("consistent, KEY NOT PINNED: 20 entries") && !ran.out.contains("VERIFIED with"));
    let report: Value = serde_json::from_str(&cofre(&["verify", &path, "--json"]).out).expect("JSON");
    assert_eq!(report["key_pinned"], Value::Bool(false));
}

#[test]
fn one_flipped_bit_in_a_leaf_is_found_and_placed() {
    let ledger = Ledger::good();
    let good = ledger.export(20);
    // The id of entry 7: bytes that decode to an entry all the same, so that only the hash can tell.
    let mut bent = Ledger::good();
    let spot = bent.leaves[7].windows(16).position(|run| run == [19; 16]).expect("the id of a refusal");
    bent.leaves[7][spot] ^= 1;
    let line = |text: &str| text.lines().nth(8).expect("line of entry 7").to_owned();
    let tampered = good.replace(&line(&good), &line(&bent.export(20)));
    assert_ne!(tampered, good);
    let ran = verify(&ledger.keep("bent.jsonl", &tampered), &[]);
    does_not_verify(&ran, "entries do not hash to the signed root: at least one was altered");
    // A byte of the file itself, in the index of entry 7.
    let tampered = good.replacen("{\"index\":7,", "{\"index\":6,", 1);
    let ran = verify(&ledger.keep("order.jsonl", &tampered), &[]);
    does_not_verify(&ran, "line 9: expected entry 7, found 6");
    let ran = verify(&ledger.keep("order.jsonl", &tampered), &["--json"]);
    let said: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (said["line"].as_u64(), said["index"].as_u64(), &said["verified"]),
        (Some(9), Some(7), &Value::Bool(false))
    );
}

#[test]
fn no_flipped_byte_anywhere_goes_unseen() {
    let ledger = Ledger::good();
    let good = ledger.export(20).into_bytes();
    let mut tried = 0;
    for place in (0..good.len()).step_by(97) {
        let mut bent = good.clone();
        bent[place] ^= 1;
        let ran = verify(&ledger.keep("bent.jsonl", &bent), &[]);
        assert_eq!((ran.code, ran.out.contains("DOES NOT VERIFY")), (1, true), "byte {place}: {}{}", ran.out, ran.err);
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_cut_export_says_where_it_ends() {
    let ledger = Ledger::good();
    let good = ledger.export(20);
    let lines: Vec<_> = good.split_inclusive('\n').collect();
    let ran = verify(&ledger.keep("cut.jsonl", lines[..11].concat()), &[]);
    does_not_verify(&ran, "line 12: the export is cut off here");
    let ran = verify(&ledger.keep("cut.jsonl", &good[..good.len() - 1]), &[]);
    does_not_verify(&ran, "line 22: the export is cut off here");
    let ran = verify(&ledger.keep("cut.jsonl", [lines[..11].concat(), lines[21].to_owned()].concat()), &[]);
    does_not_verify(&ran, "entries end at 10, the checkpoint covers 20");
    does_not_verify(&verify(&ledger.keep("empty.jsonl", ""), &[]), "line 1: the export is cut off here");
}

#[test]
fn another_key_than_the_pinned_one_is_refused() {
    let ledger = Ledger::good();
    let path = ledger.keep("export.jsonl", ledger.export(20));
    let ran = cofre(&["verify", &path, "--key", &note_key(2).to_string()]);
    does_not_verify(&ran, "header: verifier key is not the trusted one");
    // The header's key swapped as well: then the signature is by nobody it names.
    let swapped = ledger.export(20).replacen(&note_key(1).to_string(), &note_key(2).to_string(), 1);
    let ran = cofre(&["verify", &ledger.keep("s.jsonl", swapped), "--key", &note_key(2).to_string()]);
    does_not_verify(&ran, "header: no known key signed the note");
}

#[test]
fn a_known_checkpoint_finds_what_was_taken_away_or_rewritten() {
    let ledger = Ledger::good();
    let short = ledger.keep("short.jsonl", ledger.export(15));
    let (older, newer) = (ledger.keep("10", ledger.note(10, 1)), ledger.keep("20", ledger.note(20, 1)));
    let ran = verify(&short, &["--known", &older]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("the known checkpoint of size 10"), "{}", ran.out);
    let ran = verify(&short, &["--known", &newer]);
    does_not_verify(&ran, "ledger has 15 entries, the known checkpoint had 20: entries were taken away");

    let mut other = Ledger::good();
    other.leaves.swap(0, 1);
    let rewritten = ledger.keep("other", other.note(10, 1));
    does_not_verify(&verify(&short, &["--known", &rewritten]), "the first 10 entries are not those of the known");
    let foreign = ledger.keep("foreign", ledger.note(10, 2));
    does_not_verify(&verify(&short, &["--known", &foreign]), "known checkpoint: no known key signed the note");
}

#[test]
fn open_intents_and_faults_are_shown_and_fail_only_when_strict() {
    use EntryKind as K;
    let ledger = Ledger::of(&[entry(K::Granted, None), entry(K::Warm, None), entry(K::WarmOutcome, Some(0))]);
    let path = ledger.keep("export.jsonl", ledger.export(3));
    let ran = verify(&path, &[]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("to the end): 2") && ran.out.contains("fit nothing): 1"), "{}", ran.out);
    assert!(ran.out.contains("names an entry of a kind it cannot follow"), "{}", ran.out);
    assert_eq!(verify(&path, &["--strict"]).code, 1);
}

#[test]
fn it_reads_standard_input_and_names_files_it_cannot_read() {
    let ledger = Ledger::good();
    let path = ledger.keep("export.jsonl", ledger.export(20));
    let input = std::fs::File::open(&path).expect("there");
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_cofre"))
        .args(["verify", "-", "--key", &note_key(1).to_string()])
        .stdin(Stdio::from(input))
        .output()
        .expect("runs");
    assert_eq!(done.status.code(), Some(0));
    let ran = verify("/nowhere/export.jsonl", &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("/nowhere/export.jsonl: cannot be read"), "{}", ran.err);
}
