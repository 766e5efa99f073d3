//! Turns field values into one request body that is wiped when the last reader lets go of it.

use hyper::body::Bytes;
use zeroize::Zeroizing;

/// An `application/x-www-form-urlencoded` body. Its buffer is made at its final size, so growth leaves no copy behind, and is
/// overwritten when dropped.
pub(super) fn encode(fields: &[(&str, &[u8])]) -> Bytes {
    Bytes::from_owner(encode_wiped(fields))
}

pub(super) fn encode_wiped(fields: &[(&str, &[u8])]) -> Zeroizing<Vec<u8>> {
    let longest: usize = fields.iter().map(|(k, v)| 3 * (k.len() + v.len()) + 2).sum();
    let mut body = Zeroizing::new(Vec::with_capacity(longest));
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            body.push(b'&');
        }
        escape(key.as_bytes(), &mut body);
        body.push(b'=');
        escape(value, &mut body);
    }
    body
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(*byte);
        } else {
            out.extend([b'%', hex_digit(byte >> 4), hex_digit(byte & 0x0f)]);
        }
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}
