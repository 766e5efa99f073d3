//! Sealed things and wrapped keys: what was sealed opens to itself in its own context, and whatever was bent, moved or
//! taken from elsewhere does not open at all.
//!
//! Salts are random, so the bytes differ from run to run; which byte is bent does not.

mod hpke;
mod tree;

use std::sync::{Arc, LazyLock};

use cofre_envelope::context::{SecretContext, WrapEvidence};
use cofre_envelope::{Backing, Dek, Error, EvidenceKey, Plain, Room, Slab, TenantKey};
use cofre_model::credential::FieldKey;
use cofre_model::id::{CredentialId, SubjectId, TenantId};
use cofre_model::sealed::SealedSecret;
use cofre_model::wording::Class;

use crate::input::Input;

const AT: u64 = 1_790_000_000_000;

static SLAB: LazyLock<Arc<Slab>> =
    LazyLock::new(|| Slab::with_room(Backing::Mlock, Room { small: 192, large: 32 }).expect("176 KiB can be locked"));
static DEK: LazyLock<Dek> = LazyLock::new(|| Dek::generate(&SLAB).expect("a key"));
static OTHER: LazyLock<Dek> = LazyLock::new(|| Dek::generate(&SLAB).expect("a key"));
static EVIDENCE: LazyLock<EvidenceKey> = LazyLock::new(|| EvidenceKey::generate(&SLAB).expect("a key"));
static TENANT: LazyLock<TenantKey> = LazyLock::new(|| TenantKey::generate(&SLAB).expect("a key"));

/// The first byte says what is attacked. Whatever happens, no slot of locked memory is kept.
pub fn run(data: &[u8]) {
    LazyLock::force(&DEK);
    LazyLock::force(&OTHER);
    LazyLock::force(&EVIDENCE);
    LazyLock::force(&TENANT);
    hpke::prepare();
    let before = SLAB.counters().in_use;
    let mut input = Input::new(data);
    match input.byte() % 9 {
        0 => field(&mut input),
        1 => raw(&mut input),
        2 => document(&mut input),
        3 => tree::wrapped(&mut input),
        4 => tree::shares(&mut input),
        5 => tree::tags(&mut input),
        6 => hpke::deposit(&mut input),
        7 => hpke::answer(&mut input),
        _ => hpke::released(&mut input),
    }
    assert_eq!(SLAB.counters().in_use, before, "a slot of locked memory was kept");
}

fn key(input: &mut Input<'_>) -> FieldKey {
    let text = *input.pick(&["user", "password", "pin", "birth_date"]);
    FieldKey::try_from(text).expect("a field key")
}

fn context(input: &mut Input<'_>) -> SecretContext {
    let mut id = || [input.byte() & 1; 10];
    SecretContext {
        tenant: TenantId::from_parts(AT, id()),
        owner: SubjectId::from_parts(AT, id()),
        credential: CredentialId::from_parts(AT, id()),
        class: if input.flag() { Class::TotpSeed } else { Class::Login },
        version: u32::from(input.byte() & 3),
    }
}

/// A value of any length up to beyond what fits.
fn value(input: &mut Input<'_>) -> Vec<u8> {
    let mut value = input.chunk().to_vec();
    if input.byte() % 8 == 7 {
        value.resize(usize::from(input.short() % 4_200), 0x20);
    }
    value
}

fn plain(value: &[u8]) -> Option<Plain> {
    match Plain::copy_of(&SLAB, value) {
        Ok(plain) => Some(plain),
        Err(problem) => {
            assert!(value.len() > Plain::MAX && problem == Error::TooLong, "{problem}: {} bytes", value.len());
            None
        }
    }
}

/// One field: sealed, bent, opened in a context that may be another.
fn field(input: &mut Input<'_>) {
    let (here, name, value) = (context(input), key(input), value(input));
    let Some(plain) = plain(&value) else { return };
    let sealed = DEK.seal_field(&here, &name, plain).expect("sealed");
    let padded = (2 + value.len()).next_multiple_of(64);
    assert_eq!(sealed.as_bytes().len(), 81 + padded, "a sealed length says more than it should");
    if value.len() >= 8 {
        assert!(!sealed.as_bytes().windows(value.len()).any(|window| window == value), "plaintext in the sealed bytes");
    }
    let opened = DEK.open_field(&here, &name, &sealed).expect("what was sealed opens");
    assert!(opened.with_bytes(|bytes| bytes == value), "another value was opened");
    assert!(OTHER.open_field(&here, &name, &sealed).is_err(), "another key opened it");

    let (there, other) = (context(input), key(input));
    let bent = SealedSecret::from_bytes(input.bend(sealed.as_bytes()));
    let same = bent == sealed && there == here && other == name;
    match DEK.open_field(&there, &other, &bent) {
        Ok(opened) => assert!(same && opened.with_bytes(|bytes| bytes == value), "bent or moved, it opened"),
        Err(problem) => assert!(!same, "untouched, it did not open: {problem}"),
    }
}

/// Bytes of anybody's making never open, and the first byte decides how they are refused.
fn raw(input: &mut Input<'_>) {
    let (here, name) = (context(input), key(input));
    let bytes = input.rest();
    let expected = match bytes {
        [] => Error::Truncated,
        [suite, ..] if *suite != 1 => Error::UnknownSuite,
        short if short.len() < 81 => Error::Truncated,
        _ => Error::Commitment,
    };
    let problem = DEK.open_field(&here, &name, &SealedSecret::from_bytes(bytes.to_vec())).err();
    assert_eq!(problem, Some(expected));
}

/// A document under the evidence key.
fn document(input: &mut Input<'_>) {
    let mut place = || WrapEvidence {
        tenant: TenantId::from_parts(AT, [input.byte() & 1; 10]),
        owner: SubjectId::from_parts(AT, [input.byte() & 1; 10]),
        evidence_key_version: u32::from(input.byte() & 1),
    };
    let (here, there) = (place(), place());
    let (name, other) = (input.bend_text("mandate"), input.bend_text("mandate"));
    let value = value(input);
    let Some(plain) = plain(&value) else { return };
    let sealed = EVIDENCE.seal(&here, &name, plain).expect("sealed");
    let bent = SealedSecret::from_bytes(input.bend(sealed.as_bytes()));
    let same = bent == sealed && there == here && other == name;
    match EVIDENCE.open(&there, &other, &bent) {
        Ok(opened) => assert!(same && opened.with_bytes(|bytes| bytes == value), "bent or moved, it opened"),
        Err(problem) => assert!(!same, "untouched, it did not open: {problem}"),
    }
}

/// Each part, untouched, bent once, and moved.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for part in 0..9_u8 {
        for (name, rest) in [
            ("untouched", &b"\0\0\0\0\0\0\x04abcd\0\0\0\0\0\0\0\0\0\0"[..]),
            ("bent", b"\0\0\0\0\0\0\x04abcd\0\0\0\0\0\0\0\0\x01\x01\x05\x07"),
            ("moved", b"\x01\0\x01\0\0\x01\x03xyz\0\x01\x01\x01\0\x02\0\x02\0\0\0"),
            ("long", b"\0\0\0\0\0\0\xff0123456789abcdef0123456789abcdef\x07\x07\x0f\xff\x01\x02\x03\x04\x05"),
            ("many", b"\x02\x01\x03\x01\x04\x01\x05\x09\x02\x06\x05\x03\x05\x08\x09\x07\x09\x03\x02\x03\x08\x04\x06"),
        ] {
            seeds.push((format!("part-{part}-{name}"), [&[part], rest].concat()));
        }
    }
    let mut raw = vec![1, 0, 0, 0, 0, 0, 0, 1];
    raw.extend([0x55; 144]);
    seeds.push(("raw-of-good-length".to_owned(), raw));
    seeds
}
