//! The instruments that are read when somebody asks: small counters of the other rooms, and what a look at the stores
//! every few seconds found. A store that does not answer is counted; its last figures stand until it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use cofre_custody::{Custodian, TenantKeys};
use cofre_edge::revocation::Standing;
use cofre_envelope::Slab;
use cofre_model::id::CredentialId;
use cofre_model::time::Clock;
use cofre_model::wording::Class;
use cofre_release::Releases;
use cofre_store::{Ciphertexts, Keyring, Records};
use opentelemetry::KeyValue;

use super::meters::Meters;

/// No look at a store takes longer.
const WITHIN: Duration = Duration::from_secs(1);

/// What is read.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) records: Records,
    pub(crate) ciphertexts: Ciphertexts,
    pub(crate) keyring: Keyring,
    pub(crate) keys: TenantKeys,
    pub(crate) slab: Arc<Slab>,
    pub(crate) custodians: Vec<Arc<dyn Custodian>>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) releases: Arc<Releases>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the last look at the stores found.
#[derive(Debug, Default)]
struct Found {
    size: AtomicU64,
    integrated: AtomicU64,
    /// Microseconds by which the clock is ahead of the newest entry; negative where it is behind.
    ahead: AtomicI64,
}

/// Looks at the stores when told to.
pub(crate) struct Looks {
    watched: Watched,
    found: Arc<Found>,
    meters: Arc<Meters>,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Looks {
    /// Registers the instruments.
    pub(crate) fn new(watched: Watched, meters: Arc<Meters>) -> Self {
        let found = Arc::new(Found::default());
        meters.watch_counters(&watched);
        meters.watch_state(&watched);
        meters.watch_ledger(&found);
        Self { watched, found, meters }
    }

    /// One look.
    pub(crate) async fn look(&self) {
        let Watched { records, ciphertexts, keyring, .. } = &self.watched;
        let records = self.answers("records", async { records.head().await.ok() });
        let keyring = self.answers("keyring", async { keyring.integrator().await.ok() });
        // Nobody's: what counts is that the store answers.
        let nobody = CredentialId::from_parts(0, [0; 10]);
        let sealed = self.answers("ciphertexts", async { ciphertexts.of(&nobody, Class::Login, 1).await.ok() });
        let (head, integrated, _) = tokio::join!(records, keyring, sealed);
        if let Some(head) = head {
            let (now, last) = (signed(self.watched.clock.now().micros()), signed(head.last_time.micros()));
            self.found.size.store(head.size, Ordering::Relaxed);
            self.found.ahead.store(now.saturating_sub(last), Ordering::Relaxed);
        }
        if let Some(Some(state)) = integrated {
            self.found.integrated.store(state.size, Ordering::Relaxed);
        }
    }

    async fn answers<T>(&self, store: &'static str, look: impl Future<Output = Option<T>>) -> Option<T> {
        let answer = tokio::time::timeout(WITHIN, look).await.ok().flatten();
        self.meters.probe_failures.add(u64::from(answer.is_none()), &[KeyValue::new("store", store)]);
        answer
    }
}

impl Meters {
    fn watch_counters(&self, watched: &Watched) {
        let counter = |name, says| self.meter.u64_observable_counter(name).with_description(says);
        let releases = Arc::clone(&watched.releases);
        counter("cofre.release.verdicts", "releases by verdict and exact reason")
            .with_callback(move |to| {
                for each in releases.counts() {
                    let reason = each.reason.map_or("none", cofre_model::reason::Reason::as_str);
                    to.observe(each.count, &[KeyValue::new("verdict", each.verdict), KeyValue::new("reason", reason)]);
                }
            })
            .build();
        let keys = |name, says, read: fn(cofre_custody::Counters) -> u64| {
            let keys = watched.keys.clone();
            counter(name, says).with_callback(move |to| to.observe(read(keys.counters()), &[])).build();
        };
        keys("cofre.custody.calls", "calls that asked a custodian for a share", |of| of.custodian_calls);
        keys("cofre.custody.failures", "those of them that failed", |of| of.failed_calls);
        keys("cofre.custody.warm_ups", "warm-ups recorded", |of| of.warm_ups);
        keys("cofre.custody.keys.wiped", "warm keys wiped", |of| of.wiped);
        let slots = |name, says, read: fn(cofre_envelope::Counters) -> u64| {
            let slab = Arc::clone(&watched.slab);
            counter(name, says).with_callback(move |to| to.observe(read(slab.counters()), &[])).build();
        };
        slots("cofre.envelope.slots.taken", "slots of locked memory handed out", |of| of.taken);
        slots("cofre.envelope.slots.wiped", "slots of locked memory wiped and taken back", |of| of.wiped);
        let flows = Arc::clone(&self.flows);
        counter("cofre.telemetry.items", "spans, log records and deliveries of metrics, by what became of them")
            .with_callback(move |to| {
                for (signal, outcome, count) in flows.counts() {
                    to.observe(count, &[KeyValue::new("signal", signal), KeyValue::new("outcome", outcome)]);
                }
            })
            .build();
    }

    fn watch_state(&self, watched: &Watched) {
        let gauge = |name, says| self.meter.u64_observable_gauge(name).with_description(says);
        let slab = Arc::clone(&watched.slab);
        gauge("cofre.envelope.slots.in_use", "slots of locked memory that hold a secret now")
            .with_callback(move |to| to.observe(slab.counters().in_use, &[]))
            .build();
        let keys = watched.keys.clone();
        gauge("cofre.custody.keys.warm", "tenant keys that are warm now")
            .with_callback(move |to| to.observe(keys.counters().warm_now, &[]))
            .build();
        let custodians = watched.custodians.clone();
        gauge("cofre.custody.sessions", "sessions held on a custodian")
            .with_callback(move |to| {
                for custodian in &custodians {
                    let label = KeyValue::new("custodian", custodian.id().as_str().to_owned());
                    to.observe(wide(custodian.describe().sessions), &[label]);
                }
            })
            .build();
        let standing = Arc::clone(&watched.standing);
        gauge("cofre.edge.connections", "connections open")
            .with_callback(move |to| to.observe(wide(standing.connections()), &[]))
            .build();
        let records = watched.records.clone();
        gauge("cofre.store.commit.queue", "requests that wait for the writer")
            .with_callback(move |to| {
                let (narrowing, others) = records.waiting();
                to.observe(wide(narrowing), &[KeyValue::new("queue", "narrowing")]);
                to.observe(wide(others), &[KeyValue::new("queue", "others")]);
            })
            .build();
        let (standing, clock) = (Arc::clone(&watched.standing), Arc::clone(&watched.clock));
        self.meter
            .i64_observable_gauge("cofre.edge.revocations.left")
            .with_unit("s")
            .with_description("time until the revocation lists are stale and nobody is let in; negative from then on")
            .with_callback(move |to| {
                to.observe(signed(standing.revocations_until().secs()) - signed(clock.now().secs()), &[]);
            })
            .build();
    }

    fn watch_ledger(&self, found: &Arc<Found>) {
        let gauge = |name, says, read: fn(&Found) -> u64| {
            let found = Arc::clone(found);
            let built = self.meter.u64_observable_gauge(name).with_description(says);
            built.with_callback(move |to| to.observe(read(&found), &[])).build();
        };
        gauge("cofre.ledger.size", "entries in the ledger", |found| found.size.load(Ordering::Relaxed));
        gauge("cofre.audit.integrator.lag", "entries that are under no signed checkpoint yet", |found| {
            found.size.load(Ordering::Relaxed).saturating_sub(found.integrated.load(Ordering::Relaxed))
        });
        let found = Arc::clone(found);
        self.meter
            .f64_observable_gauge("cofre.store.clock.offset")
            .with_unit("s")
            .with_description("by how much the clock is ahead of the newest entry; below -2 no grant is made")
            .with_callback(move |to| {
                #[expect(clippy::cast_precision_loss, reason = "microseconds of a gauge")]
                let micros = found.ahead.load(Ordering::Relaxed) as f64;
                to.observe(micros / 1_000_000.0, &[]);
            })
            .build();
    }
}
