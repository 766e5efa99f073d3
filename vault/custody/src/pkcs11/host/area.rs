//! Memory that the vault and a custody host both map: the way of keys and of the PIN between them, so that neither ever
//! passes through a socket's buffers. One cell a call; whoever takes a cell's bytes wipes it.
#![expect(unsafe_code, reason = "shared pages come from the kernel as raw memory; each use says why it is sound")]

use std::hint::black_box;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering, compiler_fence};

use cofre_envelope::Backing;
use rustix::fs::{MemfdFlags, SealFlags};

/// Bytes of one cell: a bound share, or a PIN.
pub(super) const CELL: usize = 256;

/// The least a page has, in bytes.
const PAGE: usize = 4096;

/// Which call a cell belongs to. The vault gives them out.
pub(super) type Cell = u16;

/// The cell that brings the PIN; calls have the others.
pub(super) const PIN: Cell = 0;

/// The mapping. Both sides only ever touch it as atomic bytes: the other side may write at any time.
pub(super) struct Area {
    base: NonNull<AtomicU8>,
    len: usize,
}

// SAFETY: the mapping is plain memory, touched as atomics only.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// New pages for so many cells, and the descriptor by which the other side maps them.
    pub(super) fn new(backing: Backing, cells: Cell) -> io::Result<(Self, OwnedFd)> {
        let len = length(cells);
        let size = u64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        let fd = match backing {
            Backing::MemfdSecret => {
                let fd = secret()?;
                // The kernel lets the size of secret memory be set once: it is sealed by that.
                rustix::fs::ftruncate(&fd, size)?;
                fd
            }
            Backing::Mlock => {
                let fd = rustix::fs::memfd_create("cofre", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
                rustix::fs::ftruncate(&fd, size)?;
                rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
                fd
            }
        };
        Ok((Self::map(fd.as_fd(), backing, len)?, fd))
    }

    /// The pages that the other side made.
    pub(super) fn of(fd: BorrowedFd<'_>, backing: Backing, cells: Cell) -> io::Result<Self> {
        let len = length(cells);
        // A shorter file would end this process by a signal at the first touch.
        let there = rustix::fs::fstat(fd)?.st_size;
        if usize::try_from(there).ok() != Some(len) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the shared memory has another size"));
        }
        Self::map(fd, backing, len)
    }

    fn map(fd: BorrowedFd<'_>, backing: Backing, len: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice; the result is checked before use.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let Some(base) = NonNull::new(base.cast::<AtomicU8>()) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        let area = Self { base, len };
        area.advise(libc::MADV_DONTFORK)?;
        area.advise(libc::MADV_DONTDUMP)?;
        // Secret memory counts as locked by itself.
        if backing == Backing::Mlock {
            // SAFETY: the range is exactly the mapping just made.
            if unsafe { libc::mlock(area.base.as_ptr().cast(), len) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // Touched now: a page that cannot be had must fail here, not under a key. Read, not written: the vault's PIN may lie
        // in it already.
        for byte in area.cells().iter().step_by(PAGE) {
            black_box(byte.load(Ordering::Relaxed));
        }
        Ok(area)
    }

    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the range is exactly this mapping.
        match unsafe { libc::madvise(self.base.as_ptr().cast(), self.len, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn cells(&self) -> &[AtomicU8] {
        // SAFETY: the mapping is `len` readable and writable bytes as long as `self`, never unmapped before, and
        // `AtomicU8` has the layout of a byte and may be written from elsewhere while it is shared.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    fn cell(&self, cell: Cell) -> Option<&[AtomicU8]> {
        let start = usize::from(cell) * CELL;
        self.cells().get(start..start + CELL)
    }

    /// Puts bytes into a cell; `false` where there is no such cell or they do not fit.
    #[must_use]
    pub(super) fn put(&self, cell: Cell, bytes: &[u8]) -> bool {
        let Some(place) = self.cell(cell).and_then(|place| place.get(..bytes.len())) else { return false };
        place.iter().zip(bytes).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        true
    }

    /// Takes bytes out of a cell and wipes it; `false` where there is no such cell or not so many bytes.
    #[must_use]
    pub(super) fn take(&self, cell: Cell, into: &mut [u8]) -> bool {
        let Some(place) = self.cell(cell) else { return false };
        let fits = into.len() <= place.len();
        if fits {
            into.iter_mut().zip(place).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
        }
        self.wipe(cell);
        fits
    }

    /// Wipes a cell.
    pub(super) fn wipe(&self, cell: Cell) {
        wipe(self.cell(cell).unwrap_or_default());
    }
}

/// SECURITY: without the fence the last copy of a key could outlive its owner.
fn wipe(bytes: &[AtomicU8]) {
    bytes.iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
}

impl Drop for Area {
    fn drop(&mut self) {
        wipe(self.cells());
        // SAFETY: the range is exactly this mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

impl std::fmt::Debug for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the memory.
        f.debug_struct("Area").field("len", &self.len).finish_non_exhaustive()
    }
}

fn length(cells: Cell) -> usize {
    (usize::from(cells) * CELL).next_multiple_of(PAGE)
}

fn secret() -> io::Result<OwnedFd> {
    // SAFETY: a system call without pointers; the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    match i32::try_from(fd) {
        // SAFETY: `fd` was just returned by the kernel and belongs to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(backing: Backing) -> (Area, Area) {
        let (ours, fd) = Area::new(backing, 3).expect("a page can be locked");
        let theirs = Area::of(fd.as_fd(), backing, 3).expect("mapped a second time");
        (ours, theirs)
    }

    #[test]
    fn what_one_side_puts_the_other_takes_once() {
        for backing in [Backing::Mlock, Backing::MemfdSecret] {
            let (ours, fd) = Area::new(backing, 3).expect("a page can be locked");
            assert!(ours.put(PIN, b"4711"));
            let theirs = Area::of(fd.as_fd(), backing, 3).expect("mapped a second time");
            let mut pin = [0; 4];
            assert!(theirs.take(PIN, &mut pin));
            assert_eq!(&pin, b"4711", "what was put before the other side came is there");
            assert!(ours.put(2, &[7; 64]) && ours.put(1, &[8; CELL]));
            let mut taken = [0; 64];
            assert!(theirs.take(2, &mut taken));
            assert_eq!(taken, [7; 64]);
            assert!(ours.take(2, &mut taken));
            assert_eq!(taken, [0; 64], "a cell is wiped by who takes it");
            assert!(theirs.take(1, &mut taken));
            assert_eq!(taken, [8; 64]);
            let mut rest = [1; CELL];
            assert!(ours.take(1, &mut rest));
            assert_eq!(rest, [0; CELL], "all of the cell, not only what was asked for");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (ours, theirs) = both(Backing::Mlock);
        assert!(!ours.put(0, &[7; CELL + 1]));
        assert!(!ours.put(Cell::MAX, &[7]));
        assert!(!theirs.take(Cell::MAX, &mut [0]));
        assert!(!theirs.take(0, &mut [0; CELL + 1]));
    }

    #[test]
    fn nobody_can_change_the_size() {
        for backing in [Backing::Mlock, Backing::MemfdSecret] {
            let (_area, fd) = Area::new(backing, 3).expect("a page can be locked");
            for size in [0, 1 << 20] {
                rustix::fs::ftruncate(&fd, size).expect_err("the size is sealed");
            }
            assert!(Area::of(fd.as_fd(), backing, 100).is_err(), "another size than agreed");
        }
    }
}
