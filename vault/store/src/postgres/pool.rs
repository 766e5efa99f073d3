//! The sessions of one database. Connecting is never done by whoever needs a session: showing a password is thousands
//! of rounds between which sqlx gives way to all other work, so on a busy node it takes seconds, and a node that lost
//! its connections under load would never get them back. It is done on a thread of its own, ahead of need, and whoever
//! waits takes the first session that comes free, be it a new one or one given back (docs/adr/0012).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bb8::{ErrorSink, ManageConnection, PooledConnection, RunError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::runtime::Handle;

use super::{hangs, primary};
use crate::error::Error;

/// Sessions of one database, at most.
const SESSIONS: u32 = 8;
/// Sessions that are kept connected beyond those in use.
const AHEAD: u32 = 4;
/// How long a session is waited for, and how long connecting may take.
pub(super) const CONNECT: Duration = Duration::from_millis(1_500);

/// A session and whether anything failed on it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: PgConnection,
    /// Set while something runs, so that what was dropped half-way counts too: such a connection is never handed on.
    pub(super) spoilt: bool,
}

pub(super) type Pooled = PooledConnection<'static, Links>;

/// Sessions, some of them connected.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    sessions: bb8::Pool<Links>,
    links: Links,
}

impl Pool {
    /// Connects once, so that a place that cannot be used is told with its cause; more are connected meanwhile.
    pub(super) async fn open(options: PgConnectOptions) -> Result<Self, Error> {
        let links = Links { options: Arc::new(options), closed: Arc::default() };
        let first = links.connect().await?;
        let sessions = bb8::Pool::builder()
            .max_size(SESSIONS)
            .min_idle(AHEAD)
            .idle_timeout(None)
            .connection_timeout(CONNECT)
            .error_sink(Box::new(Told))
            .build_unchecked(links.clone());
        // Full by now means that the others were quicker; this one is closed then.
        let _ = sessions.add(first);
        Ok(Self { sessions, links })
    }

    pub(super) async fn session(&self) -> Result<Pooled, Error> {
        if self.links.closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        self.sessions.get_owned().await.map_err(|cause| match cause {
            RunError::User(cause) => cause,
            RunError::TimedOut => sqlx::Error::PoolTimedOut.into(),
        })
    }

    /// A connection of its own, which no pool counts.
    pub(super) async fn connect(&self) -> Result<PgConnection, Error> {
        Ok(self.links.connect().await?.connection)
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.links.options
    }

    /// Closes what is idle now, and what is in use as soon as it is given back.
    pub(super) async fn close(&self) {
        self.links.closed.store(true, Ordering::SeqCst);
        while self.sessions.state().idle_connections > 0 && self.sessions.get().await.is_ok() {}
    }
}

/// How sessions are made and judged.
#[derive(Debug, Clone)]
pub(super) struct Links {
    options: Arc<PgConnectOptions>,
    closed: Arc<AtomicBool>,
}

impl Links {
    fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

impl ManageConnection for Links {
    type Connection = Link;
    type Error = Error;

    async fn connect(&self) -> Result<Link, Error> {
        if self.closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        let options = Arc::clone(&self.options);
        let connection = aside(async move {
            let mut connection = options.connect().await?;
            primary(&mut connection).await?;
            Ok(connection)
        });
        Ok(Link { connection: connection.await?, spoilt: false })
    }

    /// A server that restarted is found here, not by the first statement of a release.
    async fn is_valid(&self, link: &mut Link) -> Result<(), Error> {
        link.spoilt = true;
        link.connection.ping().await?;
        link.spoilt = false;
        Ok(())
    }

    fn has_broken(&self, link: &mut Link) -> bool {
        link.spoilt || self.closed()
    }
}

/// Causes for which nobody waits: whoever needs a session hears that none came in time.
#[derive(Debug, Clone, Copy)]
struct Told;

impl ErrorSink<Error> for Told {
    fn sink(&self, cause: Error) {
        if !matches!(cause, Error::Unavailable(sqlx::Error::PoolClosed)) {
            tracing::warn!(%cause, "no session with the database for now");
        }
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<Error>> {
        Box::new(*self)
    }
}

/// Runs `work`, [`CONNECT`] at most, on a thread of its own: there, giving way costs nothing.
pub(super) async fn aside<T: Send + 'static>(
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, Error> {
    let handle = Handle::current();
    let run = move || handle.block_on(async { tokio::time::timeout(CONNECT, work).await });
    match tokio::task::spawn_blocking(run).await {
        Ok(Ok(done)) => Ok(done?),
        Ok(Err(_)) => Err(hangs()),
        // The process is ending, or the work panicked.
        Err(_) => Err(Error::Unanswered),
    }
}
