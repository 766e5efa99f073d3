//! The body of a checkpoint, and whose checkpoint is believed.

use super::*;
use crate::samples::{ORIGIN, checkpoint, note_key, signer};

#[test]
fn the_body_is_the_standards() {
    let empty = checkpoint(&[]);
    assert_eq!(empty.body(), "cofre.test/ledger\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    assert_eq!(Checkpoint::parse_body(&empty.body()), Ok(empty.clone()));
    let theirs = tlog_tiles::Checkpoint::from_bytes(empty.body().as_bytes()).expect("accepted elsewhere");
    assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (ORIGIN, 0, empty.root));
    assert_eq!(origin("cofre.test"), ORIGIN);
}

#[test]
fn other_bodies_are_refused() {
    let good = checkpoint(&[vec![1]]).body();
    for bad in [
        String::new(),
        good.trim_end().to_owned(),
        format!("{good}extension\n"),
        format!("{good}\n"),
        good.replace("\n1\n", "\n01\n"),
        good.replace("\n1\n", "\n+1\n"),
        good.replace("\n1\n", "\n-1\n"),
        good.replace("\n1\n", "\n\n"),
        good.replace("\n1\n", "\n18446744073709551616\n"),
        good.replace("=\n", "\n"),
        good.replace(ORIGIN, ""),
        format!("{ORIGIN}\n1\nAAAA\n"),
    ] {
        assert_eq!(Checkpoint::parse_body(&bad), Err(CheckpointError::Body), "{bad:?}");
    }
}

#[test]
fn only_the_ledgers_own_key_is_believed() {
    let made = checkpoint(&[vec![1], vec![2]]);
    let note = made.sign(&note_key(1), signer(1)).expect("signs").to_string();
    assert_eq!(Checkpoint::open(&note, &note_key(1)), Ok(made.clone()));
    assert_eq!(Checkpoint::open(&note, &note_key(2)), Err(NoteError::Unsigned.into()));
    assert_eq!(Checkpoint::open(&note.replace("\n2\n", "\n3\n"), &note_key(1)), Err(NoteError::BadSignature.into()));
    let foreign = Checkpoint { origin: "other.test/ledger".into(), ..made };
    let note = foreign.sign(&note_key(1), signer(1)).expect("signs").to_string();
    assert_eq!(Checkpoint::open(&note, &note_key(1)), Err(CheckpointError::Origin));
}
