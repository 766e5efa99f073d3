//! What a client has to know of a vault beforehand, from another source than the vault: where it is, its trust domain
//! and the key it signs with. Everything else it says is verified against these.

use std::sync::Arc;

use cofre_ledger::note::{NoteError, NoteKey};
use cofre_model::time::Clock;
use tonic::transport::Channel;

use crate::connect::{ConnectError, connect};
use crate::identity::{Identity, ServerIdentity};

/// A deployment as it is pinned by its clients.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// `host:port` of the listener for this kind of caller.
    pub address: String,
    /// The trust domain of its identities.
    pub trust_domain: String,
    /// The deployment's signer: of deposit keys, receipts, certificates, node certificates and checkpoints.
    pub signer: NoteKey,
}

impl Deployment {
    /// From texts, such as those of a configuration file. `signer` is a verifier key, `name+id+key` (C2SP
    /// `signed-note`).
    ///
    /// # Errors
    /// [`NoteError::Key`] where `signer` is not a verifier key.
    pub fn new(address: &str, trust_domain: &str, signer: &str) -> Result<Self, NoteError> {
        let signer = NoteKey::parse(signer.trim_end())?;
        Ok(Self { address: address.to_owned(), trust_domain: trust_domain.to_owned(), signer })
    }

    /// A channel to any node of the deployment.
    pub(crate) async fn channel(&self, identity: &Identity, clock: Arc<dyn Clock>) -> Result<Channel, ConnectError> {
        connect(&self.address, identity, ServerIdentity::any_node(&self.trust_domain), clock).await
    }
}
