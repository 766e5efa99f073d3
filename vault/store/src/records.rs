//! Records: tenants, parties, logins without their secrets, consents, leases and the ledger. Reads stand here by
//! table family; every write goes through the one commit.

pub(crate) mod consents;
pub(crate) mod credentials;
pub(crate) mod deciding;
pub(crate) mod epochs;
pub(crate) mod erasures;
pub(crate) mod grants;
pub(crate) mod institutions;
pub(crate) mod key_jobs;
pub(crate) mod ledger;
pub(crate) mod search;
pub(crate) mod subjects;
pub(crate) mod tenant_key_versions;
pub(crate) mod tenants;
pub(crate) mod workers;

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::commit::change::Change;
use crate::commit::submit::Submissions;
use crate::engine::{Engine, Session};
use crate::error::Error;
use crate::standing::register::Register;

/// The records store. Clones share it.
#[derive(Debug, Clone)]
pub struct Records {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    store_id: [u8; 16],
    submissions: Submissions,
    changes: broadcast::Sender<Change>,
    register: Register,
}

impl Records {
    pub(crate) fn new(
        engine: Engine,
        store_id: [u8; 16],
        submissions: Submissions,
        changes: broadcast::Sender<Change>,
    ) -> Self {
        Self { shared: Arc::new(Shared { engine, store_id, submissions, changes, register: Register::default() }) }
    }

    /// The random id the three files of this deployment share.
    #[must_use]
    pub fn store_id(&self) -> [u8; 16] {
        self.shared.store_id
    }

    /// Tells what changed, after each commit. It is a hint: whoever lags re-reads the rows.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    pub(crate) fn submissions(&self) -> &Submissions {
        &self.shared.submissions
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn register(&self) -> &Register {
        &self.shared.register
    }

    async fn reader(&self) -> Result<Session<'static>, Error> {
        self.shared.engine.read().await
    }
}
