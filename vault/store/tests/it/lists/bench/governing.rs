//! The steps of those who govern, and of time.

use super::*;

impl Bench {
    pub(super) async fn govern(&mut self, step: Step) -> Checked {
        let tenant = self.world.tenant.id;
        match step {
            Step::Policy(which) => {
                let activate = Operation::PolicyActivated { digest: [which; 32] };
                self.apply(EntryKind::PolicyActivated, activate).await.map(drop)
            }
            Step::PutInstitution => self.put_institution().await,
            Step::PutWorker(worker) => self.put_worker(worker).await,
            Step::LockLogin(login) => self.lock_down(Lockdown::Credential(self.logins[login].credential.id)).await,
            Step::LockInstitution => self.lock_down(Lockdown::Institution(self.world.institution.clone())).await,
            Step::LockTenant(_) => self.lock_down(Lockdown::Tenant(tenant)).await,
            Step::LockPlatform => {
                // Nothing takes this back: there is no further list on these stores.
                self.stopped = true;
                self.lock_down(Lockdown::Platform).await
            }
            Step::Quarantine(worker) => {
                let quarantine = Operation::QuarantineWorker { worker: self.workers[worker].clone() };
                self.apply(EntryKind::WorkerQuarantined, quarantine).await.map(drop)
            }
            Step::Erase(login) => self.erase(login).await,
            Step::KeysDestroyed(login) => {
                let Some(erasure) = self.logins[login].erasure else { return Ok(()) };
                self.apply(EntryKind::KeysDestroyed, Operation::KeysDestroyed { erasure }).await.map(drop)
            }
            Step::Certify(login) => {
                let Some(erasure) = self.logins[login].erasure else { return Ok(()) };
                let horizon = self.world.clock.now();
                let certify = Operation::CertifyErasure { erasure, certificate: b"signed".to_vec(), horizon };
                self.apply(EntryKind::ErasureCertified, certify).await.map(drop)
            }
            Step::Advance(seconds) => {
                self.world.clock.advance(Span::secs(seconds));
                Ok(())
            }
            Step::Back(millis) => {
                self.world.clock.set(self.world.clock.now().minus(Span::millis(millis)));
                Ok(())
            }
            Step::Reach(login, which, off) => {
                self.reach(login, which, off);
                Ok(())
            }
            other => unreachable!("{other:?} is a step of its own"),
        }
    }

    async fn lock_down(&mut self, lockdown: Lockdown) -> Checked {
        self.apply(EntryKind::Lockdown, Operation::Lockdown(lockdown)).await.map(drop)
    }

    pub(super) async fn erase(&mut self, place: usize) -> Checked {
        let erasure = ErasureId::from_parts(self.world.ms(), self.world.bytes());
        let subject = self.logins[place].subject.id;
        let accept = Operation::AcceptErasure { erasure, tenant: self.world.tenant.id, subject };
        if self.apply(EntryKind::ErasureAccepted, accept).await?.is_some() {
            for login in self.logins.iter_mut().filter(|login| login.subject.id == subject) {
                login.erasure = Some(erasure);
            }
        }
        Ok(())
    }

    /// The millisecond that passes before the next step is the last one before the instant.
    fn reach(&mut self, place: usize, which: usize, off: i64) {
        let bounds = self.reference.bounds(self.logins[place].credential.id, self.world.clock.now());
        let nearest = bounds.get(which % bounds.len().max(1)).copied();
        let Some(at) = nearest.and_then(|at| at.micros().checked_add_signed(off)) else { return };
        let at = Timestamp::from_micros(at).minus(Span::millis(1));
        if at > self.world.clock.now() {
            self.world.clock.set(at);
        }
    }
}
