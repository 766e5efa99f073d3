//! The instruments that are written as things happen. Every name is `cofre.<crate>.<thing>`, every label set is fixed,
//! and labels are on the list of [`super::allowed`].

use std::fmt;
use std::sync::Arc;

use cofre_edge::counter::Refusal;
use cofre_edge::gate::Listener;
use cofre_model::caller::Role;
use cofre_model::time::{Clock, Monotonic};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::flow::Flows;

/// Bounds of durations, in seconds: a warm release takes milliseconds, a custodian up to its deadline of five seconds.
const SECONDS: &[f64] = &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The instruments.
pub(crate) struct Meters {
    pub(super) meter: Meter,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) flows: Arc<Flows>,
    pub(super) lines: Counter<u64>,
    pub(super) probe_failures: Counter<u64>,
    calls: Counter<u64>,
    call_duration: Histogram<f64>,
    refusals: Counter<u64>,
    not_let_in: Counter<u64>,
    release: Histogram<f64>,
    release_step: Histogram<f64>,
    commit: Histogram<f64>,
    custodian: Histogram<f64>,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

/// How a role is named in labels.
pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::FrontEnd => "frontend",
        Role::TenantAdmin => "tenant_admin",
        Role::Worker => "worker",
        Role::Node => "node",
        Role::Security => "security",
        Role::Auditor => "auditor",
        Role::Operator => "operator",
        Role::Privacy => "privacy",
        Role::Custodian => "custodian",
    }
}

impl Meters {
    pub(super) fn new(provider: &SdkMeterProvider, flows: Arc<Flows>, clock: Arc<dyn Clock>) -> Self {
        let meter = provider.meter("cofre");
        let counter = |name, says| meter.u64_counter(name).with_description(says).build();
        let seconds = |name, says| {
            let built = meter.f64_histogram(name).with_unit("s").with_description(says);
            built.with_boundaries(SECONDS.to_vec()).build()
        };
        Self {
            lines: counter("cofre.log.lines", "log lines of level warn and error, by crate"),
            probe_failures: counter("cofre.store.probe.failures", "looks at a store that it did not answer"),
            calls: counter("cofre.edge.calls", "calls answered, by method, role of the caller and status"),
            call_duration: seconds("cofre.edge.call.duration", "time to the head of the answer"),
            refusals: counter("cofre.edge.refusals", "refusals of the counter and of parsing, by exact reason"),
            not_let_in: counter("cofre.edge.handshakes.refused", "connections that came to nothing, by cause"),
            release: seconds("cofre.release.duration", "time of a release, from parsed request to verdict"),
            release_step: seconds("cofre.release.step.duration", "time of one step of the release path"),
            commit: seconds("cofre.store.commit.duration", "time of a commit to records, waiting included"),
            custodian: seconds("cofre.custody.call.duration", "time of one call of a custodian, queueing included"),
            meter,
            clock,
            flows,
        }
    }

    pub(super) fn since(&self, then: Monotonic) -> f64 {
        let micros = self.clock.monotonic().micros().saturating_sub(then.micros());
        std::time::Duration::from_micros(micros).as_secs_f64()
    }

    /// The instrument for the duration of a span of that name, and the step it is one of.
    pub(super) fn duration_of(&self, span: &str) -> Option<(&Histogram<f64>, Option<&'static str>)> {
        match span {
            "release" => Some((&self.release, None)),
            "facts" => Some((&self.release_step, Some("facts"))),
            "decide" => Some((&self.release_step, Some("decide"))),
            "warm" => Some((&self.release_step, Some("warm"))),
            "read" => Some((&self.release_step, Some("read"))),
            "open_keys" => Some((&self.release_step, Some("open_keys"))),
            "open_and_seal" => Some((&self.release_step, Some("open_and_seal"))),
            "commit" => Some((&self.commit, None)),
            "custodian" => Some((&self.custodian, None)),
            _ => None,
        }
    }

    /// One call was answered, or given up.
    pub(super) fn call(&self, method: &'static str, caller: &'static str, outcome: &'static str, since: Monotonic) {
        let labels =
            [KeyValue::new("method", method), KeyValue::new("role", caller), KeyValue::new("outcome", outcome)];
        self.calls.add(1, &labels);
        self.call_duration.record(self.since(since), &labels);
    }

    /// The counter refused.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refusals.add(
            1,
            &[
                KeyValue::new("listener", refusal.listener.name()),
                KeyValue::new("method", refusal.method.map_or("unlisted", bare)),
                KeyValue::new("role", refusal.caller.as_ref().map_or("none", |each| role(each.identity().role()))),
                KeyValue::new("reason", refusal.reason.as_str()),
            ],
        );
    }

    /// A connection came to nothing.
    pub(crate) fn not_let_in(&self, listener: Listener, cause: &'static str) {
        self.not_let_in.add(1, &[KeyValue::new("listener", listener.name()), KeyValue::new("cause", cause)]);
    }
}

/// A method without the leading slash of the wire.
pub(super) fn bare(method: &'static str) -> &'static str {
    method.trim_start_matches('/')
}
