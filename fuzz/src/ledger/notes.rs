//! Signed notes, checkpoints and verifier keys, beside another implementation of the same standard.

use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::note::{Note, NoteKey};
use signed_note::{Note as OtherNote, StandardVerifier, VerifierList};

use super::{ORIGIN, note_key, signer};
use crate::input::Input;

fn other_verifies(note: &str, keys: &[NoteKey]) -> Option<bool> {
    let known = keys.iter().map(|key| {
        let verifier = StandardVerifier::new(&key.to_string()).expect("our verifier key is theirs");
        Box::new(verifier) as Box<dyn signed_note::Verifier>
    });
    let read = OtherNote::from_bytes(note.as_bytes()).ok()?;
    Some(read.verify(&VerifierList::new(known.collect())).is_ok())
}

/// A note bent after it was signed by one or two keys.
pub(super) fn note(input: &mut Input<'_>) {
    let body = input.bend_text("cofre.test/ledger\n1\nAAAA\n");
    let mut good = String::new();
    if let Ok(mut note) = Note::new(&body) {
        for seed in 0..1 + input.byte() % 2 {
            note.sign(&note_key(seed + 1), signer(seed + 1)).expect("signs");
        }
        good = note.to_string();
        let keys = [note_key(1)];
        let read = Note::parse(&good).expect("what we signed is read");
        assert!(read == note && read.verify(&keys).is_ok(), "our own note does not hold");
        assert_eq!(other_verifies(&good, &keys), Some(true), "our note is not theirs");
    }
    let bent = input.bend_text(&good);
    let Ok(read) = Note::parse(&bent) else { return };
    assert_eq!(read.to_string(), bent, "a note with two spellings was read");
    let keys = [note_key(1), note_key(2)];
    if let Ok(signers) = read.verify(&keys) {
        assert!(!signers.is_empty());
        assert_eq!(read.text(), body, "a text nobody signed was taken");
        assert_eq!(other_verifies(&bent, &keys), Some(true), "what we take, they do not");
    }
}

/// A checkpoint whose body is bent before it is signed: only the one form is taken.
pub(super) fn checkpoint(input: &mut Input<'_>) {
    let good = Checkpoint { origin: ORIGIN.to_owned(), size: input.long(), root: [input.byte(); 32] };
    let body = input.bend_text(&good.body());
    let parsed = Checkpoint::parse_body(&body);
    if let Ok(checkpoint) = &parsed {
        assert_eq!(checkpoint.body(), body, "a checkpoint with two spellings was read");
        // The other reader looks at lines only; it has a limit of its own on what it takes.
        if body.len() < 1_000 && !body.contains('\r') {
            let other = tlog_tiles::Checkpoint::from_bytes(body.as_bytes()).expect("ours is theirs");
            let theirs = (other.origin().to_owned(), other.size(), other.hash().0);
            assert_eq!((checkpoint.origin.clone(), checkpoint.size, checkpoint.root), theirs);
        }
    }
    let key = note_key(1);
    let Ok(mut note) = Note::new(&body) else { return };
    note.sign(&key, signer(1)).expect("signs");
    let opened = Checkpoint::open(&note.to_string(), &key);
    match parsed {
        Ok(checkpoint) if checkpoint.origin == ORIGIN => assert_eq!(opened, Ok(checkpoint)),
        _ => assert!(opened.is_err(), "a signed body that is no checkpoint of ours was taken"),
    }
    let bent = input.bend_text(&note.to_string());
    if let Ok(checkpoint) = Checkpoint::open(&bent, &key) {
        assert_eq!(checkpoint.body(), body, "a checkpoint nobody signed was taken");
    }
    assert!(Checkpoint::open(&note.to_string(), &note_key(2)).is_err(), "a stranger's key opened it");
}

/// A verifier key as text.
pub(super) fn key(input: &mut Input<'_>) {
    let seed = 1 + input.byte() % 3;
    let text = if input.flag() {
        String::from_utf8_lossy(input.rest()).into_owned()
    } else {
        input.bend_text(&note_key(seed).to_string())
    };
    let Ok(key) = NoteKey::parse(&text) else { return };
    assert_eq!(key.to_string(), text, "a key with two spellings was read");
    if matches!(key.key(), cofre_ledger::signed::VerifyingKey::Ed25519(_)) {
        assert!(StandardVerifier::new(&text).is_ok(), "our key is not theirs");
    }
}
