//! Grants whose answer did not leave, or of which nobody knows whether it did. Each gets an OUTCOME entry, and the
//! lease it opened ends, so that a retry works at once. They stay counted, because the ledger says granted.

use cofre_model::entry::{Entry, EntryId, EntryKind, Verdict};
use cofre_model::reason::Reason;
use cofre_model::time::Span;

use crate::commit::change::Change;
use crate::commit::group::Group;
use crate::error::Error;
use crate::random;
use crate::row::{Cells, Row, column, instant};
use crate::statement::statement;

/// The method whose grants these are.
pub(crate) const METHOD: &str = "cofre.v1.ReleaseService/Release";
/// What an OUTCOME entry refers to where the node that granted has ended: the answer may have left.
pub(crate) const UNKNOWN: &str = "DELIVERY_UNKNOWN";
/// How far back a starting node looks, and for how many grants, so that its start stays one short transaction.
pub(crate) const LOOK_BACK: Span = Span::days(1);
pub(crate) const AT_ONCE: i64 = 1_000;

/// Takes the answer of the grant at `index` for one that never leaves, once. Where no answer of its session is left
/// that may have, the lease ends. An index that is no grant's changes nothing.
pub(crate) async fn withdraw(group: &mut Group<'_>, index: u64) -> Result<(), Error> {
    if !closed(group, index).await?
        && let Some(row) = granted(group, index).await?
    {
        take_back(group, &row).await?;
    }
    Ok(())
}

/// Records that nobody will deliver the grant at `index`; nothing where its outcome stands already.
pub(crate) async fn record(group: &mut Group<'_>, index: u64) -> Result<(), Error> {
    if closed(group, index).await? {
        return Ok(());
    }
    let Some(row) = granted(group, index).await? else { return Ok(()) };
    let mut entry = outcome(&row, index)?;
    entry.verdict = Some(Verdict::Denied);
    entry.reason = Some(Reason::NotDelivered);
    group.append(entry).await?;
    take_back(group, &row).await
}

/// Grants of earlier lives of this node without report or outcome: nobody knows whether their answers left.
pub(crate) async fn earlier_lives(group: &mut Group<'_>) -> Result<(), Error> {
    let (since, life) = (instant(group.at().minus(LOOK_BACK)), group.node.incarnation.to_vec());
    let open = statement(
        r#"SELECT g."index" AS grant_index, r.* FROM releases r JOIN ledger_facets g
             ON g."index" = r.entry_index OR (g.follows = r.entry_index AND g.kind = 'REDELIVERED')
           JOIN ledger_entries e ON e."index" = g."index"
           WHERE r.outcome IS NULL AND r.answers > 0 AND r.at > ?1 AND e.incarnation <> ?2
             AND NOT EXISTS (SELECT 1 FROM ledger_facets o WHERE o.follows = g."index" AND o.kind = 'OUTCOME')
           ORDER BY g."index" DESC LIMIT ?3"#,
    )
    .bind(since)
    .bind(life)
    .bind(AT_ONCE)
    .fetch_all(group.rows())
    .await?;
    for row in &open {
        let index = Cells::of("ledger_facets", row).int("grant_index")?;
        let mut entry = outcome(row, index)?;
        entry.reference = Some(UNKNOWN.into());
        group.append(entry).await?;
        take_back(group, row).await?;
    }
    Ok(())
}

/// Whether the grant at `index` has its outcome.
async fn closed(group: &mut Group<'_>, index: u64) -> Result<bool, Error> {
    let row = statement("SELECT 1 FROM ledger_facets WHERE follows = ? AND kind = 'OUTCOME' LIMIT 1")
        .bind(column(index))
        .fetch_optional(group.rows())
        .await?;
    Ok(row.is_some())
}

/// The release that was granted at `index`, be it for the first time or again.
async fn granted(group: &mut Group<'_>, index: u64) -> Result<Option<Row>, Error> {
    let row = statement(
        r#"SELECT * FROM releases WHERE entry_index =
             COALESCE((SELECT follows FROM ledger_facets WHERE "index" = ?1 AND kind = 'REDELIVERED'), ?1)"#,
    )
    .bind(column(index))
    .fetch_optional(group.rows())
    .await?;
    Ok(row)
}

fn outcome(release: &Row, grant: u64) -> Result<Entry, Error> {
    let id: EntryId = random::bytes()?;
    let cells = Cells::of("releases", release);
    let mut entry = Entry::new(EntryKind::Outcome, id);
    entry.method = Some(METHOD.into());
    entry.tenant = Some(cells.id("tenant_id")?);
    entry.credential = Some(cells.id("credential_id")?);
    entry.owner = Some(cells.id("owner_id")?);
    entry.job = Some(cells.id("job_id")?);
    entry.follows = Some(grant);
    Ok(entry)
}

/// One answer less of this release; without any left in its session, the lease ends.
async fn take_back(group: &mut Group<'_>, release: &Row) -> Result<(), Error> {
    let cells = Cells::of("releases", release);
    statement("UPDATE releases SET answers = MAX(answers - 1, 0) WHERE id = ?")
        .bind(cells.int::<i64>("id")?)
        .execute(group.rows())
        .await?;
    let ended = statement(
        "DELETE FROM leases WHERE credential_id = ?1 AND job_id = ?2 AND worker_id = ?3 AND since = ?4 AND NOT EXISTS
           (SELECT 1 FROM releases r WHERE r.credential_id = ?1 AND r.job_id = ?2 AND r.worker_id = ?3
              AND r.session_since = ?4 AND r.answers > 0)
         RETURNING until",
    )
    .bind(cells.text("credential_id")?.to_owned())
    .bind(cells.text("job_id")?.to_owned())
    .bind(cells.text("worker_id")?.to_owned())
    .bind(cells.int::<i64>("session_since")?)
    .fetch_optional(group.rows())
    .await?;
    if let Some(lease) = ended
        && Cells::of("leases", &lease).time("until")? > group.at()
    {
        group.changes.push(Change::LeaseEnded {
            credential: cells.id("credential_id")?,
            job: cells.id("job_id")?,
            worker: cells.string("worker_id")?,
        });
    }
    Ok(())
}
