//! Ends consents whose time is over. A consent past its end permits nothing even before the sweep: the decision
//! compares instants. The sweep makes the state, the ledger and the receipts say so.

use cofre_model::consent::ConsentState;
use cofre_model::entry::EntryKind;
use cofre_store::Operation;

use crate::lifecycle::describe;
use crate::{Consents, Error};

impl Consents {
    /// Ends every consent that is past its end or was never decided in time; says how many.
    ///
    /// # Errors
    /// [`Error`] where records cannot be read or written; the next sweep goes on from there.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let due = self.records.consents_due(self.clock.now()).await?;
        let mut ended = 0;
        for (tenant, consent) in due {
            let Some(tenant) = self.records.tenant(&tenant).await? else { continue };
            let Some(record) = self.records.consent(&tenant.tenant.id, &consent).await? else { continue };
            let mut entry = Self::entry(EntryKind::ConsentExpired, None, &tenant)?;
            describe(&mut entry, &record.claimed);
            let operation = Operation::EndConsent { tenant: tenant.tenant.id, consent, to: ConsentState::Expired };
            self.records.apply(entry, operation).await?;
            if record.claimed.state == ConsentState::Active {
                self.receipt_of_ending(&tenant, &record, ConsentState::Expired).await;
            }
            ended += 1;
        }
        Ok(ended)
    }
}
