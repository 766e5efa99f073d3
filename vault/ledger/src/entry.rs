//! The bytes of an entry. A leaf is version ‖ index ‖ time ‖ body: index and time are put on by the commit, the body
//! is a canonical protobuf message (`LedgerEntry` in `proto/cofre/v1/ledger.proto`). There is one encoding of an
//! entry and the decoder accepts no other, so an entry and its hash say the same thing.

mod decode;
mod fields;
#[cfg(test)]
mod tests;

use cofre_model::entry::Entry;
use cofre_model::permit::EntryRef;
use cofre_model::time::Timestamp;
use cofre_model::wording::Scope;
use prost::Message as _;

use crate::Hash;
use crate::text::Bytes;
use crate::{tree, wire};

pub use decode::decode;
pub(crate) use decode::scopes as scopes_from_numbers;
pub use fields::{fields, number};

/// The most bytes a leaf may have: entry bundles carry its length as u16 (C2SP tlog-tiles).
pub const MAX_LEAF: usize = 65_535;

/// The most bytes the policy input of an entry may have.
pub const MAX_POLICY_INPUT: usize = 2_048;

/// The version that leaves carry as their first byte.
pub const LEAF_VERSION: u8 = 1;

const HEADER: usize = 1 + 8 + 8;

/// Why bytes are not an entry, or an entry has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The leaf would have more than 65,535 bytes.
    #[error("entry has {0} bytes with its header, at most 65535 are allowed; name fewer rules, fields or consents")]
    TooLong(usize),
    /// The policy input is longer than 2 KiB.
    #[error("policy_input has {0} bytes, at most 2048 are allowed")]
    PolicyInputTooLong(usize),
    /// The leaf is shorter than its header, or of another version.
    #[error("leaf is not of version 1; a newer release may read it")]
    Version,
    /// The body is no canonical `LedgerEntry`.
    #[error("entry body is not a canonical LedgerEntry message")]
    NotCanonical,
    /// A field holds a value this release does not know.
    #[error("entry field `{0}` holds a value this release does not know")]
    Field(&'static str),
}

/// One entry at its place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Index in the ledger, from 0.
    pub index: u64,
    /// The time the commit put on it.
    pub time: Timestamp,
    /// The encoded [`Entry`].
    pub body: Vec<u8>,
}

impl Leaf {
    /// The bytes that are hashed and kept: version (1) ‖ index u64 ‖ time in µs u64 ‖ body, big-endian.
    ///
    /// # Errors
    /// [`EntryError::TooLong`] above 65,535 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EntryError> {
        let len = HEADER.saturating_add(self.body.len());
        if len > MAX_LEAF {
            return Err(EntryError::TooLong(len));
        }
        let mut out = Vec::with_capacity(len);
        out.push(LEAF_VERSION);
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.time.micros().to_be_bytes());
        out.extend_from_slice(&self.body);
        Ok(out)
    }

    /// Splits the bytes of a leaf. The body is not decoded; see [`Leaf::entry`].
    ///
    /// # Errors
    /// [`EntryError::Version`] for another version or a cut header, [`EntryError::TooLong`] above the limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_LEAF {
            return Err(EntryError::TooLong(bytes.len()));
        }
        let mut input = Bytes(bytes);
        let version = input.array::<1>().ok_or(EntryError::Version)?;
        let index = input.u64().ok_or(EntryError::Version)?;
        let time = input.u64().ok_or(EntryError::Version)?;
        if version != [LEAF_VERSION] {
            return Err(EntryError::Version);
        }
        Ok(Self { index, time: Timestamp::from_micros(time), body: input.0.to_vec() })
    }

    /// RFC 6962 leaf hash of [`Leaf::to_bytes`].
    ///
    /// # Errors
    /// As [`Leaf::to_bytes`].
    pub fn hash(&self) -> Result<Hash, EntryError> {
        Ok(tree::leaf_hash(&self.to_bytes()?))
    }

    /// Where the entry stands, for those who answer for it.
    ///
    /// # Errors
    /// As [`Leaf::to_bytes`].
    pub fn reference(&self) -> Result<EntryRef, EntryError> {
        Ok(EntryRef { index: self.index, leaf_hash: self.hash()?, time: self.time })
    }

    /// What the entry says.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn entry(&self) -> Result<Entry, EntryError> {
        decode(&self.body)
    }
}

/// The RFC 6962 leaf hash of the bytes of a leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    tree::leaf_hash(leaf)
}

/// The canonical body of an entry.
///
/// # Errors
/// [`EntryError::PolicyInputTooLong`] above 2 KiB. The length as a whole is checked by [`Leaf::to_bytes`].
pub fn encode(entry: &Entry) -> Result<Vec<u8>, EntryError> {
    if entry.policy_input.len() > MAX_POLICY_INPUT {
        return Err(EntryError::PolicyInputTooLong(entry.policy_input.len()));
    }
    Ok(to_wire(entry).encode_to_vec())
}

fn to_wire(entry: &Entry) -> wire::LedgerEntry {
    wire::LedgerEntry {
        kind: entry.kind.number(),
        id: entry.id.to_vec(),
        caller: entry.caller.as_ref().map(|caller| wire::CallerRef {
            identity: caller.identity.clone(),
            fingerprint: caller.fingerprint.to_vec(),
        }),
        node: entry
            .node
            .as_ref()
            .map(|node| wire::NodeRef { identity: node.identity.clone(), incarnation: node.incarnation.to_vec() }),
        method: entry.method.as_deref().map(str::to_owned),
        tenant_id: text(entry.tenant),
        region: entry.region.clone(),
        credential_id: text(entry.credential),
        class: entry.class.map(|value| value.number()),
        secret_version: entry.secret_version,
        owner_id: text(entry.owner),
        institution_id: text(entry.institution.as_ref()),
        consent_ids: entry.consents.iter().map(ToString::to_string).collect(),
        epochs: entry.epochs.map(|epochs| wire::Epochs {
            cell: epochs.cell,
            policy: epochs.policy,
            tenant: epochs.tenant,
            institution: epochs.institution,
            worker: epochs.worker,
            credential: epochs.credential,
        }),
        purpose: entry.purpose.map(|value| value.number()),
        scopes: entry.scopes.iter().map(Scope::number).collect(),
        attendance: entry.attendance.map(|value| value.number()),
        job_id: text(entry.job),
        request_digest: entry.request_digest.map(Vec::from),
        policy_digest: entry.policy_digest.map(Vec::from),
        rules: entry.rules.clone(),
        policy_input: entry.policy_input.clone(),
        verdict: entry.verdict.map(|value| value.number()),
        reason: entry.reason.map(|value| value.number()),
        fields: entry
            .fields
            .iter()
            .map(|(key, form)| wire::FieldForm { key: key.clone(), form: form.number() })
            .collect(),
        tenant_key: entry.tenant_key.map(|(id, version)| wire::TenantKeyRef { id: id.to_vec(), version }),
        lease_until_us: entry.lease_until.map(Timestamp::micros),
        follows: entry.follows,
        outcome: entry.outcome.map(|value| value.number()),
        custodian_request: entry.custodian_request.clone(),
        custodian_us: entry.custodian_us,
        count: entry.count,
        digest: entry.digest.map(Vec::from),
        reference: entry.reference.clone(),
    }
}

fn text<T: ToString>(id: Option<T>) -> Option<String> {
    id.map(|id| id.to_string())
}
