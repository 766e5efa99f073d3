//! `cofre.v1.PrivacyService`: erasure of a person, with proof.

use std::sync::Arc;

use cofre_model::id::ErasureId;
use cofre_privacy::Erasures;
use cofre_proto::convert;
use cofre_proto::v1;
use tonic::Request;

use super::desk::{Answer, Desk, No};

impl From<cofre_privacy::Error> for No {
    fn from(error: cofre_privacy::Error) -> Self {
        tracing::debug!(cause = %error, "privacy");
        let field = error.advice().map(|(field, advice)| (field.to_owned(), advice.to_owned()));
        Self::field(error.reason(), field)
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) erasures: Arc<Erasures>,
}

#[tonic::async_trait]
impl v1::privacy_service_server::PrivacyService for Service {
    async fn erase(&self, request: Request<v1::EraseRequest>) -> Answer<v1::EraseResponse> {
        let erasures = Arc::clone(&self.erasures);
        self.desk
            .answer(request, |caller, wire| async move {
                let erased = erasures.erase(&caller, convert::person(wire)?).await?;
                Ok(v1::EraseResponse {
                    erasure_id: erased.id.to_string(),
                    entry: Some(convert::entry_ref(&erased.entry)),
                    certificate: erased.certificate.unwrap_or_default(),
                })
            })
            .await
    }

    async fn certificate(&self, request: Request<v1::CertificateRequest>) -> Answer<v1::CertificateResponse> {
        let erasures = Arc::clone(&self.erasures);
        self.desk
            .answer(request, |caller, wire| async move {
                let erasure: ErasureId = convert::id("erasure_id", &wire.erasure_id)?;
                let certificate = erasures.certificate(&caller, &erasure).await?;
                Ok(v1::CertificateResponse { certificate })
            })
            .await
    }
}
