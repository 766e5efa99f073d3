//! The tonic services, one file each: a wire message becomes a parsed request, a use case answers it, and what it says
//! becomes a wire message or one row of the error map.
//!
//! No service looks at a role or a tenant (the gate and the use cases do), and there is no reflection.

mod admin;
mod audit;
mod consent;
mod deposit;
mod desk;
mod health;
mod operator;
mod privacy;
mod relay;
mod release;
mod security;

use std::sync::Arc;

pub use health::Readiness;
pub use release::NodeProof;

use cofre_admin::{Admin, KeyJobs};
use cofre_audit::Register;
use cofre_consent::Consents;
use cofre_deposit::Deposits;
use cofre_model::time::Clock;
use cofre_privacy::Erasures;
use cofre_proto::v1;
use cofre_relay::Relay;
use cofre_release::Releases;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::pb::health_server::HealthServer;

use crate::counter::Refusals;
use crate::limits::{MESSAGE_BYTES, RELAY_MESSAGE_BYTES};
use desk::Desk;

/// What the counter hands calls to.
#[derive(Debug, Clone)]
pub struct UseCases {
    /// Deposits.
    pub deposits: Arc<Deposits>,
    /// Consents.
    pub consents: Arc<Consents>,
    /// Releases.
    pub releases: Arc<Releases>,
    /// Second-factor challenges.
    pub relay: Arc<Relay>,
    /// Erasures.
    pub erasures: Arc<Erasures>,
    /// The register.
    pub register: Arc<Register>,
    /// Registries, stop buttons and status.
    pub admin: Arc<Admin>,
    /// Jobs over keys.
    pub key_jobs: Arc<KeyJobs>,
}

/// What a node says of itself in answers, and how it is asked about itself.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its key and the word of the deployment's signer for it, beside every promise.
    pub proof: NodeProof,
    /// Verifier key text of the deployment's signer, beside deposit keys.
    pub signer_key: String,
    /// The deployment's trust domain, in which workers are named.
    pub trust_domain: String,
    /// Whether it is ready.
    pub readiness: Arc<dyn Readiness>,
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
}

/// The services of a node. Each listener gets those that some role of its own may call.
#[derive(Debug, Clone)]
pub struct Services {
    desk: Desk,
    deposit: deposit::Service,
    consent: consent::Service,
    release: release::Service,
    relay: relay::Service,
    privacy: privacy::Service,
    audit: audit::Service,
    admin: admin::Service,
    security: security::Service,
    operator: operator::Service,
    health: health::Service,
}

/// Mounts one service with the limits of its messages, either way.
macro_rules! mount {
    ($routes:expr, $server:path, $service:expr, $bytes:expr) => {
        $routes.add_service(
            <$server>::new($service.clone()).max_decoding_message_size($bytes).max_encoding_message_size($bytes),
        )
    };
}

impl Services {
    /// Refusals go to `refusals` before they are told; streams end once `stop` is cancelled.
    #[must_use]
    pub fn new(use_cases: UseCases, node: Node, refusals: Arc<dyn Refusals>, stop: CancellationToken) -> Self {
        let UseCases { deposits, consents, releases, relay, erasures, register, admin, key_jobs } = use_cases;
        let Node { proof, signer_key, trust_domain, readiness, clock } = node;
        let (shared, trust_domain) = (Desk::new(refusals, stop), Arc::<str>::from(trust_domain));
        let desk = || shared.clone();
        Self {
            deposit: deposit::Service { desk: desk(), deposits: Arc::clone(&deposits), signer_key: signer_key.into() },
            consent: consent::Service { desk: desk(), consents },
            release: release::Service { desk: desk(), releases, node: Arc::new(proof), clock },
            relay: relay::Service { desk: desk(), relay },
            privacy: privacy::Service { desk: desk(), erasures },
            audit: audit::Service { desk: desk(), register, trust_domain: Arc::clone(&trust_domain) },
            admin: admin::Service { desk: desk(), admin: Arc::clone(&admin), trust_domain: Arc::clone(&trust_domain) },
            security: security::Service { desk: desk(), admin: Arc::clone(&admin), trust_domain },
            operator: operator::Service { desk: desk(), admin, deposits, key_jobs },
            health: health::Service { desk: desk(), readiness },
            desk: desk(),
        }
    }

    /// For front ends, tenant administrators, workers and other nodes.
    #[must_use]
    pub fn tenants_and_workers(&self) -> Routes {
        let mut routes = Routes::builder();
        self.both(&mut routes);
        mount!(routes, v1::deposit_service_server::DepositServiceServer<_>, self.deposit, MESSAGE_BYTES);
        mount!(routes, v1::release_service_server::ReleaseServiceServer<_>, self.release, MESSAGE_BYTES);
        mount!(routes, v1::relay_service_server::RelayServiceServer<_>, self.relay, RELAY_MESSAGE_BYTES);
        routes.routes()
    }

    /// For security, auditors, operators, privacy officers and custodians.
    #[must_use]
    pub fn people(&self) -> Routes {
        let mut routes = Routes::builder();
        self.both(&mut routes);
        mount!(routes, v1::admin_service_server::AdminServiceServer<_>, self.admin, MESSAGE_BYTES);
        mount!(routes, v1::security_service_server::SecurityServiceServer<_>, self.security, MESSAGE_BYTES);
        mount!(routes, v1::operator_service_server::OperatorServiceServer<_>, self.operator, MESSAGE_BYTES);
        routes.routes()
    }

    fn both(&self, routes: &mut RoutesBuilder) {
        mount!(routes, v1::consent_service_server::ConsentServiceServer<_>, self.consent, MESSAGE_BYTES);
        mount!(routes, v1::privacy_service_server::PrivacyServiceServer<_>, self.privacy, MESSAGE_BYTES);
        mount!(routes, v1::audit_service_server::AuditServiceServer<_>, self.audit, MESSAGE_BYTES);
        mount!(routes, HealthServer<_>, self.health, MESSAGE_BYTES);
    }

    /// Resolves when no call is at work and no stream is open. For the end of a node, after its doors were closed.
    pub async fn idle(&self) {
        self.desk.idle().await;
    }
}
