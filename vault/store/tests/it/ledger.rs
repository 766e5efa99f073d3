//! The ledger as it rests: no gap, true hashes, strictly increasing times, found by its facets.

use cofre_ledger::entry::{Leaf, encode, leaf_hash};
use cofre_model::entry::EntryKind;
use cofre_store::{Checkpoint, Operation, Search, Tile};

use crate::world::{World, refusal, told};

/// Every entry is at its index, re-encodes to its bytes, and hashes to its hash. Gives their kinds.
pub(crate) async fn sound(world: &World) -> Vec<EntryKind> {
    let head = world.records().head().await.expect("head");
    let rows = world.records().entries(0, head.size).await.expect("entries");
    assert_eq!(u64::try_from(rows.len()).expect("small"), head.size);
    let mut last = None;
    let mut kinds = Vec::new();
    for (index, row) in (0..).zip(&rows) {
        let leaf = Leaf::parse(&row.bytes).expect("a leaf");
        assert_eq!((row.index, leaf.index), (index, index));
        assert!(Some(leaf.time) > last, "times strictly increase");
        last = Some(leaf.time);
        let entry = leaf.entry().expect("an entry");
        assert_eq!(entry.node.as_ref().map(|node| node.incarnation), Some(row.incarnation));
        let again = Leaf { index, time: leaf.time, body: encode(&entry).expect("encodes") };
        assert_eq!(again.to_bytes().expect("bytes"), row.bytes);
        assert_eq!(leaf_hash(&row.bytes), row.leaf_hash);
        kinds.push(entry.kind);
    }
    assert_eq!(last.unwrap_or_default(), head.last_time);
    kinds
}

#[tokio::test]
async fn entries_are_contiguous_and_encode_to_their_hash() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "LEASE_HELD");
    world.revoke(&consent).await.expect("revoke");
    let kinds = sound(&world).await;
    let told: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(
        told,
        [
            "TENANT_PUT",
            "INSTITUTION_PUT",
            "TEMPLATE_PUT",
            "WORKER_PUT",
            "ENROLMENT_OPENED",
            "DEPOSIT_INTENDED",
            "DEPOSITED",
            "CONSENT_REQUESTED",
            "CONSENT_GRANTED",
            "GRANTED",
            "DENIED",
            "CONSENT_REVOKED"
        ]
    );
}

#[tokio::test]
async fn search_pages_counts_and_narrows() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    for _ in 0..5 {
        let _ = world.once(&world.attended(&credential)).await;
    }
    let search = Search { credential: Some(credential.id), limit: 2, ..Search::default() };
    let mut found = Vec::new();
    let mut page = world.records().search(&search).await.expect("page");
    // Its enrolment, its deposit, the two entries of its consent, and the five releases.
    assert_eq!(page.total, 9);
    loop {
        found.extend(page.rows.iter().map(|row| (row.index, row.kind)));
        let Some(start) = page.next else { break };
        page = world.records().search(&Search { start, ..search.clone() }).await.expect("page");
    }
    assert_eq!(found.len(), 9);
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let reason = Some(cofre_model::reason::Reason::LeaseHeld);
    let held = world.records().search(&Search { reason, ..search }).await.expect("page");
    assert_eq!((held.total, held.rows[0].kind), (4, EntryKind::Denied));
}

#[tokio::test]
async fn tiles_grow_and_a_checkpoint_covers_only_what_is_there() {
    let world = World::new().await;
    let size = world.records().head().await.expect("head").size;
    let tile = |width: u16| Tile { level: 0, n: 0, width, hashes: vec![1; usize::from(width) * 32] };
    let checkpoint = |size| Checkpoint { size, note: format!("note {size}") };
    let records = world.records();
    records.integrate(vec![tile(3)], checkpoint(3)).await.expect("integrated");
    records.integrate(vec![tile(2)], checkpoint(2)).await.expect("a late integrator");
    assert_eq!(records.tile(0, 0).await.expect("tile"), Some(tile(3)), "a tile never shrinks");
    assert_eq!(records.checkpoint().await.expect("newest"), Some(checkpoint(3)));
    assert_eq!(records.checkpoint_at_least(1).await.expect("smallest"), Some(checkpoint(2)));
    assert_eq!(refusal(records.integrate(Vec::new(), checkpoint(size + 1)).await), "WRONG_STATE");
    assert_eq!(records.tile(1, 0).await.expect("tile"), None);
    assert_eq!(records.leaf_hashes(0, size).await.expect("hashes").len(), 4);
    assert!(records.entry(size).await.expect("read").is_none());
    let note = world.entry(EntryKind::Granted);
    assert!(records.apply(note, Operation::Note).await.is_err(), "a grant cannot be noted without being decided");
}

#[tokio::test]
async fn many_tiles_are_kept_and_what_is_no_tile_is_refused() {
    let world = World::new().await;
    let records = world.records();
    let tile = |n: u64| Tile { level: 0, n, width: 1, hashes: vec![1; 32] };
    let checkpoint = |size| Checkpoint { size, note: format!("note {size}") };
    records.integrate((0..130).map(tile).collect(), checkpoint(2)).await.expect("integrated");
    for n in [0, 63, 64, 129] {
        assert_eq!(records.tile(0, n).await.expect("tile"), Some(tile(n)));
    }
    for broken in [
        Tile { level: 8, ..tile(0) },
        Tile { width: 0, hashes: Vec::new(), ..tile(0) },
        Tile { width: 2, ..tile(0) },
        Tile { width: 257, hashes: vec![1; 257 * 32], ..tile(0) },
    ] {
        assert_eq!(refusal(records.integrate(vec![broken], checkpoint(3)).await), "WRONG_STATE");
    }
    for note in [String::new(), "n".repeat(4_097)] {
        assert_eq!(refusal(records.integrate(Vec::new(), Checkpoint { size: 3, note }).await), "WRONG_STATE");
    }
    assert_eq!(records.checkpoint().await.expect("newest"), Some(checkpoint(2)));
}
