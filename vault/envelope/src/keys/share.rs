//! Shares of a tenant key: what custodians wrap. All shares together are the key; any fewer say nothing about it.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::KeyBytes;
use crate::context::WrapTenant;
use crate::error::Error;
use crate::slab::{Slab, Slot};

/// One share of a tenant key: 32 bytes in locked memory.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct Share(KeyBytes);

/// A share together with the digest of its context: the 64 bytes a custodian wraps. The digest binds the context also
/// where a mechanism has no associated data (AES-KWP, RSA-OAEP).
#[expect(missing_debug_implementations, reason = "secret")]
pub struct BoundShare(Slot);

impl Share {
    /// A share written by `write` straight into locked memory.
    ///
    /// # Errors
    /// [`Error::SlabFull`], or what `write` returns.
    pub fn fill<E: From<Error>>(
        slab: &Arc<Slab>,
        write: impl FnOnce(&mut [u8; 32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        KeyBytes::fill(slab, |place| write(place.try_into().map_err(|_| Error::Truncated)?)).map(Self)
    }

    /// Lends the bytes. What is copied out of the closure is the caller's to wipe.
    pub fn with_bytes<R>(&self, read: impl FnOnce(&[u8; 32]) -> R) -> R {
        read(self.0.expose())
    }

    /// Splits a share again, for a custody set inside a custody set.
    ///
    /// # Errors
    /// As [`super::TenantKey::split`].
    pub fn split(&self, shares: u16) -> Result<Vec<Self>, Error> {
        split(&self.0, shares)
    }

    /// Combines the shares of an inner custody set. The result cannot be judged here: only the tenant key's id can.
    ///
    /// # Errors
    /// [`Error::NoShares`].
    pub fn combine(shares: Vec<Self>) -> Result<Self, Error> {
        combine(shares).map(Self)
    }

    /// Whether two shares are one and the same, in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.expose().ct_eq(other.0.expose()).into()
    }

    /// Puts the digest of the context beside the share, for the custodian.
    ///
    /// # Errors
    /// [`Error::SlabFull`].
    pub fn bind(&self, ctx: &WrapTenant<'_>) -> Result<BoundShare, Error> {
        BoundShare::fill(self.0.slab(), |place| {
            let (share, digest) = place.split_at_mut(32);
            share.copy_from_slice(self.0.expose());
            digest.copy_from_slice(&ctx.digest());
            Ok(())
        })
    }
}

impl BoundShare {
    /// What a custodian unwrapped, written by `write` straight into locked memory.
    ///
    /// # Errors
    /// [`Error::SlabFull`], or what `write` returns.
    pub fn fill<E: From<Error>>(
        slab: &Arc<Slab>,
        write: impl FnOnce(&mut [u8; 64]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut slot = slab.take(64)?;
        write(slot.bytes_mut().try_into().map_err(|_| Error::Truncated)?)?;
        Ok(Self(slot))
    }

    /// Lends the bytes, to be wrapped. What is copied out of the closure is the caller's to wipe.
    pub fn with_bytes<R>(&self, read: impl FnOnce(&[u8; 64]) -> R) -> R {
        const NONE: &[u8; 64] = &[0; 64];
        // INVARIANT: the slot has 64 bytes, by the only constructor.
        read(self.0.bytes().first_chunk().unwrap_or(NONE))
    }

    /// The share, if it was bound to this context.
    ///
    /// # Errors
    /// [`Error::WrongContext`] otherwise; compared in constant time.
    pub fn unbind(self, ctx: &WrapTenant<'_>) -> Result<Share, Error> {
        let (share, digest) = self.0.bytes().split_first_chunk::<32>().ok_or(Error::Truncated)?;
        if !bool::from(digest.ct_eq(&ctx.digest())) {
            return Err(Error::WrongContext);
        }
        Share::fill(self.0.slab(), |place| {
            place.copy_from_slice(share);
            Ok(())
        })
    }
}

pub(super) fn split(key: &KeyBytes, shares: u16) -> Result<Vec<Share>, Error> {
    let random = shares.checked_sub(1).ok_or(Error::NoShares)?;
    let mut parts = (0..random).map(|_| KeyBytes::generate(key.slab()).map(Share)).collect::<Result<Vec<_>, _>>()?;
    let mut last = key.copy()?;
    for part in &parts {
        xor(&mut last, &part.0);
    }
    parts.push(Share(last));
    Ok(parts)
}

pub(super) fn combine(shares: Vec<Share>) -> Result<KeyBytes, Error> {
    let mut shares = shares.into_iter();
    let Share(mut key) = shares.next().ok_or(Error::NoShares)?;
    for share in shares {
        xor(&mut key, &share.0);
    }
    Ok(key)
}

fn xor(into: &mut KeyBytes, with: &KeyBytes) {
    for (byte, other) in into.0.bytes_mut().iter_mut().zip(with.expose()) {
        *byte ^= other;
    }
}
