//! Ends consents whose time is over. A consent past its end permits nothing even before the sweep: the decision
//! compares instants. The sweep makes the state, the ledger and the receipts say so.

use cofre_model::consent::ConsentState;
use cofre_model::entry::EntryKind;
use cofre_model::id::{ConsentId, TenantId};
use cofre_store::Operation;

use crate::lifecycle::describe;
use crate::{Consents, Error};

impl Consents {
    /// Ends every consent that is past its end or was never decided in time; says how many. One that cannot be ended
    /// is logged and holds up no other; the next sweep tries it again.
    ///
    /// # Errors
    /// [`Error`] where the list itself cannot be read.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let due = self.records.consents_due(self.clock.now()).await?;
        let mut ended = 0;
        for (tenant, consent) in due {
            match self.expire(&tenant, consent).await {
                Ok(done) => ended += usize::from(done),
                Err(error) => tracing::warn!(error = %error, consent = %consent, "consent past its end not ended yet"),
            }
        }
        Ok(ended)
    }

    async fn expire(&self, tenant: &TenantId, consent: ConsentId) -> Result<bool, Error> {
        let Some(tenant) = self.records.tenant(tenant).await? else { return Ok(false) };
        let Some(record) = self.records.consent(&tenant.tenant.id, &consent).await? else { return Ok(false) };
        let mut entry = Self::entry(EntryKind::ConsentExpired, None, &tenant)?;
        describe(&mut entry, &record.claimed);
        let operation = Operation::EndConsent { tenant: tenant.tenant.id, consent, to: ConsentState::Expired };
        self.records.apply(entry, operation).await?;
        if record.claimed.state == ConsentState::Active {
            self.receipt_of_ending(&tenant, &record, ConsentState::Expired).await;
        }
        Ok(true)
    }
}
