//! `cofre.v1.AdminService`: registries, for operators.

use std::sync::Arc;

use cofre_admin::{Admin, RegisteredTenant};
use cofre_proto::convert;
use cofre_proto::v1;
use tonic::Request;

use super::desk::{Answer, Desk, No};

impl From<cofre_admin::Error> for No {
    fn from(error: cofre_admin::Error) -> Self {
        let reason = error.reason();
        match error {
            cofre_admin::Error::Refused { field: Some((field, advice)), .. } => {
                Self::field(reason, Some((field, advice.to_owned())))
            }
            other => {
                tracing::debug!(cause = %other, "admin");
                Self::from(reason)
            }
        }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) admin: Arc<Admin>,
    pub(super) trust_domain: Arc<str>,
}

#[tonic::async_trait]
impl v1::admin_service_server::AdminService for Service {
    async fn put_tenant(&self, request: Request<v1::PutTenantRequest>) -> Answer<v1::PutTenantResponse> {
        let admin = Arc::clone(&self.admin);
        self.desk
            .answer(request, |caller, wire| async move {
                let tenant = admin.put_tenant(&caller, convert::put_tenant(wire)?).await?;
                Ok(tenant_to_wire(tenant))
            })
            .await
    }

    async fn put_institution(&self, request: Request<v1::PutInstitutionRequest>) -> Answer<v1::PutInstitutionResponse> {
        let admin = Arc::clone(&self.admin);
        self.desk
            .answer(request, |caller, wire| async move {
                let entry = admin.put_institution(&caller, convert::put_institution(wire)?).await?;
                Ok(v1::PutInstitutionResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    async fn put_template(&self, request: Request<v1::PutTemplateRequest>) -> Answer<v1::PutTemplateResponse> {
        let admin = Arc::clone(&self.admin);
        self.desk
            .answer(request, |caller, wire| async move {
                let entry = admin.put_template(&caller, convert::put_template(wire)?).await?;
                Ok(v1::PutTemplateResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    async fn put_worker(&self, request: Request<v1::PutWorkerRequest>) -> Answer<v1::PutWorkerResponse> {
        let (admin, trust_domain) = (Arc::clone(&self.admin), Arc::clone(&self.trust_domain));
        self.desk
            .answer(request, |caller, wire| async move {
                let entry = admin.put_worker(&caller, convert::put_worker(&wire, &trust_domain)?).await?;
                Ok(v1::PutWorkerResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }
}

fn tenant_to_wire(tenant: RegisteredTenant) -> v1::PutTenantResponse {
    let key = |key: cofre_model::job::SigningKey| v1::RegisteredKey {
        key_id: key.id.to_string(),
        kind: key.kind.to_string(),
        public_key: key.public_key.to_vec(),
    };
    let recipient = |recipient: cofre_model::registry::Recipient| v1::RegisteredRecipient {
        recipient_id: recipient.id.to_string(),
        name: recipient.name,
    };
    v1::PutTenantResponse {
        tenant_id: tenant.id.to_string(),
        signing_keys: tenant.signing_keys.into_iter().map(key).collect(),
        recipients: tenant.recipients.into_iter().map(recipient).collect(),
        entry: Some(convert::entry_ref(&tenant.entry)),
    }
}
