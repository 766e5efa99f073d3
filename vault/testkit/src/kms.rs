//! A key management service on loopback: one store of genuine keys, spoken to in the wire forms of AWS KMS, Google Cloud
//! KMS and the transit engine of Vault and OpenBao. Keys have states, callers can be refused, the service can be slow,
//! throttled, broken, gone, impersonated or wrong about the time, and it counts every call by key and operation.
//!
//! It is written from the services' published interfaces and from what they answer, not from our drivers: a driver is
//! held against it as against the real thing. It keeps nothing safe and speaks plain HTTP on 127.0.0.1 only.

#![expect(
    clippy::indexing_slicing,
    reason = "reading what JSON does not have gives null, and only objects are written to"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

mod aws;
mod gcp;
mod keys;
mod transit;

use keys::Keys;
pub use keys::{Kind, State};

/// The region, account, project and mount of the peer, as its key names have them.
pub const REGION: &str = "eu-west-1";
const ACCOUNT: &str = "111122223333";
const RING: &str = "projects/cofre-test/locations/europe-west4/keyRings/cofre";
/// The mount of the transit engine.
pub const MOUNT: &str = "transit";
/// The caller that is known unless a test says otherwise: access key id, bearer token or transit token.
pub const CALLER: &str = "AKIACOFRETEST";
/// The secret access key of every caller.
pub const SECRET: &str = "of-the-peer-and-of-nobody-else";
/// How far a caller's clock may be off, as AWS and Google bear it.
const SKEW_SECS: i64 = 300;

/// Which checksum is spoilt on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoilt {
    /// What the caller sent arrives changed.
    Request,
    /// What the service answers arrives changed.
    Answer,
    /// The service does not say that it checked what it was sent.
    Unverified,
}

/// What the service suffers from. The default serves everybody.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Each answer takes this long more.
    pub latency: Duration,
    /// Every call is refused as one too many.
    pub throttled: bool,
    /// Every call fails inside.
    pub broken: bool,
    /// The work is done, then the connection is cut in the middle of the answer.
    pub cut: bool,
    /// Something else answers at this address, with a page of its own.
    pub stranger: bool,
    /// Every call is sent on to this address, by the status that asks for the same call with the same body.
    pub elsewhere: Option<String>,
    /// One byte is changed under way.
    pub spoilt: Option<Spoilt>,
    /// How far the service's clock is ahead, in seconds.
    pub ahead: i64,
    /// Callers that are known and not allowed.
    pub denied: BTreeSet<String>,
    /// After this many calls it clears up; none: it stays.
    pub calls: Option<u32>,
}

/// Why the service does not do as asked; every wire form says it in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Throttled,
    Broken,
    Unknown,
    BadSignature,
    /// Signed for another region.
    Elsewhere,
    Skewed,
    Denied,
    NoSuchKey,
    NoSuchVersion,
    NoSuchOperation,
    State(State),
    /// Made under another key.
    Foreign,
    /// Does not open: other bytes, another context.
    Unopened,
    /// The key is for something else.
    Usage,
    Malformed(&'static str),
    /// A checksum in the request does not match.
    Checksum(&'static str),
}

/// One call, whoever's form it has.
struct Call {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    request: String,
    weather: Weather,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body).map_err(|_| Refusal::Malformed("the body is not JSON"))
    }
}

/// An answer before it becomes one of HTTP.
struct Answer {
    status: u16,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

#[derive(Default)]
struct House {
    keys: Mutex<Keys>,
    weather: Mutex<Weather>,
    counts: Mutex<BTreeMap<(String, String), u64>>,
    requests: Mutex<u64>,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl House {
    fn count(&self, key: &str, operation: &str) {
        *held(&self.counts).entry((key.to_owned(), operation.to_owned())).or_default() += 1;
    }

    fn next_request(&self) -> String {
        let mut requests = held(&self.requests);
        *requests += 1;
        format!("00000000-0000-4000-8000-{:012}", *requests)
    }

    /// The weather for one call.
    fn weather(&self) -> Weather {
        let mut weather = held(&self.weather);
        match weather.calls {
            Some(0) => *weather = Weather::default(),
            Some(left) => weather.calls = Some(left - 1),
            None => {}
        }
        weather.clone()
    }
}

/// The running service. It ends when it is dropped.
pub struct Kms {
    address: SocketAddr,
    house: Arc<House>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kms").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Kms {
    /// Starts an empty one on a free port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let house = Arc::new(House::default());
        let serving = tokio::spawn(serve(listener, house.clone()));
        Ok(Self { address, house, serving: Mutex::new(Some(serving)) })
    }

    /// Where it is reached, for all three forms.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// When randomness fails.
    pub fn make(&self, name: &str, kind: Kind) -> Result<()> {
        held(&self.house.keys).make(name, kind)
    }

    /// Gives a key a new version, which wraps from now on, and answers its number.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn rotate(&self, name: &str) -> Result<u32> {
        held(&self.house.keys).rotate(name)
    }

    /// Lets a key be handed out, as transit can.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn make_exportable(&self, name: &str) -> Result<()> {
        let mut keys = held(&self.house.keys);
        keys.0.get_mut(name).ok_or_else(|| anyhow::anyhow!("no key {name}"))?.exportable = true;
        Ok(())
    }

    /// Sets the state of one version of a key, or of all.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn set(&self, name: &str, version: Option<u32>, state: State) -> Result<()> {
        held(&self.house.keys).set(name, version, state)
    }

    /// Takes a key away as if it had never been, and gives it back to put there again.
    #[must_use]
    pub fn take(&self, name: &str) -> Option<Taken> {
        held(&self.house.keys).0.remove(name).map(Taken)
    }

    /// Puts a key back under a name.
    pub fn put(&self, name: &str, taken: Taken) {
        held(&self.house.keys).0.insert(name.to_owned(), taken.0);
    }

    /// From now on.
    pub fn set_weather(&self, weather: Weather) {
        *held(&self.house.weather) = weather;
    }

    /// Nothing listens at its address any more, and whoever is connected is cut off.
    pub fn go_away(&self) {
        if let Some(serving) = held(&self.serving).take() {
            serving.abort();
        }
    }

    /// It listens again, at the same address.
    ///
    /// # Errors
    /// When somebody else took the port.
    pub async fn come_back(&self) -> Result<()> {
        self.go_away();
        let listener = loop {
            // The task that held the port ends at its next step.
            match TcpListener::bind(self.address).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                bound => break bound?,
            }
        };
        *held(&self.serving) = Some(tokio::spawn(serve(listener, self.house.clone())));
        Ok(())
    }

    /// How often a key was asked for an operation, by the name the operation has on the wire; served or not.
    #[must_use]
    pub fn count(&self, key: &str, operation: &str) -> u64 {
        held(&self.house.counts).get(&(key.to_owned(), operation.to_owned())).copied().unwrap_or_default()
    }

    /// How many requests came in all.
    #[must_use]
    pub fn requests(&self) -> u64 {
        *held(&self.house.requests)
    }

    /// The ARN of a key.
    #[must_use]
    pub fn arn(name: &str) -> String {
        aws::arn(name)
    }

    /// The resource name of a key of Google's.
    #[must_use]
    pub fn resource(name: &str) -> String {
        format!("{RING}/cryptoKeys/{name}")
    }
}

/// A key that was taken away.
#[expect(missing_debug_implementations, reason = "holds a key")]
pub struct Taken(keys::Key);

impl Drop for Kms {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// Dropped with its task, and every connection with it.
async fn serve(listener: TcpListener, house: Arc<House>) {
    let router = Router::new().fallback(answer).with_state(house);
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            // Whoever hangs up, or is hung up on, has no more to say.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    Shared(house): Shared<Arc<House>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let weather = house.weather();
    let request = house.next_request();
    tokio::time::sleep(weather.latency).await;
    if weather.stranger {
        let page = Body::from("<html><body><h1>It works!</h1></body></html>");
        return Response::builder().header("content-type", "text/html").body(page).unwrap_or_default();
    }
    if let Some(address) = &weather.elsewhere {
        let redirect = Response::builder().status(307).header("location", format!("{address}{uri}"));
        return redirect.body(Body::empty()).unwrap_or_default();
    }
    let call = Call { method, uri, headers, body, request, weather };
    let given = if call.headers.contains_key("x-amz-target") {
        aws::answer(&house, &call)
    } else if call.headers.contains_key("x-vault-token") || call.headers.contains_key("x-vault-request") {
        transit::answer(&house, &call)
    } else {
        gcp::answer(&house, &call)
    };
    let Answer { status, kind, headers, body } = given;
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap_or_default());
    // By its own clock: hyper would say this machine's.
    response = response.header("content-type", kind).header("date", date(now(&call.weather)));
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    if call.weather.cut {
        // More is announced than comes: the connection ends in the middle.
        let cut = futures_util::stream::iter([Ok(bytes), Err(std::io::Error::other("cut"))]);
        return response.body(Body::from_stream(cut)).unwrap_or_default();
    }
    response.body(Body::from(bytes)).unwrap_or_default()
}

/// Seconds since 1970 by the service's own clock.
#[expect(clippy::disallowed_methods, reason = "the peer has a clock of its own, as the real service has")]
fn now(weather: &Weather) -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default() + weather.ahead
}

/// What the weather says to a caller before the call is looked at.
fn admitted(call: &Call, caller: &str) -> Result<(), Refusal> {
    match () {
        () if call.weather.broken => Err(Refusal::Broken),
        () if call.weather.throttled => Err(Refusal::Throttled),
        () if caller != CALLER && !call.weather.denied.contains(caller) => Err(Refusal::Unknown),
        () if call.weather.denied.contains(caller) => Err(Refusal::Denied),
        () => Ok(()),
    }
}

/// A public key as PEM, lines of 64 characters.
fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// RFC 9110, 5.6.7.
fn date(at: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(at).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let short = |name: String| name.chars().take(3).collect::<String>();
    let (day, month) = (short(at.weekday().to_string()), short(at.month().to_string()));
    format!("{day}, {:02} {month} {} {:02}:{:02}:{:02} GMT", at.day(), at.year(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_http_has_it() {
        // The example of RFC 9110, 5.6.7.
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
