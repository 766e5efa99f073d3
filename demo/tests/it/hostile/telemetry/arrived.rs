//! What an operator must find at the collector, and that nothing else is there.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::collector::Received;
use super::{LOGINS, value};

/// Every key that may stand at a span, a metric or a log line. Whoever adds one shows here what it holds.
const KEYS: &[&str] = &[
    "cause",
    "count",
    "crate",
    "custodian",
    "entry",
    "index",
    "level",
    "listener",
    "mechanism",
    "method",
    "most",
    "operation",
    "outcome",
    "part",
    "queue",
    "reason",
    "role",
    "seconds",
    "signal",
    "size",
    "step",
    "store",
    "verdict",
];

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(yes)) => yes.to_string(),
        other => panic!("a value of another kind: {other:?}"),
    }
}

fn labels(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let labels: BTreeMap<_, _> = attributes.iter().map(|each| (each.key.clone(), text(each.value.as_ref()))).collect();
    for (key, value) in &labels {
        assert!(KEYS.contains(&key.as_str()), "key {key} = {value:?} is not on the list");
        assert!(value.len() <= 64, "{key} = {value:?}");
    }
    labels
}

fn resource(resource: Option<&Resource>) {
    let about = resource.expect("a resource");
    let about: BTreeMap<_, _> =
        about.attributes.iter().map(|each| (each.key.as_str(), text(each.value.as_ref()))).collect();
    assert_eq!(about.get("service.name").map(String::as_str), Some("cofred"), "{about:?}");
    assert_eq!(about.get("service.instance.id").map(String::as_str), Some("spiffe://cofre.dev/node/dev-local/n1"));
    assert_eq!(about.len(), 6, "{about:?}");
}

/// Every release is a tree: the call, the release in it, and in that the steps of the path in their order.
pub(super) fn spans(received: &Received) {
    let mut spans: Vec<&Span> = Vec::new();
    for each in received.traces.iter().flat_map(|request| &request.resource_spans) {
        resource(each.resource.as_ref());
        spans.extend(each.scope_spans.iter().flat_map(|scope| &scope.spans));
    }
    let of = |span: &Span| labels(&span.attributes);
    for span in &spans {
        of(span);
        assert!(span.events.is_empty() && span.links.is_empty() && span.trace_state.is_empty(), "{span:?}");
    }
    let mut delivered = 0;
    for release in spans.iter().filter(|span| span.name == "release") {
        let outcome = of(release).get("outcome").cloned();
        let call = spans.iter().find(|span| span.span_id == release.parent_span_id).expect("the call it is part of");
        let about = of(call);
        assert_eq!((call.name.as_str(), about["method"].as_str()), ("call", "cofre.v1.ReleaseService/Release"));
        assert_eq!(about["role"], "worker", "{about:?}");
        if outcome.as_deref() != Some("granted") {
            continue;
        }
        assert_eq!(about["outcome"], "ok", "{about:?}");
        let mut steps: Vec<&&Span> = spans
            .iter()
            .filter(|span| span.parent_span_id == release.span_id && span.trace_id == release.trace_id)
            .collect();
        steps.sort_by_key(|span| span.start_time_unix_nano);
        let mut names: Vec<&str> = steps.iter().map(|span| span.name.as_str()).collect();
        // The two reads go side by side.
        names.dedup();
        let path = ["facts", "decide", "warm", "commit", "read", "open_keys", "open_and_seal"];
        assert_eq!(names, path, "{release:?}");
        let stores: BTreeSet<String> =
            steps.iter().filter(|span| span.name == "read").map(|span| of(span)["store"].clone()).collect();
        assert_eq!(stores.into_iter().collect::<Vec<_>>(), ["ciphertexts", "keyring"]);
        delivered += 1;
    }
    assert!(delivered >= LOGINS, "{delivered} releases");
    let custodian = spans.iter().filter(|span| span.name == "custodian").map(|span| of(span)).collect::<Vec<_>>();
    assert!(custodian.iter().any(|each| each["operation"] == "unwrap" && each["outcome"] == "ok"), "{custodian:?}");
    let unlisted = spans.iter().filter(|span| span.name == "call" && of(span)["method"] == "unlisted");
    assert!(unlisted.count() > 30);
}

/// Counters, gauges and histograms by name, each with the label sets and the largest number it had: at the end of a node
/// nothing is open or warm any more.
pub(super) fn metrics(received: &Received) {
    let mut most: BTreeMap<(String, BTreeMap<String, String>), f64> = BTreeMap::new();
    let mut keep = |name: &str, labels: BTreeMap<String, String>, number: f64| {
        let kept = most.entry((name.to_owned(), labels)).or_insert(number);
        *kept = kept.max(number);
    };
    for each in received.metrics.iter().flat_map(|request| &request.resource_metrics) {
        resource(each.resource.as_ref());
        for metric in each.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let points = match metric.data.as_ref().expect("data") {
                Data::Sum(sum) => &sum.data_points,
                Data::Gauge(gauge) => &gauge.data_points,
                Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        assert!(point.exemplars.is_empty(), "{point:?}");
                        #[expect(clippy::cast_precision_loss, reason = "few")]
                        keep(&metric.name, labels(&point.attributes), point.count as f64);
                    }
                    continue;
                }
                other => panic!("{other:?}"),
            };
            for point in points {
                use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
                assert!(point.exemplars.is_empty(), "{point:?}");
                let number = match point.value.expect("a number") {
                    Number::AsDouble(number) => number,
                    #[expect(clippy::cast_precision_loss, reason = "few")]
                    Number::AsInt(number) => number as f64,
                };
                keep(&metric.name, labels(&point.attributes), number);
            }
        }
    }
    let total = |name: &str, wanted: &[(&str, &str)]| -> f64 {
        let found = most.iter().filter(|((known, labels), _)| {
            known == name && wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|label| label == value))
        });
        found.map(|(_, number)| *number).sum()
    };
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let logins = LOGINS as f64;
    let release = "cofre.v1.ReleaseService/Release";
    for (name, labels, least) in [
        ("cofre.edge.calls", &[("method", release), ("role", "worker"), ("outcome", "ok")][..], logins),
        ("cofre.edge.calls", &[("method", "unlisted"), ("outcome", "permission_denied")], 30.0),
        ("cofre.edge.call.duration", &[("method", "cofre.v1.DepositService/Deposit"), ("outcome", "ok")], logins),
        ("cofre.edge.refusals", &[("reason", "METHOD_NOT_ALLOWED"), ("role", "frontend")], 1.0),
        ("cofre.edge.refusals", &[("reason", "BAD_REQUEST")], 100.0),
        ("cofre.edge.handshakes.refused", &[("cause", "expired"), ("listener", "tenants_and_workers")], 1.0),
        ("cofre.edge.handshakes.refused", &[("cause", "untrusted")], 1.0),
        ("cofre.edge.handshakes.refused", &[("cause", "certificate")], 1.0),
        ("cofre.edge.connections", &[], 1.0),
        ("cofre.edge.revocations.left", &[], 86_400.0),
        ("cofre.release.verdicts", &[("verdict", "granted")], logins),
        ("cofre.release.verdicts", &[("verdict", "denied")], 5.0),
        ("cofre.release.duration", &[("outcome", "granted")], logins),
        ("cofre.release.step.duration", &[("step", "facts")], logins),
        ("cofre.release.step.duration", &[("step", "open_keys")], logins),
        ("cofre.release.step.duration", &[("step", "read"), ("store", "keyring")], logins),
        ("cofre.store.commit.duration", &[("outcome", "written")], logins),
        ("cofre.custody.call.duration", &[("operation", "unwrap"), ("outcome", "ok")], 1.0),
        ("cofre.custody.calls", &[], 1.0),
        ("cofre.custody.warm_ups", &[], 1.0),
        ("cofre.custody.keys.warm", &[], 1.0),
        ("cofre.custody.sessions", &[], 1.0),
        ("cofre.envelope.slots.taken", &[], 4.0 * logins),
        ("cofre.envelope.slots.wiped", &[], 4.0 * logins),
        ("cofre.envelope.slots.in_use", &[], 1.0),
        ("cofre.ledger.size", &[], 4.0 * logins),
        ("cofre.telemetry.items", &[("signal", "traces"), ("outcome", "exported")], 100.0),
        ("cofre.log.lines", &[("level", "warn"), ("crate", "cofre_edge")], 1.0),
    ] {
        let found = total(name, labels);
        assert!(
            found >= least,
            "{name} {labels:?}: {found}; there are {:#?}",
            most.keys().map(|key| &key.0).collect::<BTreeSet<_>>()
        );
    }
    // There from the start, at zero.
    for name in ["cofre.custody.failures", "cofre.store.probe.failures"] {
        assert!(most.keys().any(|(known, _)| known == name) && total(name, &[]) == 0.0, "{name}");
    }
    for name in ["cofre.store.commit.queue", "cofre.store.clock.offset", "cofre.audit.integrator.lag"] {
        assert!(most.keys().any(|(known, _)| known == name), "{name}");
    }
    assert_eq!(total("cofre.telemetry.items", &[("outcome", "dropped")]), 0.0);
}

/// The messages of all log lines.
pub(super) fn bodies(received: &Received) -> impl Iterator<Item = String> {
    let scopes = received.logs.iter().flat_map(|request| &request.resource_logs).flat_map(|each| &each.scope_logs);
    scopes.flat_map(|scope| &scope.log_records).map(|record| text(record.body.as_ref()))
}

/// Refusals with their reasons, within the trace of their call; the vault's own modules alone.
pub(super) fn lines(received: &Received) {
    let mut reasons = BTreeSet::new();
    let mut traced = 0;
    for each in received.logs.iter().flat_map(|request| &request.resource_logs) {
        resource(each.resource.as_ref());
        for scope in &each.scope_logs {
            let module = scope.scope.as_ref().map(|scope| scope.name.as_str()).unwrap_or_default();
            assert!(module.starts_with("cofre_"), "{scope:?}");
            for record in &scope.log_records {
                let labels = labels(&record.attributes);
                assert!(!labels.contains_key("cause"), "{record:?}");
                assert!(text(record.body.as_ref()).len() <= 256, "{record:?}");
                traced += usize::from(!record.trace_id.is_empty());
                reasons.extend(labels.get("reason").cloned());
            }
        }
    }
    assert!(traced > 100, "{traced} lines within a trace");
    for reason in ["BAD_REQUEST", "METHOD_NOT_ALLOWED", "NOT_FOUND"] {
        assert!(reasons.contains(reason), "{reason}: {reasons:?}");
    }
}

/// The same numbers as Prometheus text.
pub(super) fn scraped(text: &str) {
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let logins = LOGINS as f64;
    let release = "method=\"cofre.v1.ReleaseService/Release\"";
    for (name, labels, least) in [
        ("cofre_edge_calls_total", &[release, "role=\"worker\"", "outcome=\"ok\""][..], logins),
        ("cofre_release_verdicts_total", &["verdict=\"granted\""], logins),
        ("cofre_release_duration_seconds_count", &["outcome=\"granted\""], logins),
        ("cofre_release_duration_seconds_bucket", &["le=\"5\"", "outcome=\"granted\""], logins),
        ("cofre_custody_keys_warm", &[], 1.0),
        ("cofre_ledger_size", &[], logins),
        ("cofre_edge_revocations_left_seconds", &[], 86_400.0),
    ] {
        let found = value(text, name, labels);
        assert!(found.is_some_and(|found| found >= least), "{name} {labels:?}: {found:?} in {text}");
    }
}
