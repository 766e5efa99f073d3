//! `cofre.v1.OperatorService`: what an operator sees and may turn.

use std::sync::Arc;

use cofre_admin::{Admin, Status};
use cofre_deposit::Deposits;
use cofre_model::id::TenantId;
use cofre_model::time::Timestamp;
use cofre_proto::convert;
use cofre_proto::v1;
use tonic::Request;

use super::desk::{Answer, Desk};

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) admin: Arc<Admin>,
    pub(super) deposits: Arc<Deposits>,
}

#[tonic::async_trait]
impl v1::operator_service_server::OperatorService for Service {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        let admin = Arc::clone(&self.admin);
        self.desk.answer(request, |_, _| async move { Ok(status_to_wire(admin.status().await?)) }).await
    }

    async fn rotate_deposit_key(
        &self,
        request: Request<v1::RotateDepositKeyRequest>,
    ) -> Answer<v1::RotateDepositKeyResponse> {
        let deposits = Arc::clone(&self.deposits);
        self.desk
            .answer(request, |caller, wire| async move {
                let tenant: TenantId = convert::id("tenant_id", &wire.tenant_id)?;
                let (key, entry) = deposits.rotate(&caller, &tenant).await?;
                Ok(v1::RotateDepositKeyResponse { key_id: key.id.to_string(), entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }
}

fn status_to_wire(status: Status) -> v1::StatusResponse {
    let part =
        |part: cofre_admin::Part| v1::Part { name: part.name.to_owned(), ready: part.ready, detail: part.detail };
    v1::StatusResponse {
        deployment: status.deployment,
        region: status.region,
        mode: status.mode.to_owned(),
        memory: status.memory.to_owned(),
        parts: status.parts.into_iter().map(part).collect(),
        ledger_size: status.ledger_size,
        custodians: status.custodians.into_iter().map(custodian_to_wire).collect(),
        custodian_calls: status.custodian_calls,
        warm_keys: status.warm_keys,
        slots_taken: status.slots_taken,
        slots_wiped: status.slots_wiped,
        policy_digest: status.policy_digest.map(|digest| digest.to_vec()).unwrap_or_default(),
    }
}

fn custodian_to_wire(custodian: cofre_admin::Custodian) -> v1::Custodian {
    v1::Custodian {
        name: custodian.name,
        kind: custodian.kind,
        key: custodian.key,
        mechanism: custodian.mechanism.to_owned(),
        signs_by: custodian.signs_by.unwrap_or_default().to_owned(),
        sessions: custodian.sessions as u64,
        rests: custodian.rests,
        calls_last_hour: custodian.calls,
        failed_last_hour: custodian.failed,
        last_served_us: custodian.last_served.map(Timestamp::micros),
    }
}
