//! The reference's permits that are not releases: to warm a tenant key, and to seal a deposit.

use cofre_model::entry::Entry;
use cofre_model::id::TenantId;
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_store::{DepositIntent, EnrolmentState, WarmRequest};

use super::{Done, Reference, open, unless};

impl Reference {
    fn served(&self, now: Timestamp, tenant: TenantId) -> Done<(u32, [u8; 16])> {
        unless(self.trusts(now), Reason::ClockUntrusted)?;
        let (_, version, id) = self.tenants.get(&tenant).ok_or(Reason::NotFound)?;
        unless(!self.locked_down(&[tenant.to_string()]), Reason::Lockdown)?;
        Ok((*version, *id))
    }

    pub(in crate::lists) fn warm(&mut self, now: Timestamp, request: &WarmRequest) -> Done<u64> {
        let done = self.served(now, request.tenant).and_then(|key| {
            unless(key == (request.tenant_key_version, request.tenant_key_id), Reason::IntegrityFailure)
        });
        self.meet(match &done {
            Ok(()) => "WARM".into(),
            Err(reason) => format!("WARM: {reason}"),
        });
        done.map(|()| self.append(now, request.entry.clone()))
    }

    /// The version the deposit will be.
    pub(in crate::lists) fn intend(&mut self, now: Timestamp, intent: &DepositIntent) -> Done<u32> {
        let done = self.intended(now, intent);
        self.meet(match &done {
            Ok(_) => "DEPOSIT_INTENDED".into(),
            Err(reason) => format!("DEPOSIT_INTENDED: {reason}"),
        });
        done
    }

    fn intended(&mut self, now: Timestamp, intent: &DepositIntent) -> Done<u32> {
        self.served(now, intent.tenant)?;
        let session = self.session(intent.tenant, &intent.enrolment)?;
        let login = session.credential;
        unless(session.state == EnrolmentState::Open && session.expires_at > self.at(now), Reason::WrongState)?;
        let row = self.login(intent.tenant, login)?;
        unless(open(row.row.state), Reason::WrongState)?;
        let scopes = [intent.tenant.to_string(), row.row.institution.to_string(), login.to_string()];
        unless(!self.locked_down(&scopes), Reason::Lockdown)?;
        let version = row.intended.max(row.row.secret_version) + 1;
        self.logins.entry(login).and_modify(|row| row.intended = version);
        let entry = Entry { secret_version: Some(version), ..intent.entry.clone() };
        let index = self.append(now, entry);
        self.sessions.entry(intent.enrolment).and_modify(|session| {
            (session.intent, session.version) = (Some(index), version);
        });
        Ok(version)
    }
}
