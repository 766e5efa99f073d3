//! A notice as the investor reads it. Its digest is computed here from what is shown: the grant names what was read,
//! not what the vault says was read.

use cofre_envelope::sha256;
use cofre_model::id::ConsentId;
use cofre_model::time::Timestamp;

/// A notice, and the consent that awaits the investor's word about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The consent.
    pub consent: ConsentId,
    /// Language and version of the texts.
    pub notice_id: String,
    /// Key and text of each line, in the order of the page; the last two are the buttons.
    pub lines: Vec<(String, String)>,
    /// SHA-256 over the id and each line, every part as u32 big-endian length ‖ bytes. Goes into the grant.
    pub sha256: [u8; 32],
    /// The consent lapses at this instant without a grant.
    pub lapses: Timestamp,
}

/// The digest of a notice's id and lines.
#[must_use]
pub fn digest(notice_id: &str, lines: &[(String, String)]) -> [u8; 32] {
    let mut shown = Vec::new();
    let texts = lines.iter().flat_map(|(key, text)| [key.as_str(), text.as_str()]);
    for part in std::iter::once(notice_id).chain(texts) {
        shown.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        shown.extend_from_slice(part.as_bytes());
    }
    sha256(&shown)
}
