//! The reference's releases: what a grant is checked against once more under the lock, and what it leaves behind.

use cofre_model::consent::ConsentState;
use cofre_model::entry::{Entry, EntryKind, Epochs, Verdict};
use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::Attendance;
use cofre_policy::decision::{Denial, GrantTerms};

use super::reference::{Lease, Reference, Released};

/// What became of a decision: a reason and when to try again, or the end of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decided {
    Granted(Timestamp),
    Denied(Reason, Option<Timestamp>),
    Moved,
}

impl Reference {
    pub(super) fn deny(&mut self, now: Timestamp, denial: &Denial) -> Decided {
        let entry = &denial.entry;
        let worker = entry.caller.as_ref().map(|caller| caller.identity.as_str());
        let stand = self.epochs(worker, entry.tenant, entry.credential);
        // Only what the entry names was relied on.
        let login = entry.tenant.is_some() && entry.credential.is_some();
        let relied = Epochs {
            tenant: if entry.tenant.is_some() { denial.epochs.tenant } else { 0 },
            worker: if worker.is_some() { denial.epochs.worker } else { 0 },
            institution: if login { denial.epochs.institution } else { 0 },
            credential: if login { denial.epochs.credential } else { 0 },
            ..denial.epochs
        };
        if stand != relied {
            self.meet("denial moved");
            return Decided::Moved;
        }
        self.meet(format!("decided: {}", denial.reason));
        self.denied(now, entry, denial.reason, denial.retry_at)
    }

    fn denied(&mut self, now: Timestamp, entry: &Entry, reason: Reason, retry_at: Option<Timestamp>) -> Decided {
        let entry = Entry {
            kind: EntryKind::Denied,
            verdict: Some(Verdict::Denied),
            reason: Some(reason),
            lease_until: None,
            follows: None,
            ..entry.clone()
        };
        self.append(now, entry);
        Decided::Denied(reason, retry_at)
    }

    pub(super) fn grant(&mut self, now: Timestamp, terms: &GrantTerms) -> Decided {
        if self.epochs(Some(&terms.worker), Some(terms.tenant), Some(terms.credential)) != terms.epochs {
            self.meet("grant moved");
            return Decided::Moved;
        }
        match self.held_to(now, terms) {
            Ok(session) => {
                self.meet(format!("granted: {} {}", session.standing(), terms.attendance));
                self.released(now, terms, session)
            }
            Err((reason, retry_at)) => {
                self.meet(format!("under the lock: {reason}"));
                self.denied(now, &terms.entry, reason, retry_at)
            }
        }
    }

    /// The first of these that fails is the reason.
    fn held_to(&self, now: Timestamp, terms: &GrantTerms) -> Result<Session, (Reason, Option<Timestamp>)> {
        let at = self.at(now);
        if !self.trusts(now) {
            return Err((Reason::ClockUntrusted, None));
        }
        if at >= terms.not_after {
            return Err((self.passed(at, terms), None));
        }
        let past = self.releases.iter().find(|past| past.worker == terms.worker && past.request == terms.request);
        let repeats = |past: &Released| {
            past.outcome.is_none() && past.digest == terms.request_digest && past.seal_key == terms.seal_key_digest
        };
        if past.is_some_and(|past| !repeats(past)) {
            return Err((Reason::Replay, None));
        }
        let lease = self.leases.get(&terms.credential).filter(|lease| lease.until > at);
        let own = |lease: &Lease| {
            lease.job == terms.job && lease.worker == terms.worker && lease.seal_key == terms.seal_key_digest
        };
        if let Some(lease) = lease.filter(|lease| !own(lease)) {
            return Err((Reason::LeaseHeld, Some(lease.until)));
        }
        let used = terms.attendance_token.as_ref().and_then(|(token, _)| self.tokens.get(token));
        if used.is_some_and(|(worker, request, _)| (worker, request) != (&terms.worker, &terms.request)) {
            return Err((Reason::AttendanceInvalid, None));
        }
        let unattended = terms.attendance == Attendance::Unattended;
        let first_alone = lease.is_some_and(|lease| unattended && lease.attendance == Attendance::Attended);
        let counted = past.is_none() && (lease.is_none() || first_alone);
        if counted && unattended {
            self.frequency(at, terms)?;
        }
        let since = lease.map(|lease| lease.since).or(past.map(|past| past.since)).unwrap_or(at);
        let ends = since.plus(Span::minutes(5));
        if ends <= at {
            return Err((Reason::Replay, None));
        }
        let counts_as = lease.map(|lease| lease.attendance).filter(|of| *of == Attendance::Unattended);
        Ok(Session {
            repeats: past.map(|past| past.index),
            counted,
            first_alone,
            since,
            until: lease.map_or(terms.lease_until, |lease| lease.until.max(terms.lease_until)).min(ends),
            attendance: counts_as.unwrap_or(terms.attendance),
        })
    }

    fn passed(&self, at: Timestamp, terms: &GrantTerms) -> Reason {
        let of_login = self.consents.values().filter(|asked| asked.row.credential == terms.credential);
        let deciding = of_login.max_by_key(|asked| {
            let live = asked.row.state == ConsentState::Active && asked.row.valid_until > at;
            (live, asked.requested_at, asked.row.id)
        });
        match deciding {
            Some(asked) if asked.row.valid_until <= at => Reason::ConsentExpired,
            _ if terms.attendance == Attendance::Attended => Reason::AttendanceInvalid,
            _ => Reason::JobInvalid,
        }
    }

    fn frequency(&self, at: Timestamp, terms: &GrantTerms) -> Result<(), (Reason, Option<Timestamp>)> {
        let day = Span::days(1);
        let visits: Vec<Timestamp> = self
            .releases
            .iter()
            .filter(|past| {
                past.credential == terms.credential && past.counted && past.attendance == Attendance::Unattended
            })
            .map(|past| past.at)
            .filter(|then| *then > at.minus(day))
            .collect();
        if visits.len() >= usize::from(terms.unattended_per_day) {
            return Err((Reason::FrequencyExceeded, visits.iter().min().map(|first| first.plus(day))));
        }
        match visits.iter().max().map(|last| last.plus(Span::minutes(30))) {
            Some(free_at) if at < free_at => Err((Reason::FrequencyExceeded, Some(free_at))),
            _ => Ok(()),
        }
    }

    fn released(&mut self, now: Timestamp, terms: &GrantTerms, session: Session) -> Decided {
        let at = self.at(now);
        let index = self.append(
            now,
            Entry {
                kind: if session.repeats.is_some() { EntryKind::Redelivered } else { EntryKind::Granted },
                follows: session.repeats,
                verdict: Some(Verdict::Granted),
                reason: None,
                lease_until: Some(session.until),
                ..terms.entry.clone()
            },
        );
        match self.releases.iter_mut().find(|past| past.worker == terms.worker && past.request == terms.request) {
            Some(past) => (past.answers, past.since) = (past.answers + 1, session.since),
            None => self.releases.push(Released {
                tenant: terms.tenant,
                worker: terms.worker.clone(),
                request: terms.request,
                credential: terms.credential,
                owner: terms.warrant.owner,
                job: terms.job,
                digest: terms.request_digest,
                seal_key: terms.seal_key_digest,
                secret_version: terms.warrant.secret_version,
                attendance: terms.attendance,
                counted: session.counted,
                at,
                index,
                outcome: None,
                since: session.since,
                answers: 1,
            }),
        }
        self.leases.insert(
            terms.credential,
            Lease {
                job: terms.job,
                worker: terms.worker.clone(),
                seal_key: terms.seal_key_digest,
                until: session.until,
                since: session.since,
                attendance: session.attendance,
            },
        );
        if let Some((token, until)) = &terms.attendance_token {
            self.tokens.entry(*token).or_insert((terms.worker.clone(), terms.request, *until));
            self.tokens.retain(|_, (_, _, until)| *until >= at);
        }
        Decided::Granted(session.until)
    }
}

/// Where a grant belongs.
struct Session {
    repeats: Option<u64>,
    counted: bool,
    first_alone: bool,
    since: Timestamp,
    until: Timestamp,
    attendance: Attendance,
}

impl Session {
    const fn standing(&self) -> &'static str {
        match (self.repeats, self.counted, self.first_alone) {
            (Some(_), _, _) => "again",
            (None, true, true) => "first alone",
            (None, true, false) => "new",
            (None, false, _) => "further",
        }
    }
}
