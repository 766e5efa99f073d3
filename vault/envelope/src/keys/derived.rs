//! Keys derived from the tenant key that authenticate and open nothing: row MACs, duplicate tags, service tags.
//! They may stay in locked memory while a node serves the tenant.

use cofre_model::credential::FieldKey;
use cofre_model::id::InstitutionId;
use subtle::ConstantTimeEq;

use super::KeyBytes;
use crate::error::Forged;
use crate::plain::Plain;
use crate::primitive::hmac_sha256;

/// The tenant's integrity key: authenticates rows of records that can permit something.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct RowMac(pub(super) KeyBytes);

/// Finds the same login deposited twice in one tenant, without saying which login it is.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct DedupeKey(pub(super) KeyBytes);

/// A key of one service of one tenant that every node derives alike.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct ServiceKey(pub(super) KeyBytes);

/// HMAC-SHA-256 over parts, each as u64 big-endian length and bytes, after their count: no two lists of parts have
/// the same bytes, and no part is too long.
fn tag(key: &KeyBytes, parts: &[&[u8]]) -> [u8; 32] {
    let count = (parts.len() as u64).to_be_bytes();
    let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
    let mut all: Vec<&[u8]> = vec![&count];
    for (length, part) in lengths.iter().zip(parts) {
        all.push(length);
        all.push(part);
    }
    hmac_sha256(key.expose(), &all)
}

impl RowMac {
    /// Whether this is the same key; compared in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        bool::from(self.0.expose().ct_eq(other.0.expose()))
    }

    /// The code of a row: over its table, the deciding columns in their order (never the epoch), and the random id of
    /// the ledger entry that made it.
    #[must_use]
    pub fn tag(&self, table: &str, columns: &[&[u8]], entry: &[u8; 16]) -> [u8; 32] {
        let mut parts: Vec<&[u8]> = vec![b"cofre/v1/row", table.as_bytes(), entry];
        parts.extend_from_slice(columns);
        tag(&self.0, &parts)
    }

    /// Whether `claimed` is the code of this row; compared in constant time.
    ///
    /// # Errors
    /// [`Forged`] otherwise.
    pub fn verify(&self, table: &str, columns: &[&[u8]], entry: &[u8; 16], claimed: &[u8]) -> Result<(), Forged> {
        if bool::from(self.tag(table, columns, entry).ct_eq(claimed)) { Ok(()) } else { Err(Forged) }
    }
}

impl DedupeKey {
    /// Whether this is the same key; compared in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        bool::from(self.0.expose().ct_eq(other.0.expose()))
    }

    /// The tag of a login: over the institution and its identifying fields, in the order of their keys.
    #[must_use]
    pub fn tag(&self, institution: &InstitutionId, fields: &[(&FieldKey, &Plain)]) -> [u8; 32] {
        let institution = institution.to_string();
        let mut sorted = fields.to_vec();
        sorted.sort_by_key(|(key, _)| *key);
        let mut parts: Vec<&[u8]> = vec![b"cofre/v1/dedupe", institution.as_bytes()];
        for (key, plain) in &sorted {
            parts.push(key.as_str().as_bytes());
            parts.push(plain.value());
        }
        tag(&self.0, &parts)
    }
}

impl ServiceKey {
    /// A code over `message` that every node of the tenant can check.
    #[must_use]
    pub fn tag(&self, message: &[u8]) -> [u8; 32] {
        tag(&self.0, &[b"cofre/v1/service", message])
    }

    /// Whether `claimed` is the code of this message; compared in constant time.
    ///
    /// # Errors
    /// [`Forged`] otherwise.
    pub fn verify(&self, message: &[u8], claimed: &[u8]) -> Result<(), Forged> {
        if bool::from(self.tag(message).ct_eq(claimed)) { Ok(()) } else { Err(Forged) }
    }
}
