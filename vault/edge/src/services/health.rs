//! `grpc.health.v1.Health/Check`: whether this node would serve, for any verified caller. Says nothing about why not;
//! that is `OperatorService/Status`.

use std::fmt;
use std::sync::Arc;

use cofre_model::reason::Reason;
use futures_util::future::BoxFuture;
use tonic::{Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::desk::{Answer, Desk, No, Outlet};

/// Whether the node is ready: its custodians, all stores, the policy set and the ledger.
pub trait Readiness: fmt::Debug + Send + Sync + 'static {
    /// Looks, each part within its own time.
    fn ready(&self) -> BoxFuture<'static, bool>;
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) readiness: Arc<dyn Readiness>,
}

#[tonic::async_trait]
impl Health for Service {
    type WatchStream = Outlet<HealthCheckResponse>;

    /// Answers for the node as a whole, whose name is empty; its services stand and fall together.
    async fn check(&self, request: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        let readiness = Arc::clone(&self.readiness);
        self.desk
            .answer(request, |_, wire| async move {
                if !wire.service.is_empty() {
                    let advice = "must be empty: a node's services stand and fall together".to_owned();
                    return Err(No::field(Reason::NotFound, Some(("service".to_owned(), advice))));
                }
                let status = if readiness.ready().await { ServingStatus::Serving } else { ServingStatus::NotServing };
                Ok(HealthCheckResponse { status: status.into() })
            })
            .await
    }

    /// Has no row at the gate, so nobody gets here.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Answer<Self::WatchStream> {
        Err(Status::unimplemented("ask with Check"))
    }
}
