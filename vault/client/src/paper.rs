//! Receipts and certificates: compact JWS by the deployment's signer. Read only after their signature held, and only
//! when they are about what was asked.

use cofre_envelope::sha256;
use cofre_ledger::{jws, note::NoteKey};
use cofre_model::consent::ConsentState;
use cofre_model::id::{ConsentId, ErasureId};
use serde_json::Value;

use crate::error::NotVerified;

/// The `typ` of an erasure certificate.
const CERTIFICATE: &str = "cofre-erasure-certificate+jws";
/// The `typ` of a consent receipt.
pub const RECEIPT: &str = "cofre-receipt+jws";

/// A verified receipt or certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// The compact JWS, to be kept as evidence.
    pub jws: String,
    /// The media type of its content.
    pub typ: String,
    /// Its content.
    pub content: Value,
}

impl Paper {
    fn verify(jws: &str, signer: &NoteKey) -> Result<Self, NotVerified> {
        let verified = jws::verify(jws, signer.key()).map_err(|_| NotVerified::Paper)?;
        let content = serde_json::from_slice(&verified.payload).map_err(|_| NotVerified::Paper)?;
        Ok(Self { jws: jws.to_owned(), typ: verified.typ, content })
    }

    /// A text of its content.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.content.get(key).and_then(Value::as_str)
    }
}

/// Verifies a receipt about `consent`, and about `state` where one is expected.
///
/// # Errors
/// [`NotVerified::Paper`].
pub fn receipt(
    jws: &str,
    signer: &NoteKey,
    consent: &ConsentId,
    state: Option<ConsentState>,
) -> Result<Paper, NotVerified> {
    let paper = Paper::verify(jws, signer)?;
    let about = paper.typ == RECEIPT && paper.text("consent_id") == Some(consent.to_string().as_str());
    let fits = state.is_none_or(|state| paper.text("state") == Some(state.as_str()));
    if about && fits { Ok(paper) } else { Err(NotVerified::Paper) }
}

/// Verifies all receipts of a consent, oldest first: each names the digest of the one before.
///
/// # Errors
/// [`NotVerified::Paper`], [`NotVerified::PaperChain`].
pub fn receipts(all: &[String], signer: &NoteKey, consent: &ConsentId) -> Result<Vec<Paper>, NotVerified> {
    let mut papers: Vec<Paper> = Vec::with_capacity(all.len());
    for jws in all {
        let paper = receipt(jws, signer, consent, None)?;
        let before = papers.last().map(|last| hex::encode(sha256(last.jws.as_bytes())));
        if paper.text("prev") != before.as_deref() {
            return Err(NotVerified::PaperChain);
        }
        papers.push(paper);
    }
    Ok(papers)
}

/// Verifies a certificate about `erasure`.
///
/// # Errors
/// [`NotVerified::Paper`].
pub fn certificate(jws: &str, signer: &NoteKey, erasure: &ErasureId) -> Result<Paper, NotVerified> {
    let paper = Paper::verify(jws, signer)?;
    let about = paper.typ == CERTIFICATE && paper.text("erasure_id") == Some(erasure.to_string().as_str());
    if about { Ok(paper) } else { Err(NotVerified::Paper) }
}

#[cfg(test)]
mod tests;
