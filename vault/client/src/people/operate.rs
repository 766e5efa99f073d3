//! Registries and the state of a node, for operators.

use std::sync::Arc;

use cofre_model::id::{DepositKeyId, KeyJobId, RecipientId, SigningKeyId, TenantId};
use cofre_model::job::StatementKind;
use cofre_model::permit::EntryRef;
use cofre_model::registry::{Institution, InstitutionState, Template};
use cofre_model::request::{PutTenant, PutWorker, RetireKeys, RewrapKeys, RotateKeys};
use cofre_model::time::Clock;
use cofre_proto::v1::admin_service_client::AdminServiceClient;
use cofre_proto::v1::operator_service_client::OperatorServiceClient;
use cofre_proto::{convert, v1};
use tonic::transport::Channel;

use crate::connect::ConnectError;
use crate::deployment::Deployment;
use crate::error::Error;
use crate::identity::Identity;
use crate::wire::{bytes, call, entry, id};

/// An operator.
#[derive(Debug, Clone)]
pub struct Operator(Channel);

/// A key as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredKey {
    /// The id that statements name.
    pub id: SigningKeyId,
    /// What it may sign.
    pub kind: StatementKind,
    /// Ed25519 public key.
    pub public_key: [u8; 32],
}

/// A tenant as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredTenant {
    /// Its id.
    pub id: TenantId,
    /// Its signing keys.
    pub signing_keys: Vec<RegisteredKey>,
    /// Its recipients with their names.
    pub recipients: Vec<(RecipientId, String)>,
    /// The ledger entry.
    pub entry: EntryRef,
}

impl Operator {
    /// Connects with the identity of an operator.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        deployment: &Deployment,
        identity: &Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Ok(Self(deployment.channel(identity, clock).await?))
    }

    fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.0.clone())
    }

    /// Registers or changes a tenant.
    ///
    /// # Errors
    /// BAD_REQUEST names the field.
    pub async fn put_tenant(&self, tenant: &PutTenant) -> Result<RegisteredTenant, Error> {
        let keys = tenant.signing_keys.iter().map(|(kind, public_key, not_after)| v1::NewSigningKey {
            kind: kind.to_string(),
            public_key: public_key.to_vec(),
            not_after_us: not_after.micros(),
        });
        let request = v1::PutTenantRequest {
            slug: tenant.slug.to_string(),
            legal_name: tenant.legal_name.clone(),
            home_region: tenant.home_region.to_string(),
            signing_keys: keys.collect(),
            recipients: tenant.recipients.clone(),
            custody_set: tenant.custody_set.clone().unwrap_or_default(),
            warm_for_s: tenant.warm_for.map(|span| span.as_micros() / 1_000_000),
        };
        let wire = self.admin().put_tenant(call(request)).await?.into_inner();
        let keys = wire.signing_keys.iter().map(registered_key);
        let recipients = wire.recipients.into_iter();
        Ok(RegisteredTenant {
            id: id("tenant_id", &wire.tenant_id)?,
            signing_keys: keys.collect::<Result<_, _>>()?,
            recipients: recipients
                .map(|each| Ok((id("recipients.recipient_id", &each.recipient_id)?, each.name)))
                .collect::<Result<_, Error>>()?,
            entry: entry(wire.entry)?,
        })
    }

    /// Registers or changes an institution.
    ///
    /// # Errors
    /// BAD_REQUEST names the field.
    pub async fn put_institution(&self, institution: &Institution) -> Result<EntryRef, Error> {
        let request = v1::PutInstitutionRequest {
            institution_id: institution.id.to_string(),
            name: institution.name.clone(),
            country: institution.country.clone(),
            lockout_threshold: u32::from(institution.lockout_threshold),
            unattended_from: u32::from(institution.unattended_from),
            unattended_to: u32::from(institution.unattended_to),
            suspended: institution.state == InstitutionState::Suspended,
        };
        entry(self.admin().put_institution(call(request)).await?.into_inner().entry)
    }

    /// Adds a version of an institution's login form.
    ///
    /// # Errors
    /// BAD_REQUEST names the field.
    pub async fn put_template(&self, template: &Template) -> Result<EntryRef, Error> {
        let request = v1::PutTemplateRequest {
            institution_id: template.institution.to_string(),
            version: template.version,
            fields: template.fields.iter().map(convert::template_field).collect(),
        };
        entry(self.admin().put_template(call(request)).await?.into_inner().entry)
    }

    /// Registers or changes a worker.
    ///
    /// # Errors
    /// BAD_REQUEST names the field.
    pub async fn put_worker(&self, worker: &PutWorker) -> Result<EntryRef, Error> {
        let scopes = worker.scopes.iter().map(|(tenant, institution)| v1::WorkerScope {
            tenant_id: tenant.to_string(),
            institution_id: institution.to_string(),
        });
        let request = v1::PutWorkerRequest { spiffe_id: worker.id.to_string(), scopes: scopes.collect() };
        entry(self.admin().put_worker(call(request)).await?.into_inner().entry)
    }

    /// The state of the node that answers.
    ///
    /// # Errors
    /// As any call.
    pub async fn status(&self) -> Result<v1::StatusResponse, Error> {
        let mut operators = OperatorServiceClient::new(self.0.clone());
        Ok(operators.status(call(v1::StatusRequest {})).await?.into_inner())
    }

    /// Makes a tenant's next deposit key before its time.
    ///
    /// # Errors
    /// NOT_FOUND; UNAVAILABLE while the custodian cannot sign.
    pub async fn rotate_deposit_key(&self, tenant: &TenantId) -> Result<(DepositKeyId, EntryRef), Error> {
        let request = v1::RotateDepositKeyRequest { tenant_id: tenant.to_string() };
        let mut operators = OperatorServiceClient::new(self.0.clone());
        let wire = operators.rotate_deposit_key(call(request)).await?.into_inner();
        Ok((id("key_id", &wire.key_id)?, entry(wire.entry)?))
    }
}

/// What an ordered job over keys came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedJob {
    /// The job and its entry; none after a dry run.
    pub job: Option<(KeyJobId, EntryRef)>,
    /// Keys to move; of a rotation, tenants that get a new key.
    pub due: u64,
}

/// What was retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredKeys {
    /// Shares.
    pub shares: u64,
    /// Where the signed count of zero stands.
    pub counted: EntryRef,
    /// Where the retirement stands.
    pub entry: EntryRef,
    /// That count as it was signed, and behind it 64 bytes of signature.
    pub statement: Vec<u8>,
    /// Of tenants' keys: tenants that keep their older ones.
    pub kept: u64,
    /// Of tenants' keys: whether not all were reached in time. To give the order again goes on.
    pub more: bool,
}

impl Operator {
    fn operators(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.0.clone())
    }

    /// Which custodian wraps what, and how far jobs over keys have come.
    ///
    /// # Errors
    /// As any call.
    pub async fn key_status(&self) -> Result<v1::KeyStatusResponse, Error> {
        Ok(self.operators().key_status(call(v1::KeyStatusRequest {})).await?.into_inner())
    }

    /// Orders every tenant's key to be wrapped by another custody set, or counts what that would move.
    ///
    /// # Errors
    /// BAD_REQUEST names the field; WRONG_STATE while another rewrap runs.
    pub async fn rewrap_keys(&self, order: &RewrapKeys) -> Result<OrderedJob, Error> {
        let request = v1::RewrapKeysRequest {
            custody_set: order.custody_set.clone(),
            from_key: order.from_key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default(),
            rate: order.rate.unwrap_or_default(),
            dry_run: order.dry_run,
        };
        let wire = self.operators().rewrap_keys(call(request)).await?.into_inner();
        let job = if wire.job_id.is_empty() { None } else { Some((id("job_id", &wire.job_id)?, entry(wire.entry)?)) };
        Ok(OrderedJob { job, due: wire.due })
    }

    /// Orders a new key for one tenant or for each, or counts whose it would be.
    ///
    /// # Errors
    /// NOT_FOUND for a tenant there is not; WRONG_STATE while another rotation runs.
    pub async fn rotate_keys(&self, order: &RotateKeys) -> Result<OrderedJob, Error> {
        let request = v1::RotateKeysRequest {
            tenant_id: order.tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
            rate: order.rate.unwrap_or_default(),
            dry_run: order.dry_run,
            every_tenant: order.tenant.is_none(),
        };
        let wire = self.operators().rotate_keys(call(request)).await?.into_inner();
        let job = if wire.job_id.is_empty() { None } else { Some((id("job_id", &wire.job_id)?, entry(wire.entry)?)) };
        Ok(OrderedJob { job, due: wire.due })
    }

    /// Ends a job over keys.
    ///
    /// # Errors
    /// NOT_FOUND; WRONG_STATE for a job that has ended.
    pub async fn stop_key_job(&self, job: &KeyJobId) -> Result<EntryRef, Error> {
        let request = v1::StopKeyJobRequest { job_id: job.to_string() };
        entry(self.operators().stop_key_job(call(request)).await?.into_inner().entry)
    }

    /// Uses no more what a custodian wrapped.
    ///
    /// # Errors
    /// WRONG_STATE while something in force is left of it.
    pub async fn retire_keys(&self, order: &RetireKeys) -> Result<RetiredKeys, Error> {
        let request = v1::RetireKeysRequest {
            custodian: order.custodian.to_string(),
            key: order.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default(),
        };
        retired(self.operators().retire_keys(call(request)).await?.into_inner())
    }

    /// Uses no more the versions of tenant keys that nothing lies under.
    ///
    /// # Errors
    /// WRONG_STATE while a job over keys runs, or something lies under one of them.
    pub async fn retire_tenant_keys(&self) -> Result<RetiredKeys, Error> {
        let request = v1::RetireTenantKeysRequest { every_tenant: true };
        retired(self.operators().retire_tenant_keys(call(request)).await?.into_inner())
    }
}

fn retired(wire: v1::RetireKeysResponse) -> Result<RetiredKeys, Error> {
    let (counted, entry) = (entry(wire.counted)?, entry(wire.entry)?);
    let v1::RetireKeysResponse { shares, statement, kept, more, .. } = wire;
    Ok(RetiredKeys { shares, counted, entry, statement, kept, more })
}

fn registered_key(wire: &v1::RegisteredKey) -> Result<RegisteredKey, Error> {
    Ok(RegisteredKey {
        id: id("signing_keys.key_id", &wire.key_id)?,
        kind: StatementKind::from_text(&wire.kind).ok_or(Error::Answer("signing_keys.kind"))?,
        public_key: bytes("signing_keys.public_key", &wire.public_key)?,
    })
}
