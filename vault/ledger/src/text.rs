//! Small strict parsers that the text formats share: base64 as RFC 4648 section 4 has it and no other spelling,
//! decimals without leading zeros.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::Hash;

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Padding is required and the unused bits must be zero, so that a value has one spelling.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn hash_from_base64(text: &str) -> Option<Hash> {
    from_base64(text)?.try_into().ok()
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// ASCII decimal, no sign, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Appends `part` behind its length as u16 big-endian; a longer part is a mistake the caller must refuse before.
pub(crate) fn push_part(out: &mut Vec<u8>, part: &[u8]) -> Option<()> {
    out.extend_from_slice(&u16::try_from(part.len()).ok()?.to_be_bytes());
    out.extend_from_slice(part);
    Some(())
}

/// Reads byte strings front to back; anything missing is `None`.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn part(&mut self) -> Option<&'a [u8]> {
        let len = self.array().map(u16::from_be_bytes)?;
        self.take(usize::from(len))
    }
}
