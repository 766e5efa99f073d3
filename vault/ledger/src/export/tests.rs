//! Exports verified, bent in a thousand ways, and what the report says of intents without an outcome.

use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{CredentialId, JobId};
use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::entry::leaf_hash;
use crate::samples::{checkpoint, full_entry, leaves, note_key, signer};
use crate::tree::{NodeId, ProofError, inclusion_proof};

fn entry(kind: EntryKind, follows: Option<u64>) -> Entry {
    Entry { follows, ..Entry::new(kind, [kind.number().to_be_bytes()[3]; 16]) }
}

fn history() -> Vec<Entry> {
    use EntryKind as K;
    let mut entries = vec![
        entry(K::NodeStarted, None),
        entry(K::Warm, None),
        entry(K::WarmOutcome, Some(1)),
        entry(K::DepositIntended, None),
        entry(K::Deposited, Some(3)),
        full_entry(),
        entry(K::Outcome, Some(5)),
        entry(K::Denied, None),
    ];
    entries.extend((0..12).map(|_| entry(K::AuditRead, None)));
    entries
}

/// Writes an export of these leaves from `from` on, signed by seed 1.
fn export(leaves: &[Vec<u8>], from: usize, paths: bool) -> String {
    let note = checkpoint(leaves).sign(&note_key(1), signer(1)).expect("signs").to_string();
    let (mut frontier, mut nodes) = (Frontier::empty(), std::collections::BTreeMap::new());
    let mut before = Frontier::empty();
    for (at, leaf) in leaves.iter().enumerate() {
        if at == from {
            before = frontier.clone();
        }
        nodes.extend(frontier.append(leaf_hash(leaf)));
    }
    let reader = |node: NodeId| nodes.get(&node).copied().ok_or(());
    let (mut writer, mut text) = ExportWriter::begin(&note_key(1), &before, &note).expect("writes");
    for (index, leaf) in (0u64..).zip(leaves).skip(from) {
        let path = paths.then(|| inclusion_proof(index, leaves.len() as u64, &reader).expect("in range"));
        text.push_str(&writer.entry(index, leaf, path.as_deref()).expect("in order"));
    }
    text + &writer.finish().expect("writes")
}

fn verify(text: &str) -> Result<Report, ExportError> {
    verify_export(text.as_bytes(), Some(&note_key(1)), None)
}

/// The trailer made anew, as an adversary without the key would.
fn with_trailer(lines: &[&str]) -> String {
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let sha256 = hex::encode(Sha256::digest(text.as_bytes()));
    text += &format!("{{\"entries\":{},\"sha256\":\"{sha256}\"}}\n", lines.len() - 1);
    text
}

#[test]
fn a_good_export_is_reported_in_full() {
    let leaves = leaves(&history());
    for (from, paths) in [(0, false), (0, true), (1, true), (7, false), (19, true)] {
        let report = verify(&export(&leaves, from, paths)).expect("good");
        assert_eq!((report.from, report.entries), (from as u64, 20 - from as u64));
        assert_eq!(report.kinds.values().sum::<u64>(), report.entries);
        assert_eq!(report.kinds.get(&EntryKind::AuditRead), Some(&(12.min(20 - from as u64))));
        assert_eq!((report.open, report.faults), (vec![], vec![]));
        assert_eq!(report.checkpoint, checkpoint(&leaves));
        assert_eq!(report.last_time.map(|time| time.micros()), Some(1_790_000_000_000_019));
        assert!(report.key_was_trusted);
    }
    let untrusted = verify_export(export(&leaves, 0, false).as_bytes(), None, None).expect("good");
    assert!(!untrusted.key_was_trusted && untrusted.key == note_key(1));
    let empty = verify(&export(&[], 0, false)).expect("an empty ledger is one too");
    assert_eq!((empty.entries, empty.first_time), (0, None));
}

#[test]
fn a_known_checkpoint_finds_rewriting_and_shrinking() {
    let all = leaves(&history());
    let text = export(&all, 4, false);
    let known = |size: usize| checkpoint(&all[..size]);
    let against = |known: &Checkpoint| verify_export(text.as_bytes(), Some(&note_key(1)), Some(known));
    for size in 4..=20 {
        assert_eq!(against(&known(size)).expect("continues").continues, Some(size as u64));
    }
    assert!(matches!(against(&known(3)), Err(ExportError::Known(_))));
    assert!(matches!(against(&Checkpoint { origin: "other/ledger".into(), ..known(5) }), Err(ExportError::Known(_))));
    for size in [4, 9, 20] {
        let rewritten = Checkpoint { root: [7; 32], ..known(size) };
        assert!(matches!(against(&rewritten), Err(ExportError::Inconsistent { known }) if known == size as u64));
    }
    let longer = Checkpoint { size: 21, ..known(20) };
    assert!(matches!(against(&longer), Err(ExportError::Shrunk { size: 20, known: 21 })));
}

#[test]
fn an_adversary_without_the_key_is_found_whatever_the_trailer_says() {
    let all = leaves(&history());
    let text = export(&all, 0, false);
    let lines: Vec<&str> = text.lines().collect();
    let body = &lines[..lines.len() - 1];
    assert_eq!(with_trailer(body), text, "the adversary's trailer is as good as ours");

    for at in 1..body.len() {
        let mut cut = body.to_vec();
        cut.remove(at);
        let error = verify(&with_trailer(&cut)).expect_err("a line is missing");
        match at {
            20 => assert!(matches!(error, ExportError::Missing { found: 19, size: 20 })),
            _ => assert!(matches!(error, ExportError::Order { .. })),
        }
        let mut twice = body.to_vec();
        twice.insert(at, body[at]);
        assert!(verify(&with_trailer(&twice)).is_err());
        if at + 1 < body.len() {
            let mut swapped = body.to_vec();
            swapped.swap(at, at + 1);
            assert!(matches!(verify(&with_trailer(&swapped)), Err(ExportError::Order { .. })));
        }
    }

    // Another entry in the place of one, indices and times and all: only the root tells.
    for at in 0..all.len() {
        let mut other = history();
        other[at].reference = Some("forged".into());
        let forged = leaves(&other);
        let line = format!("{{\"index\":{at},\"leaf\":\"{}\"}}", base64(&forged[at]));
        let mut bent = body.to_vec();
        bent[at + 1] = &line;
        assert!(matches!(verify(&with_trailer(&bent)), Err(ExportError::Root)), "entry {at}");
    }
    let mut beyond = body.to_vec();
    beyond.push(body[20]);
    assert!(matches!(verify(&with_trailer(&beyond)), Err(ExportError::Malformed { line: 22, .. })));
    // A whole ledger of their own, under their own key.
    let note = checkpoint(&all).sign(&note_key(2), signer(2)).expect("signs").to_string();
    let (_, header) = ExportWriter::begin(&note_key(2), &Frontier::empty(), &note).expect("writes");
    let mut own = body.to_vec();
    own[0] = header.trim_end();
    assert!(matches!(verify(&with_trailer(&own)), Err(ExportError::OtherKey)));
}

#[test]
fn truncation_anywhere_is_found() {
    let text = export(&leaves(&history()), 0, true);
    for len in 0..text.len() {
        let cut = verify_export(&text.as_bytes()[..len], Some(&note_key(1)), None);
        assert!(cut.is_err(), "cut at {len}");
    }
    assert!(matches!(verify(&format!("{text}\n")), Err(ExportError::Malformed { .. })));
    assert!(matches!(verify(""), Err(ExportError::Truncated { line: 1 })));
}

#[test]
fn signed_but_wrong_content_is_found_too() {
    let good = leaves(&history());
    let mut still = good.clone();
    let mut leaf = crate::entry::Leaf::parse(&good[3]).expect("a leaf");
    leaf.time = crate::entry::Leaf::parse(&good[2]).expect("a leaf").time;
    still[3] = leaf.to_bytes().expect("short");
    assert!(matches!(verify(&export(&still, 0, false)), Err(ExportError::Time { index: 3 })));
    let mut moved = good.clone();
    moved[3] = good[4].clone();
    assert!(matches!(verify(&export(&moved, 0, false)), Err(ExportError::Index { index: 3, inside: 4 })));
    let mut garbled = good.clone();
    garbled[3].push(0);
    assert!(matches!(verify(&export(&garbled, 0, false)), Err(ExportError::Entry { index: 3, .. })));

    let text = export(&good, 0, true);
    let lines: Vec<&str> = text.lines().collect();
    let bent = lines[5].replacen("\"path\":[\"", "\"path\":[\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"", 1);
    let mut body = lines[..lines.len() - 1].to_vec();
    body[5] = &bent;
    let error = verify(&with_trailer(&body)).expect_err("one hash too many");
    assert!(matches!(error, ExportError::Path { index: 4, source: ProofError::Length }));
}

#[test]
fn open_intents_and_misfits_are_listed() {
    use EntryKind as K;
    use PairingFaultKind as F;
    let login = |kind, credential: u8, follows| Entry {
        credential: Some(CredentialId::from_parts(1, [credential; 10])),
        job: Some(JobId::from_parts(1, [credential; 10])),
        ..entry(kind, follows)
    };
    let entries = vec![
        entry(K::Warm, None),                // 0: two outcomes
        entry(K::Warm, None),                // 1: open
        entry(K::WarmOutcome, Some(0)),      // 2
        entry(K::WarmOutcome, Some(0)),      // 3: second
        login(K::Granted, 1, None),          // 4: closed by the report on its login
        login(K::Redelivered, 1, None),      // 5: so is its repeat
        login(K::Granted, 2, None),          // 6: open
        login(K::Reported, 1, None),         // 7
        entry(K::DepositIntended, None),     // 8: lapsed
        entry(K::EnrolmentEnded, Some(8)),   // 9
        entry(K::EnrolmentEnded, None),      // 10: nothing was tried
        entry(K::ErasureAccepted, None),     // 11: open
        entry(K::Outcome, None),             // 12: names nothing
        entry(K::Outcome, Some(13)),         // 13: names itself
        entry(K::Outcome, Some(0)),          // 14: a custodian call has WARM_OUTCOME
        entry(K::Deposited, Some(99)),       // 15: names later
        entry(K::ErasureCertified, Some(2)), // 16: names an outcome
    ];
    let all = leaves(&entries);
    let report = verify(&export(&all, 0, false)).expect("whatever it says, it is intact");
    let open: Vec<(u64, K)> = report.open.iter().map(|open| (open.index, open.kind)).collect();
    assert_eq!(open, [(1, K::Warm), (6, K::Granted), (11, K::ErasureAccepted)]);
    let faults: Vec<(u64, F)> = report.faults.iter().map(|fault| (fault.index, fault.fault)).collect();
    let expected = [
        (3, F::SecondOutcome),
        (12, F::NamesNothing),
        (13, F::NamesLater),
        (14, F::NamesOther),
        (15, F::NamesLater),
        (16, F::NamesOther),
    ];
    assert_eq!(faults, expected);
    // What lies before a partial export is neither open nor at fault.
    let partial = verify(&export(&all, 2, false)).expect("intact");
    assert!(partial.faults.iter().all(|fault| fault.index > 3 && fault.index != 14));
}

#[test]
fn writers_keep_the_order() {
    let note = checkpoint(&[]).sign(&note_key(1), signer(1)).expect("signs").to_string();
    let (mut writer, _) = ExportWriter::begin(&note_key(1), &Frontier::empty(), &note).expect("writes");
    assert_eq!(writer.entry(1, b"x", None), Err(WriteError::Order { expected: 0, given: 1 }));
    assert!(writer.entry(0, b"x", None).is_ok());
    assert_eq!(writer.entry(0, b"x", None), Err(WriteError::Order { expected: 1, given: 0 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// One changed byte anywhere, or one put in or taken out.
    #[test]
    fn a_thousand_random_tamperings_are_all_found(
        at in any::<prop::sample::Index>(), flip in 1u8..=255, how in 0u8..3, paths in any::<bool>(), trusted in any::<bool>(),
    ) {
        let mut bytes = export(&leaves(&history()), 0, paths).into_bytes();
        let place = at.index(bytes.len());
        match how {
            0 => bytes[place] ^= flip,
            1 => bytes.insert(place, flip),
            _ => { bytes.remove(place); }
        }
        let key = note_key(1);
        prop_assert!(verify_export(bytes.as_slice(), trusted.then_some(&key), None).is_err());
    }
}
