//! What a node does by itself, each duty in its own task until the node stops.

use std::sync::Arc;
use std::time::Duration;

use cofre_admin::KeyJobs;
use cofre_audit::{Integrator, Recorder};
use cofre_consent::Consents;
use cofre_custody::TenantKeys;
use cofre_deposit::Deposits;
use cofre_model::keys::KeyJobKind;
use cofre_privacy::Erasures;
use cofre_relay::Relay;
use cofre_store::Records;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::watch::Looks;

/// The duties of a node.
pub(crate) struct Duties {
    pub(crate) integrator: Integrator,
    pub(crate) keys: TenantKeys,
    pub(crate) deposits: Arc<Deposits>,
    pub(crate) consents: Arc<Consents>,
    pub(crate) erasures: Arc<Erasures>,
    pub(crate) key_jobs: Arc<KeyJobs>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) recorders: Vec<Arc<Recorder>>,
    pub(crate) records: Records,
    pub(crate) looks: Looks,
}

impl Duties {
    /// Starts every duty.
    pub(crate) fn start(self, tasks: &TaskTracker, stop: &CancellationToken) {
        let Self { integrator, keys, deposits, consents, erasures, key_jobs, relay, recorders, records, looks } = self;
        let ended = stop.clone().cancelled_owned();
        tasks.spawn(async move { integrator.run(ended).await });
        // Warm keys and sealed answers past their time are wiped within a second of it.
        let board = Arc::clone(&relay);
        tasks.spawn(every(Duration::from_secs(1), stop.clone(), move || {
            keys.sweep();
            board.sweep();
            std::future::ready(())
        }));
        // Whatever was sealed to a deposit key cannot be opened by anybody once its private half is gone.
        tasks.spawn(every(Duration::from_secs(3_600), stop.clone(), move || {
            let deposits = Arc::clone(&deposits);
            async move {
                match deposits.retire_keys().await {
                    Ok(0) => {}
                    Ok(count) => tracing::info!(count, "deposit keys past their time destroyed"),
                    Err(error) => tracing::warn!(error = %error, "deposit keys past their time are still there"),
                }
            }
        }));
        tasks.spawn(every(Duration::from_secs(10), stop.clone(), move || {
            let consents = Arc::clone(&consents);
            async move {
                if let Err(error) = consents.sweep().await {
                    tracing::warn!(error = %error, "consents past their end are still to be swept");
                }
            }
        }));
        // An erasure that a crash or an unreachable token left half done goes on by itself.
        tasks.spawn(every(Duration::from_secs(10), stop.clone(), move || {
            let erasures = Arc::clone(&erasures);
            async move {
                if let Err(error) = erasures.resume().await {
                    tracing::warn!(error = %error, "an erasure is still to be finished");
                }
            }
        }));
        rewrap(&key_jobs, tasks, stop);
        let looks = Arc::new(looks);
        tasks.spawn(every(Duration::from_secs(5), stop.clone(), move || {
            let looks = Arc::clone(&looks);
            async move { looks.look().await }
        }));
        for recorder in recorders {
            tasks.spawn(every(Duration::from_secs(10), stop.clone(), move || {
                let recorder = Arc::clone(&recorder);
                async move {
                    recorder.flush().await;
                }
            }));
        }
        let (changes, ended) = (records.changes(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = relay.follow(changes) => {}
                () = ended.cancelled() => {}
            }
        });
    }
}

/// Works on what operators ordered, whoever of the nodes took the order and wherever the last one ended.
fn rewrap(key_jobs: &Arc<KeyJobs>, tasks: &TaskTracker, stop: &CancellationToken) {
    // Each kind apart: a rotation that goes slowly keeps no rewrap from saving keys of a custodian that fails.
    for kind in [KeyJobKind::Rewrap, KeyJobKind::Rotate] {
        let (jobs, stopping) = (Arc::clone(key_jobs), stop.clone());
        tasks.spawn(every(Duration::from_secs(1), stop.clone(), move || {
            let (jobs, stopping) = (Arc::clone(&jobs), stopping.clone());
            async move {
                if let Err(error) = jobs.resume(kind, &|| stopping.is_cancelled()).await {
                    tracing::warn!(%kind, error = %error, "a job over keys is still to be finished");
                }
            }
        }));
    }
    let (jobs, stopping, mut started) = (Arc::clone(key_jobs), stop.clone(), false);
    tasks.spawn(every(Duration::from_secs(3_600), stop.clone(), move || {
        // Nothing deletes key material at a start: whoever puts old stores back has an hour to see that they are.
        let (jobs, stopping, due) = (Arc::clone(&jobs), stopping.clone(), std::mem::replace(&mut started, true));
        async move {
            if !due {
                return;
            }
            match jobs.destroy_retired(&|| stopping.is_cancelled()).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "retired shares of tenant keys destroyed"),
                Err(error) => tracing::warn!(error = %error, "retired shares of tenant keys are still there"),
            }
        }
    }));
}

async fn every<F, D>(period: Duration, stop: CancellationToken, mut duty: F)
where
    F: FnMut() -> D,
    D: Future<Output = ()>,
{
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => duty().await,
            () = stop.cancelled() => return,
        }
    }
}
