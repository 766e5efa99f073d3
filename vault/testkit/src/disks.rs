//! A disk small enough to be filled: a file system in memory of a few MiB, mounted where this process may mount, and
//! gone with it, however it ends. Never a disk of the machine, and nothing on it outlives the test.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};

/// `$0` the folder, `$1` its size in KiB. The end of standard input comes when the owner ends in whatever way. Whoever
/// still has a file open there keeps it until it is closed; nobody finds it any more.
const SCRIPT: &str = r#"
trap : HUP INT TERM
mount -t tmpfs -o "size=$1k,mode=0755,nosuid,nodev,noexec" cofre-test "$0" || exit 1
echo mounted
read -r _
umount "$0" 2>/dev/null || umount --lazy "$0"
rmdir "$0"
"#;
/// What takes the room that is left.
const BALLAST: &str = "ballast";

/// Whether this process is one that may mount: its effective user is root.
///
/// # Errors
/// Where the system does not say.
pub fn is_root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self").context("who this process is")?.uid() == 0)
}

/// A mounted file system, unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    shell: Child,
    input: Option<ChildStdin>,
}

impl Disk {
    /// Mounts one of this size.
    ///
    /// # Errors
    /// Who may not mount is told why: what stands in for a full disk there is for the test to say.
    pub fn mounted(kib: u32) -> Result<Self> {
        if !is_root()? {
            bail!("only root mounts a file system");
        }
        let folder = tempfile::Builder::new().prefix("cofre-disk-").tempdir()?.keep();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT]).arg(&folder).arg(kib.to_string());
        // A group of its own: whoever kills the owner's group leaves the shell to unmount.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = shell.spawn().context("/bin/sh")?;
        let (input, output) = (shell.stdin.take(), shell.stdout.take());
        let mut said = String::new();
        BufReader::new(output.context("its output")?).read_line(&mut said)?;
        if said.trim() != "mounted" {
            let mut why = String::new();
            shell.stderr.take().context("its errors")?.read_to_string(&mut why)?;
            shell.wait()?;
            std::fs::remove_dir(&folder)?;
            bail!("root, and yet: {}", why.trim());
        }
        Ok(Self { folder, shell, input })
    }

    /// Its root.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all the room that is left, to the last byte.
    ///
    /// # Errors
    /// Whatever goes wrong but that there is no room any more.
    pub fn fill(&self) -> Result<()> {
        let mut ballast: File = OpenOptions::new().create(true).append(true).open(self.folder.join(BALLAST))?;
        for block in [1 << 16, 1 << 12, 1] {
            let zeros = vec![0; block];
            loop {
                match ballast.write_all(&zeros) {
                    Ok(()) => {}
                    Err(cause) if cause.kind() == ErrorKind::StorageFull => break,
                    Err(cause) => return Err(cause).context("ballast"),
                }
            }
        }
        Ok(())
    }

    /// Gives back what [`Disk::fill`] took.
    ///
    /// # Errors
    /// Where nothing was taken.
    pub fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join(BALLAST))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_filled_emptied_and_gone_with_its_owner() {
        let disk = match Disk::mounted(1_024) {
            Ok(disk) => disk,
            // Not root, or a machine that lets nobody mount: then this says which.
            Err(why) => {
                return assert_eq!(why.to_string().starts_with("root, and yet"), is_root().expect("told"), "{why}");
            }
        };
        let (folder, file) = (disk.folder().to_owned(), disk.folder().join("file"));
        std::fs::write(&file, b"before").expect("room");
        disk.fill().expect("filled");
        let full = OpenOptions::new().append(true).open(&file).expect("open").write_all(&[0; 8_192]);
        assert_eq!(full.expect_err("no room").kind(), ErrorKind::StorageFull);
        disk.make_room().expect("room again");
        std::fs::write(&file, [0; 8_192]).expect("room again");
        drop(disk);
        assert!(!folder.exists(), "unmounted and removed");
    }
}
