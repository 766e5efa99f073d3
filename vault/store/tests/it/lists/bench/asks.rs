//! The steps of workers: asking, reporting, and the warm keys that their answers need.

use super::*;

impl Bench {
    pub(super) async fn decide(&mut self, place: usize, call: Call) -> Decision {
        let login = &self.logins[place];
        let fresh = match call.alone {
            true => self.world.ask(login.credential.id),
            false => self.world.attended(&login.credential),
        };
        let fresh = Ask { worker: self.workers[call.worker].clone(), ..fresh };
        let earlier = login.asks.iter().rev().nth(call.back).or(login.asks.last());
        let ask = match (call.relation, earlier) {
            (Relation::New, _) | (_, None) => fresh,
            (Relation::Further, Some(of)) => {
                Ask { job: of.job, seal_key_digest: of.seal_key_digest, worker: of.worker.clone(), ..fresh }
            }
            (Relation::Resealed, Some(of)) => Ask { job: of.job, worker: of.worker.clone(), ..fresh },
            (Relation::Repeat, Some(of)) => of.clone(),
            (Relation::Changed, Some(of)) => Ask { digest: fresh.digest, ..of.clone() },
            (Relation::Stolen, Some(of)) => Ask { attendance: of.attendance.clone(), ..fresh },
            (Relation::Borrowed, Some(of)) => {
                let other = self.workers.iter().find(|worker| **worker != of.worker);
                Ask { worker: other.unwrap_or(&of.worker).clone(), ..of.clone() }
            }
        };
        let decision = self.world.decide(&self.world.facts(&ask).await);
        self.logins[place].asks.push(ask);
        decision
    }

    pub(super) async fn commit(&mut self, place: usize, decision: Decision) -> Checked {
        let now = self.world.clock.now();
        let expected = match &decision {
            Decision::Permit(grant) => self.reference.grant(now, grant.terms()),
            Decision::Deny(denial) => self.reference.deny(now, denial),
        };
        let told = match self.world.records().commit(decision).await {
            Ok(Committed::Granted { permit, .. }) => {
                self.logins[place].grants.push(permit.entry().at.index);
                Decided::Granted(permit.entry().warrant.lease_until)
            }
            Ok(Committed::Denied { reason, retry_at, .. }) => Decided::Denied(reason, retry_at),
            Ok(Committed::Moved) => Decided::Moved,
            Err(cause) => return Err(unanswered("", &cause)),
        };
        prop_assert_eq!(&told, &expected);
        self.told.push(format!("{told:?}"));
        Ok(())
    }

    pub(super) async fn withdraw(&mut self, place: usize, back: usize) -> Checked {
        let Some(grant) = self.logins[place].grants.iter().rev().nth(back).copied() else { return Ok(()) };
        let mut entry = self.world.entry(EntryKind::Outcome);
        entry.verdict = Some(Verdict::Denied);
        entry.reason = Some(cofre_model::reason::Reason::NotDelivered);
        entry.follows = Some(grant);
        self.record(entry, Operation::Note).await.map(drop)
    }

    pub(super) async fn report(&mut self, place: usize, back: usize, what: u8, hours: u64) -> Checked {
        let Some(ask) = self.logins[place].asks.iter().rev().nth(back).cloned() else { return Ok(()) };
        let (credential, job) = (ask.credential, ask.job);
        let entry = self.world.entry(EntryKind::Reported);
        let stands = self.world.records().credential(&self.world.tenant.id, &credential).await.expect("read");
        let lock = stands.filter(|_| what == 2).map(|row| {
            let not_before = self.world.clock.now().plus(Span::hours(hours));
            let locked = Credential { not_before, ..row.claimed };
            let tag = credential_tag(&locked, &entry);
            (locked, tag)
        });
        let outcome = match what {
            0 => Outcome::Ok,
            1 => Outcome::WrongSecret,
            _ => Outcome::Locked,
        };
        let report = Operation::ReportOutcome { credential, job, worker: ask.worker, outcome, lock };
        self.record(entry, report).await.map(drop)
    }

    pub(super) async fn warm(&mut self, right: bool) -> Checked {
        let request = WarmRequest {
            tenant: self.world.tenant.id,
            tenant_key_version: 1,
            tenant_key_id: if right { self.world.tenant.tenant_key_id } else { [0; 16] },
            entry: self.world.entry(EntryKind::Warm),
        };
        let expected = self.reference.warm(self.world.clock.now(), &request);
        let done = match self.world.records().warm(request).await {
            Ok(permit) => Ok(permit.entry().at.index),
            Err(CommitError::Refused(reason)) => Err(reason),
            Err(CommitError::Store(cause)) => return Err(unanswered("", &cause)),
        };
        prop_assert_eq!(done, expected);
        self.told.push(format!("{done:?}"));
        Ok(())
    }
}
