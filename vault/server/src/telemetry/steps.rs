//! Durations from spans, and a count of loud log lines: whatever share of traces is sampled and whatever is logged, the
//! metrics are whole.

use std::fmt;
use std::sync::Arc;

use cofre_model::time::Monotonic;
use opentelemetry::KeyValue;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::allowed;
use super::meters::Meters;

/// Labels a duration may carry besides the name of its step.
const LABELS: &[&str] = &["custodian", "operation", "outcome", "store"];

/// The layer. Its filter lets through spans and events of this project's code alone.
pub(super) struct Steps(Arc<Meters>);

/// One span under way.
struct Timed {
    since: Monotonic,
    labels: Labels,
}

#[derive(Default)]
struct Labels(Vec<KeyValue>);

impl Steps {
    pub(super) fn new(meters: Arc<Meters>) -> Self {
        Self(meters)
    }
}

impl<S> Layer<S> for Steps
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if self.0.duration_of(span.name()).is_some() {
            let mut labels = Labels::default();
            attributes.record(&mut labels);
            span.extensions_mut().insert(Timed { since: self.0.clock.monotonic(), labels });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(timed) = span.extensions_mut().get_mut::<Timed>()
        {
            values.record(&mut timed.labels);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Timed { since, labels: Labels(mut labels) }) = span.extensions_mut().remove::<Timed>() else {
            return;
        };
        if let Some((duration, step)) = self.0.duration_of(span.name()) {
            labels.extend(step.map(|step| KeyValue::new("step", step)));
            duration.record(self.0.since(since), &labels);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        let level = match *about.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let room = about.target().split("::").next().unwrap_or_default();
        let labels = [KeyValue::new("level", level), KeyValue::new("crate", room.to_owned())];
        self.0.lines.add(1, &labels);
    }
}

impl Visit for Labels {
    fn record_str(&mut self, field: &Field, value: &str) {
        if LABELS.contains(&field.name()) {
            let mut text = value.to_owned();
            allowed::cut(&mut text, allowed::TEXT);
            self.0.retain(|label| label.key.as_str() != field.name());
            self.0.push(KeyValue::new(field.name(), text));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
