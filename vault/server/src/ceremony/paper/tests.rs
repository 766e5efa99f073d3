//! The file of a record, whatever becomes of the ceremony.

#![allow(clippy::expect_used, reason = "a test that cannot go on stops")]

use cofre_custody::{Cause, CustodianId, Fault, Operation};
use cofre_ledger::ceremony::{CeremonyError, Key, Plan, PlannedKey, Reached, Use};
use cofre_model::time::Timestamp;

use super::*;
use crate::exits;

pub(in crate::ceremony) fn planned() -> Unfinished {
    let (label, mechanism) = ("root-1".to_owned(), "aes-gcm".to_owned());
    Unfinished {
        at: Timestamp::from_secs(1_790_000_000),
        tool: "cofred 0.1.0".into(),
        plan: Plan {
            deployment: "cofre.test".into(),
            custodian: "hsm-1".into(),
            place: "token label cofre".into(),
            module_sha256: "07".repeat(32),
            people: 0,
            keys: vec![PlannedKey { used_to: Use::Wrap, label, mechanism }],
        },
        why: "the token was not heard from yet".into(),
        token: None,
        witness: None,
        keys: Vec::new(),
    }
}

fn made() -> Box<Unfinished> {
    let key = Key {
        used_to: Use::Wrap,
        label: "root-1".into(),
        kind: "AES-256".into(),
        public: None,
        check_value: Some(vec![1, 2, 3]),
        objects: Vec::new(),
    };
    Box::new(Unfinished { keys: vec![(Reached::ReadBack, key)], ..planned() })
}

fn why() -> Error {
    let custodian = CustodianId::try_from("hsm-1").expect("a name");
    let fault = Fault { custodian, operation: Operation::LogIn, cause: Cause::PinLocked, detail: None, request: None };
    Error::new(fault).context("custodian hsm-1")
}

#[test]
fn what_was_planned_stands_in_the_file_before_the_token_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let paper = Paper::begin(&path, &planned()).expect("new");
    let text = std::fs::read_to_string(&path).expect("there");
    assert!(text.contains("planned wrap root-1 by aes-gcm\n") && text.contains("not heard from"), "{text}");
    assert!(Paper::begin(&path, &planned()).map(drop).is_err(), "a file that is there is not overwritten");
    let error = paper.broken(Broken { why: why(), left: None });
    assert_eq!(exits::of(&error), exits::PIN);
    assert!(!path.exists(), "nothing was made, and the order may be given again");
}

#[test]
fn what_was_made_stays_in_the_file_whatever_failed_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let paper = Paper::begin(&path, &planned()).expect("new");
    let error = paper.broken(Broken { why: why(), left: Some(made()) });
    assert_eq!(exits::of(&error), exits::PIN, "the cause is still known");
    let said = format!("{error:#}");
    assert!(
        said.contains("UNFINISHED") && said.contains("record says how far") && said.contains("PIN_LOCKED"),
        "{said}"
    );
    let text = std::fs::read_to_string(&path).expect("there");
    assert!(text.contains("reached read-back\nkey wrap\nlabel root-1\n") && text.contains("PIN_LOCKED"), "{text}");
    assert_eq!(Record::parse(&text), Err(CeremonyError::NoRecord));
}

/// The disk is full, or gone: what is known goes to whoever waits for it.
#[test]
fn what_cannot_be_written_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let paper = Paper::begin(&path, &planned()).expect("new");
    folder.close().expect("the folder is gone");
    let said = format!("{:#}", paper.broken(Broken { why: why(), left: Some(made()) }));
    assert!(said.contains("keep what is known") && said.contains("label root-1"), "{said}");
}

/// A reader that comes at any moment finds a whole text, and the folder holds nothing else.
#[test]
fn one_text_takes_the_place_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let paper = Paper::begin(&path, &planned()).expect("new");
    let before = File::open(&path).expect("there");
    paper.so_far(&made()).expect("written");
    let said = |mut file: File| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).expect("read");
        text
    };
    assert_eq!(said(before), planned().to_string(), "who reads the first text reads all of it");
    assert_eq!(said(File::open(&path).expect("there")), made().to_string());
    paper.so_far(&planned()).expect("written");
    assert_eq!(said(File::open(&path).expect("there")), planned().to_string(), "a shorter one as well");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
