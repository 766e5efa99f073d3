//! `cofre.v1.DepositService`: front ends deposit logins that the investor's page sealed. What is sealed passes through
//! here unread.

use std::sync::Arc;

use cofre_deposit::{Deposits, OpenSession};
use cofre_model::id::{CredentialId, EnrolmentId};
use cofre_proto::convert;
use cofre_proto::v1;
use tonic::Request;

use super::desk::{Answer, Desk, No};

impl From<cofre_deposit::Error> for No {
    fn from(error: cofre_deposit::Error) -> Self {
        let reason = error.reason();
        match error {
            cofre_deposit::Error::Refused { field: Some((field, advice)), .. } => {
                Self::field(reason, Some((field, advice.to_owned())))
            }
            other => {
                tracing::debug!(cause = %other, "deposit");
                Self::from(reason)
            }
        }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) deposits: Arc<Deposits>,
    /// Verifier key text of the deployment's signer.
    pub(super) signer_key: Arc<str>,
}

#[tonic::async_trait]
impl v1::deposit_service_server::DepositService for Service {
    async fn deposit_key(&self, request: Request<v1::DepositKeyRequest>) -> Answer<v1::DepositKeyResponse> {
        let (deposits, signer_key) = (Arc::clone(&self.deposits), self.signer_key.to_string());
        self.desk
            .answer(request, |caller, _| async move {
                let key = deposits.deposit_key(&caller).await?;
                Ok(v1::DepositKeyResponse {
                    key_id: key.id.to_string(),
                    suite: key.key.suite.number(),
                    public_key: key.key.bytes,
                    not_before_us: key.not_before.micros(),
                    not_after_us: key.not_after.micros(),
                    signature: key.signature,
                    signer_key,
                    tenant_id: key.tenant.to_string(),
                })
            })
            .await
    }

    async fn open_enrolment(&self, request: Request<v1::OpenEnrolmentRequest>) -> Answer<v1::OpenEnrolmentResponse> {
        let deposits = Arc::clone(&self.deposits);
        self.desk
            .answer(request, |caller, wire| async move {
                let opened = deposits.open(&caller, &convert::open_enrolment(wire)?).await?;
                Ok(opened_to_wire(&opened))
            })
            .await
    }

    async fn deposit(&self, request: Request<v1::DepositRequest>) -> Answer<v1::DepositResponse> {
        let deposits = Arc::clone(&self.deposits);
        self.desk
            .answer(request, |caller, wire| async move {
                let (credential, rests) = deposits.deposit(&caller, convert::sealed_deposit(wire)?).await?;
                Ok(v1::DepositResponse {
                    credential_id: credential.id.to_string(),
                    secret_version: rests.secret_version,
                    entry: Some(convert::entry_ref(&rests.entry)),
                })
            })
            .await
    }

    async fn cancel_enrolment(
        &self,
        request: Request<v1::CancelEnrolmentRequest>,
    ) -> Answer<v1::CancelEnrolmentResponse> {
        let deposits = Arc::clone(&self.deposits);
        self.desk
            .answer(request, |caller, wire| async move {
                let enrolment: EnrolmentId = convert::id("enrolment_id", &wire.enrolment_id)?;
                let entry = deposits.cancel(&caller, enrolment).await?;
                Ok(v1::CancelEnrolmentResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    async fn credential_state(
        &self,
        request: Request<v1::CredentialStateRequest>,
    ) -> Answer<v1::CredentialStateResponse> {
        let deposits = Arc::clone(&self.deposits);
        self.desk
            .answer(request, |caller, wire| async move {
                let credential: CredentialId = convert::id("credential_id", &wire.credential_id)?;
                let state = deposits.state(&caller, &credential).await?;
                Ok(v1::CredentialStateResponse {
                    credential_id: credential.to_string(),
                    institution_id: state.institution.to_string(),
                    state: state.state.number(),
                    secret_version: state.secret_version,
                })
            })
            .await
    }
}

fn opened_to_wire(opened: &OpenSession) -> v1::OpenEnrolmentResponse {
    v1::OpenEnrolmentResponse {
        enrolment_id: opened.enrolment.to_string(),
        credential_id: opened.credential.to_string(),
        owner_id: opened.owner.to_string(),
        template_version: opened.template.version,
        fields: opened.template.fields.iter().map(convert::template_field).collect(),
        expires_us: opened.expires_at.micros(),
    }
}
