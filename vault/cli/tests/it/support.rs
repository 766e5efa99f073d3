//! A small ledger signed with a real key, its export, and the binary run on files.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::entry::{Leaf, encode, leaf_hash};
use cofre_ledger::export::ExportWriter;
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed::VerifyingKey;
use cofre_ledger::tree::Frontier;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;

/// What the binary did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `cofre` without any of its variables in the environment.
pub(crate) fn cofre(arguments: &[&str]) -> Ran {
    cofre_with(arguments, &[])
}

pub(crate) fn cofre_with(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofre"));
    for name in ["PROFILE", "ADDRESS", "TRUST_DOMAIN", "SIGNER", "CERTIFICATE", "KEY", "BUNDLE"] {
        command.env_remove(format!("COFRE_{name}"));
    }
    let done = command.args(arguments).envs(variables.iter().copied()).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: done.status.code().expect("not killed"), out: text(done.stdout), err: text(done.stderr) }
}

pub(crate) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn note_key(seed: u8) -> NoteKey {
    let public = VerifyingKey::ed25519(signing_key(seed).verifying_key().as_bytes()).expect("of full order");
    NoteKey::new("cofre.test/ledger", public).expect("a name")
}

/// A ledger of the kinds of entries a vault makes, and a folder for its files.
pub(crate) struct Ledger {
    pub(crate) folder: TempDir,
    pub(crate) leaves: Vec<Vec<u8>>,
}

impl Ledger {
    /// Node start, a warm key with its outcome, a deposit, a grant with its outcome, a refusal, then readings.
    pub(crate) fn good() -> Self {
        use EntryKind as K;
        let mut entries = vec![
            entry(K::NodeStarted, None),
            entry(K::Warm, None),
            entry(K::WarmOutcome, Some(1)),
            entry(K::DepositIntended, None),
            entry(K::Deposited, Some(3)),
            entry(K::Granted, None),
            entry(K::Outcome, Some(5)),
            Entry { reason: Some(Reason::ConsentRevoked), ..entry(K::Denied, None) },
        ];
        entries.extend((0..12).map(|_| entry(K::AuditRead, None)));
        Self::of(&entries)
    }

    pub(crate) fn of(entries: &[Entry]) -> Self {
        let leaf = |(index, entry): (u64, &Entry)| {
            let time = Timestamp::from_micros(1_790_000_000_000_000 + index * 1_000_000);
            Leaf { index, time, body: encode(entry).expect("short") }.to_bytes().expect("short")
        };
        Self { folder: tempfile::tempdir().expect("a folder"), leaves: (0u64..).zip(entries).map(leaf).collect() }
    }

    /// The signed checkpoint over the first `size` entries.
    pub(crate) fn note(&self, size: usize, seed: u8) -> String {
        let mut frontier = Frontier::empty();
        for leaf in &self.leaves[..size] {
            frontier.append(leaf_hash(leaf));
        }
        let checkpoint =
            Checkpoint { origin: "cofre.test/ledger".into(), size: frontier.size(), root: frontier.root() };
        let sign = |message: &[u8]| Ok::<_, Infallible>(signing_key(seed).sign(message).to_bytes().to_vec());
        checkpoint.sign(&note_key(seed), sign).expect("signs").to_string()
    }

    /// The export of the first `size` entries, signed by seed 1.
    pub(crate) fn export(&self, size: usize) -> String {
        let note = self.note(size, 1);
        let (mut writer, mut text) = ExportWriter::begin(&note_key(1), &Frontier::empty(), &note).expect("writes");
        for (index, leaf) in (0u64..).zip(&self.leaves[..size]) {
            text += &writer.entry(index, leaf, None).expect("in order");
        }
        text + &writer.finish().expect("writes")
    }

    pub(crate) fn keep(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::write(&path, bytes).expect("writes");
        path.to_str().expect("UTF-8").to_owned()
    }
}

pub(crate) fn entry(kind: EntryKind, follows: Option<u64>) -> Entry {
    Entry { follows, ..Entry::new(kind, [kind.number().to_be_bytes()[3]; 16]) }
}

pub(crate) fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
