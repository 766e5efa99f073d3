use proptest::prelude::*;

use super::*;
use crate::samples;

fn unpadded(slab: &Arc<Slab>, padded: &[u8]) -> Result<Vec<u8>, Error> {
    let mut slot = slab.take(padded.len())?;
    slot.bytes_mut().copy_from_slice(padded);
    Plain::unpad(slot).map(|plain| plain.with_bytes(<[u8]>::to_vec))
}

#[test]
fn lengths_are_padded_to_64_and_come_back() {
    let slab = samples::slab();
    for (len, padded) in [(0, 64), (1, 64), (62, 64), (63, 128), (126, 128), (127, 192), (Plain::MAX, 4096)] {
        let plain = Plain::copy_of(&slab, &vec![0x5a; len]).expect("room");
        assert_eq!((plain.len(), plain.is_empty()), (len, len == 0));
        let slot = plain.into_padded();
        assert_eq!(slot.bytes().len(), padded, "{len} bytes");
        assert_eq!(unpadded(&slab, slot.bytes()), Ok(vec![0x5a; len]));
    }
    assert_eq!(Plain::copy_of(&slab, &[0; Plain::MAX + 1]).err(), Some(Error::TooLong));
    assert_eq!(Plain::copy_of(&slab, &[0; 70_000]).err(), Some(Error::TooLong));
}

#[test]
fn every_other_padding_is_refused() {
    let slab = samples::slab();
    let mut good = vec![0; 64];
    good[1] = 3;
    good[2..5].copy_from_slice(b"abc");
    assert_eq!(unpadded(&slab, &good), Ok(b"abc".to_vec()));
    for at in 5..64 {
        let mut bad = good.clone();
        bad[at] = 1;
        assert_eq!(unpadded(&slab, &bad), Err(Error::Padding), "a byte at {at}");
    }
    let more = [good.clone(), vec![0; 64]].concat();
    assert_eq!(unpadded(&slab, &more), Err(Error::Padding), "a whole block too much");
    assert_eq!(unpadded(&slab, &good[..63]), Err(Error::Padding));
    assert_eq!(unpadded(&slab, &[0]), Err(Error::Padding));
    assert_eq!(unpadded(&slab, &[]), Err(Error::Padding));
    let mut longer = good;
    longer[1] = 63;
    assert_eq!(unpadded(&slab, &longer), Err(Error::Padding), "a length beyond the block");
    longer[0] = 0xff;
    assert_eq!(unpadded(&slab, &longer), Err(Error::Padding), "a length beyond everything");
    assert_eq!(slab.counters().in_use, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever unpads is exactly what padding its value gives: one encoding per value.
    #[test]
    fn padding_is_canonical(mut padded in proptest::collection::vec(0u8..3, 64..=128), len in 0u16..130) {
        padded[..2].copy_from_slice(&len.to_be_bytes());
        let slab = samples::slab();
        if let Ok(value) = unpadded(&slab, &padded) {
            let again = Plain::copy_of(&slab, &value).expect("room").into_padded();
            prop_assert_eq!(again.bytes(), &padded[..]);
        }
    }
}
