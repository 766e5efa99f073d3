//! A group on SQLite: one immediate transaction of the only writer of the file.

use cofre_policy::decision::Decision;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use crate::commit::carrier::{Carried, Doubt, Doubts, Errand, GroupId, Outcome, Traces};
use crate::commit::group::Group;
use crate::commit::submit::Work;
use crate::commit::{apply, permits, registry, release, undelivered};
use crate::engine::Session;
use crate::error::{CommitError, Error};
use crate::sqlite::{self, Database, Hold};

/// Pages that only narrowing actions may use once the file has reached its ceiling: 1 MiB.
const RESERVE: u32 = 256;

/// The file, held for this process alone, and the connection that writes.
#[derive(Debug)]
pub(crate) struct Carrier {
    database: Database,
    connection: Option<SqliteConnection>,
    ceiling: Option<u32>,
    _hold: Hold,
}

impl Carrier {
    pub(crate) fn new(database: Database, ceiling: Option<u32>, hold: Hold) -> Self {
        Self { database, connection: None, ceiling, _hold: hold }
    }

    pub(super) async fn carry(&mut self, errand: Errand<'_>, doubts: &mut Doubts) -> Result<Carried, CommitError> {
        // Taken out, so that a connection on which anything failed or hung is closed, and the next group has a new one.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect().await?,
        };
        self.limit(&mut connection, errand.work.narrows()).await?;
        let done = self.transact(&mut connection, errand, doubts).await;
        if matches!(done, Ok(_) | Err(CommitError::Refused(_))) {
            self.connection = Some(connection);
        }
        done
    }

    async fn transact(
        &self,
        connection: &mut SqliteConnection,
        errand: Errand<'_>,
        doubts: &mut Doubts,
    ) -> Result<Carried, CommitError> {
        let Errand { id, node, clock, work, send_by } = errand;
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let transaction = Session::Sqlite(sqlite::Session::Transaction(transaction));
        let mut group = Group::start(transaction, node, id, clock.now()).await?;
        // Judged under the write lock, so that time spent waiting for it is time spent.
        let late = send_by.check(clock.monotonic()).is_err();
        let outcome = match perform(&mut group, work, late).await {
            Ok(outcome) => outcome,
            Err(refused) => {
                group.roll_back().await?;
                return Err(refused);
            }
        };
        let (transaction, appended, changes) = group.finish();
        let grant = if let Outcome::Granted(_) = &outcome { appended.first().map(|at| at.index) } else { None };
        doubts.begun(Doubt { id, traces: Some(Traces { grant, changes: changes.clone() }) });
        let committed = transaction.commit().await;
        doubts.answered().await;
        if let Err(cause) = committed {
            // The answer to the commit may be lost while the group stands: what the ledger says is what holds.
            let stands = !appended.is_empty() && self.stands(&id).await?;
            if !stands {
                doubts.over(&id);
                return Err(cause.into());
            }
        }
        doubts.over(&id);
        Ok(Carried { outcome, appended, changes })
    }

    /// Whether a group is in the ledger.
    async fn stands(&self, id: &GroupId) -> Result<bool, Error> {
        let row = sqlx::query("SELECT 1 FROM ledger_entries WHERE group_id = ? LIMIT 1")
            .bind(id.to_vec())
            .fetch_optional(&self.database.read)
            .await?;
        Ok(row.is_some())
    }

    pub(super) async fn stood(&self, doubt: &Doubt) -> Result<Option<Traces>, Error> {
        let mut connection = self.database.connect().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query("SELECT 1 FROM ledger_entries WHERE group_id = ? LIMIT 1")
            .bind(doubt.id.to_vec())
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.rollback().await?;
        Ok(row.and_then(|_| doubt.traces.clone()))
    }

    /// Keeps the file below its ceiling; narrowing actions may use the reserve above it.
    async fn limit(&self, connection: &mut SqliteConnection, narrows: bool) -> Result<(), Error> {
        if let Some(ceiling) = self.ceiling {
            let pages = if narrows { ceiling.saturating_add(RESERVE) } else { ceiling };
            // A pragma takes no bound parameter; this one is a number of ours.
            sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(connection).await?;
        }
        Ok(())
    }
}

async fn perform(group: &mut Group<'_>, work: Work, late: bool) -> Result<Outcome, CommitError> {
    match work {
        Work::Decide(decision) => match *decision {
            Decision::Permit(grant) => release::grant(group, grant.into_terms(), late).await,
            Decision::Deny(denial) => release::deny(group, denial).await,
        },
        Work::Warm(request) => permits::warm(group, request).await,
        Work::Rewrap(request) => permits::rewrap(group, request).await,
        Work::Move(request) => permits::move_keys(group, request).await,
        Work::Intend(intent) => permits::intend(group, intent).await,
        Work::Apply(entry, operation) => apply::apply(group, entry, operation).await,
        Work::Integrate(tiles, checkpoint) => registry::integrate(group, tiles, checkpoint).await,
        Work::Undelivered(grants) => {
            for grant in grants {
                undelivered::record(group, grant).await?;
            }
            Ok(Outcome::Done)
        }
        Work::Stop => Ok(Outcome::Done),
    }
}
