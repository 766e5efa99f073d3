//! The one list of what may leave by telemetry, and the processors that hold everything to it. A key that is not here is
//! dropped wherever it was set, so that a new field in the code stays in the house until somebody puts it on this list
//! and its value through the test that looks for canaries.

use std::time::Duration;

use opentelemetry::{Context, Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{Instrument, Stream};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Keys of span attributes, metric labels and log fields. Values are our own words, counts, and names that an operator
/// gave to a custodian or a listener. Never on it: identities, addresses, ids of people, logins, consents and jobs, and
/// texts of errors.
pub(super) const KEYS: &[&str] = &[
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

/// Bytes of a value's text; a longer one is cut.
pub(super) const TEXT: usize = 64;
/// Different label sets one metric may have. More are counted under one set that says so.
const SETS: usize = 2_000;

/// Whether a span or an event is of this project's code. What libraries say may hold a caller's bytes.
pub(super) fn own(target: &str) -> bool {
    target.starts_with("cofre")
}

pub(super) fn allows(key: &str) -> bool {
    KEYS.contains(&key)
}

/// Cuts a text to `most` bytes, at a character.
pub(super) fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
}

/// The view that drops every other label of every metric.
pub(super) fn labels_of_metrics(_: &Instrument) -> Option<Stream> {
    let keys = KEYS.iter().map(|key| Key::from_static_str(key));
    Stream::builder().with_allowed_attribute_keys(keys).with_cardinality_limit(SETS).build().ok()
}

fn hold(attributes: &mut Vec<KeyValue>) {
    attributes.retain(|each| allows(each.key.as_str()));
    for each in attributes {
        match &mut each.value {
            Value::Bool(_) | Value::I64(_) | Value::F64(_) => {}
            other => {
                let mut text = other.as_str().into_owned();
                cut(&mut text, TEXT);
                each.value = Value::from(text);
            }
        }
    }
}

/// Holds spans to the list before `inner` sees them.
#[derive(Debug)]
pub(super) struct Allowed<P>(pub(super) P);

impl<P: SpanProcessor> SpanProcessor for Allowed<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        hold(&mut span.attributes);
        // Neither is made today; should a library make one, its text is not ours.
        span.events = opentelemetry_sdk::trace::SpanEvents::default();
        span.links = opentelemetry_sdk::trace::SpanLinks::default();
        if let opentelemetry::trace::Status::Error { .. } = span.status {
            span.status = opentelemetry::trace::Status::error("");
        }
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
