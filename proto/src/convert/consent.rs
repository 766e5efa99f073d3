//! Notices and grants.

use cofre_model::request::{GrantRequest, NoticeRequest, Token};
use cofre_model::wording::{Locale, Purpose, Scope, ScopeSet};

use super::Malformed;
use super::common::{bytes, id, instant, word};
use crate::v1;

/// Parses a scope list; empty lists, unknown numbers and repeats are refused.
pub(super) fn scopes(field: &str, numbers: &[i32]) -> Result<ScopeSet, Malformed> {
    let mut seen = std::collections::BTreeSet::new();
    for (place, number) in numbers.iter().enumerate() {
        let scope: Scope = word(&format!("{field}[{place}]"), Scope::from_number(*number))?;
        if !seen.insert(scope) {
            return Err(Malformed::new(format!("{field}[{place}]"), "must not repeat an earlier scope"));
        }
    }
    if seen.is_empty() {
        return Err(Malformed::new(field, "must name at least one scope"));
    }
    Ok(seen.into_iter().collect())
}

/// Parses a request for a notice.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn notice_request(wire: v1::NoticeRequest) -> Result<NoticeRequest, Malformed> {
    let unattended_per_day = u8::try_from(wire.unattended_per_day)
        .ok()
        .filter(|count| *count <= 4)
        .ok_or_else(|| Malformed::new("unattended_per_day", "must be 0 to 4 (RTS 2018/389, Article 36(5)(b))"))?;
    Ok(NoticeRequest {
        credential: id("credential_id", &wire.credential_id)?,
        recipient: id("recipient_id", &wire.recipient_id)?,
        purpose: word("purpose", Purpose::from_number(wire.purpose))?,
        scopes: scopes("scopes", &wire.scopes)?,
        valid_until: instant("valid_until_us", wire.valid_until_us)?,
        history_from: instant("history_from_us", wire.history_from_us)?,
        unattended_per_day,
        locale: word("locale", Locale::from_number(wire.locale))?,
    })
}

/// Parses a grant.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn grant_request(wire: &v1::GrantRequest) -> Result<GrantRequest, Malformed> {
    let token =
        |field: &str, text: &str| Token::try_from(text).map_err(|problem| Malformed::new(field, problem.to_string()));
    Ok(GrantRequest {
        consent: id("consent_id", &wire.consent_id)?,
        notice_sha256: bytes("notice_sha256", &wire.notice_sha256)?,
        authn_method: token("authn_method", &wire.authn_method)?,
        session: token("session_id", &wire.session_id)?,
    })
}
