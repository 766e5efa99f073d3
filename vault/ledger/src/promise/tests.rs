//! A worker's chain from the deployment's key to its own entry, and every link broken once.

use super::*;
use crate::samples::{NodeKey, ORIGIN, ed25519, note_key};
use crate::tree;
use ed25519_dalek::Signer as _;

const TIME: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const BY: Timestamp = Timestamp::from_micros(1_790_000_002_000_000);

fn group(size: u64) -> (Vec<EntryRef>, Vec<Promise>) {
    let entries: Vec<EntryRef> = (0..size)
        .map(|place| EntryRef { index: 100 + place, leaf_hash: tree::leaf_hash(&place.to_be_bytes()), time: TIME })
        .collect();
    let hashes: Vec<Hash> = entries.iter().map(|entry| entry.leaf_hash).collect();
    let promises = promise_group(ORIGIN, 100, &hashes, TIME, BY, &NodeKey(5)).expect("short origin");
    (entries, promises)
}

fn certificate(change: impl Fn(&mut NodeStatement)) -> NodeCertificate {
    let mut statement = NodeStatement {
        origin: ORIGIN.into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        public_key: NodeKey(5).public_key(),
        time: TIME,
    };
    change(&mut statement);
    let statement = statement.to_bytes().expect("short");
    let signature = ed25519(1).sign(&statement).to_bytes().to_vec();
    NodeCertificate { statement, signature }
}

#[test]
fn every_entry_of_groups_of_every_size_has_its_promise() {
    for size in 1..=33 {
        let (entries, promises) = group(size);
        assert_eq!(promises.len(), entries.len());
        for (place, promise) in promises.iter().enumerate() {
            let node = promise.verify_chain(&entries[place], &certificate(|_| {}), &note_key(1)).expect("holds");
            assert_eq!(node.incarnation, [9; 16]);
            for (other, entry) in entries.iter().enumerate().filter(|(other, _)| *other != place) {
                assert!(promise.verify(entry, &NodeKey(5).public_key()).is_err(), "{place} for {other}");
            }
        }
    }
    assert_eq!(group(0).1, []);
}

#[test]
fn the_signed_bytes_are_pinned() {
    let (_, promises) = group(1);
    let message = promises[0].head.message().expect("short");
    let expected = [
        b"cofre/v1/promise\0".as_slice(),
        &[0, 17],
        ORIGIN.as_bytes(),
        &100u64.to_be_bytes(),
        &1u32.to_be_bytes(),
        &promises[0].head.group_root,
        &TIME.micros().to_be_bytes(),
        &BY.micros().to_be_bytes(),
    ]
    .concat();
    assert_eq!(message, expected);
    assert_eq!(
        hex::encode(promise_leaf(7, &[1; 32])),
        "fa0422136d949fc56f7cfb2b5c4c8fd28851db9b2a1ee830d37a55eb740a8a08"
    );
    assert_ne!(promise_leaf(7, &[1; 32]), promise_leaf(8, &[1; 32]));
    let statement = certificate(|_| {}).statement;
    assert!(statement.starts_with(b"cofre/v1/node\0\0\x11cofre.test/ledger\0\x21spiffe://"));
    assert_eq!(NodeStatement::parse(&statement).and_then(|parsed| parsed.to_bytes()), Ok(statement));
}

#[test]
fn each_broken_link_is_found() {
    let (entries, promises) = group(5);
    let (entry, good) = (&entries[2], &promises[2]);
    let check = |promise: &Promise, certificate: &NodeCertificate| {
        promise.verify_chain(entry, certificate, &note_key(1)).map(|node| node.time)
    };
    assert_eq!(check(good, &certificate(|_| {})), Ok(TIME));

    let bent = |change: &dyn Fn(&mut Promise)| {
        let mut promise = good.clone();
        change(&mut promise);
        check(&promise, &certificate(|_| {})).err()
    };
    assert_eq!(bent(&|promise| promise.signature[0] ^= 1), Some(PromiseError::Signature));
    assert_eq!(bent(&|promise| promise.head.time = BY), Some(PromiseError::Signature));
    assert_eq!(bent(&|promise| promise.head.integrate_by = TIME), Some(PromiseError::Signature));
    assert_eq!(bent(&|promise| promise.head.group_root[0] ^= 1), Some(PromiseError::Path(ProofError::Root)));
    assert_eq!(bent(&|promise| promise.head.first_index = 99), Some(PromiseError::Path(ProofError::Root)));
    assert_eq!(bent(&|promise| promise.head.first_index = 103), Some(PromiseError::Path(ProofError::Length)));
    assert!(matches!(bent(&|promise| promise.head.count = 2), Some(PromiseError::Path(_))));
    assert_eq!(bent(&|promise| promise.path[0][0] ^= 1), Some(PromiseError::Path(ProofError::Root)));
    assert_eq!(bent(&|promise| promise.head.origin = "other/ledger".into()), Some(PromiseError::Mismatch));
    assert_eq!(bent(&|promise| promise.head.time = Timestamp::default()), Some(PromiseError::Mismatch));

    assert_eq!(check(good, &certificate(|node| node.origin = "other/ledger".into())), Err(PromiseError::Mismatch));
    let other_node = certificate(|node| node.public_key = NodeKey(6).public_key());
    assert_eq!(check(good, &other_node), Err(PromiseError::Signature));
    assert_eq!(check(good, &certificate(|node| node.public_key = [0xff; 32])), Err(PromiseError::BadKey));
    let mut unsigned = certificate(|_| {});
    unsigned.signature[3] ^= 1;
    assert_eq!(check(good, &unsigned), Err(PromiseError::Signature));
}

#[test]
fn node_statements_have_one_form() {
    let good = certificate(|_| {}).statement;
    for bad in [
        Vec::new(),
        b"cofre/v1/node".to_vec(),
        good.get(..good.len() - 1).expect("longer").to_vec(),
        [good.as_slice(), &[0]].concat(),
        good.get(1..).expect("longer").to_vec(),
    ] {
        assert_eq!(NodeStatement::parse(&bad), Err(PromiseError::Statement));
    }
}
