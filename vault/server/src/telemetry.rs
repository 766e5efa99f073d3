//! What a node says about itself: JSON lines on standard error always, OpenTelemetry traces, metrics and logs to a
//! collector where one is configured, and the same metrics as Prometheus text where a listener for it is.
//!
//! Nothing here decides, waits for or fails a call: queues are bounded, what does not fit is dropped and counted. What
//! leaves by OTLP is held to the list of allowed keys; no id of a person, a login, a consent or a caller is on it.
//! No type that holds a secret can be printed, so none can be logged.

mod allowed;
mod collector;
mod flow;
mod lines;
mod scrape;
mod steps;

pub(crate) mod calls;
pub(crate) mod meters;
pub(crate) mod watch;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cofre_model::time::Clock;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::prelude::*;

use crate::config::Config;
use flow::Flows;
use meters::Meters;

/// How long the last spans, metrics and logs may take to leave once the node has stopped.
const FLUSH: Duration = Duration::from_secs(3);

/// A node's telemetry.
#[derive(Debug)]
pub struct Telemetry {
    meters: Arc<Meters>,
    metrics: SdkMeterProvider,
    collector: Option<Signals>,
    registry: Option<prometheus::Registry>,
}

#[derive(Debug)]
struct Signals {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

impl Telemetry {
    /// Starts everything the configuration names. Within the runtime, and after the process was protected: exporters
    /// start threads.
    ///
    /// # Errors
    /// The key of the configuration that does not work.
    pub fn start(config: &Config, node: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        if config.telemetry.is_some() {
            unsteered(std::env::vars_os().map(|(name, _)| name))?;
        }
        let flows = Arc::new(Flows::default());
        let resource = resource(config, node);
        let mut builder =
            SdkMeterProvider::builder().with_resource(resource.clone()).with_view(allowed::labels_of_metrics);
        let mut registry = None;
        if config.listen.metrics.is_some() {
            let fresh = prometheus::Registry::new();
            let reader = opentelemetry_prometheus::exporter().with_registry(fresh.clone()).without_target_info();
            builder = builder.with_reader(reader.build().context("listen.metrics")?);
            registry = Some(fresh);
        }
        let mut signals = None;
        if let Some(to) = &config.telemetry {
            let channel = collector::channel(to)?;
            builder = builder.with_reader(collector::metrics(to, channel.clone(), &flows)?);
            signals = Some(Signals {
                traces: collector::traces(to, channel.clone(), &flows, resource.clone())?,
                logs: collector::logs(channel, &flows, resource)?,
            });
        }
        let metrics = builder.build();
        let meters = Arc::new(Meters::new(&metrics, flows, clock));
        subscribe(config, signals.as_ref(), &meters)?;
        Ok(Self { meters, metrics, collector: signals, registry })
    }

    pub(crate) fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    /// Serves the metrics as Prometheus text on `listener` until `stop`.
    pub(crate) async fn serve(&self, listener: tokio::net::TcpListener, stop: CancellationToken) {
        if let Some(registry) = self.registry.clone() {
            scrape::serve(registry, listener, stop).await;
        }
    }

    /// Lets out what is still held, in a thread of its own and for `FLUSH` at most: a collector that is gone or
    /// hangs does not keep the process. After the last use of the node, while the runtime still turns.
    pub fn finish(self: Arc<Self>) {
        let (done, ended) = mpsc::channel();
        let flush = std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            let mut failed = Vec::new();
            if let Some(Signals { traces, logs }) = &self.collector {
                failed.extend(traces.shutdown_with_timeout(FLUSH).err().map(|error| format!("traces: {error}")));
                failed.extend(logs.shutdown_with_timeout(FLUSH).err().map(|error| format!("logs: {error}")));
            }
            failed.extend(self.metrics.shutdown_with_timeout(FLUSH).err().map(|error| format!("metrics: {error}")));
            // Whoever waited may have stopped waiting.
            let _ = done.send(failed);
        });
        let failed = match flush {
            Ok(_) => ended.recv_timeout(FLUSH).unwrap_or_else(|_| vec!["the collector took too long".to_owned()]),
            Err(error) => vec![error.to_string()],
        };
        if !failed.is_empty() {
            tracing::warn!(error = failed.join("; "), "stop: the last telemetry did not leave");
        }
    }
}

fn resource(config: &Config, node: &str) -> Resource {
    // Not the builder that reads the environment: what leaves is what the configuration says.
    Resource::builder_empty()
        .with_service_name("cofred")
        .with_attributes([
            KeyValue::new("service.namespace", config.deployment.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_owned()),
            KeyValue::new("deployment.environment.name", config.mode.as_str()),
            KeyValue::new("cofre.region", config.region.to_string()),
        ])
        .build()
}

/// The exporters read variables of their own, headers and compression among them: with any of them nothing starts.
fn unsteered(names: impl Iterator<Item = std::ffi::OsString>) -> Result<()> {
    for name in names {
        let name = name.to_string_lossy();
        ensure!(
            !name.starts_with("OTEL_"),
            "telemetry: {name} is in the environment, which decides nothing here; unset it"
        );
    }
    Ok(())
}

fn filter(config: &Config) -> Result<EnvFilter> {
    EnvFilter::try_new(&config.log).context("log")
}

fn subscribe(config: &Config, signals: Option<&Signals>, meters: &Arc<Meters>) -> Result<()> {
    let own = || filter_fn(|about| allowed::own(about.target()));
    let own_spans = || filter_fn(|about| about.is_span() && allowed::own(about.target()));
    let text = tracing_subscriber::fmt::layer().json().with_target(true).with_writer(std::io::stderr);
    let logs = match signals {
        Some(signals) => Some(lines::Lines::new(&signals.logs).with_filter(filter(config)?.and(own()))),
        None => None,
    };
    let spans = signals.map(|signals| {
        // Events are logs; spans carry none. Neither places in the code nor threads mean anything to an operator.
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false)
            .with_tracer(signals.traces.tracer("cofre"))
            .with_filter(own_spans())
    });
    tracing_subscriber::registry()
        .with(text.with_filter(filter(config)?))
        .with(spans)
        .with(logs)
        .with(steps::Steps::new(Arc::clone(meters)).with_filter(own()))
        .try_init()?;
    Ok(())
}

#[cfg(test)]
mod tests;
