//! Exports: bent ones, and whole ones composed of any entries in any order.

use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::entry::leaf_hash;
use cofre_ledger::export::{ExportWriter, verify_export};
use cofre_ledger::tree::Frontier;
use cofre_model::entry::Entry;
use cofre_model::id::{CredentialId, JobId};

use super::{ORIGIN, kind, leaf_of, note_key, signer, some_leaves};
use crate::input::Input;

/// The export of `leaves` from `from` on, under a signed checkpoint.
fn written(leaves: &[Vec<u8>], from: usize) -> String {
    let key = note_key(1);
    let (mut whole, mut before) = (Frontier::empty(), Frontier::empty());
    for (index, leaf) in leaves.iter().enumerate() {
        whole.append(leaf_hash(leaf));
        if index + 1 == from {
            before = whole.clone();
        }
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: whole.size(), root: whole.root() };
    let note = checkpoint.sign(&key, signer(1)).expect("signs").to_string();
    let (mut writer, mut text) = ExportWriter::begin(&key, &before, &note).expect("begins");
    for (index, leaf) in (0_u64..).zip(leaves).skip(from) {
        text.push_str(&writer.entry(index, leaf, None).expect("in order"));
    }
    text.push_str(&writer.finish().expect("ends"));
    text
}

/// Bent anywhere, an export is refused or is the very same.
pub(super) fn bent(input: &mut Input<'_>) {
    let good = written(&some_leaves(3), usize::from(input.byte() & 1));
    let bent = input.bend(good.as_bytes());
    match verify_export(bent.as_slice(), Some(&note_key(1)), None) {
        Ok(report) => {
            assert_eq!(bent, good.as_bytes(), "a bent export was taken");
            assert!(report.key_was_trusted && report.from + report.entries == 3);
        }
        Err(_) => assert_ne!(bent, good.as_bytes(), "a good export was refused"),
    }
    // Without a key of one's own the header's serves, and the report says so.
    if let Ok(report) = verify_export(bent.as_slice(), None, None) {
        assert!(!report.key_was_trusted);
    }
}

/// Entries of any kind that follow anything: the export verifies, and what does not fit is reported, once each.
pub(super) fn composed(input: &mut Input<'_>) {
    let from = usize::from(input.byte() & 3);
    let mut leaves = Vec::new();
    while !input.is_empty() && leaves.len() < 24 {
        let index = leaves.len() as u64;
        let mut entry = Entry::new(kind(u64::from(input.byte())), [input.byte(); 16]);
        entry.follows = match input.byte() % 4 {
            0 => None,
            1 => Some(input.long()),
            back => Some(index.saturating_sub(u64::from(back) - 1)),
        };
        if input.flag() {
            entry.credential = Some(CredentialId::from_parts(1, [input.byte() & 1; 10]));
            entry.job = Some(JobId::from_parts(1, [input.byte() & 1; 10]));
        }
        leaves.push(leaf_of(index, &entry));
    }
    let from = from.min(leaves.len());
    let text = written(&leaves, from);
    let report = verify_export(text.as_bytes(), Some(&note_key(1)), None).expect("an honest export is taken");
    assert_eq!((report.from, report.entries), (from as u64, (leaves.len() - from) as u64));
    assert_eq!(report.kinds.values().sum::<u64>(), report.entries);
    let within = |index: u64| (report.from..report.from + report.entries).contains(&index);
    assert!(
        report.open.iter().all(|intent| within(intent.index)) && report.faults.iter().all(|fault| within(fault.index))
    );
    assert!(report.open.is_sorted_by(|a, b| a.index < b.index), "an intent is reported twice");
    // An older checkpoint of the same ledger is continued; one of another ledger, or a longer one, is not.
    let known = Checkpoint { origin: ORIGIN.to_owned(), size: report.checkpoint.size + 1, root: [1; 32] };
    assert!(verify_export(text.as_bytes(), Some(&note_key(1)), Some(&known)).is_err(), "a ledger shrank unnoticed");
    assert!(verify_export(text.as_bytes(), Some(&note_key(2)), None).is_err(), "another key was taken");
}

/// A warm call with two outcomes, and a deposit that follows a later entry.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 7, 1, 0, 0, 8, 2, 2, 0, 8, 3, 3, 0],
        vec![1, 17, 1, 0, 1, 0, 0, 18, 2, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0],
        (0..120).collect(),
    ]
}
