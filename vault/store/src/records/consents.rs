//! Consents and their signed receipts.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::id::{ConsentId, CredentialId, ReceiptId, SubjectId, TenantId};
use cofre_model::time::Timestamp;
use cofre_model::wording::Locale;

use crate::columns::Shown;
use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::row::{Cells, Row, instant};
use crate::statement::statement;
use crate::unverified::Unverified;

/// A consent as records hold it.
#[derive(Debug, Clone)]
pub struct ConsentRecord {
    /// What the row claims: good for showing or ending it, never for granting.
    pub claimed: Consent,
    /// The row, to be verified before anything is granted on it.
    pub row: Unverified<Consent>,
    /// While it awaits authorisation: it lapses at this instant.
    pub lapses_at: Timestamp,
    /// SHA-256 over the notice that was shown.
    pub notice_digest: [u8; 32],
    /// The language of that notice.
    pub locale: Locale,
    /// What proves that the investor agreed; empty until then.
    pub evidence: Vec<u8>,
    /// When it was requested.
    pub requested_at: Timestamp,
}

/// A signed receipt about one event of a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// Its place among the receipts of this consent, from 1.
    pub seq: u32,
    /// Its id.
    pub id: ReceiptId,
    /// The state it attests.
    pub state: ConsentState,
    /// The time of its entry.
    pub at: Timestamp,
    /// The receipt itself, a JWS.
    pub jws: String,
    /// The ledger index of its entry.
    pub index: u64,
}

fn record(row: &Row) -> Result<ConsentRecord, Error> {
    let cells = Cells::of("consents", row);
    let unverified = Unverified::of(row)?;
    Ok(ConsentRecord {
        claimed: unverified.claimed().ok_or(Error::corrupt("consents", "state"))?,
        row: unverified,
        lapses_at: cells.time("lapses_at")?,
        notice_digest: cells.bytes("notice_digest")?,
        locale: cells.word("locale", Locale::from_text)?,
        evidence: cells.blob("evidence")?.to_vec(),
        requested_at: cells.time("requested_at")?,
    })
}

pub(crate) async fn consent(
    session: &mut Session<'_>,
    tenant: &TenantId,
    id: &ConsentId,
) -> Result<Option<ConsentRecord>, Error> {
    let row = statement("SELECT * FROM consents WHERE id = $1 AND tenant_id = $2")
        .bind(id.to_string())
        .bind(tenant.to_string())
        .fetch_optional(session)
        .await?;
    row.as_ref().map(record).transpose()
}

/// The consent a release of this login stands on: the one in force, else the newest.
pub(crate) async fn deciding(
    session: &mut Session<'_>,
    tenant: &TenantId,
    credential: &CredentialId,
    now: Timestamp,
) -> Result<Unverified<Consent>, Error> {
    let row = statement(
        "SELECT * FROM consents WHERE credential_id = $1 AND tenant_id = $2
         ORDER BY (state = 'ACTIVE' AND valid_until > $3) DESC, requested_at DESC, id DESC LIMIT 1",
    )
    .bind(credential.to_string())
    .bind(tenant.to_string())
    .bind(instant(now))
    .fetch_optional(session)
    .await?;
    row.as_ref().map_or_else(|| Ok(Unverified::absent()), Unverified::of)
}

impl ConsentRecord {
    /// What was shown, as the row claims; verified with the row.
    #[must_use]
    pub const fn shown(&self) -> Shown {
        Shown { lapses_at: self.lapses_at, notice_digest: self.notice_digest, locale: self.locale }
    }
}

impl Records {
    /// A consent of this tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn consent(&self, tenant: &TenantId, id: &ConsentId) -> Result<Option<ConsentRecord>, Error> {
        consent(&mut self.reader().await?, tenant, id).await
    }

    /// The consents that name a credential, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn consents_of_credential(
        &self,
        tenant: &TenantId,
        credential: &CredentialId,
    ) -> Result<Vec<ConsentRecord>, Error> {
        let rows = statement(
            "SELECT * FROM consents WHERE credential_id = $1 AND tenant_id = $2 ORDER BY requested_at DESC, id DESC",
        )
        .bind(credential.to_string())
        .bind(tenant.to_string())
        .fetch_all(&mut self.reader().await?)
        .await?;
        rows.iter().map(record).collect()
    }

    /// The consents a subject gave, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn consents_of_subject(
        &self,
        tenant: &TenantId,
        subject: &SubjectId,
    ) -> Result<Vec<ConsentRecord>, Error> {
        let rows = statement(
            "SELECT * FROM consents WHERE subject_id = $1 AND tenant_id = $2 ORDER BY requested_at DESC, id DESC",
        )
        .bind(subject.to_string())
        .bind(tenant.to_string())
        .fetch_all(&mut self.reader().await?)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Consents that time has ended while their rows do not say so yet: past their validity, or never decided.
    ///
    /// # Errors
    /// The store's.
    pub async fn consents_due(&self, now: Timestamp) -> Result<Vec<(TenantId, ConsentId)>, Error> {
        let rows = statement(
            "SELECT id, tenant_id FROM consents WHERE (state = 'ACTIVE' AND valid_until <= $1)
               OR (state = 'AWAITING_AUTHORISATION' AND lapses_at <= $1) ORDER BY id",
        )
        .bind(instant(now))
        .fetch_all(&mut self.reader().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("consents", row);
                Ok((cells.id("tenant_id")?, cells.id("id")?))
            })
            .collect()
    }

    /// The tenant of a consent, for callers bound to no tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_of_consent(&self, id: &ConsentId) -> Result<Option<TenantId>, Error> {
        let row = statement("SELECT tenant_id FROM consents WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref().map(|row| Cells::of("consents", row).id("tenant_id")).transpose()
    }

    /// The receipts of a consent, in their order.
    ///
    /// # Errors
    /// The store's.
    pub async fn receipts(&self, consent: &ConsentId) -> Result<Vec<ReceiptRecord>, Error> {
        let rows = statement("SELECT * FROM consent_events WHERE consent_id = $1 ORDER BY seq")
            .bind(consent.to_string())
            .fetch_all(&mut self.reader().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of("consent_events", row);
                Ok(ReceiptRecord {
                    seq: cells.int("seq")?,
                    id: cells.id("receipt_id")?,
                    state: cells.word("state", ConsentState::from_text)?,
                    at: cells.time("at")?,
                    jws: cells.string("jws")?,
                    index: cells.int("entry_index")?,
                })
            })
            .collect()
    }
}
