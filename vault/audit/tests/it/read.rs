//! What the register gives to whom, and that reading entries is itself an entry.

use cofre_audit::Error;
use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::entry::Leaf;
use cofre_ledger::export::verify_export;
use cofre_ledger::note::NoteKey;
use cofre_ledger::proof::ProofFile;
use cofre_ledger::tile::{TileId, TileSet, decode_bundle};
use cofre_ledger::tree;
use cofre_model::caller::Caller;
use cofre_model::entry::{CallerRef, Entry, EntryKind, Epochs, NodeRef, Verdict};
use cofre_model::id::{ConsentId, CredentialId, InstitutionId, JobId, SubjectId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::request::{Page, SearchQuery};
use cofre_model::time::Timestamp;
use cofre_model::wording::{Attendance, Class, Form, Outcome, Purpose, Scope};
use serde_json::Value;

use crate::support::{Node, auditor, node, worker};

async fn export(node: &Node, from: u64) -> Vec<u8> {
    let mut export = node.register().export(&auditor(), from).await.expect("an export");
    let mut bytes = Vec::new();
    while let Some(chunk) = export.chunk().await.expect("a chunk") {
        assert!(chunk.len() <= 32 * 1024);
        bytes.extend(chunk);
    }
    bytes
}

async fn newest(node: &Node) -> Leaf {
    let head = node.stores.records.head().await.expect("records").size;
    let row = node.stores.records.entry(head - 1).await.expect("records").expect("an entry");
    Leaf::parse(&row.bytes).expect("a leaf")
}

async fn assert_read_recorded(node: &Node, by: &Caller, method: &str) {
    let entry = newest(node).await.entry().expect("a body");
    assert_eq!(entry.kind, EntryKind::AuditRead);
    assert_eq!(entry.caller, Some(CallerRef::from(by)));
    assert_eq!(entry.method.as_deref(), Some(format!("cofre.v1.AuditService/{method}").as_str()));
}

#[tokio::test]
async fn a_whole_export_verifies_and_one_flipped_byte_is_found() {
    let node = node().await;
    node.add(120, 1).await;
    node.integrator().integrate().await.expect("integrated");
    let bytes = export(&node, 0).await;
    assert_read_recorded(&node, &auditor(), "Export").await;
    let published = node.register().checkpoint().await.expect("a checkpoint");
    let key = NoteKey::parse(&published.verifier_key).expect("a key");
    let known = Checkpoint::open(&published.note, &key).expect("signed");
    let report = verify_export(bytes.as_slice(), Some(&key), Some(&known)).expect("verifies");
    assert_eq!((report.entries, report.checkpoint.size), (120, 120));
    assert!(report.open.is_empty() && report.faults.is_empty());

    for place in (200..bytes.len()).step_by(bytes.len() / 40) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1;
        assert!(verify_export(flipped.as_slice(), Some(&key), None).is_err(), "byte {place} flipped unseen");
    }
    // A part of the register verifies against the same checkpoint.
    node.add(10, 2).await;
    node.integrator().integrate().await.expect("integrated");
    let part = export(&node, 77).await;
    let report =
        verify_export(part.as_slice(), Some(&key), Some(&known)).expect("verifies and continues the known one");
    assert_eq!((report.from, report.checkpoint.size, report.continues), (77, 131, Some(120)));
}

#[tokio::test]
async fn an_export_needs_a_checkpoint_and_a_start_under_it() {
    let node = node().await;
    node.add(2, 1).await;
    let early = node.register().export(&auditor(), 0).await.expect_err("no checkpoint yet");
    assert_eq!(early.reason(), Reason::WrongState);
    node.integrator().integrate().await.expect("integrated");
    let beyond = node.register().export(&auditor(), 3).await.expect_err("beyond the end");
    assert_eq!(beyond.reason(), Reason::BadRequest);
    assert_eq!(beyond.advice().map(|(field, _)| field), Some("from_index"));
}

#[tokio::test]
async fn hash_tiles_are_open_and_give_the_signed_root() {
    let node = node().await;
    node.add(300, 1).await;
    node.integrator().integrate().await.expect("integrated");
    let register = node.register();
    let mut tiles = TileSet::new();
    for (level, n, path) in [(0, 0, "tile/0/000"), (0, 1, "tile/0/001.p/44"), (1, 0, "tile/1/000.p/1")] {
        let bytes = register.tile(&worker("w1"), path).await.expect("a tile");
        tiles.insert(TileId { level, n }, &bytes).expect("hashes");
    }
    let published = register.checkpoint().await.expect("a checkpoint");
    let signed = Checkpoint::open(&published.note, &node.key()).expect("signed");
    assert_eq!(tree::root(signed.size, &tiles).expect("all tiles"), signed.root);
    assert_eq!(register.tile(&worker("w1"), "tile/0/001.p/7").await.expect("a prefix").len(), 7 * 32);

    for absent in ["tile/0/001.p/45", "tile/0/001", "tile/0/002", "tile/2/000.p/1", "tile/entries/000"] {
        let error = register.tile(&worker("w1"), absent).await.expect_err(absent);
        assert_eq!(error.reason(), Reason::NotFound, "{absent}");
    }
    for malformed in ["", "tile/0/1", "tile/0/000.p/0", "tile/entries/../0", "tile/9/000"] {
        let error = register.tile(&worker("w1"), malformed).await.expect_err(malformed);
        assert_eq!(error.reason(), Reason::BadRequest, "{malformed}");
    }
}

#[tokio::test]
async fn entry_bundles_go_to_auditors_and_the_reading_is_recorded() {
    let node = node().await;
    node.add(40, 1).await;
    node.integrator().integrate().await.expect("integrated");
    let bundle = node.register().tile(&auditor(), "tile/entries/000.p/40").await.expect("a bundle");
    let leaves = decode_bundle(&bundle).expect("leaves");
    let hashes = node.stores.records.leaf_hashes(0, 40).await.expect("hashes");
    assert_eq!(leaves.into_iter().map(tree::leaf_hash).collect::<Vec<_>>(), hashes);
    assert_read_recorded(&node, &auditor(), "Tile").await;
    // The recording itself is not under the checkpoint yet.
    let beyond = node.register().tile(&auditor(), "tile/entries/000.p/41").await.expect_err("beyond");
    assert_eq!(beyond.reason(), Reason::NotFound);
}

#[tokio::test]
async fn a_worker_gets_proofs_of_its_own_entries_and_others_look_absent() {
    let node = node().await;
    node.add(5, 1).await;
    let register = node.register();
    let early = register.prove(&worker("w1"), 4).await.expect_err("not integrated");
    assert_eq!(early.reason(), Reason::WrongState);
    assert!(early.advice().is_some_and(|(_, advice)| advice.contains("a second")));
    node.integrator().integrate().await.expect("integrated");
    for index in 0..5 {
        let text = register.prove(&worker("w1"), index).await.expect("a proof");
        let leaf = node.stores.records.entry(index).await.expect("records").expect("an entry").leaf_hash;
        let proof = ProofFile::parse(&text).expect("a proof file");
        assert_eq!(proof.verify(&leaf, &node.key()).expect("holds").size, 5);
        assert_eq!(register.prove(&auditor(), index).await.expect("a proof"), text);
    }
    let foreign = register.prove(&worker("w2"), 0).await.expect_err("of another worker");
    let absent = register.prove(&worker("w2"), 99).await.expect_err("of nobody");
    assert_eq!(foreign.to_string(), absent.to_string());
    assert!(matches!(foreign, Error::Refused { reason: Reason::NotFound, field: None }));
}

#[tokio::test]
async fn one_entry_is_read_with_its_leaf_and_its_readable_form() {
    let node = node().await;
    node.add(2, 1).await;
    let view = node.register().entry(&auditor(), 1).await.expect("an entry");
    assert_eq!(tree::leaf_hash(&view.leaf), view.at.leaf_hash);
    let json: Value = serde_json::from_str(&view.json).expect("JSON");
    assert_eq!(json["index"], 1);
    assert_eq!(json["kind"], "DENIED");
    assert_eq!(json["reason"], "LEASE_HELD");
    assert_eq!(json["caller"]["identity"], "spiffe://cofre.test/worker/pool-a/w1");
    assert_read_recorded(&node, &auditor(), "Entry").await;
    assert_eq!(node.register().entry(&auditor(), 50).await.expect_err("absent").reason(), Reason::NotFound);
}

#[tokio::test]
async fn a_search_pages_in_order_stays_in_its_range_and_fits_an_answer() {
    let node = node().await;
    node.add(300, 1).await;
    let query = |from, to, limit| SearchQuery {
        credential: None,
        tenant: None,
        kind: Some(EntryKind::Denied),
        reason: Some(Reason::LeaseHeld),
        caller: Some("spiffe://cofre.test/worker/pool-a/w1".to_owned()),
        page: Page { from, to, limit },
    };
    let register = node.register();
    let found = register.search(&auditor(), &query(10, 15, 100)).await.expect("found");
    assert_eq!(found.entries.iter().map(|view| view.at.index).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
    assert_eq!(found.next, None);
    assert_read_recorded(&node, &auditor(), "Search").await;
    let reference = newest(&node).await.entry().expect("a body").reference.expect("what was looked for");
    assert!(
        reference.contains("DENIED") && reference.contains("LEASE_HELD") && reference.contains("w1"),
        "{reference}"
    );

    let (mut from, mut seen) = (0, 0);
    loop {
        let found = register.search(&auditor(), &query(from, u64::MAX, 500)).await.expect("found");
        let bytes: usize = found.entries.iter().map(|view| view.leaf.len() + view.json.len()).sum();
        assert!(bytes <= 60 * 1024 && !found.entries.is_empty());
        seen += found.entries.len();
        match found.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(seen, 300);
    let none = SearchQuery { reason: Some(Reason::Erased), ..query(0, u64::MAX, 10) };
    assert!(register.search(&auditor(), &none).await.expect("found").entries.is_empty());
}

#[test]
fn the_readable_form_names_every_field() {
    let mut entry = Entry::new(EntryKind::Granted, [1; 16]);
    assert_eq!(cofre_audit::json(&entry).as_object().expect("an object").len(), 2);
    entry.caller = Some(CallerRef { identity: "spiffe://t/worker/a/b".into(), fingerprint: [2; 32] });
    entry.node = Some(NodeRef { identity: "spiffe://t/node/a/b".into(), incarnation: [3; 16] });
    entry.method = Some("cofre.v1.ReleaseService/Release".into());
    entry.tenant = Some(TenantId::from_parts(1, [1; 10]));
    entry.region = Some("eu-nl".into());
    entry.credential = Some(CredentialId::from_parts(1, [1; 10]));
    entry.class = Some(Class::Login);
    entry.secret_version = Some(1);
    entry.owner = Some(SubjectId::from_parts(1, [1; 10]));
    entry.institution = Some(InstitutionId::try_from("ins_banco-abierto").expect("an id"));
    entry.consents = vec![ConsentId::from_parts(1, [1; 10])];
    entry.epochs = Some(Epochs::default());
    entry.purpose = Some(Purpose::WealthAggregation);
    entry.scopes = [Scope::Positions].into_iter().collect();
    entry.attendance = Some(Attendance::Attended);
    entry.job = Some(JobId::from_parts(1, [1; 10]));
    entry.request_digest = Some([4; 32]);
    entry.policy_digest = Some([5; 32]);
    entry.rules = vec!["rule".into()];
    entry.policy_input = br#"{"a":1}"#.to_vec();
    entry.verdict = Some(Verdict::Granted);
    entry.reason = Some(Reason::Internal);
    entry.fields = vec![("user".into(), Form::Full)];
    entry.tenant_key = Some(([6; 16], 1));
    entry.lease_until = Some(Timestamp::from_secs(1_790_000_000));
    entry.follows = Some(1);
    entry.outcome = Some(Outcome::WrongSecret);
    entry.custodian_request = Some("hsm-1/1/1".into());
    entry.custodian_us = Some(1);
    entry.count = Some(1);
    entry.digest = Some([7; 32]);
    entry.reference = Some("era".into());
    let json = cofre_audit::json(&entry);
    assert_eq!(json.as_object().expect("an object").len(), 34);
    assert_eq!(json["request_digest"], "04".repeat(32));
    assert_eq!(json["policy_input"]["a"], 1);
    assert_eq!(json["lease_until"], "2026-09-21T14:13:20Z");
}
