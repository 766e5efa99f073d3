//! Instants at which something of a login ends: where one microsecond decides.

use cofre_model::id::CredentialId;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Attendance;

use super::Reference;

impl Reference {
    /// Those of a login that lie after `now`, the next one first.
    pub(in crate::lists) fn bounds(&self, login: CredentialId, now: Timestamp) -> Vec<Timestamp> {
        let mut ends = Vec::new();
        if let Some(lease) = self.leases.get(&login) {
            ends.extend([lease.until, lease.since.plus(Span::minutes(5)), lease.until.plus(Span::minutes(10))]);
        }
        for release in self.releases.iter().rev().filter(|release| release.credential == login).take(4) {
            ends.extend([release.since.plus(Span::minutes(5)), release.at.plus(Span::secs(720))]);
            if release.counted && release.attendance == Attendance::Unattended {
                ends.extend([release.at.plus(Span::minutes(30)), release.at.plus(Span::days(1))]);
            }
        }
        for asked in self.consents.values().filter(|asked| asked.row.credential == login) {
            ends.extend([asked.lapses_at, asked.row.valid_until]);
        }
        ends.extend(self.sessions.values().filter(|session| session.credential == login).map(|it| it.expires_at));
        ends.extend(self.logins.get(&login).map(|row| row.row.not_before));
        ends.retain(|end| *end > now);
        ends.sort();
        ends.dedup();
        ends
    }
}
