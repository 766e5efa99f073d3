//! The counter's refusals, recorded in the register and counted.

use std::sync::Arc;

use cofre_audit::Recorder;
use cofre_edge::counter::{Refusal, Refusals};
use cofre_edge::gate::Listener;
use futures_util::future::BoxFuture;

use crate::telemetry::meters::Meters;

/// Records what the counter refuses.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) meters: Arc<Meters>,
}

impl Refusals for Recorded {
    fn refused(&self, refusal: Refusal) -> BoxFuture<'static, Option<u64>> {
        self.meters.refused(&refusal);
        let recorder = Arc::clone(&self.recorder);
        // SECURITY: in a task of its own. A caller that hangs up drops what waits for the answer, never the record.
        let recorded = tokio::spawn(async move {
            // Entries name methods without the leading slash of the wire.
            let method = refusal.method.map(|method| method.trim_start_matches('/'));
            recorder.refused(refusal.caller.as_ref(), method, refusal.reason).await
        });
        Box::pin(async move { recorded.await.ok().flatten() })
    }

    fn not_let_in(&self, listener: Listener, cause: &'static str) {
        self.meters.not_let_in(listener, cause);
    }
}
