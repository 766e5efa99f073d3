//! A node's life: protect the process, open locked memory, custodians and stores, record the start, serve, stop in order.

mod late;
pub(crate) mod services;
mod start;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use cofre_audit::Recorder;
use cofre_custody::TenantKeys;
use cofre_envelope::random;
use cofre_model::entry::{Entry, EntryKind};
use cofre_store::{Operation, Stores};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::telemetry::Telemetry;

pub(crate) use start::locked_memory;
pub use start::protect;
pub(crate) use tokens::settings;
pub use tokens::{init, look};

/// How long open calls may take to end once the node stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A node that serves.
pub struct Node {
    /// Where front ends and workers are served.
    pub tenants_and_workers: SocketAddr,
    /// Where people are served.
    pub people: SocketAddr,
    /// Where metrics are scraped.
    pub metrics: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
    stores: Stores,
    keys: TenantKeys,
    tokens: Vec<tokens::Driver>,
    recorders: Vec<Arc<Recorder>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("people", &self.people).finish_non_exhaustive()
    }
}

/// Serves until SIGTERM or SIGINT, then stops in order.
///
/// # Errors
/// What kept the node from starting, or the step of the stop that failed.
pub async fn run(config: Config, telemetry: Arc<Telemetry>) -> Result<()> {
    // Before anything else: who is told that the node is ready may tell it to stop at once.
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let node = Node::start(config, telemetry).await?;
    // One line on standard output for whoever starts the process; everything else is a log line.
    let metrics = node.metrics.map(|address| format!(" metrics={address}")).unwrap_or_default();
    println!("ready tenants_and_workers={} people={}{metrics}", node.tenants_and_workers, node.people);
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    node.stop().await
}

impl Node {
    /// Stops: no new calls, drain, counted refusals, last entry, wipe, close the custodians.
    ///
    /// # Errors
    /// Names the step that did not end in order; the others were taken all the same.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.tasks.close();
        let drained = tokio::time::timeout(DRAIN, self.tasks.wait()).await.context("stop: calls were still open");
        // Whatever was refused since the last flush, and by now nobody is served.
        for recorder in &self.recorders {
            recorder.flush().await;
        }
        let recorded = match random::array() {
            Ok(id) => {
                let entry = Entry::new(EntryKind::NodeStopped, id);
                self.stores.records.apply(entry, Operation::NodeStopped).await.map(|_| ()).context("stop: last entry")
            }
            Err(error) => Err(error).context("stop: last entry"),
        };
        self.keys.forget_all();
        let mut logged_out = Ok(());
        for token in &self.tokens {
            if let Err(fault) = token.close().await {
                logged_out = Err(fault).context("stop: close a custodian");
            }
        }
        self.stores.close().await;
        drained.and(recorded).and(logged_out)
    }
}

/// The node's SPIFFE id, as its certificate has it.
///
/// # Errors
/// A certificate that cannot be read, or carries no identity of this deployment.
pub fn name(config: &Config) -> Result<String> {
    crate::identity::name(&config.identity)
}
