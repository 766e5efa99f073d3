//! Locked memory: one mapping with fixed slots in which keys and opened fields live, wiped when they are dropped.
//! Pages never reach swap, a core dump or a forked child. This room never gives out a slot it has not wiped, and
//! never grows: when it is full, the caller waits.
#![expect(unsafe_code, reason = "locked pages come from the kernel as raw memory; each use says why it is sound")]

mod map;
#[cfg(test)]
mod tests;

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

use crate::error::Error;
use map::Mapping;

/// The size of a small slot in bytes: keys, digests, most field values.
pub(crate) const SMALL: usize = 256;
/// The size of a large slot in bytes: long values and whole answers.
pub(crate) const LARGE: usize = 4096;

/// Where locked pages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// `memfd_secret(2)`: the pages leave the kernel's own map and cannot be read through ptrace or `/proc`.
    MemfdSecret,
    /// `mlock(2)` with MADV_DONTDUMP and MADV_WIPEONFORK, where the kernel has no `memfd_secret`.
    Mlock,
}

/// Locked memory could not be had. The caller decides whether another backing will do.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The kernel does not offer `memfd_secret` (before Linux 5.14, or switched off).
    #[error("the kernel offers no secret memory; choose the mlock backing")]
    NoSecretMemory(#[source] std::io::Error),
    /// The pages could not be mapped.
    #[error("locked memory could not be mapped")]
    Map(#[source] std::io::Error),
    /// The pages could not be locked: RLIMIT_MEMLOCK is too low.
    #[error("memory could not be locked; raise RLIMIT_MEMLOCK")]
    Lock(#[source] std::io::Error),
    /// The pages could not be kept out of core dumps and forked children.
    #[error("locked memory could not be kept out of dumps and children")]
    Advise(#[source] std::io::Error),
    /// No slot at all was asked for, or more than can be counted.
    #[error("a slab needs at least one slot and at most 2^20")]
    Room,
}

/// How many slots a slab has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Slots of 256 bytes.
    pub small: u32,
    /// Slots of 4096 bytes.
    pub large: u32,
}

impl Room {
    /// 4 MiB: 4096 small and 768 large slots. Half of what ordinary users may lock on most systems.
    pub const PROCESS: Self = Self { small: 4096, large: 768 };
}

/// What happened to slots since the slab was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Slots handed out.
    pub taken: u64,
    /// Slots wiped and taken back.
    pub wiped: u64,
    /// Slots out now; always `taken - wiped`.
    pub in_use: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    Small,
    Large,
}

impl Kind {
    const fn size(self) -> usize {
        match self {
            Self::Small => SMALL,
            Self::Large => LARGE,
        }
    }
}

struct Free {
    small: Vec<u32>,
    large: Vec<u32>,
    counters: Counters,
}

/// The locked memory of a process. Make one and pass the `Arc` around.
pub struct Slab {
    mapping: Mapping,
    backing: Backing,
    room: Room,
    free: Mutex<Free>,
}

impl std::fmt::Debug for Slab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the memory: only where it comes from and how full it is.
        f.debug_struct("Slab")
            .field("backing", &self.backing)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Slab {
    /// Maps and locks 4 MiB.
    ///
    /// # Errors
    /// [`Unavailable`] where the kernel refuses; nothing falls back by itself.
    pub fn new(backing: Backing) -> Result<Arc<Self>, Unavailable> {
        Self::with_room(backing, Room::PROCESS)
    }

    /// Maps and locks room for the slots asked for. Tests use small slabs, because ordinary users may lock 8 MiB.
    ///
    /// # Errors
    /// [`Unavailable`] where the kernel refuses or no slot is asked for.
    pub fn with_room(backing: Backing, room: Room) -> Result<Arc<Self>, Unavailable> {
        const MOST: u32 = 1 << 20;
        if (room.small == 0 && room.large == 0) || room.small > MOST || room.large > MOST {
            return Err(Unavailable::Room);
        }
        let bytes = (room.small as usize * SMALL).next_multiple_of(LARGE) + room.large as usize * LARGE;
        let mapping = Mapping::new(backing, bytes)?;
        let free = Free {
            small: (0..room.small).rev().collect(),
            large: (0..room.large).rev().collect(),
            counters: Counters::default(),
        };
        Ok(Arc::new(Self { mapping, backing, room, free: Mutex::new(free) }))
    }

    /// Where the pages come from, for the health report.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// How many slots were taken and wiped. After all secrets are dropped, `in_use` is 0.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.free().counters
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        // The lists are changed by single pushes and pops; a panic elsewhere cannot leave them half changed.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A zeroed slot that holds `len` bytes.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Result<Slot, Error> {
        if len > LARGE {
            return Err(Error::TooLong);
        }
        let mut free = self.free();
        let small = if len <= SMALL { free.small.pop().map(|index| (Kind::Small, index)) } else { None };
        // A small value may live in a large slot when the small ones are out.
        let (kind, index) =
            small.or_else(|| free.large.pop().map(|index| (Kind::Large, index))).ok_or(Error::SlabFull)?;
        free.counters.taken += 1;
        free.counters.in_use += 1;
        drop(free);
        Ok(Slot { at: self.address(kind, index), kind, index, len, slab: Arc::clone(self) })
    }

    fn address(&self, kind: Kind, index: u32) -> NonNull<u8> {
        let index = index as usize;
        let offset = match kind {
            Kind::Small => index * SMALL,
            Kind::Large => (self.room.small as usize * SMALL).next_multiple_of(LARGE) + index * LARGE,
        };
        // SAFETY: `index` came from the free list of its kind, so `offset + size` lies within the mapping, whose
        // length was computed from the same room.
        unsafe { self.mapping.base().add(offset) }
    }
}

/// One slot of locked memory, owned. Wiped and given back on drop.
pub(crate) struct Slot {
    at: NonNull<u8>,
    kind: Kind,
    index: u32,
    len: usize,
    slab: Arc<Slab>,
}

// SAFETY: a slot's bytes belong to exactly one `Slot` from `take` to `drop`, and the mapping lives as long as the
// `Arc<Slab>` inside; there is no thread-bound state.
unsafe impl Send for Slot {}
// SAFETY: `&Slot` gives only `&[u8]`; writing needs `&mut Slot`.
unsafe impl Sync for Slot {}

impl Slot {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `at` is valid for `len <= size` bytes as long as `self`, initialised (the mapping starts zeroed and
        // is zeroed on drop), and not written while `&self` is held.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }

    pub(crate) fn slab(&self) -> &Arc<Slab> {
        &self.slab
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Wipe the whole slot, not only `len`: nothing may depend on how much of it was used.
        self.len = self.kind.size();
        // SECURITY: volatile writes; without them the last copy of a secret would outlive its owner.
        self.bytes_mut().zeroize();
        let mut free = self.slab.free();
        match self.kind {
            Kind::Small => free.small.push(self.index),
            Kind::Large => free.large.push(self.index),
        }
        free.counters.wiped += 1;
        free.counters.in_use -= 1;
    }
}
