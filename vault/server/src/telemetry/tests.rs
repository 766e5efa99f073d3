//! The list holds: whatever is set somewhere, what is not on it goes no further, and what is on it does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::logs::AnyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prometheus::TextEncoder;
use tracing_subscriber::prelude::*;

use super::allowed::{self, Allowed};
use super::flow::Flows;
use super::lines::Lines;
use super::meters::Meters;
use super::steps::Steps;
use super::*;
use crate::clock::SystemClock;

const CANARY: &str = "canary-73519";

/// Keeps what comes through.
#[derive(Debug)]
struct Kept<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Kept<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn push(&self, value: T) {
        self.0.lock().expect("not poisoned").push(value);
    }

    fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

impl SpanProcessor for Kept<SpanData> {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for Kept<SdkLogRecord> {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        self.push(record.clone());
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn a_span_keeps_listed_attributes_alone_and_short_ones() {
    let kept = Kept::new();
    let provider = SdkTracerProvider::builder().with_span_processor(Allowed(kept.clone())).build();
    let mut span = provider.tracer("cofre").start("call");
    span.set_attribute(KeyValue::new("credential", CANARY));
    span.set_attribute(KeyValue::new("method", "cofre.v1.ReleaseService/Release"));
    span.set_attribute(KeyValue::new("reason", "é".repeat(100)));
    span.set_attribute(KeyValue::new("index", 7));
    span.add_event(CANARY, vec![KeyValue::new("method", CANARY)]);
    span.set_status(opentelemetry::trace::Status::error(CANARY));
    span.end();
    let [span] = kept.take().try_into().expect("one span");
    assert!(!format!("{span:?}").contains(CANARY), "{span:?}");
    let keys: Vec<&str> = span.attributes.iter().map(|each| each.key.as_str()).collect();
    assert_eq!(keys, ["method", "reason", "index"]);
    assert!(span.attributes.iter().all(|each| each.value.as_str().len() <= allowed::TEXT), "{span:?}");
}

#[test]
fn a_line_keeps_its_message_and_listed_fields_and_no_text_of_an_error() {
    let kept = Kept::new();
    let provider = SdkLoggerProvider::builder().with_log_processor(kept.clone()).build();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(Lines::new(&provider)), || {
        tracing::warn!(credential = CANARY, cause = CANARY, error = %CANARY, reason = "LOCKDOWN", entry = 7, "refused");
        tracing::info!("{}", "x".repeat(1_000));
    });
    let [refused, long] = kept.take().try_into().expect("two lines");
    assert!(!format!("{refused:?}").contains(CANARY), "{refused:?}");
    assert_eq!(refused.body(), Some(&AnyValue::from("refused")));
    let fields: Vec<_> = refused.attributes_iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    assert_eq!(fields, [("reason", AnyValue::from("LOCKDOWN")), ("entry", AnyValue::Int(7))]);
    assert_eq!(long.body(), Some(&AnyValue::from("x".repeat(256))));
}

fn scraped() -> (SdkMeterProvider, prometheus::Registry) {
    let registry = prometheus::Registry::new();
    let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().expect("a reader");
    let provider = SdkMeterProvider::builder().with_view(allowed::labels_of_metrics).with_reader(reader).build();
    (provider, registry)
}

#[test]
fn a_metric_keeps_listed_labels_alone() {
    let (provider, registry) = scraped();
    let labels = [KeyValue::new("caller", CANARY), KeyValue::new("method", "Release")];
    provider.meter("cofre").u64_counter("cofre.test").build().add(3, &labels);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    assert!(!text.contains(CANARY), "{text}");
    let line = text.lines().find(|line| line.starts_with("cofre_test_total")).expect("the counter");
    assert!(line.contains("method=\"Release\"") && line.ends_with(" 3"), "{line}");
}

#[test]
fn durations_come_from_spans_whatever_is_sampled_and_loud_lines_are_counted() {
    let (provider, registry) = scraped();
    let meters = Arc::new(Meters::new(&provider, Arc::new(Flows::default()), Arc::new(SystemClock::new())));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(Steps::new(meters)), || {
        let span =
            tracing::info_span!("custodian", custodian = "hsm-1", secret = CANARY, outcome = tracing::field::Empty);
        span.record("outcome", "BUSY");
        drop(span);
        drop(tracing::info_span!("facts"));
        drop(tracing::info_span!("of no interest"));
        tracing::error!("incident");
        tracing::info!("nothing");
    });
    let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    assert!(!text.contains(CANARY) && !text.contains("interest"), "{text}");
    let has = |name: &str, labels: &[&str]| {
        text.lines().any(|line| {
            line.starts_with(name) && labels.iter().all(|label| line.contains(label)) && line.ends_with(" 1")
        })
    };
    let custodian = ["custodian=\"hsm-1\"", "outcome=\"BUSY\""];
    assert!(has("cofre_custody_call_duration_seconds_count", &custodian), "{text}");
    // Our own bounds, not the library's, which are for milliseconds.
    assert!(has("cofre_custody_call_duration_seconds_bucket", &["le=\"0.0005\""]) || text.contains("le=\"0.0005\""));
    assert!(has("cofre_release_step_duration_seconds_count", &["step=\"facts\""]), "{text}");
    assert!(has("cofre_log_lines_total", &["level=\"error\"", "crate=\"cofre_server\""]), "{text}");
    assert!(!text.contains("level=\"info\""), "{text}");
}

#[test]
fn texts_are_cut_at_characters_and_only_our_own_code_is_heard() {
    let mut text = "aé".to_owned();
    allowed::cut(&mut text, 2);
    assert_eq!(text, "a");
    assert!(allowed::own("cofre_store::commit") && !allowed::own("sqlx::query") && !allowed::own("h2::codec"));
    assert!(allowed::KEYS.is_sorted() && !allowed::allows("identity") && !allowed::allows("error"));
}

#[test]
fn variables_that_would_steer_the_exporters_are_refused_by_name() {
    let names = |all: &[&str]| all.iter().map(std::ffi::OsString::from).collect::<Vec<_>>().into_iter();
    assert!(unsteered(names(&["PATH", "HOTEL_ROOM", "CREDENTIALS_DIRECTORY"])).is_ok());
    let refused = unsteered(names(&["PATH", "OTEL_EXPORTER_OTLP_HEADERS"])).expect_err("steered").to_string();
    assert!(refused.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{refused}");
}
