//! What the register is made of, read as an outsider hands it back: leaves, notes, checkpoints, proofs, tiles, exports,
//! promises, signed statements, tokens.
//!
//! What must hold: verification never panics; what is accepted has one spelling, so writing it again gives the same
//! bytes; what our strict readers take, another implementation takes as well and reads the same; and where that other
//! implementation judges a proof, both judge alike.

mod export;
mod notes;
mod signed;
mod tree;

use cofre_ledger::entry::{self, Leaf};
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed::VerifyingKey;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::time::Timestamp;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::input::Input;

const ORIGIN: &str = "cofre.test/ledger";

/// The first byte says what is attacked.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 12 {
        0 => leaf(input.rest()),
        1 => {
            let bent = input.bend(&some_leaves(1)[0]);
            leaf(&bent);
        }
        2 => notes::note(&mut input),
        3 => notes::checkpoint(&mut input),
        4 => notes::key(&mut input),
        5 => tree::inclusion(&mut input),
        6 => tree::consistency(&mut input),
        7 => tree::tiles(&mut input),
        8 => export::bent(&mut input),
        9 => export::composed(&mut input),
        10 => signed::token(&mut input),
        _ => signed::statements(&mut input),
    }
}

/// A leaf and the entry in it have one encoding.
fn leaf(bytes: &[u8]) {
    let Ok(leaf) = Leaf::parse(bytes) else { return };
    assert_eq!(leaf.to_bytes().as_deref(), Ok(bytes));
    if let Ok(entry) = leaf.entry() {
        assert_eq!(entry::encode(&entry).as_ref(), Ok(&leaf.body), "an entry with two spellings was read");
    }
}

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn note_key(seed: u8) -> NoteKey {
    let public = VerifyingKey::ed25519(signing_key(seed).verifying_key().as_bytes()).expect("a key of full order");
    NoteKey::new(ORIGIN, public).expect("a valid name")
}

/// The closure a token would be.
fn signer(seed: u8) -> impl FnMut(&[u8]) -> Result<Vec<u8>, std::convert::Infallible> {
    move |message| Ok(signing_key(seed).sign(message).to_bytes().to_vec())
}

/// Leaves of every third kind, each at its time.
fn some_leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|index| leaf_of(index, &Entry::new(kind(index * 3), [7; 16]))).collect()
}

fn kind(number: u64) -> EntryKind {
    let all = EntryKind::ALL;
    all[usize::try_from(number).unwrap_or(0) % all.len()]
}

fn leaf_of(index: u64, entry: &Entry) -> Vec<u8> {
    let time = Timestamp::from_micros(1_790_000_000_000_000 + index);
    Leaf { index, time, body: entry::encode(entry).expect("short") }.to_bytes().expect("short")
}

/// One good and a few bent inputs for each part.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = vec![("leaf-raw".to_owned(), [&[0], some_leaves(2)[1].as_slice()].concat())];
    for part in 1..12_u8 {
        for (name, rest) in [
            ("plain", &[0_u8; 4][..]),
            ("once", &[1, 1, 3, 65]),
            ("deep", &[0, 5, 17, 9, 2, 6, 3, 1, 1, 8, 2]),
            ("wide", &[2, 0, 40, 7, 5, 60, 61, 1, 4, 4, 3, 2, 1, 0, 9, 8]),
        ] {
            seeds.push((format!("part-{part:02}-{name}"), [&[part], rest].concat()));
        }
    }
    seeds.extend(
        export::seeds().into_iter().enumerate().map(|(at, rest)| (format!("export-{at}"), [vec![9], rest].concat())),
    );
    seeds
}
