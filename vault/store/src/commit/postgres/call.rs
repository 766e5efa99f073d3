//! The call itself. Until its answer is there, nobody knows whether the group stands: the connection may be lost before
//! the server heard of it, or after it had committed.

use cofre_ledger::entry::EntryError;
use cofre_model::entry::NodeRef;
use cofre_model::time::Clock;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgDatabaseError, PgSeverity};

use super::Listener;
use super::decode::{self, Fields};
use super::encode::{self, hex};
use crate::commit::CommitConfig;
use crate::commit::carrier::{Carried, Doubt, Doubts, Errand, GroupId, Traces};
use crate::error::{CommitError, Error};
use crate::postgres::Database;

/// An entry is longer than a leaf may be.
const TOO_LONG: &str = "CF002";
/// Label of what the node signs to show its life. The database keeps a hash of the signature only.
const LIFE: &[u8] = b"cofre/v1/commit/life";

/// The database, and the connection that commits.
#[derive(Debug)]
pub(crate) struct Carrier {
    database: Database,
    connection: Option<PgConnection>,
    /// Shows that a group is of this life of the node: whoever else can call the function does not have the node's key.
    life: String,
    /// Ends with the writer.
    _listener: Listener,
}

impl Carrier {
    pub(crate) fn new(database: Database, listener: Listener, settings: &CommitConfig) -> Self {
        let message = [LIFE, settings.incarnation.as_slice()].concat();
        let life = hex(&settings.signer.sign(&message));
        Self { database, connection: None, life, _listener: listener }
    }

    pub(in crate::commit) async fn carry(
        &mut self,
        errand: Errand<'_>,
        doubts: &mut Doubts,
    ) -> Result<Carried, CommitError> {
        let Errand { id, node, clock, work, send_by } = errand;
        // Taken out, so that a connection on which anything failed or hung is closed, and the next group has a new one.
        let mut connection = self.connection().await?;
        let (request, awaited) = encode::request(work, send_by.left(clock.monotonic()), node)?;
        let asked = self.group(id, node, clock, &request)?;
        doubts.begun(Doubt { id, traces: None });
        let answer = call(&mut connection, asked).await;
        doubts.answered().await;
        match answer {
            Ok(verdicts) => {
                let carried =
                    only(&verdicts).map_err(CommitError::from).and_then(|told| decode::carried(told, awaited));
                // SECURITY: an answer that cannot be read is none and leaves the doubt: the group may stand, and what it
                // changed is asked for again rather than never told.
                if !matches!(carried, Err(CommitError::Store(_))) {
                    doubts.over(&id);
                    self.connection = Some(connection);
                }
                carried
            }
            Err(cause) => {
                if undone(&cause) {
                    doubts.over(&id);
                }
                Err(explained(cause).into())
            }
        }
    }

    /// What the database says of a group whose call was not answered. It is refused from then on, should it arrive
    /// after all.
    pub(in crate::commit) async fn stood(
        &mut self,
        doubt: &Doubt,
        id: GroupId,
        node: &NodeRef,
        clock: &dyn Clock,
    ) -> Result<Option<Traces>, Error> {
        let mut connection = self.connection().await?;
        let request = json!({"op": "SETTLE", "group": hex(&doubt.id)});
        let verdicts = call(&mut connection, self.group(id, node, clock, &request)?).await.map_err(explained)?;
        self.connection = Some(connection);
        decode::stood(only(&verdicts)?)
    }

    async fn connection(&mut self) -> Result<PgConnection, Error> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.database.connect().await,
        }
    }

    fn group(&self, id: GroupId, node: &NodeRef, clock: &dyn Clock, request: &Value) -> Result<Value, Error> {
        Ok(json!({
            "group": hex(&id),
            "life": self.life,
            "node": node.identity,
            "now": crate::row::instant(clock.now()),
            "outcomes": encode::outcomes(node)?,
            "requests": [request],
        }))
    }
}

async fn call(connection: &mut PgConnection, asked: Value) -> Result<Value, sqlx::Error> {
    sqlx::query_scalar("SELECT cofre.cofre_commit($1)").bind(asked).fetch_one(connection).await
}

/// The verdict of a group of one.
fn only(verdicts: &Value) -> Result<Fields<'_>, Error> {
    verdicts.get(0).map(Fields).ok_or(Error::corrupt("cofre_commit", "verdicts"))
}

/// Whether the server itself says that nothing of the group stands. A server that is going down says nothing of the
/// kind: it may have committed.
fn undone(cause: &sqlx::Error) -> bool {
    let sqlx::Error::Database(told) = cause else { return false };
    told.try_downcast_ref::<PgDatabaseError>().is_some_and(|told| told.severity() == PgSeverity::Error)
}

fn explained(cause: sqlx::Error) -> Error {
    if let sqlx::Error::Database(told) = &cause
        && told.code().as_deref() == Some(TOO_LONG)
    {
        let length = told.message().parse().unwrap_or_default();
        return Error::Entry(EntryError::TooLong(length).to_string());
    }
    cause.into()
}
