//! Every number that bounds a caller, set by hand because the transport's defaults are "no limit", and applied in
//! one place. Nothing here decides anything about identity.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cofre_model::caller::SpiffeId;
use cofre_model::time::Clock;
use governor::clock::Clock as BucketClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tonic::transport::Server;
use tracing::field::Empty;

use crate::gate;

/// Streams one connection may have open. The transport's default is no limit: 10,000 were held open by one peer.
pub const CONCURRENT_STREAMS: u32 = 64;
/// Streams the server may have to reset for the peer's errors before it drops the connection (MadeYouReset).
pub const LOCAL_ERROR_RESETS: usize = 100;
/// Streams reset by the peer before they were accepted, before it is dropped (rapid reset).
pub const PENDING_ACCEPT_RESETS: usize = 20;
/// Bytes of decoded request headers.
pub const HEADER_LIST_BYTES: u32 = 8 * 1024;
/// Bytes of one message, either way; services set it as their decoding and encoding size.
pub const MESSAGE_BYTES: usize = 64 * 1024;
/// Bytes of one message of a relay method, which may carry a challenge's picture.
pub const RELAY_MESSAGE_BYTES: usize = 640 * 1024;
/// Time for a call to come to its response head. A streamed answer has sent its head at once and is exempt from
/// then on; it ends with its connection at [`CONNECTION_AGE`] and is resumed by the caller.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls of one connection at work at once; more are refused, not queued.
pub const CONCURRENT_CALLS: usize = 32;
/// Quiet time after which the peer is pinged.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Time the peer has for answering a ping.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Age at which a connection is asked to go: bounds how stale a verified identity can be.
pub const CONNECTION_AGE: Duration = Duration::from_secs(600);
/// Time from being asked to go until being cut by the door.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(5);
/// Time a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time the peer has for taking an answer that is not a stream; its connection is cut after it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes one identity may have here, over all its connections: of requests until they are answered, and of answers
/// until the socket took them. 64 streams of a relay method on one connection alone could be 40 MiB.
pub const BYTES_PER_IDENTITY: usize = 16 * 1024 * 1024;
/// Bytes a stream may send ahead of its reader.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes a connection may send ahead of its readers, all streams together.
pub const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Handshakes at once at the listener of tenants and workers. Beyond it the oldest of the busiest source gives way.
pub const TENANT_AND_WORKER_HANDSHAKES: usize = 128;
/// Handshakes at once at the people's listener.
pub const PEOPLE_HANDSHAKES: usize = 32;
/// Connections of the listener of tenants and workers, handshakes apart.
pub const TENANT_AND_WORKER_CONNECTIONS: usize = 448;
/// Connections of the people's listener: their own, so that no flood of workers keeps the security team out.
/// With the other listener 512 in all.
pub const PEOPLE_CONNECTIONS: usize = 64;
/// Connections one tenant's or worker's identity may have: fewer than a quarter of the places of its listener.
pub const CONNECTIONS_PER_IDENTITY: usize = 64;
/// Connections one person may have: an eighth of the people's places, so that one certificate keeps nobody out.
pub const PEOPLE_CONNECTIONS_PER_IDENTITY: usize = 8;
/// Time between two looks whether an open connection is still in good standing. What is told to no call, as that the
/// revocation lists are stale, ends its streams after that long at most.
pub const STANDING_INTERVAL: Duration = Duration::from_secs(30);
/// Bytes of one certificate.
pub const CERTIFICATE_BYTES: usize = 8 * 1024;
/// Certificates a peer may present: the leaf and up to three intermediates.
pub const CHAIN_CERTIFICATES: usize = 4;
/// Calls a second one identity may make in the long run, over all its connections; a stream that is reset at once
/// counts as a call.
pub const CALLS_PER_SECOND: NonZeroU32 = NonZeroU32::new(500).unwrap();
/// Calls one identity may make in one burst.
pub const CALL_BURST: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// Calls of one identity at work at once, over all its connections. They outlive a hang-up, so that resetting streams
/// does not free a place.
pub const CALLS_AT_WORK: usize = 256;
/// Streams one identity may have open, over all its connections.
pub const STREAMS_PER_IDENTITY: usize = 64;
/// Messages of a stream that wait for its reader.
pub const STREAM_BUFFER: usize = 8;
/// Identities the rate limiter remembers before it forgets those whose bucket is full again.
const REMEMBERED_IDENTITIES: usize = 4_096;

/// What bounds a connection and its calls once the caller is known.
///
/// There is one set of numbers, [`Limits::STANDARD`], and no key of the configuration changes it. The fields are open
/// so that a test can take one limit away and show that the attack it stands against then succeeds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// [`CONCURRENT_STREAMS`]
    pub concurrent_streams: Option<u32>,
    /// [`LOCAL_ERROR_RESETS`]
    pub local_error_resets: Option<usize>,
    /// [`PENDING_ACCEPT_RESETS`]
    pub pending_accept_resets: Option<usize>,
    /// [`HEADER_LIST_BYTES`]
    pub header_list_bytes: u32,
    /// [`STREAM_WINDOW`]
    pub stream_window: u32,
    /// [`CONNECTION_WINDOW`]
    pub connection_window: u32,
    /// [`CALL_TIMEOUT`]
    pub call_timeout: Duration,
    /// [`ANSWER_TIMEOUT`]
    pub answer_timeout: Duration,
    /// [`CONCURRENT_CALLS`]
    pub concurrent_calls: usize,
    /// [`BYTES_PER_IDENTITY`]
    pub bytes_per_identity: usize,
    /// [`CONNECTION_AGE`]
    pub connection_age: Duration,
}

impl Limits {
    /// The numbers of this module.
    pub const STANDARD: Self = Self {
        concurrent_streams: Some(CONCURRENT_STREAMS),
        local_error_resets: Some(LOCAL_ERROR_RESETS),
        pending_accept_resets: Some(PENDING_ACCEPT_RESETS),
        header_list_bytes: HEADER_LIST_BYTES,
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        call_timeout: CALL_TIMEOUT,
        answer_timeout: ANSWER_TIMEOUT,
        concurrent_calls: CONCURRENT_CALLS,
        bytes_per_identity: BYTES_PER_IDENTITY,
        connection_age: CONNECTION_AGE,
    };

    /// The transport's server with these limits, tracing outermost, the deadline next. [`server_builder`] is the one
    /// for a node.
    #[must_use]
    pub fn builder(&self) -> Server {
        Server::builder()
            // SECURITY: a span's name comes from our own table; an unlisted path is the peer's text and is not kept.
            .trace_fn(|request| {
                let method = gate::listed(request.uri().path()).unwrap_or("unlisted").trim_start_matches('/');
                tracing::info_span!("call", otel.kind = "server", method, role = Empty, outcome = Empty)
            })
            .max_concurrent_streams(self.concurrent_streams)
            .http2_max_local_error_reset_streams(self.local_error_resets)
            .http2_max_pending_accept_reset_streams(self.pending_accept_resets)
            .http2_max_header_list_size(self.header_list_bytes)
            .initial_stream_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .timeout(self.call_timeout)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            // Without the transport's own grace, with which it never asks the peer to go (tonic 0.14.9): the door cuts.
            .max_connection_age(self.connection_age)
            .accept_http1(false)
    }
}

/// The transport's server with every limit of this module that is the transport's.
///
/// The caller adds the [`CounterLayer`](crate::counter::CounterLayer), which holds calls to the others, the services
/// with their message sizes, and serves an [`Incoming`](crate::acceptor::Incoming).
#[must_use]
pub fn server_builder() -> Server {
    Limits::STANDARD.builder()
}

/// What bounds connections before they are a caller's; numbers differ in tests only.
#[derive(Debug, Clone, Copy)]
pub struct DoorLimits {
    /// Connections whose caller is known.
    pub connections: usize,
    /// Connections of one identity.
    pub connections_per_identity: usize,
    /// Handshakes at once.
    pub handshakes: usize,
    /// Handshakes at once from one source address, so that one source cannot take the places of all others.
    pub handshakes_per_source: usize,
    /// Time for the handshake.
    pub handshake: Duration,
    /// Age at which the door itself cuts a connection, whatever the transport did.
    pub age: Duration,
    /// [`STANDING_INTERVAL`]
    pub look: Duration,
}

impl DoorLimits {
    /// The limits of one listener. A source may take half the places: workers behind one address come back all at
    /// once after a restart of theirs.
    #[must_use]
    pub const fn of(listener: gate::Listener) -> Self {
        let (connections, connections_per_identity, handshakes) = match listener {
            gate::Listener::TenantsAndWorkers => {
                (TENANT_AND_WORKER_CONNECTIONS, CONNECTIONS_PER_IDENTITY, TENANT_AND_WORKER_HANDSHAKES)
            }
            gate::Listener::People => (PEOPLE_CONNECTIONS, PEOPLE_CONNECTIONS_PER_IDENTITY, PEOPLE_HANDSHAKES),
        };
        Self {
            connections,
            connections_per_identity,
            handshakes,
            handshakes_per_source: handshakes / 2,
            handshake: HANDSHAKE_TIMEOUT,
            age: CONNECTION_AGE.saturating_add(CONNECTION_GRACE),
            look: STANDING_INTERVAL,
        }
    }
}

/// One token bucket for each identity, shared by all listeners and connections of a node.
pub struct Rates {
    buckets: RateLimiter<SpiffeId, DashMapStateStore<SpiffeId>, NodeTime, NoOpMiddleware<Duration>>,
}

impl Rates {
    /// Buckets that refill at `per_second` and hold `burst`, by the node's monotonic clock.
    #[must_use]
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self { buckets: RateLimiter::dashmap_with_clock(quota, NodeTime(clock)) }
    }

    /// Buckets of [`CALLS_PER_SECOND`] and [`CALL_BURST`].
    #[must_use]
    pub fn standard(clock: Arc<dyn Clock>) -> Self {
        Self::new(CALLS_PER_SECOND, CALL_BURST, clock)
    }

    /// Takes one token of `identity`; false where its bucket is empty.
    #[must_use]
    pub fn take(&self, identity: &SpiffeId) -> bool {
        if self.buckets.len() > REMEMBERED_IDENTITIES {
            self.buckets.retain_recent();
        }
        self.buckets.check_key(identity).is_ok()
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("identities", &self.buckets.len()).finish()
    }
}

/// The node's monotonic clock in the shape the bucket wants.
#[derive(Debug, Clone)]
struct NodeTime(Arc<dyn Clock>);

impl BucketClock for NodeTime {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_micros(self.0.monotonic().micros())
    }
}
