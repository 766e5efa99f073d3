//! What is written of keys while a token makes them, and what a maker that says less than it did leaves standing.

#![allow(clippy::expect_used, reason = "a test that cannot go on stops")]

use cofre_custody::Mechanism;

use super::super::paper::tests::planned;
use super::*;

fn begun(used_to: custody::Use, reached: custody::Reached, kind: &str) -> Begun {
    let label = if used_to == custody::Use::Wrap { "root-1" } else { "ledger-1" };
    let (label, kind) = (label.to_owned(), kind.to_owned());
    Begun { reached, key: MadeKey { used_to, label, kind, public: None, check_value: None, objects: Vec::new() } }
}

fn performed(keys: Vec<MadeKey>) -> Performed {
    Performed {
        label: "cofre".into(),
        serial: "0f3a91c2".into(),
        manufacturer: "Maker".into(),
        model: "Model".into(),
        mechanism: Mechanism::AesGcm,
        why: "it does".into(),
        witness: vec![7; 92],
        signer: None,
        keys,
    }
}

/// Whoever ends the program, or the machine, at any moment finds in the file what the token was told until then.
#[test]
fn each_step_stands_on_paper_as_it_is_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let paper = Paper::begin(&path, &planned()).expect("new");
    let hear = heard(paper, Arc::new(Mutex::new(planned())));
    let text = || std::fs::read_to_string(&path).expect("there");
    assert!(!text().contains("reached"), "nothing yet");
    hear(&[begun(custody::Use::Wrap, custody::Reached::Asked, "")]);
    assert!(text().contains("reached asked\nkey wrap\nlabel root-1\n"), "{}", text());
    let first = begun(custody::Use::Wrap, custody::Reached::ReadBack, "AES-256");
    hear(&[first, begun(custody::Use::Sign, custody::Reached::Asked, "")]);
    let said = text();
    assert!(said.contains("reached read-back\nkey wrap\nlabel root-1\nkind AES-256\n"), "{said}");
    assert!(said.contains("reached asked\nkey sign\nlabel ledger-1\n") && said.contains("planned wrap"), "{said}");
}

#[test]
fn a_key_that_was_heard_of_stays_where_its_maker_names_it_no_more() {
    let mut left = planned();
    left.keys = vec![
        reached(begun(custody::Use::Wrap, custody::Reached::Made, "")),
        reached(begun(custody::Use::Sign, custody::Reached::Asked, "")),
    ];
    let heard = left.keys.clone();
    known(&mut left, performed(Vec::new()));
    assert_eq!(left.keys, heard);
    assert_eq!(left.witness, Some(vec![7; 92]));
    known(&mut left, performed(vec![begun(custody::Use::Wrap, custody::Reached::ReadBack, "AES-256").key]));
    let said = left.to_string();
    assert!(said.contains("reached read-back\nkey wrap\nlabel root-1\nkind AES-256\n"), "{said}");
    assert!(said.contains("reached asked\nkey sign\n") && !said.contains("reached made"), "{said}");
}
