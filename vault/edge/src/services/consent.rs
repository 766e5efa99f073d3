//! `cofre.v1.ConsentService`: notice, grant, revocation and receipts.

use std::sync::Arc;

use cofre_consent::Consents;
use cofre_model::id::ConsentId;
use cofre_proto::convert;
use cofre_proto::v1;
use tonic::Request;

use super::desk::{Answer, Desk, No};

impl From<cofre_consent::Error> for No {
    fn from(error: cofre_consent::Error) -> Self {
        let reason = error.reason();
        match error {
            cofre_consent::Error::Refused { field: Some((field, advice)), .. } => {
                Self::field(reason, Some((field.to_owned(), advice.to_owned())))
            }
            other => {
                tracing::debug!(cause = %other, "consent");
                Self::from(reason)
            }
        }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) consents: Arc<Consents>,
}

#[tonic::async_trait]
impl v1::consent_service_server::ConsentService for Service {
    async fn notice(&self, request: Request<v1::NoticeRequest>) -> Answer<v1::NoticeResponse> {
        let consents = Arc::clone(&self.consents);
        self.desk
            .answer(request, |caller, wire| async move {
                let offer = consents.notice(&caller, &convert::notice_request(wire)?).await?;
                let line = |(key, text): (&'static str, String)| v1::NoticeLine { key: key.to_owned(), text };
                Ok(v1::NoticeResponse {
                    consent_id: offer.consent.to_string(),
                    notice_id: offer.notice.id,
                    lines: offer.notice.lines.into_iter().map(line).collect(),
                    notice_sha256: offer.notice.sha256.to_vec(),
                    lapses_us: offer.lapses_at.micros(),
                })
            })
            .await
    }

    async fn grant(&self, request: Request<v1::GrantRequest>) -> Answer<v1::GrantResponse> {
        let consents = Arc::clone(&self.consents);
        self.desk
            .answer(request, |caller, wire| async move {
                let given = consents.grant(&caller, &convert::grant_request(&wire)?).await?;
                Ok(v1::GrantResponse {
                    entry: Some(convert::entry_ref(&given.entry)),
                    receipt: given.receipt.unwrap_or_default(),
                })
            })
            .await
    }

    async fn revoke(&self, request: Request<v1::RevokeRequest>) -> Answer<v1::RevokeResponse> {
        let consents = Arc::clone(&self.consents);
        self.desk
            .answer(request, |caller, wire| async move {
                let consent: ConsentId = convert::id("consent_id", &wire.consent_id)?;
                let given = consents.revoke(&caller, consent).await?;
                Ok(v1::RevokeResponse {
                    entry: Some(convert::entry_ref(&given.entry)),
                    receipt: given.receipt.unwrap_or_default(),
                })
            })
            .await
    }

    async fn receipt(&self, request: Request<v1::ReceiptRequest>) -> Answer<v1::ReceiptResponse> {
        let consents = Arc::clone(&self.consents);
        self.desk
            .answer(request, |caller, wire| async move {
                let consent: ConsentId = convert::id("consent_id", &wire.consent_id)?;
                let receipts = consents.receipts(&caller, &consent).await?;
                Ok(v1::ReceiptResponse { state: receipts.state.number(), receipts: receipts.receipts })
            })
            .await
    }
}
