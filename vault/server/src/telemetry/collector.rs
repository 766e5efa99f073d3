//! The way to the collector: one channel, which connects when it is first used and again whenever it was lost, and the
//! three exporters over it. Plain text is for this machine only; anywhere else the collector shows a certificate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchConfigBuilder as LogBatches, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder as SpanBatches, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanLimits,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::allowed::Allowed;
use super::flow::{Counted, Flows, WAITING};
use crate::config::Telemetry;

/// Time for one delivery; a batch that takes longer is lost, and counted.
const DELIVERY: Duration = Duration::from_secs(5);
/// Time for reaching the collector.
const CONNECT: Duration = Duration::from_secs(5);
/// Spans and log records wait this long for company.
const GATHER: Duration = Duration::from_secs(1);
/// Spans, and log records, of one delivery.
const BATCH: usize = 512;
/// Attributes of one span.
const ATTRIBUTES: u32 = 16;

/// The channel. Nothing is connected yet.
pub(super) fn channel(to: &Telemetry) -> Result<Channel> {
    let endpoint =
        Endpoint::from_shared(to.uri()).context("telemetry.otlp")?.connect_timeout(CONNECT).timeout(DELIVERY);
    let Some(ca) = &to.ca else { return Ok(endpoint.connect_lazy()) };
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(ca).with_context(|| format!("telemetry.ca: {} cannot be read", ca.display()))?;
    for each in CertificateDer::pem_slice_iter(&pem) {
        roots.add(each.context("telemetry.ca: must be PEM certificates")?).context("telemetry.ca")?;
    }
    anyhow::ensure!(!roots.is_empty(), "telemetry.ca: must hold at least one PEM certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(to.host.clone()).context("telemetry.otlp: must name a host")?;
    let (tls, address) = (TlsConnector::from(Arc::new(tls)), (to.host.clone(), to.port));
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let (tls, address, name) = (tls.clone(), address.clone(), name.clone());
        async move {
            let tcp = TcpStream::connect(address).await?;
            tls.connect(name, tcp).await.map(TokioIo::new)
        }
    })))
}

/// Traces: sampled, held to the list, bounded, in batches.
pub(super) fn traces(to: &Telemetry, channel: Channel, flows: &Flows, resource: Resource) -> Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder().with_tonic().with_channel(channel).with_timeout(DELIVERY).build()?;
    let exporter = Counted { inner: exporter, flow: Arc::clone(&flows.traces) };
    let batches = SpanBatches::default()
        .with_max_queue_size(WAITING)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(GATHER)
        .build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let limits = SpanLimits {
        max_attributes_per_span: ATTRIBUTES,
        max_events_per_span: 0,
        max_links_per_span: 0,
        max_attributes_per_event: 0,
        max_attributes_per_link: 0,
    };
    let share = f64::from(to.sampled_ppm) / 1_000_000.0;
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
        .with_span_limits(limits)
        .with_resource(resource)
        .with_span_processor(Allowed(Counted { inner: batches, flow: Arc::clone(&flows.traces) }))
        .build())
}

/// Logs: bounded, in batches. What a record may say is settled where it is made.
pub(super) fn logs(channel: Channel, flows: &Flows, resource: Resource) -> Result<SdkLoggerProvider> {
    let exporter = LogExporter::builder().with_tonic().with_channel(channel).with_timeout(DELIVERY).build()?;
    let exporter = Counted { inner: exporter, flow: Arc::clone(&flows.logs) };
    let batches = LogBatches::default()
        .with_max_queue_size(WAITING)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(GATHER)
        .build();
    let batches = BatchLogProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_log_processor(Counted { inner: batches, flow: Arc::clone(&flows.logs) })
        .build())
}

/// Metrics, sent each interval.
pub(super) fn metrics(
    to: &Telemetry,
    channel: Channel,
    flows: &Flows,
) -> Result<PeriodicReader<Counted<MetricExporter>>> {
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_channel(channel)
        .with_timeout(DELIVERY)
        .with_temporality(Temporality::Cumulative)
        .build()?;
    let exporter = Counted { inner: exporter, flow: Arc::clone(&flows.metrics) };
    Ok(PeriodicReader::builder(exporter).with_interval(to.interval).build())
}
