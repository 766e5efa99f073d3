//! Which leaves each hash of a proof stands for, as plain ranges. Proofs are first planned here and hashed after.

use super::{HashReader, NodeId, empty_root, node_hash};
use crate::Hash;

/// The leaves `from .. to`. `from` is a multiple of the smallest power of two that is not below `to - from`, as all
/// ranges of RFC 6962 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Range {
    /// The complete subtrees the range is made of, largest first.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let level = (self.to - from).ilog2();
            nodes.push(NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index: from >> level });
            from += 1 << level;
        }
        nodes
    }

    pub(super) fn root<R: HashReader>(&self, reader: &R) -> Result<Hash, R::Error> {
        let mut right = None;
        for node in self.nodes().into_iter().rev() {
            let left = reader.hash(node)?;
            right = Some(right.map_or(left, |right| node_hash(&left, &right)));
        }
        Ok(right.unwrap_or_else(empty_root))
    }

    /// Where RFC 6962 splits: after the largest power of two below the length. Of a range of two leaves or more.
    fn split(&self) -> u64 {
        self.from + (1 << (self.to - self.from - 1).ilog2())
    }
}

/// PATH(m, D[n]), section 2.1.1: siblings from the leaf up.
pub(super) fn inclusion(index: u64, size: u64) -> Vec<Range> {
    let mut siblings = Vec::new();
    if index >= size {
        return siblings;
    }
    let mut here = Range { from: 0, to: size };
    while here.to - here.from > 1 {
        let middle = here.split();
        if index < middle {
            siblings.push(Range { from: middle, to: here.to });
            here.to = middle;
        } else {
            siblings.push(Range { from: here.from, to: middle });
            here.from = middle;
        }
    }
    siblings.reverse();
    siblings
}

/// PROOF(m, D[n]), section 2.1.2.
pub(super) fn consistency(old: u64, new: u64) -> Vec<Range> {
    let mut parts = Vec::new();
    if old == 0 || old >= new {
        return parts;
    }
    let mut here = Range { from: 0, to: new };
    // The older root itself is known to the verifier and left out, as long as nothing was cut off on its left.
    let mut whole = true;
    while here.to != old {
        let middle = here.split();
        if old <= middle {
            parts.push(Range { from: middle, to: here.to });
            here.to = middle;
        } else {
            parts.push(Range { from: here.from, to: middle });
            here.from = middle;
            whole = false;
        }
    }
    if !whole {
        parts.push(here);
    }
    parts.reverse();
    parts
}
