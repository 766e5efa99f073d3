//! The body of an entry, taken apart into its encoded fields. The commit decides some fields itself (what was decided,
//! what it follows up); where that happens inside a database, the body travels in these parts and is joined again in
//! the order of their numbers, which gives the one canonical encoding.

use cofre_model::entry::Entry;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::{EntryError, encode};

/// Numbers of the fields that a commit may set. Pinned to the messages by a test.
pub mod number {
    /// What happened.
    pub const KIND: u32 = 1;
    /// The id of the entry.
    pub const ID: u32 = 2;
    /// The caller.
    pub const CALLER: u32 = 3;
    /// The node.
    pub const NODE: u32 = 4;
    /// The tenant concerned.
    pub const TENANT: u32 = 6;
    /// The login concerned.
    pub const CREDENTIAL: u32 = 8;
    /// The version of its secret.
    pub const SECRET_VERSION: u32 = 10;
    /// The credential holder.
    pub const OWNER: u32 = 11;
    /// The consents concerned.
    pub const CONSENTS: u32 = 13;
    /// The job.
    pub const JOB: u32 = 18;
    /// Yes or no.
    pub const VERDICT: u32 = 23;
    /// The exact reason.
    pub const REASON: u32 = 24;
    /// The end of the lease.
    pub const LEASE_UNTIL: u32 = 27;
    /// The entry this one follows up.
    pub const FOLLOWS: u32 = 28;
    /// How it went.
    pub const OUTCOME: u32 = 29;
    /// What the entry speaks of.
    pub const DIGEST: u32 = 33;
    /// Whom or what it names.
    pub const REFERENCE: u32 = 34;
}

/// The encoded fields of an entry, each with its number, ascending. A repeated field is one part.
///
/// # Errors
/// As [`encode`].
pub fn fields(entry: &Entry) -> Result<Vec<(u32, Vec<u8>)>, EntryError> {
    let body = encode(entry)?;
    let mut rest = body.as_slice();
    let mut fields: Vec<(u32, Vec<u8>)> = Vec::new();
    while !rest.is_empty() {
        let from = rest;
        let (number, wire) = decode_key(&mut rest).map_err(|_| EntryError::NotCanonical)?;
        skip_field(wire, number, &mut rest, DecodeContext::default()).map_err(|_| EntryError::NotCanonical)?;
        let (field, _) = from.split_at(from.len().saturating_sub(rest.len()));
        match fields.last_mut() {
            Some((last, held)) if *last == number => held.extend_from_slice(field),
            _ => fields.push((number, field.to_vec())),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use cofre_model::entry::{EntryKind, Verdict};
    use cofre_model::reason::Reason;
    use cofre_model::time::Timestamp;

    use super::*;
    use crate::samples::full_entry;

    #[test]
    fn the_parts_of_an_entry_are_its_body() {
        for entry in [full_entry(), Entry::new(EntryKind::Warm, [4; 16])] {
            let parts = fields(&entry).expect("short");
            assert!(parts.windows(2).all(|pair| pair[0].0 < pair[1].0), "ascending, each once");
            let joined: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
            assert_eq!(joined, encode(&entry).expect("short"));
        }
        assert_eq!(fields(&full_entry()).expect("short").len(), 34, "every field of the message");
    }

    #[test]
    fn the_numbers_are_those_of_the_messages() {
        let full = full_entry();
        let bare = Entry::new(full.kind, full.id);
        let set = [
            (number::TENANT, Entry { tenant: full.tenant, ..bare.clone() }),
            (number::CREDENTIAL, Entry { credential: full.credential, ..bare.clone() }),
            (number::SECRET_VERSION, Entry { secret_version: Some(1), ..bare.clone() }),
            (number::OWNER, Entry { owner: full.owner, ..bare.clone() }),
            (number::JOB, Entry { job: full.job, ..bare.clone() }),
            (number::VERDICT, Entry { verdict: Some(Verdict::Denied), ..bare.clone() }),
            (number::REASON, Entry { reason: Some(Reason::Replay), ..bare.clone() }),
            (number::LEASE_UNTIL, Entry { lease_until: Some(Timestamp::from_micros(1)), ..bare.clone() }),
            (number::FOLLOWS, Entry { follows: Some(1), ..bare.clone() }),
            (number::CALLER, Entry { caller: full.caller, ..bare.clone() }),
            (number::NODE, Entry { node: full.node, ..bare.clone() }),
            (number::CONSENTS, Entry { consents: full.consents, ..bare.clone() }),
            (number::OUTCOME, Entry { outcome: full.outcome, ..bare.clone() }),
            (number::DIGEST, Entry { digest: full.digest, ..bare.clone() }),
            (number::REFERENCE, Entry { reference: full.reference, ..bare }),
        ];
        for (expected, entry) in set {
            let numbers: Vec<u32> = fields(&entry).expect("short").iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [number::KIND, number::ID, expected]);
        }
    }
}
