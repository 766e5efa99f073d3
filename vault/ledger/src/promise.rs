//! What a worker takes home with each answer: the vault's word, in one signature per committed group, that its entry
//! will stand in the tree. With it comes the certificate by which the custodian's signer vouches for the node key.
//!
//! Whoever holds a promise and, after `integrate_by`, finds another entry at that index has proof against the vault.

#[cfg(test)]
mod tests;

use cofre_model::permit::{EntryRef, GroupSigner};
use cofre_model::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::Hash;
use crate::note::NoteKey;
use crate::signed::VerifyingKey;
use crate::text::{Bytes, push_part};
use crate::tree::{Frontier, ProofError, inclusion_proof, inclusion_root};

/// The label of a group's signature.
pub const PROMISE_LABEL: &[u8] = b"cofre/v1/promise";
/// The label inside a promise leaf: no hash of the ledger's own tree can pass for one.
pub const PROMISE_LEAF_LABEL: &[u8] = b"cofre/v1/promise-leaf";
/// The label of a node certificate.
pub const NODE_LABEL: &[u8] = b"cofre/v1/node";

/// Why a promise or a node certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PromiseError {
    /// The origin is longer than 65,535 bytes.
    #[error("origin is longer than 65535 bytes")]
    Origin,
    /// The entry lies outside the group, or its path does not lead to the group's root.
    #[error("entry is not in the group: {0}")]
    Path(#[from] ProofError),
    /// The public key is no usable key.
    #[error("key is no usable public key")]
    BadKey,
    /// The signature does not hold.
    #[error("signature does not hold")]
    Signature,
    /// A node statement is not of the expected form.
    #[error("node statement is malformed")]
    Statement,
    /// A statement or promise speaks of another ledger, or a promise was signed by another node key.
    #[error("promise or certificate is of another ledger or another node key")]
    Mismatch,
}

/// What one signature covers: a committed group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupHead {
    /// The ledger.
    pub origin: String,
    /// The index of the group's first entry.
    pub first_index: u64,
    /// How many entries it has.
    pub count: u32,
    /// The root of the group's own tree of promise leaves.
    pub group_root: Hash,
    /// When it was committed.
    pub time: Timestamp,
    /// By when the entries are in the tree of a signed checkpoint.
    pub integrate_by: Timestamp,
}

impl GroupHead {
    /// What the node key signs: label ‖ 0x00 ‖ u16 length and origin ‖ first index u64 ‖ count u32 ‖ group root ‖
    /// time u64 ‖ integrate-by u64 (µs), big-endian.
    ///
    /// # Errors
    /// [`PromiseError::Origin`].
    pub fn message(&self) -> Result<Vec<u8>, PromiseError> {
        let mut out = [PROMISE_LABEL, &[0]].concat();
        push_part(&mut out, self.origin.as_bytes()).ok_or(PromiseError::Origin)?;
        out.extend_from_slice(&self.first_index.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.group_root);
        out.extend_from_slice(&self.time.micros().to_be_bytes());
        out.extend_from_slice(&self.integrate_by.micros().to_be_bytes());
        Ok(out)
    }
}

/// The vault's word about one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The group the entry was committed in.
    pub head: GroupHead,
    /// From the entry's promise leaf to the group root.
    pub path: Vec<Hash>,
    /// Ed25519 by the node key over [`GroupHead::message`].
    pub signature: [u8; 64],
}

/// `SHA-256(0x00 ‖ label ‖ 0x00 ‖ index u64 ‖ leaf hash)`.
#[must_use]
pub fn promise_leaf(index: u64, leaf_hash: &Hash) -> Hash {
    Sha256::new()
        .chain_update([0x00])
        .chain_update(PROMISE_LEAF_LABEL)
        .chain_update([0x00])
        .chain_update(index.to_be_bytes())
        .chain_update(leaf_hash)
        .finalize()
        .into()
}

/// Signs a committed group once and gives the promise of each entry. `first_index` is that of the first of
/// `leaf_hashes`; the others follow without a gap. `time` is that of the group's last entry.
///
/// # Errors
/// [`PromiseError::Origin`].
pub fn promise_group(
    origin: &str,
    first_index: u64,
    leaf_hashes: &[Hash],
    time: Timestamp,
    integrate_by: Timestamp,
    node: &dyn GroupSigner,
) -> Result<Vec<Promise>, PromiseError> {
    let mut frontier = Frontier::empty();
    let mut nodes = std::collections::BTreeMap::new();
    for (offset, hash) in (0u64..).zip(leaf_hashes) {
        nodes.extend(frontier.append(promise_leaf(first_index.saturating_add(offset), hash)));
    }
    let head = GroupHead {
        origin: origin.to_owned(),
        first_index,
        count: u32::try_from(leaf_hashes.len()).map_err(|_| PromiseError::Path(ProofError::Length))?,
        group_root: frontier.root(),
        time,
        integrate_by,
    };
    let signature = node.sign(&head.message()?);
    let reader = |id| nodes.get(&id).copied().ok_or(ProofError::Length);
    (0..u64::from(head.count))
        .map(|place| {
            let path = inclusion_proof(place, u64::from(head.count), &reader)
                .map_err(|_| PromiseError::Path(ProofError::Length))?;
            Ok(Promise { head: head.clone(), path, signature })
        })
        .collect()
}

impl Promise {
    /// Verifies that this is the word of `node_key` about `entry`. That the key is a node's is what
    /// [`NodeCertificate::verify`] says.
    ///
    /// # Errors
    /// [`PromiseError::Path`], [`PromiseError::BadKey`], [`PromiseError::Signature`].
    pub fn verify(&self, entry: &EntryRef, node_key: &[u8; 32]) -> Result<(), PromiseError> {
        let place = entry.index.checked_sub(self.head.first_index).ok_or(ProofError::Length)?;
        let leaf = promise_leaf(entry.index, &entry.leaf_hash);
        if inclusion_root(&leaf, place, u64::from(self.head.count), &self.path)? != self.head.group_root {
            return Err(PromiseError::Path(ProofError::Root));
        }
        VerifyingKey::ed25519(node_key)
            .map_err(|_| PromiseError::BadKey)?
            .verify(&self.head.message()?, &self.signature)
            .map_err(|_| PromiseError::Signature)
    }

    /// Verifies the whole chain: the deployment's signer vouches for the node key, the node key for the group, the
    /// group for the entry, all of one ledger.
    ///
    /// # Errors
    /// Each variant of [`PromiseError`].
    pub fn verify_chain(
        &self,
        entry: &EntryRef,
        certificate: &NodeCertificate,
        deployment: &NoteKey,
    ) -> Result<NodeStatement, PromiseError> {
        let node = certificate.verify(deployment)?;
        if self.head.origin != node.origin || self.head.time < node.time {
            return Err(PromiseError::Mismatch);
        }
        self.verify(entry, &node.public_key)?;
        Ok(node)
    }
}

/// What the custodian's signer says of a node key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatement {
    /// The ledger.
    pub origin: String,
    /// The node's SPIFFE id.
    pub node: String,
    /// The life of the node the key was made in.
    pub incarnation: [u8; 16],
    /// The node's Ed25519 public key.
    pub public_key: [u8; 32],
    /// When it was certified.
    pub time: Timestamp,
}

impl NodeStatement {
    /// The bytes that are signed: label ‖ 0x00 ‖ u16 length and origin ‖ u16 length and node ‖ incarnation (16) ‖
    /// public key (32) ‖ time u64 in µs.
    ///
    /// # Errors
    /// [`PromiseError::Origin`] where a text is longer than 65,535 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PromiseError> {
        let mut out = [NODE_LABEL, &[0]].concat();
        push_part(&mut out, self.origin.as_bytes()).ok_or(PromiseError::Origin)?;
        push_part(&mut out, self.node.as_bytes()).ok_or(PromiseError::Origin)?;
        out.extend_from_slice(&self.incarnation);
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.time.micros().to_be_bytes());
        Ok(out)
    }

    /// Parses [`NodeStatement::to_bytes`]; believes nothing.
    ///
    /// # Errors
    /// [`PromiseError::Statement`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PromiseError> {
        parse_statement(bytes).ok_or(PromiseError::Statement)
    }
}

fn parse_statement(bytes: &[u8]) -> Option<NodeStatement> {
    let mut input = Bytes(bytes.strip_prefix(NODE_LABEL)?.strip_prefix(&[0])?);
    let statement = NodeStatement {
        origin: String::from_utf8(input.part()?.to_vec()).ok()?,
        node: String::from_utf8(input.part()?.to_vec()).ok()?,
        incarnation: input.array()?,
        public_key: input.array()?,
        time: Timestamp::from_micros(input.u64()?),
    };
    input.0.is_empty().then_some(statement)
}

/// A node statement under the signature of the deployment's signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCertificate {
    /// The exact bytes that were signed.
    pub statement: Vec<u8>,
    /// 64 bytes: Ed25519, or r ‖ s of P-256.
    pub signature: Vec<u8>,
}

impl NodeCertificate {
    /// Verifies it under the deployment's signer, whose name is the ledger's origin.
    ///
    /// # Errors
    /// [`PromiseError::Signature`], [`PromiseError::Statement`], [`PromiseError::Mismatch`] for another origin.
    pub fn verify(&self, deployment: &NoteKey) -> Result<NodeStatement, PromiseError> {
        deployment.key().verify(&self.statement, &self.signature).map_err(|_| PromiseError::Signature)?;
        let statement = NodeStatement::parse(&self.statement)?;
        if statement.origin == deployment.name() { Ok(statement) } else { Err(PromiseError::Mismatch) }
    }
}
