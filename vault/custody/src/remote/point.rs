//! Public keys and signatures as services write them (DER), read strictly: one form of each, and no byte more.

use crate::custodian::VerifyingKey;

/// SubjectPublicKeyInfo of Ed25519 up to the key (RFC 8410, 4).
const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// SubjectPublicKeyInfo of P-256 up to the uncompressed point (RFC 5480, 2).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The key in a SubjectPublicKeyInfo; none for other algorithms and other encodings.
pub(crate) fn public_key(der: &[u8]) -> Option<VerifyingKey> {
    if let Some(key) = der.strip_prefix(ED25519) {
        return key.try_into().ok().map(VerifyingKey::Ed25519);
    }
    let point: [u8; 65] = der.strip_prefix(P256)?.try_into().ok()?;
    (point.first() == Some(&4)).then_some(VerifyingKey::P256(point))
}

/// The DER between the lines of a PEM `PUBLIC KEY`.
#[cfg(any(feature = "gcp", feature = "transit"))]
pub(crate) fn pem(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let joined: String = body.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(joined).ok()
}

/// r ‖ s of an ECDSA signature on P-256 (RFC 3279, 2.2.3).
pub(crate) fn signature(der: &[u8]) -> Option<[u8; 64]> {
    let [0x30, length, rest @ ..] = der else { return None };
    if usize::from(*length) != rest.len() {
        return None;
    }
    let (r, rest) = integer(rest)?;
    let (s, rest) = integer(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let mut both = [0; 64];
    let (left, right) = both.split_at_mut(32);
    left.copy_from_slice(&r);
    right.copy_from_slice(&s);
    Some(both)
}

/// A positive integer of 32 bytes at most, without needless zeros, and what follows it.
fn integer(der: &[u8]) -> Option<([u8; 32], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    let digits = match digits {
        [0, next, ..] if *next >= 0x80 => digits.get(1..)?,
        [first, ..] if (1..0x80).contains(first) => digits,
        _ => return None,
    };
    let mut number = [0; 32];
    let start = number.len().checked_sub(digits.len())?;
    number.get_mut(start..)?.copy_from_slice(digits);
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEQUENCE of the two integers.
    fn pair(r: &[u8], s: &[u8]) -> Vec<u8> {
        let number = |digits: &[u8]| [&[0x02, digits.len() as u8], digits].concat();
        let body = [number(r), number(s)].concat();
        [&[0x30, body.len() as u8][..], &body].concat()
    }

    #[test]
    fn short_and_long_integers_come_out_padded() {
        let long = [&[0][..], &[0xff; 32]].concat();
        let both = signature(&pair(&[5], &long)).expect("a signature");
        assert_eq!(both[..31], [0; 31]);
        assert_eq!((both[31], &both[32..]), (5, &[0xff; 32][..]));
    }

    #[test]
    fn every_other_encoding_is_refused() {
        let good = pair(&[5], &[6]);
        assert!(signature(&good).is_some());
        for wrong in [
            pair(&[0, 5], &[6]),
            pair(&[0x85], &[6]),
            pair(&[], &[6]),
            pair(&[0], &[6]),
            pair(&[1; 33], &[6]),
            [&good[..], &[0]].concat(),
            good[..good.len() - 1].to_vec(),
            vec![],
        ] {
            assert_eq!(signature(&wrong), None, "{wrong:02x?}");
        }
    }

    #[test]
    fn the_two_kinds_of_key_are_read_and_no_other() {
        let edwards = [ED25519, &[7; 32]].concat();
        assert_eq!(public_key(&edwards), Some(VerifyingKey::Ed25519([7; 32])));
        let mut point = [9; 65];
        point[0] = 4;
        assert_eq!(public_key(&[P256, &point].concat()), Some(VerifyingKey::P256(point)));
        point[0] = 2;
        assert_eq!(public_key(&[P256, &point].concat()), None, "not an uncompressed point");
        assert_eq!(public_key(&edwards[1..]), None);
        assert_eq!(public_key(&[&edwards[..], &[0]].concat()), None);
    }
}
