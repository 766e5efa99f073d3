//! Stop buttons. They act at once and ask nothing back; lifting is not for this tool.

use clap::{Args, Subcommand};
use cofre_client::people::Security;
use cofre_model::id::{CredentialId, InstitutionId, TenantId};
use cofre_model::registry::LockdownScope;
use cofre_model::request;

use crate::answer::Answer;
use crate::connection::Connection;
use crate::failure::Failure;

/// Stop releases in a scope, at once.
#[derive(Debug, Args)]
pub(crate) struct Lockdown {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    scope: Scope,
}

#[derive(Debug, Clone, Subcommand)]
enum Scope {
    /// The whole deployment.
    Platform,
    /// One tenant.
    Tenant {
        /// Such as ten_…
        id: TenantId,
    },
    /// One institution.
    Institution {
        /// Such as ins_banco-abierto.
        #[arg(value_parser = |text: &str| InstitutionId::try_from(text))]
        id: InstitutionId,
    },
    /// One login.
    Credential {
        /// Such as crd_…
        id: CredentialId,
    },
}

/// Take all trust from a worker, at once.
#[derive(Debug, Args)]
pub(crate) struct Quarantine {
    #[command(flatten)]
    connection: Connection,
    /// The worker's identity, spiffe://<trust domain>/worker/<pool>/<name>.
    #[arg(value_name = "SPIFFE_ID")]
    worker: String,
}

impl Lockdown {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let (scope, target) = match self.scope {
            Scope::Platform => (LockdownScope::Platform, String::new()),
            Scope::Tenant { id } => (LockdownScope::Tenant, id.to_string()),
            Scope::Institution { id } => (LockdownScope::Institution, id.to_string()),
            Scope::Credential { id } => (LockdownScope::Credential, id.to_string()),
        };
        let what = format!("locked down {scope} {target}");
        let entry = connect(&self.connection).await?.lockdown(&request::Lockdown { scope, target }).await?;
        Ok(Answer::recorded(what.trim_end(), &entry))
    }
}

impl Quarantine {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let entry = connect(&self.connection).await?.quarantine_worker(&self.worker).await?;
        Ok(Answer::recorded(&format!("quarantined {}", self.worker), &entry))
    }
}

async fn connect(connection: &Connection) -> Result<Security, Failure> {
    let session = connection.session()?;
    Ok(Security::connect(&session.deployment, &session.identity, session.clock).await?)
}
