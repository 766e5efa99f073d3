//! The steps of workers: asking, reporting, and the warm keys that their answers need.

use super::*;

impl Bench {
    pub(super) async fn decide(&mut self, place: usize, relation: Relation, alone: bool) -> Decision {
        let login = &self.logins[place];
        let fresh = match alone {
            true => self.world.ask(login.credential.id),
            false => self.world.attended(&login.credential),
        };
        let ask = match (relation, login.asks.last()) {
            (Relation::New, _) | (_, None) => fresh,
            (Relation::Further, Some(last)) => Ask { job: last.job, seal_key_digest: last.seal_key_digest, ..fresh },
            (Relation::Repeat, Some(last)) => last.clone(),
            (Relation::Changed, Some(last)) => Ask { digest: fresh.digest, ..last.clone() },
            (Relation::Stolen, Some(last)) => Ask { attendance: last.attendance.clone(), ..fresh },
        };
        let decision = self.world.decide(&self.world.facts(&ask).await);
        self.logins[place].asks.push(ask);
        decision
    }

    pub(super) async fn report(&mut self, place: usize, what: u8, hours: u64) -> Checked {
        let Some(ask) = self.logins[place].asks.last() else { return Ok(()) };
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
        let report = Operation::ReportOutcome { credential, job, worker: WORKER.into(), outcome, lock };
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
            Err(CommitError::Store(cause)) => return Err(TestCaseError::fail(cause.to_string())),
        };
        prop_assert_eq!(done, expected);
        self.told.push(format!("{done:?}"));
        Ok(())
    }
}
