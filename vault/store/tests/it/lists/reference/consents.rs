//! The reference's consents and receipts.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::id::{ConsentId, ReceiptId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;

use super::{Asked, Done, Reference, open, unless};

impl Reference {
    pub(super) fn request(&mut self, at: Timestamp, consent: &Consent, lapses_at: Timestamp) -> Done {
        let login = self.login(consent.tenant, consent.credential)?;
        unless(open(login.row.state), Reason::WrongState)?;
        let recipient = self.recipients.get(&consent.recipient) == Some(&consent.tenant);
        unless(recipient && login.row.owner == consent.subject, Reason::NotFound)?;
        unless(lapses_at > at && !self.consents.contains_key(&consent.id), Reason::WrongState)?;
        let asked = Asked { row: consent.clone(), lapses_at, requested_at: at, receipts: Vec::new() };
        self.consents.insert(consent.id, asked);
        self.moved(consent.credential);
        Ok(())
    }

    pub(super) fn grant_consent(&mut self, now: Timestamp, consent: &Consent, receipt: ReceiptId) -> Done {
        unless(self.trusts(now), Reason::ClockUntrusted)?;
        let at = self.at(now);
        let asked = self.consents.get(&consent.id).filter(|asked| asked.row.tenant == consent.tenant);
        let asked = asked.ok_or(Reason::NotFound)?;
        let shown = Consent { state: ConsentState::Active, ..asked.row.clone() };
        let in_time = at < asked.lapses_at && at < consent.valid_until;
        let awaited = asked.row.state == ConsentState::AwaitingAuthorisation;
        unless(*consent == shown && awaited && in_time, Reason::WrongState)?;
        let login = self.login(consent.tenant, consent.credential)?;
        let other = self.consents.values().any(|other| {
            other.row.credential == consent.credential
                && other.row.id != consent.id
                && other.row.state == ConsentState::Active
                && other.row.valid_until > at
        });
        let used = self.consents.values().any(|asked| asked.receipts.contains(&receipt));
        unless(open(login.row.state) && !other && !used, Reason::WrongState)?;
        self.consents.entry(consent.id).and_modify(|asked| {
            asked.row = consent.clone();
            asked.receipts.push(receipt);
        });
        self.moved(consent.credential);
        Ok(())
    }

    pub(super) fn end_consent(&mut self, at: Timestamp, tenant: TenantId, id: &ConsentId, to: ConsentState) -> Done {
        let asked = self.consents.get_mut(id).filter(|asked| asked.row.tenant == tenant);
        let asked = asked.ok_or(Reason::NotFound)?;
        let due = match asked.row.state {
            ConsentState::Active => asked.row.valid_until,
            ConsentState::AwaitingAuthorisation => asked.lapses_at,
            ConsentState::Revoked | ConsentState::Expired => return Err(Reason::WrongState),
        };
        unless(to == ConsentState::Revoked || due <= at, Reason::WrongState)?;
        asked.row.state = to;
        let login = asked.row.credential;
        self.moved(login);
        if self.leases.remove(&login).is_some_and(|lease| lease.until > at) {
            self.meet("lease ended with its consent");
        }
        Ok(())
    }

    pub(super) fn keep_receipt(&mut self, consent: &ConsentId, receipt: ReceiptId, seq: u32) -> Done {
        let used = self.consents.values().any(|asked| asked.receipts.contains(&receipt));
        let asked = self.consents.get_mut(consent).ok_or(Reason::NotFound)?;
        let next = asked.receipts.len() + 1;
        unless(usize::try_from(seq) == Ok(next) && !used, Reason::WrongState)?;
        asked.receipts.push(receipt);
        Ok(())
    }
}
