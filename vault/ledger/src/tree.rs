//! The Merkle tree of RFC 6962, section 2, with SHA-256, over stored hashes of complete subtrees.
//!
//! Nothing here reads storage by itself. A caller who stores tiles asks [`inclusion_nodes`], [`consistency_nodes`] or
//! [`frontier_nodes`] which hashes are needed, loads the tiles they lie in and hands them over as a [`HashReader`]
//! (`tile::TileSet` is one).

mod range;
#[cfg(test)]
mod tests;
mod verify;

use sha2::{Digest as _, Sha256};

use crate::Hash;
use range::Range;

pub use verify::{ProofError, inclusion_root, verify_consistency, verify_inclusion};

/// The root of the empty tree.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into()
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// A complete subtree: the leaves `index * 2^level .. (index + 1) * 2^level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves, 0 to 63.
    pub level: u8,
    /// Place within the level, from 0.
    pub index: u64,
}

/// Whoever knows the hashes of complete subtrees.
pub trait HashReader {
    /// Why a hash could not be had.
    type Error;
    /// The hash of a complete subtree of the tree being read.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn hash(&self, node: NodeId) -> Result<Hash, Self::Error>;
}

impl<E, F: Fn(NodeId) -> Result<Hash, E>> HashReader for F {
    type Error = E;
    fn hash(&self, node: NodeId) -> Result<Hash, E> {
        self(node)
    }
}

/// Why a proof could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// The entry or the older size lies beyond the tree.
    #[error("index {asked} is not in a tree of size {size}")]
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A stored hash could not be had.
    #[error("stored hash: {0}")]
    Reader(E),
}

/// The right edge of a tree: all that is needed to append to it and to know its root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Hashes of the complete subtrees the size decomposes into, largest first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// From its size and the hashes of its complete subtrees, largest first; `None` where their number is not that
    /// of the ones in `size`.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (u32::try_from(peaks.len()).ok()? == size.count_ones()).then_some(Self { size, peaks })
    }

    /// Reads the right edge of the tree of `size` leaves from storage: at most 64 hashes.
    ///
    /// # Errors
    /// What the reader says.
    pub fn read<R: HashReader>(size: u64, reader: &R) -> Result<Self, R::Error> {
        let peaks = frontier_nodes(size).into_iter().map(|node| reader.hash(node)).collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of its complete subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf and returns the complete subtrees that this made, the leaf itself first. These are what storage
    /// has to learn.
    pub fn append(&mut self, leaf: Hash) -> Vec<(NodeId, Hash)> {
        let mut node = NodeId { level: 0, index: self.size };
        let mut hash = leaf;
        let mut made = vec![(node, hash)];
        while node.index % 2 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            node = NodeId { level: node.level.saturating_add(1), index: node.index / 2 };
            made.push((node, hash));
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
        made
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// Appends one leaf to the tree of `size` leaves held by `reader`; returns the nodes to store. Whoever appends many
/// keeps a [`Frontier`] instead.
///
/// # Errors
/// What the reader says.
pub fn append<R: HashReader>(leaf: Hash, size: u64, reader: &R) -> Result<Vec<(NodeId, Hash)>, R::Error> {
    Ok(Frontier::read(size, reader)?.append(leaf))
}

/// The root of the tree of `size` leaves.
///
/// # Errors
/// What the reader says.
pub fn root<R: HashReader>(size: u64, reader: &R) -> Result<Hash, R::Error> {
    Ok(Frontier::read(size, reader)?.root())
}

/// The complete subtrees whose hashes [`Frontier::read`], [`append`] and [`root`] ask for.
#[must_use]
pub fn frontier_nodes(size: u64) -> Vec<NodeId> {
    Range { from: 0, to: size }.nodes()
}

/// The nodes an inclusion proof of `index` in the tree of `size` asks for; empty where there is no such leaf.
#[must_use]
pub fn inclusion_nodes(index: u64, size: u64) -> Vec<NodeId> {
    range::inclusion(index, size).iter().flat_map(Range::nodes).collect()
}

/// The nodes a consistency proof from `old` to `new` asks for.
#[must_use]
pub fn consistency_nodes(old: u64, new: u64) -> Vec<NodeId> {
    range::consistency(old, new).iter().flat_map(Range::nodes).collect()
}

/// The audit path of RFC 6962, section 2.1.1, from the leaf's sibling up to the root's child.
///
/// # Errors
/// [`TreeError::OutOfRange`] where `index` is not below `size`; what the reader says.
pub fn inclusion_proof<R: HashReader>(index: u64, size: u64, reader: &R) -> Result<Vec<Hash>, TreeError<R::Error>> {
    if index >= size {
        return Err(TreeError::OutOfRange { asked: index, size });
    }
    hashes(&range::inclusion(index, size), reader)
}

/// The consistency proof of RFC 6962, section 2.1.2, from the tree of `old` leaves to that of `new`. It is empty
/// where the sizes are equal or the older tree is empty.
///
/// # Errors
/// [`TreeError::OutOfRange`] where `old` is above `new`; what the reader says.
pub fn consistency_proof<R: HashReader>(old: u64, new: u64, reader: &R) -> Result<Vec<Hash>, TreeError<R::Error>> {
    if old > new {
        return Err(TreeError::OutOfRange { asked: old, size: new });
    }
    hashes(&range::consistency(old, new), reader)
}

fn hashes<R: HashReader>(ranges: &[Range], reader: &R) -> Result<Vec<Hash>, TreeError<R::Error>> {
    ranges.iter().map(|range| range.root(reader).map_err(TreeError::Reader)).collect()
}
