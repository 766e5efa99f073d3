//! The vault's word about an entry, and the proof that it was kept. Both are verified against the pinned signer before
//! a caller sees them.

use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::note::NoteKey;
use cofre_ledger::promise::{GroupHead, NodeCertificate, Promise};
use cofre_ledger::proof::ProofFile;
use cofre_model::permit::EntryRef;
use cofre_model::time::Timestamp;
use cofre_proto::v1;

use crate::error::{Error, NotVerified};
use crate::wire::bytes;

/// A promise whose whole chain was verified: pinned signer, node, group, entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPromise {
    /// The entry it is about.
    pub entry: EntryRef,
    /// The ledger.
    pub origin: String,
    /// The node that gave it, as SPIFFE id text.
    pub node: String,
    /// By when the entry is in the tree of a signed checkpoint.
    pub integrate_by: Timestamp,
    /// The promise itself, evidence to keep.
    pub promise: Promise,
    /// What vouches for the node key, evidence to keep.
    pub certificate: NodeCertificate,
}

/// Parses and verifies a promise about `entry`.
pub(crate) fn verify(wire: v1::Promise, entry: EntryRef, signer: &NoteKey) -> Result<VerifiedPromise, Error> {
    let path = wire.path.iter().map(|hash| bytes("promise.path", hash)).collect::<Result<_, _>>()?;
    let promise = Promise {
        head: GroupHead {
            origin: wire.origin,
            first_index: wire.first_index,
            count: wire.count,
            group_root: bytes("promise.group_root", &wire.group_root)?,
            time: Timestamp::from_micros(wire.time_us),
            integrate_by: Timestamp::from_micros(wire.integrate_by_us),
        },
        path,
        signature: bytes("promise.signature", &wire.signature)?,
    };
    let certificate = NodeCertificate { statement: wire.node_statement, signature: wire.node_signature };
    let node = promise.verify_chain(&entry, &certificate, signer).map_err(|_| NotVerified::Promise)?;
    if wire.node_key != node.public_key {
        return Err(NotVerified::Promise.into());
    }
    Ok(VerifiedPromise {
        entry,
        origin: promise.head.origin.clone(),
        node: node.node,
        integrate_by: promise.head.integrate_by,
        promise,
        certificate,
    })
}

/// Verifies a proof file about `entry` and returns the checkpoint it leads to.
pub(crate) fn verify_proof(text: &str, entry: &EntryRef, signer: &NoteKey) -> Result<Checkpoint, Error> {
    let proof = ProofFile::parse(text).map_err(|_| NotVerified::Proof)?;
    if proof.index != entry.index {
        return Err(NotVerified::Proof.into());
    }
    Ok(proof.verify(&entry.leaf_hash, signer).map_err(|_| NotVerified::Proof)?)
}
