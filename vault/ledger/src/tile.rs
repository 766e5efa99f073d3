//! Tiles as C2SP `tlog-tiles` has them: 256 hashes of every eighth level, entry bundles of 256 leaves, and the paths
//! under which plain HTTPS serves both. A full tile never changes; a partial one is a prefix of the fuller ones.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::Hash;
use crate::tree::{HashReader, NodeId, node_hash};

/// How many hashes a full tile has, and leaves a full bundle.
pub const FULL: u16 = 256;

const HEIGHT: u8 = 8;
/// `level` is 0 to 5 in the standard: six levels of eight carry more leaves than u64 counts in practice.
const MAX_LEVEL: u8 = 7;

/// A tile of hashes, without its width: the key under which storage keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Level of tiles: its hashes stand at tree level `8 * level`.
    pub level: u8,
    /// Place within the level, from 0.
    pub n: u64,
}

impl TileId {
    /// The tile that a node's hash stands in or is computed from.
    #[must_use]
    pub const fn of(node: NodeId) -> Self {
        let level = node.level / HEIGHT;
        Self { level, n: shift_right(node.index, HEIGHT - node.level % HEIGHT) }
    }

    /// How many hashes this tile has in a tree of `size` leaves; 0 where it does not exist yet.
    #[must_use]
    pub fn width(self, size: u64) -> u16 {
        let hashes = shift_right(size, HEIGHT.saturating_mul(self.level));
        let before = self.n.saturating_mul(u64::from(FULL));
        u16::try_from(hashes.saturating_sub(before).min(u64::from(FULL))).unwrap_or(FULL)
    }
}

const fn shift_right(value: u64, by: u8) -> u64 {
    if by >= 64 { 0 } else { value >> by }
}

/// What a path names: a hash tile or an entry bundle, with its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TilePath {
    /// `tile/<L>/<N>[.p/<W>]`
    Hashes {
        /// Which tile.
        tile: TileId,
        /// 1 to 256 hashes.
        width: u16,
    },
    /// `tile/entries/<N>[.p/<W>]`
    Entries {
        /// Which bundle.
        n: u64,
        /// 1 to 256 leaves.
        width: u16,
    },
}

/// A path names no tile: `tile/<L>/<N>` or `tile/entries/<N>`, N in groups of three digits such as `x001/x234/067`,
/// a partial one followed by `.p/<W>` with W from 1 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("path names no tile; expected such as tile/0/x001/234 or tile/entries/x001/234.p/8")]
pub struct NotATile;

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, width) = match self {
            Self::Hashes { tile, width } => {
                write!(f, "tile/{}/", tile.level)?;
                (tile.n, *width)
            }
            Self::Entries { n, width } => {
                f.write_str("tile/entries/")?;
                (*n, *width)
            }
        };
        f.write_str(&grouped(n))?;
        if width < FULL { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

fn grouped(n: u64) -> String {
    let mut text = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

impl TryFrom<&str> for TilePath {
    type Error = NotATile;
    /// Accepts the one spelling that [`fmt::Display`] gives.
    fn try_from(path: &str) -> Result<Self, NotATile> {
        let (kind, rest) = path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(NotATile)?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().map_err(|_| NotATile)?),
            None => (rest, FULL),
        };
        let mut n = 0u64;
        for group in number.split('/') {
            let digits: u64 = group.strip_prefix('x').unwrap_or(group).parse().map_err(|_| NotATile)?;
            n = n.checked_mul(1000).and_then(|n| n.checked_add(digits)).ok_or(NotATile)?;
        }
        let parsed = if kind == "entries" {
            Self::Entries { n, width }
        } else {
            let level = kind.parse().ok().filter(|level| *level <= MAX_LEVEL).ok_or(NotATile)?;
            Self::Hashes { tile: TileId { level, n }, width }
        };
        // One spelling only: this refuses signs, missing zeros, an `x` on the last group and a width of 0 or 256.
        if (1..=FULL).contains(&width) && parsed.to_string() == path { Ok(parsed) } else { Err(NotATile) }
    }
}

/// Every tile of the tree of `size` leaves with its width, lowest level first.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TilePath> {
    new_tiles(0, size)
}

/// The tiles that grew or came to be between the two sizes: what has to be written when a checkpoint is published.
pub fn new_tiles(old: u64, new: u64) -> impl Iterator<Item = TilePath> {
    (0..=MAX_LEVEL).flat_map(move |level| {
        let before = shift_right(old, HEIGHT.saturating_mul(level));
        let after = shift_right(new, HEIGHT.saturating_mul(level));
        let range = if before < after { before / u64::from(FULL)..after.div_ceil(u64::from(FULL)) } else { 0..0 };
        range.map(move |n| {
            let tile = TileId { level, n };
            TilePath::Hashes { tile, width: tile.width(new) }
        })
    })
}

/// The tiles that hold these nodes: what to load before asking for a proof.
#[must_use]
pub fn tiles_for(nodes: &[NodeId]) -> BTreeSet<TileId> {
    nodes.iter().copied().map(TileId::of).collect()
}

/// A tile that is needed was not handed over, or is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tile {} of level {} is missing or too short", .0.n, .0.level)]
pub struct MissingTile(pub TileId);

/// Tiles held in memory: reads any node that lies in them, and grows as nodes are added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TileSet(BTreeMap<TileId, Vec<Hash>>);

impl TileSet {
    /// No tile.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts in a tile as stored: its hashes one after another. `None` where the length is not a multiple of 32 or
    /// above 8,192.
    #[must_use]
    pub fn insert(&mut self, tile: TileId, bytes: &[u8]) -> Option<()> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() > usize::from(FULL) {
            return None;
        }
        self.0.insert(tile, hashes.to_vec());
        Some(())
    }

    /// Adds what an append made. Nodes between tile levels are not kept; `None` where a hash would leave a gap.
    #[must_use]
    pub fn add(&mut self, nodes: &[(NodeId, Hash)]) -> Option<()> {
        for (node, hash) in nodes.iter().filter(|(node, _)| node.level % HEIGHT == 0) {
            let tile = self.0.entry(TileId::of(*node)).or_default();
            let place = usize::try_from(node.index % u64::from(FULL)).ok()?;
            match tile.get(place) {
                None if tile.len() == place => tile.push(*hash),
                Some(known) if known == hash => {}
                _ => return None,
            }
        }
        Some(())
    }

    /// The bytes of a tile, to store or to serve; `None` where it is not here.
    #[must_use]
    pub fn bytes(&self, tile: TileId) -> Option<Vec<u8>> {
        self.0.get(&tile).map(|hashes| hashes.concat())
    }

    /// The tiles that are here.
    pub fn ids(&self) -> impl Iterator<Item = TileId> + '_ {
        self.0.keys().copied()
    }
}

impl HashReader for TileSet {
    type Error = MissingTile;
    fn hash(&self, node: NodeId) -> Result<Hash, MissingTile> {
        let id = TileId::of(node);
        let above = node.level % HEIGHT;
        let first = usize::try_from((node.index << above) % u64::from(FULL)).map_err(|_| MissingTile(id))?;
        let mut row = self
            .0
            .get(&id)
            .and_then(|hashes| hashes.get(first..first + (1usize << above)))
            .ok_or(MissingTile(id))?
            .to_vec();
        for _ in 0..above {
            let (pairs, _) = row.as_chunks::<2>();
            row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        row.first().copied().ok_or(MissingTile(id))
    }
}

/// The bytes of an entry bundle: each leaf behind its length as u16 big-endian. `None` where a leaf is longer.
#[must_use]
pub fn encode_bundle<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for leaf in leaves {
        crate::text::push_part(&mut out, leaf)?;
    }
    Some(out)
}

/// The leaves of an entry bundle; `None` where it is cut or has more than 256.
#[must_use]
pub fn decode_bundle(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut input = crate::text::Bytes(bytes);
    let mut leaves = Vec::new();
    while !input.0.is_empty() && leaves.len() <= usize::from(FULL) {
        leaves.push(input.part()?);
    }
    (leaves.len() <= usize::from(FULL)).then_some(leaves)
}
