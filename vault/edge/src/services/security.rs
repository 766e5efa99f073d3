//! `cofre.v1.SecurityService`: stop buttons. One person presses.

use std::sync::Arc;

use cofre_admin::Admin;
use cofre_proto::convert;
use cofre_proto::v1;
use tonic::Request;

use super::desk::{Answer, Desk};

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) admin: Arc<Admin>,
    pub(super) trust_domain: Arc<str>,
}

#[tonic::async_trait]
impl v1::security_service_server::SecurityService for Service {
    async fn lockdown(&self, request: Request<v1::LockdownRequest>) -> Answer<v1::LockdownResponse> {
        let admin = Arc::clone(&self.admin);
        self.desk
            .answer(request, |caller, wire| async move {
                let entry = admin.lock_down(&caller, &convert::lockdown(wire)?).await?;
                Ok(v1::LockdownResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    async fn quarantine_worker(
        &self,
        request: Request<v1::QuarantineWorkerRequest>,
    ) -> Answer<v1::QuarantineWorkerResponse> {
        let (admin, trust_domain) = (Arc::clone(&self.admin), Arc::clone(&self.trust_domain));
        self.desk
            .answer(request, |caller, wire| async move {
                let worker = convert::worker(&wire.spiffe_id, &trust_domain)?;
                let entry = admin.quarantine(&caller, &worker.to_string()).await?;
                Ok(v1::QuarantineWorkerResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }
}
