//! A plaintext value in locked memory, already laid out for sealing: u16 big-endian length, the value, zeros up to a
//! multiple of 64. So it can be sealed where it stands, and its sealed length says little about its own.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::error::Error;
use crate::slab::{LARGE, Slab, Slot};

const BLOCK: usize = 64;
const PREFIX: usize = 2;

/// One value in locked memory: a field of a login, or a document of evidence. Wiped on drop.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct Plain {
    slot: Slot,
    len: usize,
}

impl Plain {
    /// The longest value, in bytes: what a slot holds beside its length.
    pub const MAX: usize = LARGE - PREFIX;

    /// A value of `len` bytes, written by `write` straight into locked memory.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::SlabFull`], or what `write` returns; the slot is wiped then.
    pub fn fill<E: From<Error>>(
        slab: &Arc<Slab>,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let prefix = u16::try_from(len).map_err(|_| Error::TooLong)?.to_be_bytes();
        let mut slot = slab.take((PREFIX + len).next_multiple_of(BLOCK))?;
        let (head, body) = slot.bytes_mut().split_at_mut(PREFIX);
        head.copy_from_slice(&prefix);
        write(body.get_mut(..len).ok_or(Error::TooLong)?)?;
        Ok(Self { slot, len })
    }

    /// A copy of `bytes` in locked memory. The caller wipes its own.
    ///
    /// # Errors
    /// [`Error::TooLong`] or [`Error::SlabFull`].
    pub fn copy_of(slab: &Arc<Slab>, bytes: &[u8]) -> Result<Self, Error> {
        Self::fill(slab, bytes.len(), |place| {
            place.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// Takes an opened, padded slot; refuses every padding but the one the format gives.
    pub(crate) fn unpad(slot: Slot) -> Result<Self, Error> {
        let len = unpadded_len(slot.bytes())?;
        Ok(Self { slot, len })
    }

    /// Lends the value. What is copied out of the closure is the caller's to wipe.
    pub fn with_bytes<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(self.value())
    }

    pub(crate) fn value(&self) -> &[u8] {
        // INVARIANT: both constructors hold `PREFIX + len` within the slot, so the empty slice is never taken.
        self.slot.bytes().get(PREFIX..PREFIX + self.len).unwrap_or_default()
    }

    /// The length of the value in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the value is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The padded layout, to be sealed in place.
    pub(crate) fn into_padded(self) -> Slot {
        self.slot
    }

    pub(crate) fn slab(&self) -> &Arc<Slab> {
        self.slot.slab()
    }
}

/// How long the value in a padded layout is, where the layout is exactly the canonical one.
pub(crate) fn unpadded_len(padded: &[u8]) -> Result<usize, Error> {
    let (prefix, body) = padded.split_first_chunk::<PREFIX>().ok_or(Error::Padding)?;
    let len = usize::from(u16::from_be_bytes(*prefix));
    if padded.len() != (PREFIX + len).next_multiple_of(BLOCK) {
        return Err(Error::Padding);
    }
    let zeros = body.get(len..).ok_or(Error::Padding)?;
    if zeros.iter().fold(0, |any, byte| any | byte) == 0 { Ok(len) } else { Err(Error::Padding) }
}

/// How long the padded layout of a value is.
pub(crate) fn padded_len(len: usize) -> usize {
    (PREFIX + len).next_multiple_of(BLOCK)
}
