use proptest::prelude::*;

use super::*;
use crate::samples;

fn slot(slab: &Arc<Slab>, bytes: &[u8]) -> Slot {
    let mut slot = slab.take(bytes.len()).expect("room");
    slot.bytes_mut().copy_from_slice(bytes);
    slot
}

fn opened(key: &KeyBytes, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    open(key, context, sealed, key.slab()).map(|slot| slot.bytes().to_vec())
}

#[test]
fn five_pinned_vectors_seal_and_open() {
    let slab = samples::slab();
    let vectors = samples::vectors();
    let cases = vectors["sealed"].as_array().expect("a list");
    for case in cases {
        let key = samples::key(&slab, &samples::bytes(&case["key"]));
        let salt: [u8; 32] = samples::bytes(&case["salt"]).try_into().expect("32 bytes");
        let context = samples::bytes(&case["context"]);
        let plaintext = samples::bytes(&case["plaintext"]);
        let sealed = seal_with_salt(&key, &context, slot(&slab, &plaintext), &salt).expect("sealed");
        assert_eq!(hex::encode(&sealed), case["sealed"].as_str().expect("hex"), "{}", case["name"]);
        assert_eq!(opened(&key, &context, &sealed), Ok(plaintext), "{}", case["name"]);
    }
    assert_eq!(cases.len(), 5);
    assert_eq!(slab.counters().in_use, 0);
}

#[test]
fn every_single_bit_flip_is_refused_and_leaves_no_slot() {
    let slab = samples::slab();
    let key = KeyBytes::generate(&slab).expect("key");
    let sealed = seal(&key, b"context", slot(&slab, &[0x5a; 64])).expect("sealed");
    let mut flips = 0;
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 => Error::UnknownSuite,
            1..=64 => Error::Commitment,
            _ => Error::Tag,
        };
        assert_eq!(opened(&key, b"context", &changed), Err(expected), "bit {bit}");
        flips += 1;
    }
    assert_eq!(flips, (OVERHEAD + 64) * 8);
    assert_eq!(slab.counters().in_use, 1, "only the key is left");
}

#[test]
fn every_truncation_is_refused() {
    let slab = samples::slab();
    let key = KeyBytes::generate(&slab).expect("key");
    let sealed = seal(&key, b"context", slot(&slab, &[1; 32])).expect("sealed");
    for len in 0..sealed.len() {
        let refused = opened(&key, b"context", &sealed[..len]);
        let expected = if len < OVERHEAD { Error::Truncated } else { Error::Tag };
        assert_eq!(refused, Err(expected), "{len} bytes");
    }
    assert_eq!(opened(&key, b"context", &[sealed, vec![0]].concat()), Err(Error::Tag));
}

#[test]
fn a_body_beyond_a_slot_is_refused() {
    let slab = samples::slab();
    let key = KeyBytes::generate(&slab).expect("key");
    let sealed = seal(&key, b"context", slot(&slab, &[1; 32])).expect("sealed");
    let long = [&sealed[..65], &[0; 5000]].concat();
    assert_eq!(opened(&key, b"context", &long), Err(Error::TooLong));
}

/// GCM does not commit: one ciphertext and tag can be made to fit two keys. The commitment must tell them apart, and
/// it must be looked at before the cipher is.
#[test]
fn another_key_fails_on_the_commitment_not_on_the_tag() {
    let slab = samples::slab();
    let one = KeyBytes::generate(&slab).expect("key");
    let two = KeyBytes::generate(&slab).expect("key");
    let sealed = seal(&one, b"context", slot(&slab, &[1; 32])).expect("sealed");
    assert_eq!(opened(&two, b"context", &sealed), Err(Error::Commitment));

    // A forger who knows both keys makes the tag fit the second: everything but the commitment is the second key's.
    let salt: [u8; 32] = sealed[1..33].try_into().expect("32 bytes");
    let fits_two = seal_with_salt(&two, b"context", slot(&slab, &[1; 32]), &salt).expect("sealed");
    let mixed = [&sealed[..65], &fits_two[65..]].concat();
    assert_eq!(opened(&two, b"context", &mixed), Err(Error::Commitment));
    assert_eq!(opened(&one, b"context", &mixed), Err(Error::Tag));
}

#[test]
fn no_two_seals_are_alike() {
    let slab = samples::slab();
    let key = KeyBytes::generate(&slab).expect("key");
    let seals: std::collections::BTreeSet<_> =
        (0..200).map(|_| seal(&key, b"context", slot(&slab, &[1; 32])).expect("sealed")).collect();
    assert_eq!(seals.len(), 200);
    let salts: std::collections::BTreeSet<_> = seals.iter().map(|sealed| sealed[1..33].to_vec()).collect();
    assert_eq!(salts.len(), 200);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_opens(body in proptest::collection::vec(any::<u8>(), 0..4096), context in proptest::collection::vec(any::<u8>(), 0..300)) {
        let slab = samples::slab();
        let key = KeyBytes::generate(&slab).expect("key");
        let sealed = seal(&key, &context, slot(&slab, &body)).expect("sealed");
        prop_assert_eq!(sealed.len(), OVERHEAD + body.len());
        prop_assert_eq!(opened(&key, &context, &sealed), Ok(body));
    }

    #[test]
    fn another_context_is_refused(context in proptest::collection::vec(any::<u8>(), 0..100), other in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assume!(context != other);
        let slab = samples::slab();
        let key = KeyBytes::generate(&slab).expect("key");
        let sealed = seal(&key, &context, slot(&slab, &[9; 32])).expect("sealed");
        prop_assert_eq!(opened(&key, &other, &sealed), Err(Error::Commitment));
    }

    #[test]
    fn arbitrary_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let slab = samples::slab();
        let key = KeyBytes::generate(&slab).expect("key");
        prop_assert!(opened(&key, b"context", &bytes).is_err());
    }
}
