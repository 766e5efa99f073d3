//! The vectors of `docs/formats.md`, section Ledger: what another language has to reproduce. Keys are Ed25519 from a
//! seed of one repeated byte.

use cofre_model::entry::{Entry, EntryKind};
use cofre_model::job::StatementKind;
use cofre_model::permit::{EntryRef, GroupSigner as _};
use cofre_model::time::Timestamp;
use ed25519_dalek::Signer as _;

use crate::ceremony::tests::{approval, finished, plan, plan_time};
use crate::entry::{Leaf, encode};
use crate::export::ExportWriter;
use crate::promise::{NodeStatement, promise_group};
use crate::samples::{NodeKey, ORIGIN, checkpoint, ed25519, note_key, public, signer};
use crate::tree::Frontier;
use crate::{jws, signed};

fn leaf() -> Vec<u8> {
    let body = encode(&Entry::new(EntryKind::Warm, [0xab; 16])).expect("short");
    Leaf { index: 0, time: Timestamp::from_micros(1_790_000_000_000_000), body }.to_bytes().expect("short")
}

/// Name and value of every vector, in the order of the document.
fn vectors() -> Vec<(&'static str, String)> {
    let leaves = vec![leaf()];
    let head = checkpoint(&leaves);
    let note = head.sign(&note_key(1), signer(1)).expect("signs").to_string();
    let (mut writer, header) = ExportWriter::begin(&note_key(1), &Frontier::empty(), &note).expect("writes");
    let line = writer.entry(0, &leaves[0], None).expect("first");
    let trailer = writer.finish().expect("writes");

    let at = Leaf::parse(&leaves[0]).and_then(|leaf| leaf.reference()).expect("a leaf");
    let EntryRef { leaf_hash, time, .. } = at;
    let by = Timestamp::from_micros(1_790_000_002_000_000);
    let promise = promise_group(ORIGIN, 0, &[leaf_hash], time, by, &NodeKey(5)).expect("short").remove(0);
    let statement = NodeStatement {
        origin: ORIGIN.into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        public_key: NodeKey(5).public_key(),
        time,
    };
    let statement = statement.to_bytes().expect("short");
    let job = signed::encode_job(&signed::tests::job());
    let attendance = signed::encode_attendance(&signed::tests::attendance());
    let input = jws::signing_input(&public(&ed25519(1)), "k1", "cofre-receipt+jws", b"{}").expect("writes");
    let sign = |message: &[u8]| hex::encode(ed25519(1).sign(message).to_bytes());
    vec![
        ("leaf", hex::encode(&leaves[0])),
        ("leaf hash", hex::encode(leaf_hash)),
        ("verifier key", note_key(1).to_string()),
        ("checkpoint", note),
        ("promise group root", hex::encode(promise.head.group_root)),
        ("promise message", hex::encode(promise.head.message().expect("short"))),
        ("promise signature", hex::encode(promise.signature)),
        ("node signature", sign(&statement)),
        ("node statement", hex::encode(statement)),
        ("job signature", sign(&signed::signing_input(StatementKind::Job, &job))),
        ("job statement", hex::encode(job)),
        ("attendance signature", sign(&signed::signing_input(StatementKind::Attendance, &attendance))),
        ("attendance statement", hex::encode(attendance)),
        ("token", jws::assemble(&input, &ed25519(1).sign(input.as_bytes()).to_bytes())),
        ("export", format!("{header}{line}{trailer}")),
        ("key plan", plan().to_text()),
        ("key approval", approval(2, plan_time()).to_string()),
        ("key ceremony", finished().to_string()),
    ]
}

/// The document is `docs/formats.md`; a section may stand in a file of its own beside it.
#[test]
fn the_document_has_every_vector() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    let mut text = String::new();
    for file in std::fs::read_dir(docs).expect("docs/ is there") {
        let path = file.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("formats")) {
            text += &std::fs::read_to_string(path).expect("UTF-8");
        }
    }
    let vectors = vectors();
    assert_eq!(vectors.len(), 18);
    for (name, value) in vectors {
        assert!(text.contains(&value), "docs/formats.md lacks the vector `{name}`:\n{value}");
    }
}
