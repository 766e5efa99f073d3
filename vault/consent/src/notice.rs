//! The notice an investor reads before saying yes: by key, in the language asked for. A language without a text does
//! not exist, so nothing can fall back. What was shown is bound to the consent by its digest.

use cofre_envelope::sha256;
use cofre_model::time::Timestamp;
use cofre_model::wording::{Locale, ScopeSet};

mod words;

/// Version of the texts. Raise it with any change, so that old consents keep naming what was shown.
pub const TEXT_VERSION: u32 = 1;

/// What a notice speaks of. Names come from the registries; nothing else of a tenant's text reaches the page.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The operator of the vault.
    pub aisp: &'a str,
    /// The tenant's legal name.
    pub tenant: &'a str,
    /// The institution's name.
    pub institution: &'a str,
    /// The recipient's name.
    pub recipient: &'a str,
    /// Which data.
    pub scopes: &'a ScopeSet,
    /// Data from this instant on.
    pub history_from: Timestamp,
    /// Until when.
    pub valid_until: Timestamp,
    /// Unattended releases a rolling day may bring.
    pub unattended_per_day: u8,
}

/// A rendered notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Language and version, such as `ntc_es_1`.
    pub id: String,
    /// Key and text of each line, in the order of the page. The two last are the buttons, of equal weight.
    pub lines: Vec<(&'static str, String)>,
    /// SHA-256 over the id and each line, every part as u32 big-endian length ‖ bytes.
    pub sha256: [u8; 32],
}

/// The id of the notice text in this language.
#[must_use]
pub fn id(locale: Locale) -> String {
    format!("ntc_{locale}_{TEXT_VERSION}")
}

/// Renders the notice.
#[must_use]
pub fn render(locale: Locale, subject: &Subject<'_>) -> Notice {
    let clusters = subject.scopes.iter().map(|scope| words::scope(locale, scope)).collect::<Vec<_>>().join(", ");
    let filled = |template: &str| {
        fill(
            template,
            &[
                ("aisp", subject.aisp),
                ("tenant", subject.tenant),
                ("institution", subject.institution),
                ("recipient", subject.recipient),
                ("clusters", &clusters),
                ("since", &subject.history_from.date()),
                ("until", &subject.valid_until.date()),
                ("n", &subject.unattended_per_day.to_string()),
            ],
        )
    };
    let lines: Vec<_> = words::lines(locale, subject.unattended_per_day > 0)
        .into_iter()
        .map(|(key, template)| (key, filled(template)))
        .collect();
    let id = id(locale);
    let mut shown = Vec::new();
    for part in std::iter::once(id.as_str()).chain(lines.iter().flat_map(|(key, text)| [*key, text.as_str()])) {
        shown.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        shown.extend_from_slice(part.as_bytes());
    }
    Notice { id, lines, sha256: sha256(&shown) }
}

/// Replaces `{name}` once per mark, left to right, so that a name holding braces is never read as a mark itself.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        out.push_str(values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value));
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofre_model::wording::Scope;

    fn subject(scopes: &ScopeSet) -> Subject<'_> {
        Subject {
            aisp: "AISP Ejemplo SL",
            tenant: "Gestora {aisp}",
            institution: "Banco Abierto",
            recipient: "Asesor Ejemplo EAF",
            scopes,
            history_from: Timestamp::parse_rfc3339("2024-01-01T00:00:00Z").expect("valid"),
            valid_until: Timestamp::parse_rfc3339("2026-10-31T22:59:59Z").expect("valid"),
            unattended_per_day: 2,
        }
    }

    #[test]
    fn every_language_has_every_line_and_no_mark_is_left() {
        let scopes: ScopeSet = Scope::ALL.iter().copied().collect();
        let keys: Vec<_> = render(Locale::Es, &subject(&scopes)).lines.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            keys,
            ["who", "what", "recipient", "duration", "frequency", "secrets", "withdraw", "allow", "refuse"]
        );
        for locale in Locale::ALL {
            let notice = render(*locale, &subject(&scopes));
            assert_eq!(notice.lines.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys, "{locale}");
            for (key, text) in &notice.lines {
                let marks = text.replace("Gestora {aisp}", "");
                assert!(!text.is_empty() && !marks.contains('{'), "{locale} {key}: {text}");
            }
        }
    }

    #[test]
    fn the_digest_follows_what_is_shown() {
        let one: ScopeSet = [Scope::Positions].into_iter().collect();
        let two: ScopeSet = [Scope::Positions, Scope::Accounts].into_iter().collect();
        let shown = render(Locale::En, &subject(&one));
        assert_eq!(shown.sha256, render(Locale::En, &subject(&one)).sha256);
        assert_ne!(shown.sha256, render(Locale::En, &subject(&two)).sha256);
        assert_ne!(shown.sha256, render(Locale::Pt, &subject(&one)).sha256);
    }

    #[test]
    fn an_attended_only_consent_says_so() {
        let scopes: ScopeSet = [Scope::Positions].into_iter().collect();
        let mut attended = subject(&scopes);
        attended.unattended_per_day = 0;
        let notice = render(Locale::Fr, &attended);
        let frequency = notice.lines.iter().find(|(key, _)| *key == "frequency").map(|(_, text)| text.as_str());
        assert_eq!(frequency, Some("Uniquement lorsque vous le demandez."));
    }
}
