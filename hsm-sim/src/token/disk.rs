//! Files that a crash leaves either old or new, and a lock between processes that share the folder.
//! It knows names and bytes only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cryptoki_sys::CKR_DEVICE_ERROR;

use crate::crypto;
use crate::rv::{Answer, Rv, fail};

/// Every unfinished file begins so.
const UNFINISHED: &str = ".new-";
const LOCK: &str = "lock";

/// The token folder. Reading needs no lock: files change by rename only.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The right to change files of the folder, held against other processes until dropped.
pub(crate) struct Held {
    folder: Folder,
    // The lock is released when the file is closed, so also when the process dies.
    _lock: File,
}

/// Whatever the disk answers, the caller sees a broken device.
fn broken(_: io::Error) -> Rv {
    Rv(CKR_DEVICE_ERROR)
}

impl Folder {
    /// # Errors
    /// `CKR_DEVICE_ERROR` when `path` is not a folder.
    pub(crate) fn at(path: PathBuf) -> Answer<Self> {
        if path.is_dir() { Ok(Self { path }) } else { fail(CKR_DEVICE_ERROR) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the lock of the folder.
    pub(crate) fn hold(&self) -> Answer<Held> {
        let lock = self.lock_file()?;
        lock.lock().map_err(broken)?;
        Ok(Held { folder: self.clone(), _lock: lock })
    }

    /// As [`Self::hold`], or `None` while another process holds it.
    pub(crate) fn try_hold(&self) -> Answer<Option<Held>> {
        let lock = self.lock_file()?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Held { folder: self.clone(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(broken(error)),
        }
    }

    fn lock_file(&self) -> Answer<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        options.open(self.path.join(LOCK)).map_err(broken)
    }

    /// The whole file, or `None` when there is none.
    pub(crate) fn read(&self, name: &Path) -> Answer<Option<Vec<u8>>> {
        match std::fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Names in a sub-folder, without unfinished files; none when the sub-folder does not exist.
    pub(crate) fn names(&self, sub: &Path) -> Answer<Vec<String>> {
        let entries = match std::fs::read_dir(self.path.join(sub)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(broken(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(broken)?.file_name().to_string_lossy().into_owned();
            if !name.starts_with(UNFINISHED) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl Held {
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Writes a file so that after a crash at any point either the old or the new bytes are there, whole.
    pub(crate) fn replace(&self, name: &Path, bytes: &[u8]) -> Answer {
        let target = self.folder.path.join(name);
        let parent = target.parent().ok_or(Rv(CKR_DEVICE_ERROR))?;
        let unfinished = parent.join(format!("{UNFINISHED}{}", hex::encode(crypto::random_array::<8>()?)));
        let written = (|| {
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &target)?;
            sync_folder(parent)
        })();
        if written.is_err() {
            // What remains of a failed write is ignored by readers and removed by the next sweep anyway.
            let _ = std::fs::remove_file(&unfinished);
        }
        written.map_err(broken)
    }

    /// Removes a file for good. Answers whether it was there.
    pub(crate) fn remove(&self, name: &Path) -> Answer<bool> {
        let target = self.folder.path.join(name);
        match std::fs::remove_file(&target) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(broken(error)),
        }
        sync_folder(target.parent().ok_or(Rv(CKR_DEVICE_ERROR))?).map_err(broken)?;
        Ok(true)
    }

    /// Makes a sub-folder that only this user reads; an existing one is fine.
    pub(crate) fn make_folder(&self, sub: &Path) -> Answer {
        let path = self.folder.path.join(sub);
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => sync_folder(&self.folder.path).map_err(broken),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(broken(error)),
        }
    }

    /// Removes unfinished files of a sub-folder, and those folders in it that `stale` names.
    pub(crate) fn sweep(&self, sub: &Path, stale: impl Fn(&str) -> bool) -> Answer {
        for entry in std::fs::read_dir(self.folder.path.join(sub)).map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) {
                std::fs::remove_file(entry.path()).map_err(broken)?;
            } else if stale(&name) {
                std::fs::remove_dir_all(entry.path()).map_err(broken)?;
            }
        }
        Ok(())
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
