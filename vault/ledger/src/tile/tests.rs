//! Paths and tiles of the standard, the 70,000-leaf example, and proofs made from tiles alone.

use super::*;
use crate::tree::{self, Frontier, leaf_hash};

fn grown(size: u64) -> (TileSet, Frontier) {
    let (mut tiles, mut frontier) = (TileSet::new(), Frontier::empty());
    for number in 0..size {
        tiles.add(&frontier.append(leaf_hash(&number.to_be_bytes()))).expect("in order");
    }
    (tiles, frontier)
}

#[test]
fn paths_are_those_of_the_standard() {
    let hashes = |level, n, width| TilePath::Hashes { tile: TileId { level, n }, width };
    let cases = [
        (hashes(0, 0, 256), "tile/0/000"),
        (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (hashes(0, 1_234_067, 8), "tile/0/x001/x234/067.p/8"),
        (hashes(1, 273, 112), "tile/1/273.p/112"),
        (hashes(5, 1_000, 1), "tile/5/x001/000.p/1"),
        (TilePath::Entries { n: 999, width: 256 }, "tile/entries/999"),
        (TilePath::Entries { n: 70_000, width: 255 }, "tile/entries/x070/000.p/255"),
    ];
    for (tile, path) in cases {
        assert_eq!(tile.to_string(), path);
        assert_eq!(TilePath::try_from(path), Ok(tile));
        if let TilePath::Hashes { tile, width } = tile {
            let other = tlog_tiles::Tile::new(8, tile.level, tile.n, u32::from(width), false);
            // The other implementation puts the height of its tiles in front, as Go's does.
            assert_eq!(other.path().replacen("tile/8/", "tile/", 1), path);
        }
    }
}

#[test]
fn other_paths_are_refused() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x01/000",
        "tile/0/x001/x234",
        "tile/0/001/234",
        "tile/0/+01",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/08",
        "tile/0/000.p/",
        "tile/0/000.p/-1",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/../000",
        "tile/data/000",
        "tile/entries/000.p/300",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(TilePath::try_from(path), Err(NotATile), "{path:?}");
    }
}

#[test]
fn seventy_thousand_leaves_have_the_tiles_of_the_standard() {
    let (tiles, frontier) = grown(70_000);
    let all: Vec<TilePath> = tiles_of(70_000).collect();
    let at = |wanted: u8| {
        let of_level = all.iter().filter_map(move |path| match path {
            TilePath::Hashes { tile, width } if tile.level == wanted => Some(*width),
            _ => None,
        });
        of_level.collect::<Vec<_>>()
    };
    assert_eq!((at(0).len(), at(0).last()), (274, Some(&112)));
    assert!(at(0).iter().take(273).all(|width| *width == 256));
    assert_eq!(at(1), [256, 17]);
    assert_eq!(at(2), [1]);
    assert_eq!(all.len(), 277);
    assert_eq!(tiles.ids().count(), 277);
    for path in &all {
        let TilePath::Hashes { tile, width } = path else { panic!("tiles_of gives hash tiles") };
        assert_eq!(tiles.bytes(*tile).map(|bytes| bytes.len()), Some(usize::from(*width) * 32), "{path}");
    }
    assert_eq!(tree::root(70_000, &tiles), Ok(frontier.root()));
}

#[test]
fn proofs_come_from_the_tiles_that_were_planned() {
    let size = 1_025;
    let (all, frontier) = grown(size);
    for index in [0, 1, 255, 256, 511, 777, 1_023, 1_024] {
        let nodes = tree::inclusion_nodes(index, size);
        let mut loaded = TileSet::new();
        for tile in tiles_for(&nodes) {
            loaded.insert(tile, &all.bytes(tile).expect("stored")).expect("whole hashes");
        }
        let proof = tree::inclusion_proof(index, size, &loaded).expect("loaded");
        let leaf = leaf_hash(&index.to_be_bytes());
        assert_eq!(tree::verify_inclusion(&leaf, index, size, &proof, &frontier.root()), Ok(()));
    }
    let nothing = TileSet::new();
    assert_eq!(tree::root(1, &nothing), Err(MissingTile(TileId { level: 0, n: 0 })));
}

#[test]
fn a_commit_grows_only_the_tiles_it_names() {
    let (before, _) = grown(250);
    let (after, _) = grown(600);
    let mut loaded = TileSet::new();
    for tile in tiles_for(&tree::frontier_nodes(250)) {
        loaded.insert(tile, &before.bytes(tile).expect("stored")).expect("whole hashes");
    }
    let mut frontier = Frontier::read(250, &loaded).expect("loaded");
    for number in 250..600u64 {
        loaded.add(&frontier.append(leaf_hash(&number.to_be_bytes()))).expect("in order");
    }
    let named: Vec<String> = new_tiles(250, 600).map(|tile| tile.to_string()).collect();
    assert_eq!(named, ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]);
    for tile in loaded.ids() {
        assert_eq!(loaded.bytes(tile), after.bytes(tile));
    }
    assert_eq!(new_tiles(600, 600).count(), 0);
}

#[test]
fn tiles_refuse_gaps_and_cut_hashes() {
    let mut tiles = TileSet::new();
    let id = TileId { level: 0, n: 0 };
    assert_eq!(tiles.insert(id, &[0; 31]), None);
    assert_eq!(tiles.insert(id, &[0; 8_224]), None);
    assert_eq!(tiles.add(&[(NodeId { level: 0, index: 1 }, [1; 32])]), None);
    assert_eq!(tiles.add(&[(NodeId { level: 0, index: 0 }, [1; 32])]), Some(()));
    assert_eq!(tiles.add(&[(NodeId { level: 0, index: 0 }, [2; 32])]), None, "a stored hash never changes");
}

#[test]
fn bundles_carry_their_leaves() {
    let longest = vec![7; 65_535];
    let leaves: Vec<&[u8]> = vec![b"a", b"", &longest];
    let bundle = encode_bundle(leaves.clone()).expect("fits");
    assert_eq!(bundle.get(..3), Some([0, 1, b'a'].as_slice()));
    assert_eq!(decode_bundle(&bundle), Some(leaves));
    assert_eq!(decode_bundle(&bundle[..bundle.len() - 1]), None);
    assert_eq!(encode_bundle([[0; 65_536].as_slice()]), None);
    assert_eq!(decode_bundle(&[0; 2 * 256]).map(|leaves| leaves.len()), Some(256));
    assert_eq!(decode_bundle(&[0; 2 * 257]), None);
}
