//! TestBank: a real HTTPS server that plays the six fixture institutions, their customers' phones and nothing more.
//!
//! Under `/<slug>/` stands the site of one institution: login form, second factor, positions, transactions, logout, and a
//! transfer page that nobody working for Cofre may ever reach (it counts). Under `/phone/<number>/` stands what the investor
//! holds in the hand: the SMS inbox and the authenticator, each readable only with that phone's token. Under `/_admin/` stand
//! enrolment and the counts, readable only with the admin token.
//!
//! **Behaviours on demand.** A secret value that starts with one of these words, or an account enrolled with it, makes the
//! site behave so whatever else is typed: `LOCKED` (locked for the institution's usual time), `EXPIRED_PASSWORD` (a new
//! password is demanded), `SITE_DOWN` (503). See [`Behaviour`].
//!
//! Time comes from the clock in [`Config`]; the bank never reads the system's. Passwords are kept as salted digests, so that a
//! scan for planted values in a process that also runs the bank finds none of the bank's making.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofre_testkit::institutions::Institution;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

mod books;
mod codes;
mod form;
mod pages;
mod portfolio;
mod routes;
mod tls;
mod visitor;

pub use books::{AccountStats, Behaviour, EnrolError, Enrolled, Enrolment, Stats};
pub use codes::CodesError;
pub use tls::{Certificate, CertificateError};
pub use visitor::{ReadCode, ShownCode, Sms, VisitError, Visitor};

use books::Books;

/// Seconds since 1970-01-01 UTC, from whoever runs the bank.
pub type BankClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How long [`RunningBank::stop`] waits for open connections.
const DRAIN: Duration = Duration::from_secs(3);

/// What a bank needs to start.
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The server's certificate.
    pub certificate: Certificate,
    /// Bearer token of the `/_admin/` pages. At least 16 bytes.
    pub admin_token: String,
    /// The bank's only source of time.
    pub clock: BankClock,
    /// The institutions to play.
    pub institutions: Vec<Institution>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Why the bank could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The admin token could be guessed.
    #[error("admin_token is shorter than 16 bytes; give a random one")]
    AdminToken,
}

/// The bank that is not running yet.
#[derive(Debug)]
pub struct TestBank;

/// What every request handler shares.
struct Site {
    books: Mutex<Books>,
    clock: BankClock,
    admin_token: [u8; 32],
}

impl Site {
    fn now(&self) -> u64 {
        (self.clock)()
    }

    /// The books. A panic while they were open leaves counts that are at worst one short, so they stay usable.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TestBank {
    /// Starts the bank on the current tokio runtime and returns once it accepts connections.
    ///
    /// # Errors
    /// [`StartError`] names what to change in the configuration.
    pub async fn start(config: Config) -> Result<RunningBank, StartError> {
        if config.admin_token.len() < 16 {
            return Err(StartError::AdminToken);
        }
        let identity = tls::identity(config.certificate)?;
        let refused = |source| StartError::Listen { address: config.listen, source };
        let tcp = TcpListener::bind(config.listen).await.map_err(refused)?;
        let addr = tcp.local_addr().map_err(refused)?;
        let site = Arc::new(Site {
            books: Mutex::new(Books::new(config.institutions)),
            clock: config.clock,
            admin_token: codes::digest(config.admin_token.as_bytes()),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(tls::Listener::new(tcp, identity.server), routes::router(Arc::clone(&site)))
            .with_graceful_shutdown(async move {
                // A dropped sender means the owner is gone: stop as well.
                let _ = stopped.await;
            });
        let task = tokio::spawn(async move { server.await });
        Ok(RunningBank { addr, ca_pem: identity.ca_pem, site, stop, task })
    }
}

/// A bank that accepts connections until it is stopped or dropped.
pub struct RunningBank {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The authority behind its certificate: the only root a client of the bank needs.
    pub ca_pem: String,
    site: Arc<Site>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl std::fmt::Debug for RunningBank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningBank").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl RunningBank {
    /// Opens an account, as `POST /_admin/accounts` does.
    ///
    /// # Errors
    /// [`EnrolError`] names the field; nothing is changed then.
    pub fn enrol(&self, enrolment: &Enrolment<'_>) -> Result<Enrolled, EnrolError> {
        self.site.books().enrol(enrolment)
    }

    /// The counts, as `GET /_admin/stats` shows them.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let now = self.site.now();
        self.site.books().stats(now)
    }

    /// Stops accepting, lets open requests end for a few seconds, then cuts what is left.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(DRAIN, &mut task).await.is_err() {
            task.abort();
        }
    }
}
