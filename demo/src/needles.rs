//! Looking for things that must not be anywhere: every run of sixteen bytes of every secret, in files and in the memory
//! of a process.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The length of a run.
pub const RUN: usize = 16;
/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// What is looked for.
#[derive(Default)]
pub struct Needles {
    runs: HashSet<[u8; RUN]>,
    /// Two bytes with which a run begins: elsewhere nothing has to be hashed.
    heads: Pairs,
    /// Two bytes that stand next to each other anywhere in a run: beyond others most places are passed over.
    within: Pairs,
}

/// Which of all pairs of bytes are in a set. A gigabyte is looked through by tests that are not optimised.
#[derive(Default)]
struct Pairs(Vec<bool>);

impl Pairs {
    fn add(&mut self, pair: [u8; 2]) {
        self.0.resize(1 << 16, false);
        if let Some(place) = self.0.get_mut(usize::from(u16::from_be_bytes(pair))) {
            *place = true;
        }
    }

    fn have(&self, pair: [u8; 2]) -> bool {
        self.0.get(usize::from(u16::from_be_bytes(pair))).is_some_and(|has| *has)
    }
}

/// What a search saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Bytes looked at.
    pub bytes: u64,
    /// Runs found.
    pub found: u64,
}

impl std::fmt::Debug for Needles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Needles").field("runs", &self.runs.len()).finish_non_exhaustive()
    }
}

impl Needles {
    /// Adds every run of a secret. Shorter ones mean nothing and are refused.
    ///
    /// # Errors
    /// A secret shorter than a run.
    pub fn add(&mut self, secret: &[u8]) -> Result<()> {
        anyhow::ensure!(secret.len() >= RUN, "a needle has at least {RUN} bytes");
        for run in secret.windows(RUN) {
            let run: [u8; RUN] = run.try_into()?;
            self.runs.insert(run);
            let [a, b, ..] = run;
            self.heads.add([a, b]);
        }
        for pair in secret.windows(2) {
            self.within.add(pair.try_into()?);
        }
        Ok(())
    }

    /// How many runs are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn count(&self, bytes: &[u8]) -> u64 {
        let (mut at, mut found) = (0, 0);
        while let Some(window) = bytes.get(at..).and_then(|rest| rest.first_chunk::<RUN>()) {
            let [a, b, .., y, z] = *window;
            if !self.within.have([y, z]) {
                // No run that has both of the last bytes can be one: the next that may begins with the last.
                at += RUN - 1;
                continue;
            }
            found += u64::from(self.heads.have([a, b]) && self.runs.contains(window));
            at += 1;
        }
        found
    }

    /// Looks through a reader, over the borders of its chunks.
    fn through(&self, mut reader: impl std::io::Read, length: u64) -> std::io::Result<Seen> {
        let mut seen = Seen::default();
        let mut buffer = vec![0u8; CHUNK + RUN - 1];
        let mut kept = 0;
        while seen.bytes < length {
            let want = usize::try_from((length - seen.bytes).min(CHUNK as u64)).unwrap_or(CHUNK);
            let Some(room) = buffer.get_mut(kept..kept + want) else { break };
            let read = reader.read(room)?;
            if read == 0 {
                break;
            }
            let filled = kept + read;
            seen.bytes += read as u64;
            seen.found += self.count(buffer.get(..filled).unwrap_or_default());
            let tail = filled.min(RUN - 1);
            buffer.copy_within(filled - tail..filled, 0);
            kept = tail;
        }
        Ok(seen)
    }

    /// Looks through every file below a folder, except those named. A living database deletes files between the listing
    /// and the look; what is gone by then cannot be stolen.
    ///
    /// # Errors
    /// A folder or file that is there and cannot be read.
    pub fn in_folder(&self, folder: &Path, except: &[&str]) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut open: Vec<PathBuf> = vec![folder.to_path_buf()];
        while let Some(path) = open.pop() {
            for entry in std::fs::read_dir(&path).with_context(|| format!("{}", path.display()))? {
                let entry = entry?;
                if except.iter().any(|name| entry.file_name().to_str() == Some(name)) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                } else if entry.file_type()?.is_file() {
                    let file = match File::open(entry.path()) {
                        Err(gone) if gone.kind() == ErrorKind::NotFound => continue,
                        opened => opened.with_context(|| format!("{}", entry.path().display()))?,
                    };
                    let one = self.through(file, u64::MAX)?;
                    seen.bytes += one.bytes;
                    seen.found += one.found;
                }
            }
        }
        Ok(seen)
    }

    /// Looks through all memory of a process that can be read: anonymous and file mappings, stacks and heaps. Pages of
    /// `memfd_secret` cannot be read by anybody and are passed over by name; every other mapping has to be readable.
    ///
    /// # Errors
    /// Without the right to read the process. That nothing could be looked at is never taken for nothing found.
    pub fn in_memory(&self, pid: u32) -> Result<Seen> {
        let maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).context("maps of the process")?);
        let mut memory = File::open(format!("/proc/{pid}/mem")).context("memory of the process")?;
        let mut seen = Seen::default();
        for line in maps.lines() {
            let line = line?;
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
            // The kernel's own pages belong to everybody; secretmem is what nobody can read.
            if !rights.starts_with('r')
                || line.contains("[vvar")
                || line.contains("[vsyscall")
                || line.contains("secretmem")
            {
                continue;
            }
            let (from, to) = range.split_once('-').context("a range in maps")?;
            let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
            memory.seek(SeekFrom::Start(from))?;
            match self.through(&mut memory, to - from) {
                Ok(one) => {
                    seen.bytes += one.bytes;
                    seen.found += one.found;
                }
                // A mapping that went away since it was listed, or pages of a device.
                Err(error) if error.raw_os_error() == Some(5) || error.raw_os_error() == Some(14) => {}
                Err(error) => return Err(error).context("memory of the process"),
            }
        }
        anyhow::ensure!(seen.bytes > 0, "not one page of the process could be read");
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_over_the_borders_of_chunks_and_nowhere_else() {
        let mut needles = Needles::default();
        needles.add(b"0123456789abcdefXYZ").expect("long enough");
        assert_eq!(needles.len(), 4);
        assert!(needles.add(b"short").is_err());
        let mut text = vec![b'.'; CHUNK - 7];
        text.extend_from_slice(b"0123456789abcdef");
        text.extend(vec![b'.'; 3 * CHUNK]);
        text.extend_from_slice(b"6789abcdefXYZ");
        let seen = needles.through(&text[..], u64::MAX).expect("a slice");
        assert_eq!(seen, Seen { bytes: text.len() as u64, found: 1 });
    }

    /// What is passed over has no run in it: by comparing every place of texts that nearly repeat a secret.
    #[test]
    fn no_run_is_passed_over() {
        let secrets: [&[u8]; 2] = [b"0123456789abcdefXYZ", b"aaaaaaaaaaaaaaaaaa"];
        let mut needles = Needles::default();
        for secret in secrets {
            needles.add(secret).expect("long enough");
        }
        for gap in 0..40 {
            for cut in 0..=19 {
                let dots = vec![b'.'; gap];
                let [one, two] = secrets;
                let text =
                    [&dots, one.get(..cut).unwrap_or(one), two, &dots, one, &dots, one.get(cut..).unwrap_or(one)];
                let text = text.concat();
                let all = text.windows(RUN).filter(|window| needles.runs.contains(*window)).count() as u64;
                assert_eq!(needles.count(&text), all, "{gap} {cut}");
                assert!(all >= 7, "{gap} {cut}");
            }
        }
    }
}
