//! The way to the vault: TCP, TLS, and the vault's first bytes, before a connection counts as made. In TLS 1.3 a
//! client is done before the server has looked at its certificate; only those bytes say that it was let in.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cofre_model::time::Clock;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::identity::{Identity, MaterialError, ServerIdentity};

/// Time for TCP, TLS and the first bytes together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait before the first repeated attempt; doubles with each failure.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Doublings after which the wait grows no more (6.4 s).
const DOUBLINGS: u32 = 7;
/// Quiet time after which the vault is pinged, and time it has to answer: the counter's own figures.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Nobody answers at the address.
    #[error("the vault cannot be reached: {0}")]
    Unreachable(io::ErrorKind),
    /// Who answers is not the expected node.
    #[error("the server at this address is not the expected node of the vault")]
    ServerNotTrusted,
    /// The vault closed the door on this identity. It does not say why; its log does.
    #[error(
        "not admitted: the vault does not accept this certificate (expired, revoked, of another trust domain, or too many connections)"
    )]
    NotAdmitted,
    /// Somebody answers, too slowly.
    #[error("the vault did not answer in time")]
    TimedOut,
}

/// Why [`connect`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The material of this side.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The attempt.
    #[error(transparent)]
    Connection(#[from] Cause),
}

/// Connects to `address` (`host:port`) and returns a channel that reconnects by itself, with growing pauses.
///
/// # Errors
/// [`ConnectError`]; every failure the vault causes without saying why is [`Cause::NotAdmitted`].
pub async fn connect(
    address: &str,
    identity: &Identity,
    server: ServerIdentity,
    clock: Arc<dyn Clock>,
) -> Result<Channel, ConnectError> {
    let way = Arc::new(Way {
        address: address.to_owned(),
        tls: TlsConnector::from(Arc::new(identity.tls(server, clock)?)),
        failures: AtomicU32::new(0),
    });
    let connector = tower::service_fn(move |_| {
        let way = Arc::clone(&way);
        async move { way.attempt().await.map(TokioIo::new) }
    });
    // The scheme must be http: TLS is the connector's business. The name is never resolved.
    let endpoint = Endpoint::from_static("http://cofre.invalid")
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .tcp_nodelay(true);
    let channel = endpoint.connect_with_connector(connector).await;
    Ok(channel.map_err(|error| cause(&error).unwrap_or(Cause::NotAdmitted))?)
}

/// The cause of a lost or refused connection in an error's chain, such as that of a call's status.
#[must_use]
pub fn cause(error: &(dyn std::error::Error + 'static)) -> Option<Cause> {
    let mut next = Some(error);
    while let Some(each) = next {
        if let Some(cause) = each.downcast_ref::<Cause>() {
            return Some(*cause);
        }
        next = each.source();
    }
    None
}

/// One address, and how it went there lately.
struct Way {
    address: String,
    tls: TlsConnector,
    failures: AtomicU32,
}

impl Way {
    /// One attempt, after the pause earlier failures have earned.
    async fn attempt(&self) -> Result<BufReader<TlsStream<TcpStream>>, Cause> {
        if let Some(doublings) = self.failures.load(Ordering::Relaxed).checked_sub(1) {
            tokio::time::sleep(BACK_OFF.saturating_mul(1 << doublings.min(DOUBLINGS))).await;
        }
        let made = tokio::time::timeout(CONNECT_TIMEOUT, self.shake_hands()).await.unwrap_or(Err(Cause::TimedOut));
        match made {
            Ok(_) => self.failures.store(0, Ordering::Relaxed),
            Err(_) => drop(self.failures.fetch_add(1, Ordering::Relaxed)),
        }
        made
    }

    async fn shake_hands(&self) -> Result<BufReader<TlsStream<TcpStream>>, Cause> {
        let tcp = TcpStream::connect(&self.address).await.map_err(|cause| Cause::Unreachable(cause.kind()))?;
        tcp.set_nodelay(true).map_err(|cause| Cause::Unreachable(cause.kind()))?;
        // The verifier looks at identities alone, so that any name does.
        let name = ServerName::try_from("cofre.invalid").map_err(|_| Cause::ServerNotTrusted)?;
        let stream = self.tls.connect(name, tcp).await.map_err(|cause| of_handshake(&cause))?;
        let mut stream = BufReader::new(stream);
        // HTTP/2 servers speak first: their settings are the proof of having been let in.
        match stream.fill_buf().await {
            Ok([_, ..]) => Ok(stream),
            Ok([]) | Err(_) => Err(Cause::NotAdmitted),
        }
    }
}

fn of_handshake(cause: &io::Error) -> Cause {
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Cause::ServerNotTrusted,
        Some(_) | None => Cause::NotAdmitted,
    }
}
