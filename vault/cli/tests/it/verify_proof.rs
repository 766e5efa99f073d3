//! `cofre verify-proof` on a proof made here.

use std::collections::BTreeMap;

use cofre_ledger::entry::leaf_hash;
use cofre_ledger::proof::ProofFile;
use cofre_ledger::tree::{Frontier, NodeId, inclusion_proof};
use serde_json::Value;

use crate::support::{Ledger, Ran, cofre, note_key};

fn proof(ledger: &Ledger, index: u64) -> String {
    let (mut frontier, mut nodes) = (Frontier::empty(), BTreeMap::new());
    for leaf in &ledger.leaves {
        nodes.extend(frontier.append(leaf_hash(leaf)));
    }
    let reader = |node: NodeId| nodes.get(&node).copied().ok_or(());
    let path = inclusion_proof(index, frontier.size(), &reader).expect("in range");
    ProofFile { extra: None, index, path, checkpoint: ledger.note(ledger.leaves.len(), 1) }.to_string()
}

fn run(proof: &str, leaf: &str, seed: u8, more: &[&str]) -> Ran {
    let key = note_key(seed).to_string();
    cofre(&[&["verify-proof", proof, "--leaf", leaf, "--key", key.as_str()], more].concat())
}

#[test]
fn a_proof_holds_for_its_entry_alone() {
    let ledger = Ledger::good();
    let path = ledger.keep("proof", proof(&ledger, 7));
    let (leaf, other) = (ledger.keep("leaf", &ledger.leaves[7]), ledger.keep("other", &ledger.leaves[8]));
    let ran = run(&path, &leaf, 1, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("VERIFIED: entry 7 of cofre.test/ledger at 2026-"), "{}", ran.out);
    assert!(ran.out.contains("under the checkpoint of size 20") && ran.out.contains("CONSENT_REVOKED"), "{}", ran.out);
    let said: Value = serde_json::from_str(&run(&path, &leaf, 1, &["--json"]).out).expect("JSON");
    assert_eq!((said["index"].as_u64(), &said["entry"]["kind"]), (Some(7), &Value::from("DENIED")));

    let ran = run(&path, &other, 1, &[]);
    assert!(ran.code == 1 && ran.out.starts_with("DOES NOT VERIFY: "), "{}", ran.out);
    let ran = run(&path, &leaf, 2, &[]);
    assert!(ran.code == 1 && ran.out.contains("no known key signed the note"), "{}", ran.out);
    let moved = ledger.keep("moved", proof(&ledger, 7).replacen("index 7", "index 6", 1));
    assert_eq!(run(&moved, &leaf, 1, &[]).code, 1);
    let ran = run(&ledger.keep("junk", "hello"), &leaf, 1, &[]);
    assert!(ran.code == 1 && ran.out.contains("proof file is malformed"), "{}", ran.out);
}

#[test]
fn key_and_leaf_must_be_given() {
    let ran = cofre(&["verify-proof", "p", "--leaf", "l"]);
    assert!(ran.code == 2 && ran.err.contains("--key <KEY|@FILE>"), "{}", ran.err);
}
