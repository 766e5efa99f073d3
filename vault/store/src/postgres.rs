//! PostgreSQL: the pool of one database and its sessions. Every wait is bounded twice, by the server and by this
//! process, because a server that is gone bounds nothing; a connection on which anything failed or hung is closed,
//! never handed on.
//!
//! The serving role owns nothing and makes nothing: tables and rights are the migration's.

pub(crate) mod address;
mod pool;
mod rights;
pub(crate) mod schema;

use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgListener, PgPoolOptions, PgQueryResult, PgRow, PgSslMode,
};
use sqlx::query::Query;
use tokio::time::Instant;

use crate::error::Error;
use crate::migrations::Store;
use crate::postgres::address::{Postgres, Tls};
use crate::postgres::pool::{CONNECT, Pool, Pooled, aside};
use crate::statement::statement;

/// The schema all tables are in. No other is searched, and temporary tables come last.
pub(crate) const SCHEMA: &str = "cofre";
/// How long a session may take from when it was had to its end; callers get their answer within two seconds.
const SESSION: Duration = Duration::from_millis(1_900);
/// What the server itself bounds, in milliseconds: one statement, one wait for a lock, and a transaction that nobody
/// goes on with.
const BOUNDS: [(&str, &str); 3] =
    [("statement_timeout", "1500"), ("lock_timeout", "1200"), ("idle_in_transaction_session_timeout", "5000")];

/// One database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pool: Pool,
}

impl Database {
    /// Connects to the database; nothing is made or changed there.
    pub(crate) async fn open(place: &Postgres) -> Result<Self, Error> {
        Ok(Self { pool: Pool::open(options(place)).await? })
    }

    /// Refuses a database that this release and its role cannot serve from.
    pub(crate) async fn ready(&self, store: Store) -> Result<(), Error> {
        let mut session = self.session().await?;
        session.link.spoilt = true;
        let until = session.until;
        match tokio::time::timeout_at(until, schema::ready(&mut session.link.connection, store)).await {
            Ok(ready) => ready?,
            Err(_) => return Err(hangs()),
        }
        session.link.spoilt = false;
        Ok(())
    }

    /// A session for single reads.
    pub(crate) async fn session(&self) -> Result<Session, Error> {
        let until = Instant::now() + SESSION;
        let link = self.pool.session().await?;
        Ok(Session { link, until, open: false })
    }

    /// One snapshot for several reads.
    pub(crate) async fn snapshot(&self) -> Result<Session, Error> {
        let mut session = self.session().await?;
        session.enter("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(session)
    }

    /// A transaction that is alone with `what` until it ends. What it reads after this was committed before it.
    pub(crate) async fn begin(&self, what: &str) -> Result<crate::engine::Session<'static>, Error> {
        let mut session = self.session().await?;
        session.enter("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        let mut session = crate::engine::Session::Postgres(session);
        statement("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(what).execute(&mut session).await?;
        Ok(session)
    }

    /// A connection of its own, outside the pool.
    pub(crate) async fn connect(&self) -> Result<PgConnection, Error> {
        self.pool.connect().await
    }

    /// A connection of its own that hears notifications on `channel`. It is connected anew by whoever finds it lost.
    pub(crate) async fn listen(&self, channel: &'static str) -> Result<PgListener, Error> {
        // A machine that is gone without a word must not keep what its session holds for hours.
        let options = self.pool.options().clone().options([
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ]);
        let alone = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT)
            .after_connect(|connection, _| Box::pin(primary(connection)))
            .connect_lazy_with(options);
        aside(async move {
            let mut listener = PgListener::connect_with(&alone).await?;
            listener.ignore_pool_close_event(true);
            // By itself it would connect in the place of whoever waits for news.
            listener.eager_reconnect(false);
            listener.listen(channel).await?;
            Ok(listener)
        })
        .await
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection of the pool, in a transaction or not.
#[derive(Debug)]
pub(crate) struct Session {
    link: Pooled,
    until: Instant,
    /// Whether a transaction is open.
    open: bool,
}

impl Session {
    async fn enter(&mut self, begin: &'static str) -> Result<(), Error> {
        self.open = true;
        self.control(begin).await
    }

    async fn control(&mut self, text: &'static str) -> Result<(), Error> {
        self.link.spoilt = true;
        within(self.until, self.link.connection.execute(sqlx::raw_sql(text))).await?;
        self.link.spoilt = false;
        Ok(())
    }

    pub(crate) async fn fetch_all(&mut self, query: Bound) -> Result<Vec<PgRow>, Error> {
        self.link.spoilt = true;
        let rows = within(self.until, query.fetch_all(&mut self.link.connection)).await?;
        self.link.spoilt = false;
        Ok(rows)
    }

    pub(crate) async fn fetch_optional(&mut self, query: Bound) -> Result<Option<PgRow>, Error> {
        self.link.spoilt = true;
        let row = within(self.until, query.fetch_optional(&mut self.link.connection)).await?;
        self.link.spoilt = false;
        Ok(row)
    }

    pub(crate) async fn execute(&mut self, query: Bound) -> Result<PgQueryResult, Error> {
        self.link.spoilt = true;
        let done = within(self.until, query.execute(&mut self.link.connection)).await?;
        self.link.spoilt = false;
        Ok(done)
    }

    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        // The server answers the COMMIT of a failed transaction like any other, and rolls it back.
        if self.link.spoilt {
            return Err(Error::Unanswered);
        }
        self.control("COMMIT").await?;
        self.open = false;
        Ok(())
    }

    pub(crate) async fn roll_back(mut self) -> Result<(), Error> {
        self.control("ROLLBACK").await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What a transaction holds goes with its connection.
        self.link.spoilt |= self.open;
    }
}

/// A statement with its values.
pub(crate) type Bound = Query<'static, sqlx::Postgres, PgArguments>;

/// Waits no longer than `until`: the other end may be gone without a word.
async fn within<T>(until: Instant, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    match tokio::time::timeout_at(until, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(hangs()),
    }
}

fn hangs() -> Error {
    Error::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
}

/// SECURITY: a standby may lag or show an order of commits that never was; what decides is read from the primary.
async fn primary(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = sqlx::query("SELECT 1 WHERE pg_is_in_recovery()").fetch_optional(connection).await?;
    match row {
        None => Ok(()),
        Some(_) => Err(sqlx::Error::Configuration("this PostgreSQL is a standby: name the primary".into())),
    }
}

/// Everything the connection depends on is set here, so that nothing is left to the environment or the role.
fn options(place: &Postgres) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&place.host)
        .port(place.port)
        .database(&place.database)
        .username(&place.user)
        .password(place.password.as_ref().map_or("", |password| password.as_str()))
        .application_name("cofred")
        .options(BOUNDS)
        .options([
            ("search_path", "cofre,pg_temp"),
            ("default_transaction_isolation", "read committed"),
            ("synchronous_commit", "on"),
            ("jit", "off"),
        ]);
    let options = match &place.tls {
        Tls::Off => return options.ssl_mode(PgSslMode::Disable),
        Tls::Ca => options.ssl_mode(PgSslMode::VerifyCa),
        Tls::Full => options.ssl_mode(PgSslMode::VerifyFull),
    };
    let options = match &place.root {
        Some(path) => options.ssl_root_cert(path),
        None => options.ssl_root_cert_from_pem(Vec::new()),
    };
    match &place.identity {
        Some((certificate, key)) => options.ssl_client_cert(certificate).ssl_client_key(key),
        None => options,
    }
}
