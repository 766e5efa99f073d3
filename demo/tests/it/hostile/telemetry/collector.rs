//! A collector that keeps everything it is sent: every byte off the wire, and every message whole.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

/// What was received.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) wire: Vec<u8>,
    pub(super) headers: Vec<String>,
    pub(super) traces: Vec<ExportTraceServiceRequest>,
    pub(super) metrics: Vec<ExportMetricsServiceRequest>,
    pub(super) logs: Vec<ExportLogsServiceRequest>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Collector(Arc<Mutex<Received>>);

impl Collector {
    /// Listens on a free port of this machine.
    pub(super) async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let kept = collector.clone();
        let incoming =
            TcpListenerStream::new(listener).map(move |stream| stream.map(|stream| Tee { stream, kept: kept.clone() }));
        let served = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()))
            .add_service(LogsServiceServer::new(collector.clone()))
            .serve_with_incoming(incoming);
        tokio::spawn(async move { served.await.expect("a collector") });
        (collector, address)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything received so far.
    pub(super) fn take(&self) -> Received {
        self.with(std::mem::take)
    }

    fn keep<W>(&self, request: Request<W>, keep: impl FnOnce(&mut Received, W)) {
        let headers = format!("{:?}", request.metadata());
        self.with(|received| {
            received.headers.push(headers);
            keep(received, request.into_inner());
        });
    }
}

impl Received {
    /// Writes everything into files of `folder`: the wire, where headers are coded and messages may be split, and the
    /// messages, where they are whole.
    pub(super) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder");
        let mut messages = Vec::new();
        messages.extend(self.traces.iter().flat_map(prost::Message::encode_to_vec));
        messages.extend(self.metrics.iter().flat_map(prost::Message::encode_to_vec));
        messages.extend(self.logs.iter().flat_map(|logs| logs.encode_to_vec()));
        for (name, bytes) in
            [("wire", &self.wire), ("messages", &messages), ("headers", &self.headers.concat().into_bytes())]
        {
            std::fs::write(folder.join(name), bytes).expect("a file");
        }
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.keep(request, |received, message| received.traces.push(message));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.keep(request, |received, message| received.metrics.push(message));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.keep(request, |received, message| received.logs.push(message));
        Ok(Response::new(Default::default()))
    }
}

/// A connection that keeps what it reads.
struct Tee {
    stream: TcpStream,
    kept: Collector,
}

impl Connected for Tee {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Tee {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.kept.with(|received| received.wire.extend_from_slice(&buf.filled()[before..]));
        polled
    }
}

impl AsyncWrite for Tee {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
