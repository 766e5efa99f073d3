//! Notes against an independent implementation, strictness, and what an unknown or a lying key may do.

use ed25519_dalek::Signer as _;
use signed_note::{Note as OtherNote, StandardSigner, StandardVerifier, VerifierList};

use super::*;
use crate::samples::{ORIGIN, ed25519, note_key, p256, public, signer};

const TEXT: &str = "cofre.test/ledger\n1\nAAAA\n";

fn signed_by(seeds: &[u8]) -> Note {
    let mut note = Note::new(TEXT).expect("a text");
    for seed in seeds {
        note.sign(&note_key(*seed), signer(*seed)).expect("signs");
    }
    note
}

fn p256_key(seed: u8) -> NoteKey {
    let point = p256(seed).verifying_key().to_sec1_point(false);
    NoteKey::new(ORIGIN, VerifyingKey::p256(point.as_bytes()).expect("a point")).expect("a name")
}

fn p256_signer(seed: u8) -> impl FnMut(&[u8]) -> Result<Vec<u8>, std::convert::Infallible> {
    move |text| {
        let signature: p256::ecdsa::Signature = p256(seed).sign(text);
        Ok(signature.to_bytes().to_vec())
    }
}

#[test]
fn another_implementation_reads_our_note_and_key() {
    let key = note_key(1);
    let verifier = StandardVerifier::new(&key.to_string()).expect("our verifier key is theirs");
    let note = OtherNote::from_bytes(signed_by(&[1]).to_string().as_bytes()).expect("our note is theirs");
    let (verified, unknown) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("verifies");
    assert_eq!((verified.len(), unknown.len(), note.text()), (1, 0, TEXT.as_bytes()));
}

#[test]
fn we_read_the_note_and_key_of_another_implementation() {
    let key = note_key(2);
    let id = hex::encode(key.id());
    let secret = base64(&[[1].as_slice(), &ed25519(2).to_bytes()].concat());
    let theirs = StandardSigner::new(&format!("PRIVATE+KEY+{ORIGIN}+{id}+{secret}")).expect("a key");
    let mut note = OtherNote::new(TEXT.as_bytes(), &[]).expect("a text");
    note.add_sigs(&[&theirs]).expect("signs");
    let text = String::from_utf8(note.to_bytes()).expect("UTF-8");
    let ours = Note::parse(&text).expect("their note is ours");
    assert_eq!(ours.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
    assert_eq!(ours, signed_by(&[2]), "Ed25519 is deterministic");
    assert_eq!(ours.to_string(), text);
}

#[test]
fn verifier_keys_have_one_text() {
    for key in [note_key(1), p256_key(1)] {
        assert_eq!(NoteKey::parse(&key.to_string()), Ok(key.clone()));
    }
    assert!(p256_key(1).to_string().contains("+AjBZMBMG"), "type 2 and a SubjectPublicKeyInfo");
    let good = note_key(1).to_string();
    let parts: Vec<&str> = good.splitn(3, '+').collect();
    for bad in [
        String::new(),
        "name".into(),
        format!("{}+{}", parts[0], parts[1]),
        format!("{}+00000000+{}", parts[0], parts[2]),
        format!("other+{}+{}", parts[1], parts[2]),
        format!("{}+{}+{}", parts[0], parts[1].to_uppercase(), parts[2]),
        format!("{good}="),
        format!("{good}\n"),
        format!("a b+{}+{}", parts[1], parts[2]),
        format!("{}+{}+BBBB", parts[0], parts[1]),
    ] {
        assert!(matches!(NoteKey::parse(&bad), Err(NoteError::Key(_))), "{bad:?}");
    }
    for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb", "a\tb"] {
        assert!(NoteKey::new(name, public(&ed25519(1))).is_err(), "{name:?}");
    }
}

#[test]
fn a_token_without_ed25519_signs_as_ecdsa() {
    let mut note = Note::new(TEXT).expect("a text");
    note.sign(&p256_key(4), p256_signer(4)).expect("signs");
    let parsed = Note::parse(&note.to_string()).expect("parses");
    assert_eq!(parsed.verify(&[p256_key(4)]).map(|keys| keys.len()), Ok(1));
    assert_eq!(parsed.verify(&[p256_key(5)]), Err(NoteError::Unsigned));
    assert_eq!(note.sign(&p256_key(4), p256_signer(5)), Err(SignError::Faulty));
    // RFC 5480: the key id is over the SubjectPublicKeyInfo alone, without the name.
    let renamed = NoteKey::new("other", p256_key(4).key().clone()).expect("a name");
    assert_eq!(renamed.id(), p256_key(4).id());
}

#[test]
fn unknown_keys_prove_nothing_and_known_liars_kill_the_note() {
    let note = signed_by(&[1, 2]);
    assert_eq!(note.verify(&[note_key(3)]), Err(NoteError::Unsigned));
    assert_eq!(note.verify(&[]), Err(NoteError::Unsigned));
    let (one, two) = (note_key(1), note_key(2));
    assert_eq!(note.verify(&[two.clone(), one.clone()]), Ok(vec![&one, &two]));
    assert_eq!(note.verify(std::slice::from_ref(&two)), Ok(vec![&two]));
    let mut bent = note.clone();
    bent.signatures[0].signature[5] ^= 1;
    assert_eq!(bent.verify(&[one, two.clone()]), Err(NoteError::BadSignature));
    assert_eq!(bent.verify(std::slice::from_ref(&two)), Ok(vec![&two]), "the liar is unknown here");
    let mut other_text = note;
    other_text.text = TEXT.replace('1', "2");
    assert_eq!(other_text.verify(&[two]), Err(NoteError::BadSignature));
}

#[test]
fn a_faulty_or_failing_signer_leaves_no_line() {
    let mut note = Note::new(TEXT).expect("a text");
    assert_eq!(note.sign(&note_key(1), signer(2)), Err(SignError::Faulty));
    assert_eq!(note.sign(&note_key(1), |_| Ok::<_, &str>(vec![1; 63])), Err(SignError::Faulty));
    assert_eq!(note.sign(&note_key(1), |_| Err("token is gone")), Err(SignError::Signer("token is gone")));
    assert!(note.signatures().is_empty());
}

#[test]
fn sixteen_signatures_are_taken_and_sixty_five_are_not() {
    let seeds: Vec<u8> = (1..=16).collect();
    let note = Note::parse(&signed_by(&seeds).to_string()).expect("sixteen");
    let keys: Vec<NoteKey> = seeds.iter().map(|seed| note_key(*seed)).collect();
    assert_eq!(note.verify(&keys).map(|keys| keys.len()), Ok(16));
    let many: Vec<u8> = (1..=65).collect();
    assert!(matches!(Note::parse(&signed_by(&many).to_string()), Err(NoteError::Malformed(_))));
}

#[test]
fn malformed_notes_are_refused() {
    let good = signed_by(&[1]).to_string();
    assert!(Note::parse(&good).is_ok());
    let line = good.split("\n\n").nth(1).expect("a signature line");
    for bad in [
        String::new(),
        TEXT.into(),
        format!("{TEXT}\n"),
        format!("{TEXT}\n\n"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        good.replace("\n\n", "\n"),
        good.replace("— ", "- "),
        good.replace("— ", "—"),
        good.replace('\n', "\r\n"),
        good.replace("ledger\n1", "ledger\t\n1"),
        good.replace("ledger\n1", "ledger\u{0}\n1"),
        good.replace("ledger\n1", "ledger\u{7f}\n1"),
        format!("{TEXT}\n— {ORIGIN} AAAA\n"),
        format!("{TEXT}\n— {ORIGIN} AAAAAA==\n"),
        format!("{TEXT}\n— {ORIGIN} AAAAA\n"),
        format!("{TEXT}\n— {ORIGIN} *\n"),
        format!("{TEXT}\n—  {line}"),
        format!("{TEXT}\n— a+b AAAAAAA=\n"),
        format!("{}\n{line}", "x\n".repeat(MAX_NOTE)),
    ] {
        let shown: String = bad.chars().take(200).collect();
        assert!(matches!(Note::parse(&bad), Err(NoteError::Malformed(_))), "{shown:?}");
    }
    assert!(matches!(Note::new("no newline"), Err(NoteError::Malformed(_))));
    assert!(matches!(Note::new("tab\t\n"), Err(NoteError::Malformed(_))));
}
