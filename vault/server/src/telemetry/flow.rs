//! What goes to the collector and what does not: every queue bounded here, every loss counted here, because the
//! exporter's own counts are not to be had from outside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

/// Spans, and log records, that may wait for the collector.
pub(super) const WAITING: usize = 4_096;

/// One signal on its way.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    waiting: AtomicUsize,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// The three signals.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    pub(crate) traces: Arc<Flow>,
    pub(crate) metrics: Arc<Flow>,
    pub(crate) logs: Arc<Flow>,
}

impl Flows {
    /// Each by its name: how much was taken by the collector, refused by it, and dropped before it.
    pub(crate) fn counts(&self) -> [(&'static str, &'static str, u64); 9] {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let [t, m, l] = [&self.traces, &self.metrics, &self.logs];
        [
            ("traces", "exported", of(&t.exported)),
            ("traces", "failed", of(&t.failed)),
            ("traces", "dropped", of(&t.dropped)),
            ("metrics", "exported", of(&m.exported)),
            ("metrics", "failed", of(&m.failed)),
            ("metrics", "dropped", of(&m.dropped)),
            ("logs", "exported", of(&l.exported)),
            ("logs", "failed", of(&l.failed)),
            ("logs", "dropped", of(&l.dropped)),
        ]
    }
}

impl Flow {
    /// Takes a place in the queue; false where it is full, and then it is counted.
    fn enter(&self) -> bool {
        let entered = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| (waiting < WAITING).then_some(waiting + 1))
            .is_ok();
        if !entered {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    fn leave(&self, count: usize, result: &OTelSdkResult) {
        // Saturating: what the exporter flushes at its end was counted in like everything else.
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| Some(waiting.saturating_sub(count)));
        self.settle(count, result);
    }

    fn settle(&self, count: usize, result: &OTelSdkResult) {
        let to = if result.is_ok() { &self.exported } else { &self.failed };
        to.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A processor or an exporter, with the flow it is part of.
pub(super) struct Counted<T> {
    pub(super) inner: T,
    pub(super) flow: Arc<Flow>,
}

impl<T> fmt::Debug for Counted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("flow", &self.flow).finish_non_exhaustive()
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.flow.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        self.flow.leave(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Counted<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.flow.enter() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        let result = self.inner.export(batch).await;
        self.flow.leave(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Counted<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        self.flow.settle(1, &result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_everything_is_dropped_and_counted_and_room_comes_back() {
        let flow = Flow::default();
        let entered = (0..WAITING + 10).filter(|_| flow.enter()).count();
        assert_eq!(entered, WAITING);
        assert_eq!(flow.dropped.load(Ordering::Relaxed), 10);
        flow.leave(512, &Ok(()));
        assert_eq!((0..1_000).filter(|_| flow.enter()).count(), 512);
        assert_eq!(flow.exported.load(Ordering::Relaxed), 512);
    }
}
