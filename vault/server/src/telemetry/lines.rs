//! Log lines as OpenTelemetry records: the message, the level, the module, and those fields that are on the list.
//! Texts of errors stay on standard error.

use std::fmt;
use std::time::SystemTime;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::allowed;

/// Bytes of a message.
const MESSAGE: usize = 256;

/// The layer. Its filter lets through events of this project's code alone.
pub(super) struct Lines(SdkLogger);

impl Lines {
    pub(super) fn new(provider: &SdkLoggerProvider) -> Self {
        Self(provider.logger("cofre"))
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let (severity, name) = severity(*event.metadata().level());
        let mut record = self.0.create_log_record();
        record.set_target(event.metadata().target());
        record.set_severity_number(severity);
        record.set_severity_text(name);
        record.set_observed_timestamp(now());
        record.set_body(AnyValue::from(line.message));
        record.add_attributes(line.fields);
        self.0.emit(record);
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of a log line decides nothing")]
fn now() -> SystemTime {
    SystemTime::now()
}

const fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::ERROR => (Severity::Error, "ERROR"),
        Level::WARN => (Severity::Warn, "WARN"),
        Level::INFO => (Severity::Info, "INFO"),
        Level::DEBUG => (Severity::Debug, "DEBUG"),
        Level::TRACE => (Severity::Trace, "TRACE"),
    }
}

/// What of an event may leave.
#[derive(Default)]
struct Line {
    message: String,
    fields: Vec<(&'static str, AnyValue)>,
}

impl Line {
    fn keep(&mut self, field: &Field, value: impl FnOnce() -> AnyValue) {
        // `cause` labels metrics with our own words; in log lines it is the text of an error.
        if allowed::allows(field.name()) && field.name() != "cause" {
            self.fields.push((field.name(), value()));
        }
    }

    fn text(&mut self, field: &Field, text: &dyn fmt::Display) {
        if field.name() == "message" {
            self.message = text.to_string();
            allowed::cut(&mut self.message, MESSAGE);
        } else {
            self.keep(field, || {
                let mut text = text.to_string();
                allowed::cut(&mut text, allowed::TEXT);
                AnyValue::from(text)
            });
        }
    }
}

impl Visit for Line {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, || AnyValue::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, || AnyValue::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, || AnyValue::Boolean(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format_args!("{value:?}"));
    }
}
