//! The counter's refusals, recorded in the register.

use std::sync::Arc;

use cofre_audit::Recorder;
use cofre_edge::counter::{Refusal, Refusals};
use futures_util::future::BoxFuture;

/// Records what the counter refuses.
#[derive(Debug)]
pub(crate) struct Recorded(pub(crate) Arc<Recorder>);

impl Refusals for Recorded {
    fn refused(&self, refusal: Refusal) -> BoxFuture<'static, Option<u64>> {
        let recorder = Arc::clone(&self.0);
        // SECURITY: in a task of its own. A caller that hangs up drops what waits for the answer, never the record.
        let recorded = tokio::spawn(async move {
            // Entries name methods without the leading slash of the wire.
            let method = refusal.method.map(|method| method.trim_start_matches('/'));
            recorder.refused(refusal.caller.as_ref(), method, refusal.reason).await
        });
        Box::pin(async move { recorded.await.ok().flatten() })
    }
}
