//! Proof files made, read and bent.

use super::*;
use crate::note::NoteError;
use crate::samples::{checkpoint, note_key, signer};
use crate::tree::{Frontier, NodeId, inclusion_proof, leaf_hash};

fn ledger() -> Vec<Vec<u8>> {
    (0u8..13).map(|number| vec![number; 20]).collect()
}

fn proof(index: u64, extra: Option<Vec<u8>>) -> ProofFile {
    let leaves = ledger();
    let (mut frontier, mut nodes) = (Frontier::empty(), std::collections::BTreeMap::new());
    for leaf in &leaves {
        nodes.extend(frontier.append(leaf_hash(leaf)));
    }
    let reader = |node: NodeId| nodes.get(&node).copied().ok_or(());
    let path = inclusion_proof(index, 13, &reader).expect("in range");
    let note = checkpoint(&leaves).sign(&note_key(1), signer(1)).expect("signs");
    ProofFile { extra, index, path, checkpoint: note.to_string() }
}

#[test]
fn each_entry_is_proved_offline() {
    for (index, leaf) in (0u64..).zip(ledger()) {
        for extra in [None, Some(vec![]), Some(b"anything".to_vec())] {
            let made = proof(index, extra);
            let parsed = ProofFile::parse(&made.to_string()).expect("our own file");
            assert_eq!(parsed, made);
            let opened = parsed.verify(&leaf_hash(&leaf), &note_key(1)).expect("holds");
            assert_eq!(opened.size, 13);
            let wrong = parsed.verify(&leaf_hash(b"another"), &note_key(1));
            assert_eq!(wrong, Err(ProofFileError::Inclusion(ProofError::Root)));
            let other = parsed.verify(&leaf_hash(&leaf), &note_key(2));
            assert_eq!(other, Err(ProofFileError::Checkpoint(NoteError::Unsigned.into())));
        }
    }
}

#[test]
fn the_file_begins_as_the_standard_says() {
    let text = proof(12, Some(vec![1, 2, 3])).to_string();
    let lines: Vec<&str> = text.split('\n').take(3).collect();
    assert_eq!(lines, ["c2sp.org/tlog-proof@v1", "extra AQID", "index 12"]);
    assert!(text.contains("\n\ncofre.test/ledger\n13\n"));
}

#[test]
fn malformed_files_are_refused() {
    let good = proof(5, Some(vec![1])).to_string();
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    for bad in [
        String::new(),
        good.replace("@v1", "@v2"),
        good.replace("@v1\n", "@v1\r\n"),
        good.replace("index 5", "index 05"),
        good.replace("index 5", "index"),
        good.replace("index 5\n", ""),
        good.replace("extra AQ==", "extra AQ"),
        good.replace("extra AQ==", "Extra AQ=="),
        good.replace("index 5\n", "index 5\nAAAA\n"),
        good.replace("\n\n", "\n"),
        good.replace("index 5\n", &format!("index 5\n{}", hash.repeat(60))),
    ] {
        assert!(matches!(ProofFile::parse(&bad), Err(ProofFileError::Malformed(_))), "{bad}");
    }
}

#[test]
fn every_flipped_byte_outside_extra_is_found() {
    let good = proof(5, None).to_string().into_bytes();
    let leaf = leaf_hash(&ledger()[5]);
    let mut found = 0;
    for at in 0..good.len() {
        let mut bent = good.clone();
        bent[at] ^= 1;
        let believed = String::from_utf8(bent)
            .ok()
            .and_then(|text| ProofFile::parse(&text).ok())
            .is_some_and(|file| file.verify(&leaf, &note_key(1)).is_ok());
        assert!(!believed, "byte {at}");
        found += 1;
    }
    assert_eq!(found, good.len());
}
