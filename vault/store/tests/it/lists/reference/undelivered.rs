//! The reference's grants whose answers never left, or of which nobody knows.

use cofre_model::entry::{Entry, EntryKind, NodeRef};
use cofre_model::time::{Span, Timestamp};

use super::{Reference, Released};

/// The id of an entry whose own the engine draws.
pub(in crate::lists) const DRAWN: [u8; 16] = [0; 16];

impl Reference {
    fn closed(&self, grant: u64) -> bool {
        self.ledger.iter().any(|(_, entry)| entry.kind == EntryKind::Outcome && entry.follows == Some(grant))
    }

    /// The answer of this grant never leaves.
    pub(super) fn withdraw(&mut self, grant: u64) {
        let first = usize::try_from(grant).ok().and_then(|place| self.ledger.get(place));
        let first =
            first.filter(|(_, entry)| entry.kind == EntryKind::Redelivered).and_then(|(_, entry)| entry.follows);
        let release = self.releases.iter().position(|release| release.index == first.unwrap_or(grant));
        if let (false, Some(release)) = (self.closed(grant), release) {
            self.take_back(release);
        }
    }

    /// One answer less. Without any left of its session, the lease ends.
    fn take_back(&mut self, place: usize) {
        let release = &mut self.releases[place];
        release.answers = release.answers.saturating_sub(1);
        let (login, job, worker, since) = (release.credential, release.job, release.worker.clone(), release.since);
        let same = |release: &Released| {
            release.credential == login && release.job == job && release.worker == worker && release.since == since
        };
        let left = self.releases.iter().any(|release| same(release) && release.answers > 0);
        let held = self
            .leases
            .get(&login)
            .is_some_and(|lease| lease.job == job && lease.worker == worker && lease.since == since);
        match (held, left) {
            (true, false) => {
                self.leases.remove(&login);
                self.meet("lease ended with its last answer");
            }
            (true, true) => self.meet("lease kept by an answer that is left"),
            (false, _) => self.meet("answer taken back without a lease"),
        }
    }

    /// Grants of lives that are over, without report or outcome: the newest first.
    pub(super) fn earlier_lives(&mut self, now: Timestamp) {
        let over = |node: &Option<NodeRef>| {
            node.as_ref().is_some_and(|node| {
                node.incarnation != self.node.incarnation && (self.alone || node.identity == self.node.identity)
            })
        };
        let since = self.at(now).minus(Span::days(1));
        let open = |release: &&Released| release.outcome.is_none() && release.answers > 0 && release.at > since;
        let mut grants = Vec::new();
        for (index, (_, entry)) in (0_u64..).zip(&self.ledger) {
            let first = match entry.kind {
                EntryKind::Granted => Some(index),
                EntryKind::Redelivered => entry.follows,
                _ => None,
            };
            let release = self.releases.iter().position(|release| Some(release.index) == first && open(&release));
            if let Some(release) = release.filter(|_| over(&entry.node) && !self.closed(index)) {
                grants.push((index, release));
            }
        }
        for (index, place) in grants.into_iter().rev().take(1_000) {
            let release = &self.releases[place];
            let entry = Entry {
                method: Some("cofre.v1.ReleaseService/Release".into()),
                tenant: Some(release.tenant),
                credential: Some(release.credential),
                owner: Some(release.owner),
                job: Some(release.job),
                follows: Some(index),
                reference: Some("DELIVERY_UNKNOWN".into()),
                ..Entry::new(EntryKind::Outcome, DRAWN)
            };
            self.append(now, entry);
            self.take_back(place);
            self.meet("grant of a life that is over");
        }
    }
}
