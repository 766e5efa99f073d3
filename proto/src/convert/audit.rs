//! Searches of the register.

use cofre_model::entry::EntryKind;
use cofre_model::reason::Reason;
use cofre_model::request::{Page, SearchQuery};

use super::Malformed;
use super::common::{id, text, word};
use crate::v1;

/// A SPIFFE id is at most this long (SPIFFE-ID, section 2.3).
const MOST_IDENTITY: usize = 2_048;

/// Parses a search.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn search(wire: v1::SearchRequest) -> Result<SearchQuery, Malformed> {
    let some = |text: &str| !text.is_empty();
    if wire.limit > 500 {
        return Err(Malformed::new("limit", "must be at most 500; page with from_index"));
    }
    Ok(SearchQuery {
        credential: some(&wire.credential_id).then(|| id("credential_id", &wire.credential_id)).transpose()?,
        tenant: some(&wire.tenant_id).then(|| id("tenant_id", &wire.tenant_id)).transpose()?,
        kind: some(&wire.kind).then(|| word("kind", EntryKind::from_text(&wire.kind))).transpose()?,
        reason: some(&wire.reason).then(|| word("reason", Reason::from_text(&wire.reason))).transpose()?,
        caller: some(&wire.caller).then(|| text("caller", wire.caller, MOST_IDENTITY)).transpose()?,
        page: Page {
            from: wire.from_index,
            to: if wire.to_index == 0 { u64::MAX } else { wire.to_index },
            limit: if wire.limit == 0 { 100 } else { wire.limit },
        },
    })
}
