//! Checking proofs with nothing but hashes (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

use super::{empty_root, node_hash};
use crate::Hash;

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index or the older size lies beyond the tree.
    #[error("proof speaks of index or size {asked}, which a tree of size {size} does not have")]
    OutOfRange {
        /// The index or older size.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The proof has more or fewer hashes than such a proof has.
    #[error("proof has the wrong number of hashes")]
    Length,
    /// The hashes do not lead to the root.
    #[error("proof does not lead to the root")]
    Root,
}

/// The root that an audit path leads to.
///
/// # Errors
/// [`ProofError::OutOfRange`] and [`ProofError::Length`].
pub fn inclusion_root(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { asked: index, size });
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(hash) } else { Err(ProofError::Length) }
}

/// Whether the leaf stands at `index` in the tree of `size` leaves with this root.
///
/// # Errors
/// Each variant of [`ProofError`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if inclusion_root(leaf, index, size, proof)? == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Whether the tree of `new` leaves begins with the tree of `old` leaves.
///
/// # Errors
/// Each variant of [`ProofError`].
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange { asked: old, size: new });
    }
    if old == new || old == 0 {
        let expected = if old == new { new_root } else { &empty_root() };
        return match (proof.is_empty(), old_root == expected) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    // A complete older tree is itself the first hash, and is left out of the proof.
    let (first, rest) = if old.is_power_of_two() {
        (*old_root, proof)
    } else {
        proof.split_first().map(|(first, rest)| (*first, rest)).ok_or(ProofError::Length)?
    };
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut of_old, mut of_new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            of_old = node_hash(sibling, &of_old);
            of_new = node_hash(sibling, &of_new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(&of_new, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if of_old == *old_root && of_new == *new_root { Ok(()) } else { Err(ProofError::Root) }
}
