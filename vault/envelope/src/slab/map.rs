//! The mapping under a slab: asked of the kernel once, locked, kept out of dumps and children, unmapped on drop.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use super::{Backing, Unavailable};

pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory; who may touch which part of it is decided by the slab's free lists.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself only hands out an address.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(backing: Backing, len: usize) -> Result<Self, Unavailable> {
        let mapping = match backing {
            Backing::MemfdSecret => Self::secret(len)?,
            Backing::Mlock => Self::locked(len)?,
        };
        // Touch every page now: a page that cannot be had must fail at start-up, not under a secret.
        // SAFETY: the mapping is `len` writable bytes that nobody else knows yet.
        unsafe { std::ptr::write_bytes(mapping.base.as_ptr(), 0, len) };
        Ok(mapping)
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// `memfd_secret` counts as locked by itself and refuses MADV_WIPEONFORK, so children do not get it at all.
    fn secret(len: usize) -> Result<Self, Unavailable> {
        // SAFETY: a system call without pointers; the result is checked.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(Unavailable::NoSecretMemory(io::Error::last_os_error()));
        }
        // SAFETY: `fd` was just returned by the kernel and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let size = i64::try_from(len).map_err(|_| Unavailable::Room)?;
        // SAFETY: no pointers; the descriptor is open.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size) } != 0 {
            return Err(Unavailable::Map(io::Error::last_os_error()));
        }
        let mapping = Self::map(len, libc::MAP_SHARED, fd.as_raw_fd())?;
        mapping.advise(libc::MADV_DONTFORK)?;
        mapping.advise(libc::MADV_DONTDUMP)?;
        Ok(mapping)
    }

    fn locked(len: usize) -> Result<Self, Unavailable> {
        let mapping = Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        // SAFETY: the range is exactly the mapping just made.
        if unsafe { libc::mlock(mapping.base.as_ptr().cast(), len) } != 0 {
            return Err(Unavailable::Lock(io::Error::last_os_error()));
        }
        mapping.advise(libc::MADV_WIPEONFORK)?;
        mapping.advise(libc::MADV_DONTDUMP)?;
        Ok(mapping)
    }

    fn map(len: usize, flags: libc::c_int, fd: libc::c_int) -> Result<Self, Unavailable> {
        // SAFETY: a fresh mapping at an address of the kernel's choice; the result is checked before use.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            let cause = io::Error::last_os_error();
            // The memory-lock limit shows itself here for secret memory, as EAGAIN.
            let locked_out = cause.raw_os_error() == Some(libc::EAGAIN);
            return Err(if locked_out { Unavailable::Lock(cause) } else { Unavailable::Map(cause) });
        }
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| Unavailable::Map(io::Error::last_os_error()))?;
        Ok(Self { base, len })
    }

    fn advise(&self, advice: libc::c_int) -> Result<(), Unavailable> {
        // SAFETY: the range is exactly this mapping.
        match unsafe { libc::madvise(self.base.as_ptr().cast(), self.len, advice) } {
            0 => Ok(()),
            _ => Err(Unavailable::Advise(io::Error::last_os_error())),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly this mapping, and every slot holds an `Arc` of the slab, so none is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
