//! What somebody can do who owns the database, on either engine: edit rows behind the vault's back, and keep its
//! writer from writing.

use cofre_model::time::Span;
use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::{self, Engine, Store};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection, SqliteConnection};

use crate::world::World;

/// Bytes as the engine of the run writes them in a statement.
pub(crate) fn bytes(digits: &str) -> String {
    match engine() {
        Engine::Sqlite => format!("x'{digits}'"),
        Engine::Postgres => format!("decode('{digits}', 'hex')"),
    }
}

/// As many zero bytes as stand in a column.
pub(crate) fn zeros(column: &str) -> String {
    match engine() {
        Engine::Sqlite => format!("zeroblob(length({column}))"),
        Engine::Postgres => format!("decode(repeat('00', length({column})), 'hex')"),
    }
}

pub(crate) fn engine() -> Engine {
    Engine::of_this_run().expect("engine")
}

/// Keeps the writer from starting its next group until dropped or released.
pub(crate) enum Lock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Whether somebody waits for this very transaction. Other tests wait in the same cluster.
const WAITER: &str = "SELECT 1 FROM pg_locks w JOIN pg_locks own USING (transactionid) \
    WHERE NOT w.granted AND own.granted AND own.pid = pg_backend_pid()";

impl Lock {
    pub(crate) async fn on(world: &World) -> Self {
        match engine() {
            Engine::Sqlite => {
                let mut file = world.file(Store::Records).await;
                file.execute("BEGIN IMMEDIATE").await.expect("locked");
                Self::Sqlite(file)
            }
            Engine::Postgres => {
                let name = databases::name(world.folder.path(), Store::Records);
                let mut session = Cluster::here().expect("cluster").administrator(&name).await.expect("connected");
                session.execute("BEGIN").await.expect("begun");
                session.execute("SELECT * FROM cofre.cell FOR UPDATE").await.expect("locked");
                Self::Postgres(session)
            }
        }
    }

    /// Lets as much time pass for whoever waits. A file's writer looks at the clock of the test once it has the lock;
    /// a server measures the wait itself, so that here it has to have begun.
    pub(crate) async fn keep(&mut self, world: &World, span: Span) {
        world.clock.advance(span);
        if let Self::Postgres(session) = self {
            while session.fetch_optional(WAITER).await.expect("locks").is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let micros = i64::try_from(span.as_micros()).expect("a wait");
            let wait = sqlx::query("SELECT pg_sleep($1::float8 / 1000000)").bind(micros);
            session.execute(wait).await.expect("waited");
        }
    }

    pub(crate) async fn release(self) {
        match self {
            Self::Sqlite(mut file) => file.execute("ROLLBACK").await.map(drop),
            Self::Postgres(mut session) => session.execute("ROLLBACK").await.map(drop),
        }
        .expect("released");
    }
}

impl World {
    /// Edits rows of records; says how many.
    pub(crate) async fn edit(&self, statement: &str) -> u64 {
        stores::edit(self.folder.path(), Store::Records, &[statement]).await.expect(statement)
    }

    /// One of its files, where it runs on SQLite.
    pub(crate) async fn file(&self, store: Store) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(store.file(self.folder.path()));
        options.create_if_missing(false).connect().await.expect("connected")
    }
}
