//! Erasures of persons and their certificates.

use cofre_model::id::{ErasureId, SubjectId, TenantId};
use cofre_model::time::Timestamp;

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::records::subjects::column_words;
use crate::row::{Cells, Row};
use crate::statement::statement;

column_words! {
    /// Where an erasure stands.
    ErasureState {
        /// Nothing is released any more.
        Accepted = "ACCEPTED",
        /// The keys are gone.
        KeysDestroyed = "KEYS_DESTROYED",
        /// The ciphertexts are gone too and the certificate was signed.
        Certified = "CERTIFIED",
    }
}

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// The tenant.
    pub tenant: TenantId,
    /// Whose.
    pub subject: SubjectId,
    /// Where it stands.
    pub state: ErasureState,
    /// Ledger index of its acceptance.
    pub accepted: u64,
    /// The signed certificate.
    pub certificate: Option<Vec<u8>>,
    /// When the last backup that could open anything is gone.
    pub horizon: Option<Timestamp>,
}

fn record(row: &Row) -> Result<Erasure, Error> {
    let cells = Cells::of("erasures", row);
    Ok(Erasure {
        id: cells.id("id")?,
        tenant: cells.id("tenant_id")?,
        subject: cells.id("subject_id")?,
        state: cells.word("state", ErasureState::from_text)?,
        accepted: cells.int("accepted")?,
        certificate: cells.optional("certificate", |cells, column| cells.blob(column).map(<[u8]>::to_vec))?,
        horizon: cells.optional("horizon", Cells::time)?,
    })
}

pub(crate) async fn erasure(session: &mut Session<'_>, id: &ErasureId) -> Result<Option<Erasure>, Error> {
    let row = statement("SELECT * FROM erasures WHERE id = $1").bind(id.to_string()).fetch_optional(session).await?;
    row.as_ref().map(record).transpose()
}

impl Records {
    /// The erasure of this id, of whatever tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn erasure(&self, id: &ErasureId) -> Result<Option<Erasure>, Error> {
        erasure(&mut self.reader().await?, id).await
    }

    /// The erasure of a subject of this tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn erasure_of(&self, tenant: &TenantId, subject: &SubjectId) -> Result<Option<Erasure>, Error> {
        let row = statement("SELECT * FROM erasures WHERE subject_id = $1 AND tenant_id = $2")
            .bind(subject.to_string())
            .bind(tenant.to_string())
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref().map(record).transpose()
    }
}
