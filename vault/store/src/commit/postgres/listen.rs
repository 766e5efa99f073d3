//! Hearing what other nodes changed on the same records. A notification says only that there is something; what it is
//! stands in the table `told`, in the order of the ledger. The table is read after every notification and once a second
//! besides, so a connection that was lost, or a notification that never came, costs a moment and no change.
//!
//! The same connection holds the node's name: a session lock, so that of two live processes with one name the second
//! does not start. A name lost with its connection is taken again; while somebody else has it, the node says so.
//!
//! All of it is a hint: what decides is read under the lock of the commit.

use std::time::Duration;

use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::{PgListener, PgRow};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::decode::{self, Fields};
use crate::commit::CommitConfig;
use crate::commit::change::Change;
use crate::error::Error;
use crate::postgres::Database;

/// What `cofre_commit` notifies on.
const CHANNEL: &str = "cofre_changes";
/// The table is read this often, be there notifications or not.
const BEAT: Duration = Duration::from_secs(1);
/// A read that hangs is given up after this long, and the connection with it.
const HANGS: Duration = Duration::from_secs(2);
/// A connection that failed is made anew after this long.
const AGAIN: Duration = Duration::from_millis(250);
/// Rows of one read.
const AT_ONCE: i64 = 500;
/// A node's last life that is just ending is waited for this many times, and this long each time.
const PATIENCE: (u32, Duration) = (150, Duration::from_millis(20));

/// The task that listens. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    /// Starts listening. Whatever other nodes commit after this has returned is sent to `changes`.
    pub(crate) async fn start(
        database: Database,
        settings: &CommitConfig,
        changes: broadcast::Sender<Change>,
    ) -> Result<Self, Error> {
        let (node, incarnation) = (settings.node.clone(), settings.incarnation);
        let mut connection = named(&database, &node).await?;
        let row =
            sqlx::query("SELECT coalesce(max(first_index), -1) AS newest FROM told").fetch_one(&mut connection).await?;
        let ear = Ear { database, node, incarnation, changes, heard: row.try_get("newest")? };
        Ok(Self(tokio::spawn(ear.listen(connection))))
    }
}

/// A connection that listens and holds the name of the node. The end of a life just over is waited for: the server
/// frees its name when it notices that its connection is closed.
///
/// SECURITY: two processes under one name would each take the other's open grants for those of an earlier life.
async fn named(database: &Database, node: &str) -> Result<PgListener, Error> {
    let mut connection = database.listen(CHANNEL).await?;
    let (times, pause) = PATIENCE;
    for _ in 0..times {
        let row = sqlx::query("SELECT pg_try_advisory_lock(hashtextextended($1, 1)) AS had")
            .bind(node.to_owned())
            .fetch_one(&mut connection)
            .await?;
        if row.try_get("had")? {
            return Ok(connection);
        }
        tokio::time::sleep(pause).await;
    }
    Err(Error::Live { node: node.to_owned() })
}

struct Ear {
    database: Database,
    node: String,
    incarnation: [u8; 16],
    changes: broadcast::Sender<Change>,
    /// Everything up to here was heard, by the index of a group's first entry.
    heard: i64,
}

impl Ear {
    async fn listen(mut self, first: PgListener) {
        let mut connection = Some(first);
        loop {
            let heard = match &mut connection {
                Some(connection) => self.hear(connection).await,
                None => named(&self.database, &self.node).await.map(|made| connection = Some(made)),
            };
            if let Err(cause) = heard {
                tracing::warn!(%cause, "what other nodes change is not heard at the moment");
                connection = None;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Reads what is new, and waits for more.
    async fn hear(&mut self, connection: &mut PgListener) -> Result<(), Error> {
        let rows = tokio::time::timeout(HANGS, self.news(connection)).await.map_err(|_| Error::Unanswered)??;
        let more = i64::try_from(rows.len()).is_ok_and(|count| count >= AT_ONCE);
        for row in &rows {
            self.tell(row)?;
        }
        if more {
            return Ok(());
        }
        match tokio::time::timeout(BEAT, connection.try_recv()).await {
            // Nothing for a while is nothing to worry about: the next read says whether the connection lives.
            Err(_) | Ok(Ok(Some(_))) => Ok(()),
            Ok(Ok(None)) => Err(Error::Unanswered),
            Ok(Err(cause)) => Err(cause.into()),
        }
    }

    async fn news(&self, connection: &mut PgListener) -> Result<Vec<PgRow>, Error> {
        let read = "SELECT first_index, group_id, entries, changes FROM told WHERE first_index > $1 ORDER BY first_index LIMIT $2";
        Ok(sqlx::query(read).bind(self.heard).bind(AT_ONCE).fetch_all(connection).await?)
    }

    fn tell(&mut self, row: &PgRow) -> Result<(), Error> {
        self.heard = row.try_get("first_index")?;
        let group: Vec<u8> = row.try_get("group_id")?;
        if group.starts_with(&self.incarnation) {
            return Ok(());
        }
        let group = serde_json::json!({
            "entries": row.try_get::<Value, _>("entries")?,
            "changes": row.try_get::<Value, _>("changes")?,
        });
        let (_, mut changes) = decode::entries(Fields(&group))?;
        changes.extend(decode::told(Fields(&group))?);
        for change in changes {
            // Without a listener there is nobody to tell.
            let _ = self.changes.send(change);
        }
        Ok(())
    }
}
