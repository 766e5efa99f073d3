//! A proof file made here, from a signed checkpoint and hash tiles. Making it verifies it: what does not lead to the
//! signed root is no proof and is not handed out.

use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::note::NoteKey;
use cofre_ledger::proof::ProofFile;
use cofre_ledger::tile::{TileId, TilePath, TileSet, tiles_for};
use cofre_ledger::tree::{inclusion_nodes, inclusion_proof};
use cofre_model::permit::EntryRef;

/// The tiles a proof of the entry at `index` needs in the tree of `size`, with the paths to fetch them by.
pub(crate) fn tiles(index: u64, size: u64) -> Vec<(TileId, TilePath)> {
    let needed = tiles_for(&inclusion_nodes(index, size));
    needed.into_iter().map(|tile| (tile, TilePath::Hashes { tile, width: tile.width(size) })).collect()
}

/// The proof that `entry` stands under the checkpoint of `note`.
///
/// # Errors
/// What does not hold.
pub(crate) fn make(
    entry: &EntryRef,
    checkpoint: &Checkpoint,
    note: &str,
    tiles: &TileSet,
    key: &NoteKey,
) -> Result<ProofFile, String> {
    let path = inclusion_proof(entry.index, checkpoint.size, tiles).map_err(|why| why.to_string())?;
    let proof = ProofFile { extra: None, index: entry.index, path, checkpoint: note.to_owned() };
    proof.verify(&entry.leaf_hash, key).map_err(|why| why.to_string())?;
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use cofre_ledger::entry::leaf_hash;
    use cofre_ledger::signed::VerifyingKey;
    use cofre_ledger::tree::Frontier;
    use cofre_model::time::Timestamp;
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    /// A ledger of 600 leaves: two full tiles and a partial one on the lowest level.
    #[test]
    fn tiles_lead_to_a_proof_and_foreign_ones_do_not() {
        let signer = SigningKey::from_bytes(&[1; 32]);
        let public = VerifyingKey::ed25519(signer.verifying_key().as_bytes()).expect("of full order");
        let key = NoteKey::new("cofre.test/ledger", public).expect("a name");
        let leaf = |index: u64| leaf_hash(&index.to_be_bytes());
        let (mut frontier, mut stored) = (Frontier::empty(), TileSet::new());
        for index in 0..600 {
            stored.add(&frontier.append(leaf(index))).expect("in order");
        }
        let checkpoint = Checkpoint { origin: key.name().into(), size: 600, root: frontier.root() };
        let note = checkpoint
            .sign(&key, |message| Ok::<_, std::convert::Infallible>(signer.sign(message).to_bytes().to_vec()))
            .expect("signs")
            .to_string();
        for index in [0, 255, 256, 511, 512, 599] {
            let mut fetched = TileSet::new();
            for (tile, path) in tiles(index, 600) {
                let TilePath::Hashes { width, .. } = path else { panic!("hashes were asked for") };
                let bytes = stored.bytes(tile).expect("stored");
                fetched.insert(tile, &bytes[..32 * usize::from(width)]).expect("a tile");
            }
            let entry = |index, hash| EntryRef { index, leaf_hash: hash, time: Timestamp::default() };
            let proof = make(&entry(index, leaf(index)), &checkpoint, &note, &fetched, &key).expect("proves");
            let read = ProofFile::parse(&proof.to_string()).expect("parses");
            assert_eq!(read.verify(&leaf(index), &key).expect("verifies").size, 600);
            assert!(make(&entry(index, leaf(9_999)), &checkpoint, &note, &fetched, &key).is_err());
        }
    }
}
