//! Proofs and tiles over small trees that are known whole, beside another implementation.

use std::collections::BTreeMap;

use cofre_ledger::Hash;
use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::proof::ProofFile;
use cofre_ledger::tile::{TileId, TilePath, TileSet, decode_bundle, encode_bundle, tiles_of};
use cofre_ledger::tree::{
    Frontier, HashReader, NodeId, consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion,
};
use tlog_tiles::Hash as OtherHash;

use super::{ORIGIN, note_key, signer};
use crate::input::Input;

/// Beyond this the other implementation's arithmetic was never meant to go.
const OTHERS_LIMIT: u64 = 1 << 60;

struct Grown {
    nodes: BTreeMap<NodeId, Hash>,
    frontier: Frontier,
}

impl Grown {
    fn to(size: u64) -> Self {
        let (mut nodes, mut frontier) = (BTreeMap::new(), Frontier::empty());
        for number in 0..size {
            nodes.extend(frontier.append(leaf(number)));
        }
        Self { nodes, frontier }
    }

    fn reader(&self) -> impl Fn(NodeId) -> Result<Hash, ()> + '_ {
        |node| self.nodes.get(&node).copied().ok_or(())
    }
}

fn leaf(number: u64) -> Hash {
    leaf_hash(&number.to_be_bytes())
}

fn others(hashes: &[Hash]) -> Vec<OtherHash> {
    hashes.iter().map(|hash| OtherHash(*hash)).collect()
}

/// Bends a list of hashes: one bit, one more, one fewer, two swapped.
fn bend(path: &mut Vec<Hash>, input: &mut Input<'_>) {
    for _ in 0..input.byte() % 4 {
        let at = input.below(path.len().max(1));
        match input.byte() % 5 {
            0 if !path.is_empty() => path[at][usize::from(input.byte() & 31)] ^= 1 << (input.byte() & 7),
            1 => path.insert(at, [input.byte(); 32]),
            2 if !path.is_empty() => drop(path.remove(at)),
            3 if !path.is_empty() => path.swap(0, at),
            _ => {}
        }
    }
}

/// A number as it is, near it, or anything.
fn near(number: u64, input: &mut Input<'_>) -> u64 {
    match input.byte() % 8 {
        0 => input.long(),
        1 => number.wrapping_add(1),
        2 => number.saturating_sub(1),
        3 => u64::from(input.byte()),
        _ => number,
    }
}

/// A proof of one leaf, and the file it comes in.
pub(super) fn inclusion(input: &mut Input<'_>) {
    let size = 1 + u64::from(input.byte() & 63);
    let index = u64::from(input.byte()) % size;
    let grown = Grown::to(size);
    let honest = inclusion_proof(index, size, &grown.reader()).expect("known whole");
    let mut path = honest.clone();
    bend(&mut path, input);
    let (at, of, told) = (near(index, input), near(size, input), leaf(near(index, input)));
    let root = grown.frontier.root();
    let verdict = verify_inclusion(&told, at, of, &path, &root).is_ok();
    if of < OTHERS_LIMIT {
        let other = tlog_tiles::check_record(&others(&path), of, OtherHash(root), at, OtherHash(told)).is_ok();
        assert_eq!(verdict, other, "two readers judge one proof differently: {at} of {of}");
    }
    if verdict && of == size {
        assert!(at == index || told != leaf(index), "a leaf stands at two places");
        assert!(told == leaf(at), "a leaf that is not there was proven");
    }
    file(input, &ProofFile { extra: None, index, path: honest, checkpoint: String::new() }, size, root);
}

fn file(input: &mut Input<'_>, proof: &ProofFile, size: u64, root: Hash) {
    let key = note_key(1);
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
    let note = checkpoint.sign(&key, signer(1)).expect("signs").to_string();
    let extra = input.flag().then(|| input.chunk().to_vec()).filter(|extra| !extra.is_empty());
    let good = ProofFile { extra, checkpoint: note, ..proof.clone() }.to_string();
    let read = ProofFile::parse(&good).expect("what we wrote is read");
    assert_eq!(read.verify(&leaf(proof.index), &key).as_ref(), Ok(&checkpoint), "our own proof does not hold");
    let bent = input.bend_text(&good);
    let Ok(read) = ProofFile::parse(&bent) else { return };
    assert_eq!(read.to_string(), bent, "a proof file with two spellings was read");
    if let Ok(taken) = read.verify(&leaf(proof.index), &key) {
        assert_eq!((taken, read.index, &read.path), (checkpoint, proof.index, &proof.path), "a bent proof was taken");
    }
}

/// A proof that a tree grew from another.
pub(super) fn consistency(input: &mut Input<'_>) {
    let new = 1 + u64::from(input.byte() & 63);
    let old = 1 + u64::from(input.byte()) % new;
    let (before, after) = (Grown::to(old), Grown::to(new));
    let mut path = consistency_proof(old, new, &after.reader()).expect("known whole");
    let (first, second) = (before.frontier.root(), after.frontier.root());
    assert!(verify_consistency(old, &first, new, &second, &path).is_ok(), "our own proof does not hold");
    bend(&mut path, input);
    let (from, to) = (near(old, input), near(new, input));
    let told = if input.flag() { first } else { [input.byte(); 32] };
    let verdict = verify_consistency(from, &told, to, &second, &path).is_ok();
    if from > 0 && to < OTHERS_LIMIT {
        let other = tlog_tiles::check_tree(&others(&path), to, OtherHash(second), from, OtherHash(told)).is_ok();
        assert_eq!(verdict, other, "two readers judge one proof differently: {from} to {to}");
    }
    if verdict && (from, to) == (old, new) {
        assert_eq!(told, first, "a ledger that was never there was proven");
    }
}

/// Paths, bundles, and tiles somebody else serves.
pub(super) fn tiles(input: &mut Input<'_>) {
    let path = if input.flag() {
        input.bend_text("tile/0/x001/x234/067.p/8")
    } else {
        input.bend_text("tile/entries/x070/000")
    };
    if let Ok(tile) = TilePath::try_from(path.as_str()) {
        assert_eq!(tile.to_string(), path, "a tile with two paths");
        if let TilePath::Hashes { tile, width } = tile {
            let other = tlog_tiles::Tile::new(8, tile.level, tile.n, u32::from(width), false);
            assert_eq!(other.path().replacen("tile/8/", "tile/", 1), path);
        }
    }
    let size = u64::from(input.short());
    let (count, within) = tiles_of(size).fold((0_u64, true), |(count, within), path| match path {
        TilePath::Hashes { tile, width } => (count + 1, within && width == tile.width(size) && width > 0),
        TilePath::Entries { .. } => (count, false),
    });
    assert!(within && (count == 0) == (size == 0) && count <= 3 + size / 128, "{count} tiles for {size}");
    let mut set = TileSet::new();
    let tile = TileId { level: input.byte() & 7, n: u64::from(input.byte()) };
    let bytes = input.rest();
    if set.insert(tile, bytes).is_some() {
        assert_eq!(set.bytes(tile).as_deref(), Some(bytes));
        for above in 0..9 {
            let node = NodeId { level: (tile.level * 8).saturating_add(above).min(63), index: tile.n << 8 >> above };
            let _ = set.hash(node);
        }
    }
    if let Some(leaves) = decode_bundle(bytes) {
        assert_eq!(encode_bundle(leaves).as_deref(), Some(bytes), "a bundle with two spellings was read");
    }
}
