//! Stop buttons.

use std::sync::Arc;

use cofre_model::permit::EntryRef;
use cofre_model::registry::LockdownScope;
use cofre_model::request::Lockdown;
use cofre_model::time::Clock;
use cofre_proto::v1;
use cofre_proto::v1::security_service_client::SecurityServiceClient;
use tonic::transport::Channel;

use crate::connect::ConnectError;
use crate::deployment::Deployment;
use crate::error::Error;
use crate::identity::Identity;
use crate::wire::{call, entry};

/// Somebody of the security team.
#[derive(Debug, Clone)]
pub struct Security(SecurityServiceClient<Channel>);

impl Security {
    /// Connects with the identity of a security person.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        deployment: &Deployment,
        identity: &Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Ok(Self(SecurityServiceClient::new(deployment.channel(identity, clock).await?)))
    }

    /// Stops releases in a scope, at once.
    ///
    /// # Errors
    /// NOT_FOUND for a target that does not exist.
    pub async fn lockdown(&self, lockdown: &Lockdown) -> Result<EntryRef, Error> {
        use v1::lockdown_request::Scope;
        let target = lockdown.target.clone();
        let scope = match lockdown.scope {
            LockdownScope::Platform => Scope::Platform(true),
            LockdownScope::Tenant => Scope::TenantId(target),
            LockdownScope::Institution => Scope::InstitutionId(target),
            LockdownScope::Credential => Scope::CredentialId(target),
        };
        let request = v1::LockdownRequest { scope: Some(scope) };
        entry(self.0.clone().lockdown(call(request)).await?.into_inner().entry)
    }

    /// Takes all trust from a worker, at once.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub async fn quarantine_worker(&self, spiffe_id: &str) -> Result<EntryRef, Error> {
        let request = v1::QuarantineWorkerRequest { spiffe_id: spiffe_id.to_owned() };
        entry(self.0.clone().quarantine_worker(call(request)).await?.into_inner().entry)
    }
}
