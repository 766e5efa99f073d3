//! Compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037) or ES256 (RFC 7518): the form of receipts and erasure
//! certificates, so that anybody's library can check them.
//!
//! The header has `alg`, `kid` and `typ`, in this order and nothing else; the algorithm follows from the key and is
//! never taken from the token. The payload is the caller's: bytes of canonical JSON that are signed as they are.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::signed::VerifyingKey;
use crate::text::{base64url, from_base64url};

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// It is not three parts of unpadded base64url.
    #[error("token is not three base64url parts")]
    Malformed,
    /// Its header has other members than `alg`, `kid` and `typ`, or another order.
    #[error("token header is not exactly alg, kid and typ")]
    Header,
    /// Its algorithm is not that of the key.
    #[error("token algorithm is not that of the key")]
    Algorithm,
    /// The signature does not hold.
    #[error("signature does not hold")]
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// A token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Key id.
    pub kid: String,
    /// Media type of the payload.
    pub typ: String,
    /// The payload, byte for byte.
    pub payload: Vec<u8>,
}

/// The `alg` of a key.
#[must_use]
pub const fn algorithm(key: &VerifyingKey) -> &'static str {
    match key {
        VerifyingKey::Ed25519(_) => "EdDSA",
        VerifyingKey::P256(_) => "ES256",
    }
}

/// What is signed: `base64url(header).base64url(payload)`.
///
/// # Errors
/// [`JwsError::Header`] where the header cannot be written.
pub fn signing_input(key: &VerifyingKey, kid: &str, typ: &str, payload: &[u8]) -> Result<String, JwsError> {
    let header = Header { alg: algorithm(key).to_owned(), kid: kid.to_owned(), typ: typ.to_owned() };
    let header = serde_json::to_vec(&header).map_err(|_| JwsError::Header)?;
    Ok(format!("{}.{}", base64url(&header), base64url(payload)))
}

/// The token: what was signed, a dot and the 64 bytes of the signature (r ‖ s for ES256).
#[must_use]
pub fn assemble(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", base64url(signature))
}

/// Verifies a token under `key` and returns what it says. Whether `kid` and `typ` are the ones expected is for the
/// caller to compare.
///
/// # Errors
/// Each variant of [`JwsError`].
pub fn verify(token: &str, key: &VerifyingKey) -> Result<Verified, JwsError> {
    let (input, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
    let (head, payload) = input.split_once('.').ok_or(JwsError::Malformed)?;
    let head = from_base64url(head).ok_or(JwsError::Malformed)?;
    let payload = from_base64url(payload).ok_or(JwsError::Malformed)?;
    let signature = from_base64url(signature).ok_or(JwsError::Malformed)?;
    let header: Header = serde_json::from_slice(&head).map_err(|_| JwsError::Header)?;
    if serde_json::to_vec(&header).map_err(|_| JwsError::Header)? != head {
        return Err(JwsError::Header);
    }
    if header.alg != algorithm(key) {
        return Err(JwsError::Algorithm);
    }
    key.verify(input.as_bytes(), &signature).map_err(|_| JwsError::Signature)?;
    Ok(Verified { kid: header.kid, typ: header.typ, payload })
}
