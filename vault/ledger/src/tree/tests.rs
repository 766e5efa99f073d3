//! Known answers, every proof of every small tree, and an independent implementation as oracle.

use std::collections::BTreeMap;

use super::*;

/// RFC 6962, section 2.1, word for word and without any storage.
fn mth(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => leaf_hash(one),
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// A tree of numbered leaves with all its nodes, one row per level.
struct Whole(Vec<Vec<Hash>>);

impl Whole {
    fn of(size: u64) -> (Self, Vec<Hash>) {
        let (mut rows, mut frontier, mut roots) = (Vec::<Vec<Hash>>::new(), Frontier::empty(), vec![empty_root()]);
        for number in 0..size {
            for (node, hash) in frontier.append(leaf_hash(&number.to_be_bytes())) {
                let level = usize::from(node.level);
                rows.resize(rows.len().max(level + 1), Vec::new());
                assert_eq!(rows[level].len() as u64, node.index, "nodes come in order");
                rows[level].push(hash);
            }
            roots.push(frontier.root());
        }
        (Self(rows), roots)
    }
}

impl HashReader for Whole {
    type Error = NodeId;
    fn hash(&self, node: NodeId) -> Result<Hash, NodeId> {
        let row = self.0.get(usize::from(node.level)).ok_or(node)?;
        row.get(usize::try_from(node.index).map_err(|_| node)?).copied().ok_or(node)
    }
}

#[test]
fn the_usual_eight_leaves_have_their_known_roots() {
    let leaves: Vec<Vec<u8>> =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
            .iter()
            .map(|text| hex::decode(text).expect("hex"))
            .collect();
    let known = [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ];
    let mut compared = 0;
    for (size, root) in known {
        let mut frontier = Frontier::empty();
        for leaf in &leaves[..size] {
            frontier.append(leaf_hash(leaf));
        }
        assert_eq!(hex::encode(frontier.root()), root, "size {size}");
        assert_eq!(mth(&leaves[..size]), frontier.root());
        compared += 1;
    }
    assert_eq!(compared, 6);
}

#[test]
fn every_leaf_of_every_tree_up_to_1025_is_proved() {
    const MOST: u64 = 1025;
    let (whole, roots) = Whole::of(MOST);
    let leaves: Vec<Vec<u8>> = (0..MOST).map(|number| number.to_be_bytes().to_vec()).collect();
    let mut proofs = 0u64;
    for size in 0..=MOST {
        let root = roots[usize::try_from(size).expect("small")];
        if size % 64 < 3 {
            assert_eq!(root, mth(&leaves[..usize::try_from(size).expect("small")]), "size {size}");
            assert_eq!(super::root(size, &whole), Ok(root));
        }
        for index in 0..size {
            let proof = inclusion_proof(index, size, &whole).expect("in range");
            let leaf = whole.0[0][usize::try_from(index).expect("small")];
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()), "{index} of {size}");
            proofs += 1;
        }
    }
    assert_eq!(proofs, 525_825);
}

#[test]
fn wrong_proofs_of_inclusion_are_refused() {
    let (whole, roots) = Whole::of(21);
    for size in 1..=21u64 {
        let root = roots[usize::try_from(size).expect("small")];
        for index in 0..size {
            let leaf = whole.0[0][usize::try_from(index).expect("small")];
            let proof = inclusion_proof(index, size, &whole).expect("in range");
            for other in (0..size).filter(|other| *other != index) {
                assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err(), "{other} for {index} of {size}");
            }
            let longer = [proof.as_slice(), &[root]].concat();
            assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
            if let Some((_, shorter)) = proof.split_first() {
                assert!(verify_inclusion(&leaf, index, size, shorter, &root).is_err());
            }
            for place in 0..proof.len() {
                let mut bent = proof.clone();
                bent[place][place % 32] ^= 1;
                assert_eq!(verify_inclusion(&leaf, index, size, &bent, &root), Err(ProofError::Root));
            }
        }
    }
    let out = ProofError::OutOfRange { asked: 3, size: 3 };
    assert_eq!(verify_inclusion(&[0; 32], 3, 3, &[], &[0; 32]), Err(out));
    assert_eq!(inclusion_proof(3, 3, &whole), Err(TreeError::OutOfRange { asked: 3, size: 3 }));
    assert_eq!(inclusion_proof(0, 64, &whole).err(), Some(TreeError::Reader(NodeId { level: 4, index: 1 })));
}

#[test]
fn every_pair_of_sizes_up_to_64_is_consistent() {
    let (whole, roots) = Whole::of(64);
    let root = |size: u64| roots[usize::try_from(size).expect("small")];
    let mut pairs = 0;
    for new in 0..=64u64 {
        for old in 0..=new {
            let proof = consistency_proof(old, new, &whole).expect("in range");
            assert_eq!(verify_consistency(old, &root(old), new, &root(new), &proof), Ok(()), "{old} to {new}");
            assert!(verify_consistency(old, &[9; 32], new, &root(new), &proof).is_err(), "{old} to {new}");
            if old != 0 {
                assert!(verify_consistency(old, &root(old), new, &[9; 32], &proof).is_err(), "{old} to {new}");
            }
            let longer = [proof.as_slice(), &[root(new)]].concat();
            assert!(verify_consistency(old, &root(old), new, &root(new), &longer).is_err(), "{old} to {new}");
            for place in 0..proof.len() {
                let mut bent = proof.clone();
                bent[place][0] ^= 1;
                assert_eq!(verify_consistency(old, &root(old), new, &root(new), &bent), Err(ProofError::Root));
            }
            pairs += 1;
        }
    }
    assert_eq!(pairs, 65 * 66 / 2);
    assert_eq!(consistency_proof(2, 1, &whole), Err(TreeError::OutOfRange { asked: 2, size: 1 }));
    assert_eq!(verify_consistency(2, &root(2), 1, &root(1), &[]), Err(ProofError::OutOfRange { asked: 2, size: 1 }));
}

#[test]
fn the_plans_name_exactly_what_is_read() {
    for size in 1..=70u64 {
        let (whole, _) = Whole::of(size);
        for index in 0..size {
            let seen = std::cell::RefCell::new(Vec::new());
            let reader = |node| {
                seen.borrow_mut().push(node);
                whole.hash(node)
            };
            inclusion_proof(index, size, &reader).expect("in range");
            let (mut read, mut planned) = (seen.take(), inclusion_nodes(index, size));
            read.sort_unstable();
            planned.sort_unstable();
            assert_eq!(read, planned);
            consistency_proof(index, size, &reader).expect("in range");
            let (mut read, mut planned) = (seen.take(), consistency_nodes(index, size));
            read.sort_unstable();
            planned.sort_unstable();
            assert_eq!(read, planned);
        }
        let peaks = frontier_nodes(size).into_iter().map(|node| whole.hash(node)).collect::<Result<Vec<_>, _>>();
        assert_eq!(Frontier::from_parts(size, peaks.expect("stored")), Frontier::read(size, &whole).ok());
    }
    assert_eq!(Frontier::from_parts(3, vec![[0; 32]]), None);
}

#[test]
fn appending_through_storage_equals_appending_in_memory() {
    let (whole, _) = Whole::of(33);
    let mut stored = BTreeMap::new();
    for size in 0..33u64 {
        let reader = |node: NodeId| stored.get(&node).copied().ok_or(node);
        let made = append(leaf_hash(&size.to_be_bytes()), size, &reader).expect("stored");
        stored.extend(made);
    }
    for (node, hash) in stored {
        assert_eq!(whole.hash(node), Ok(hash));
    }
}

#[test]
fn another_implementation_accepts_our_proofs_and_we_accept_its() {
    use tlog_tiles::tlog as other;
    let (whole, roots) = Whole::of(300);
    let theirs = |hash: &Hash| other::Hash(*hash);
    struct Stored<'a>(&'a Whole);
    impl other::HashReader for Stored<'_> {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<other::Hash>, other::Error> {
            let node = |index: &u64| {
                let (level, index) = other::split_stored_hash_index(*index);
                other::Hash(self.0.hash(NodeId { level, index }).expect("stored"))
            };
            Ok(indexes.iter().map(node).collect())
        }
    }
    let mut compared = 0;
    for size in [1u64, 2, 3, 7, 8, 255, 256, 257, 300] {
        let root = roots[usize::try_from(size).expect("small")];
        assert_eq!(other::tree_hash(size, &Stored(&whole)).expect("stored").0, root);
        for index in (0..size).step_by(7).chain([size - 1]) {
            let leaf = whole.0[0][usize::try_from(index).expect("small")];
            let ours = inclusion_proof(index, size, &whole).expect("in range");
            let made = other::prove_record(size, index, &Stored(&whole)).expect("in range");
            assert_eq!(ours.iter().map(theirs).collect::<Vec<_>>(), made);
            other::check_record(&made, size, theirs(&root), index, theirs(&leaf)).expect("accepted");
            let old = index + 1;
            let old_root = roots[usize::try_from(old).expect("small")];
            let ours = consistency_proof(old, size, &whole).expect("in range");
            other::check_tree(&ours.iter().map(theirs).collect(), size, theirs(&root), old, theirs(&old_root))
                .expect("accepted");
            compared += 1;
        }
    }
    assert_eq!(compared, 9 + [1u64, 2, 3, 7, 8, 255, 256, 257, 300].map(|size| size.div_ceil(7)).iter().sum::<u64>());
}
