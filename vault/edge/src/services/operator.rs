//! `cofre.v1.OperatorService`: what an operator sees and may turn.

use std::sync::Arc;

use cofre_admin::{Admin, KeyJobs, KeyStatus, Progress, Retired, RewrapOrder, RotateOrder, Source, Status};
use cofre_deposit::Deposits;
use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::request::RotateKeys;
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
    pub(super) key_jobs: Arc<KeyJobs>,
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

    async fn key_status(&self, request: Request<v1::KeyStatusRequest>) -> Answer<v1::KeyStatusResponse> {
        let jobs = Arc::clone(&self.key_jobs);
        self.desk.answer(request, |_, _| async move { Ok(keys_to_wire(jobs.status().await?)) }).await
    }

    async fn rewrap_keys(&self, request: Request<v1::RewrapKeysRequest>) -> Answer<v1::RewrapKeysResponse> {
        let jobs = Arc::clone(&self.key_jobs);
        self.desk
            .answer(request, |caller, wire| async move {
                let request = convert::rewrap_keys(wire)?;
                let dry_run = request.dry_run;
                let order = RewrapOrder::try_from(request)?;
                let due = jobs.due(&order).await?;
                if dry_run {
                    return Ok(v1::RewrapKeysResponse { job_id: String::new(), due, entry: None });
                }
                let (job, entry) = jobs.open(&caller, order).await?;
                let entry = Some(convert::entry_ref(&entry));
                Ok(v1::RewrapKeysResponse { job_id: job.id.to_string(), due, entry })
            })
            .await
    }

    async fn rotate_keys(&self, request: Request<v1::RotateKeysRequest>) -> Answer<v1::RotateKeysResponse> {
        let jobs = Arc::clone(&self.key_jobs);
        self.desk
            .answer(request, |caller, wire| async move {
                let RotateKeys { tenant, rate, dry_run } = convert::rotate_keys(&wire)?;
                let order = RotateOrder { tenant, rate };
                let due = jobs.to_rotate(&order).await?;
                if dry_run {
                    return Ok(v1::RotateKeysResponse { job_id: String::new(), due, entry: None });
                }
                let (job, entry) = jobs.open_rotation(&caller, &order).await?;
                let entry = Some(convert::entry_ref(&entry));
                Ok(v1::RotateKeysResponse { job_id: job.id.to_string(), due, entry })
            })
            .await
    }

    async fn stop_key_job(&self, request: Request<v1::StopKeyJobRequest>) -> Answer<v1::StopKeyJobResponse> {
        let jobs = Arc::clone(&self.key_jobs);
        self.desk
            .answer(request, |caller, wire| async move {
                let job: KeyJobId = convert::id("job_id", &wire.job_id)?;
                let entry = jobs.stop(&caller, &job).await?;
                Ok(v1::StopKeyJobResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    async fn retire_keys(&self, request: Request<v1::RetireKeysRequest>) -> Answer<v1::RetireKeysResponse> {
        let jobs = Arc::clone(&self.key_jobs);
        self.desk
            .answer(request, |caller, wire| async move {
                let source = Source::try_from(convert::retire_keys(&wire)?)?;
                Ok(retired_to_wire(jobs.retire(&caller, &source).await?))
            })
            .await
    }

    async fn retire_tenant_keys(
        &self,
        request: Request<v1::RetireTenantKeysRequest>,
    ) -> Answer<v1::RetireKeysResponse> {
        let jobs = Arc::clone(&self.key_jobs);
        self.desk
            .answer(request, |caller, wire| async move {
                convert::retire_tenant_keys(wire)?;
                Ok(retired_to_wire(jobs.retire_versions(&caller).await?))
            })
            .await
    }
}

fn retired_to_wire(retired: Retired) -> v1::RetireKeysResponse {
    v1::RetireKeysResponse {
        shares: retired.shares,
        counted: Some(convert::entry_ref(&retired.counted)),
        entry: Some(convert::entry_ref(&retired.entry)),
        statement: retired.statement,
        kept: retired.kept,
        more: retired.more,
    }
}

fn keys_to_wire(status: KeyStatus) -> v1::KeyStatusResponse {
    let custodians = status.custodians.into_iter().map(|row| v1::CustodianShares {
        custodian: row.custodian,
        key: row.key,
        current: row.current,
        closed: row.closed,
        retired: row.retired,
    });
    let jobs = status.jobs.into_iter().map(job_to_wire);
    v1::KeyStatusResponse { custodians: custodians.collect(), jobs: jobs.collect() }
}

fn job_to_wire(progress: Progress) -> v1::KeyJob {
    let Progress { job, moved, failed, left, per_thousand_secs, owners_keys, secs_left, failures } = progress;
    let owners_keys = owners_keys.map(|keys| v1::OwnersKeys {
        moved: keys.moved,
        left: keys.left,
        more: keys.more,
        per_thousand_secs: keys.per_thousand_secs,
    });
    let failures = failures.into_iter().map(|failure| v1::KeyFailure {
        item: failure.item,
        cause: failure.cause,
        at_us: failure.at.micros(),
    });
    v1::KeyJob {
        job_id: job.id.to_string(),
        kind: job.kind.to_string(),
        target: job.target,
        from_key: job.from_key.unwrap_or_default(),
        rate: job.rate.unwrap_or_default(),
        state: job.state.to_string(),
        opened_at_us: job.opened_at.micros(),
        opened_entry: job.opened_entry,
        moved,
        failed,
        left,
        per_thousand_secs,
        secs_left,
        failures: failures.collect(),
        owners_keys,
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
