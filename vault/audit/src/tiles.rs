//! Hash tiles, loaded as the tree asks for them. Nothing is written here.

use cofre_ledger::tile::TileSet;
use cofre_ledger::tree::{NodeId, frontier_nodes};
use cofre_store::Records;

use crate::error::Error;

/// The tiles that hold these nodes. A tile that is not stored stays out: the reader names it when it is asked for.
pub(crate) async fn holding(records: &Records, nodes: &[NodeId]) -> Result<TileSet, Error> {
    records.tiles_holding(nodes).await?.ok_or(Error::Missing)
}

/// The tiles of the right edges of the trees of these sizes.
pub(crate) async fn edges(records: &Records, sizes: &[u64]) -> Result<TileSet, Error> {
    let nodes: Vec<NodeId> = sizes.iter().flat_map(|size| frontier_nodes(*size)).collect();
    holding(records, &nodes).await
}
