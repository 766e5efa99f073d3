//! The same rows read through both engines: a story is written on SQLite, its rows are copied as they are, and every
//! read has to give the same, in the same order.

use std::fmt::Debug;

use cofre_model::entry::EntryKind;
use cofre_model::id::ErasureId;
use cofre_model::reason::Reason;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_model::wording::Outcome;
use cofre_store::*;
use cofre_testkit::stores::Store;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, SqliteConnection, ValueRef as _};

use crate::databases::Databases;
use crate::world::{WORKER, World, told};

/// A value as it stands in a row.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

fn cell(row: &SqliteRow, column: &str) -> Cell {
    use sqlx::TypeInfo as _;
    let raw = row.try_get_raw(column).expect("column");
    match raw.type_info().name() {
        _ if raw.is_null() => Cell::Null,
        "INTEGER" => Cell::Number(row.get(column)),
        "TEXT" => Cell::Text(row.get(column)),
        "BLOB" => Cell::Bytes(row.get(column)),
        other => panic!("{column}: {other}"),
    }
}

/// As text of an SQL statement. The rows are this test's own.
fn literal(cell: &Cell) -> String {
    match cell {
        Cell::Null => "NULL".into(),
        Cell::Number(number) => number.to_string(),
        Cell::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Cell::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("decode('{digits}', 'hex')")
        }
    }
}

/// Copies every row of every table, whatever stands in the databases' own.
async fn copy(from: &mut SqliteConnection, to: &mut PgConnection) {
    let tables: Vec<SqliteRow> =
        sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name <> 'meta'")
            .fetch_all(&mut *from)
            .await
            .expect("tables");
    assert!(tables.len() > 20, "only {} tables", tables.len());
    let mut script = String::from("SET session_replication_role = replica;");
    for table in &tables {
        let table: String = table.get("name");
        let columns =
            sqlx::query("SELECT name FROM pragma_table_info(?)").bind(table.clone()).fetch_all(&mut *from).await;
        let columns: Vec<String> = columns.expect("columns").iter().map(|row| row.get("name")).collect();
        let names = columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        script.push_str(&format!("DELETE FROM cofre.{table};"));
        let rows =
            sqlx::query(AssertSqlSafe(format!("SELECT * FROM {table}"))).fetch_all(&mut *from).await.expect("rows");
        for row in &rows {
            let values = columns.iter().map(|name| literal(&cell(row, name))).collect::<Vec<_>>().join(", ");
            let insert = format!("INSERT INTO cofre.{table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({values});");
            script.push_str(&insert);
        }
    }
    sqlx::Executor::execute(to, sqlx::raw_sql(AssertSqlSafe(script))).await.expect("copied");
}

/// A deployment in which something of everything has happened.
async fn story() -> World {
    let world = World::on_sqlite(None).await;
    let (credential, consent) = world.releasable(4).await;
    let ask = world.attended(&credential);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    world.report(&ask, Outcome::Ok).await.expect("report");
    world.clock.advance(Span::minutes(45));
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "LEASE_HELD");
    let (other, awaited) = (world.login().await, world.releasable(1).await.1);
    world.request_consent(&other, 2).await.expect("requested");
    world.revoke(&awaited).await.expect("revoked");
    world.apply(EntryKind::Lockdown, Operation::Lockdown(Lockdown::Credential(other.id))).await.expect("lockdown");
    let stopped = Lockdown::Institution(world.institution.clone());
    world.apply(EntryKind::Lockdown, Operation::Lockdown(stopped)).await.expect("lockdown");
    world.apply(EntryKind::PolicyActivated, Operation::PolicyActivated { digest: [7; 32] }).await.expect("policy");
    world.apply(EntryKind::TemplatePut, Operation::PutTemplate(world.template(2))).await.expect("template");
    let erasure = ErasureId::from_parts(world.ms(), world.bytes());
    let accept = Operation::AcceptErasure { erasure, tenant: world.tenant.id, subject: other.owner };
    world.apply(EntryKind::ErasureAccepted, accept).await.expect("accepted");
    let receipt = Operation::Receipt {
        consent: consent.id,
        receipt: cofre_model::id::ReceiptId::from_parts(world.ms(), world.bytes()),
        seq: 2,
        state: consent.state,
        jws: "e30.e30.c2ln".into(),
    };
    world.apply(EntryKind::ReceiptIssued, receipt).await.expect("receipt");
    let tiles = (0..2).map(|n| Tile { level: 0, n, width: 4, hashes: vec![n as u8; 128] }).collect();
    for size in [4, 9] {
        let checkpoint = Checkpoint { size, note: format!("note over {size}") };
        world.records().integrate(Vec::clone(&tiles), checkpoint).await.expect("integrated");
    }
    world
}

fn show(name: &str, told: Result<impl Debug, impl Debug>) -> (String, String) {
    (name.to_owned(), format!("{told:?}"))
}

/// Everything records can be asked, of everything the ledger names.
async fn all(records: &Records, world: &World) -> Vec<(String, String)> {
    let (tenant, now) = (&world.tenant.id, world.clock.now());
    let search = |limit, start| Search { limit, start, ..Search::default() };
    let found = records.search(&search(1_000, 0)).await.expect("search");
    let mut told = vec![
        show("head", records.head().await),
        show("entry", records.entry(3).await),
        show("no entry", records.entry(10_000).await),
        show("entries", records.entries(0, u64::MAX).await),
        show("hashes", records.leaf_hashes(2, 9).await),
        show("tile", records.tile(0, 1).await),
        show("no tile", records.tile(1, 0).await),
        show("checkpoint", records.checkpoint().await),
        show("checkpoint at least", records.checkpoint_at_least(3).await),
        show("no checkpoint", records.checkpoint_at_least(10_000).await),
        show("tenant", records.tenant(tenant).await),
        show("slug", records.tenant_by_slug(&world.tenant.slug).await),
        show("tenants", records.tenants().await),
        show("key", records.signing_key(&world.job_key).await),
        show("recipient", records.recipient(tenant, &world.recipient).await),
        show("institution", records.institution(&world.institution).await),
        show("institutions", records.institutions().await),
        show("template", records.template(&world.institution).await),
        show("template 1", records.template_version(&world.institution, 1).await),
        show("no template", records.template_version(&world.institution, 3).await),
        show("worker", records.worker(WORKER).await),
        show("no worker", records.worker("spiffe://cofre.test/worker/none").await),
        show("lockdowns", records.lockdowns().await),
        show("policy", records.policy().await),
        show("due", records.consents_due(now.plus(Span::days(400))).await),
        show("due now", records.consents_due(now).await),
        show("first page", records.search(&search(3, 0)).await),
        show("second page", records.search(&search(3, 3)).await),
        show("count", records.search(&search(0, 0)).await),
    ];
    for narrow in [
        Search { from: Some(now), ..search(100, 0) },
        Search { until: Some(now), ..search(100, 0) },
        Search { kind: Some(EntryKind::Granted), ..search(100, 0) },
        Search { tenant: Some(*tenant), ..search(100, 0) },
        Search { caller: Some(WORKER.into()), ..search(100, 0) },
        Search { reason: Some(Reason::LeaseHeld), ..search(100, 0) },
        Search { follows: Some(0), ..search(100, 0) },
    ] {
        let page = records.search(&narrow).await;
        told.push(show(&format!("{narrow:?}"), page));
    }
    for (credential, owner) in found.rows.iter().filter_map(|row| row.credential.zip(row.owner)) {
        told.extend(of_login(records, world, &credential, &owner, now).await);
    }
    told
}

async fn of_login(
    records: &Records,
    world: &World,
    credential: &cofre_model::id::CredentialId,
    owner: &cofre_model::id::SubjectId,
    now: Timestamp,
) -> Vec<(String, String)> {
    let tenant = &world.tenant.id;
    let ask = world.ask(*credential);
    let query = ReleaseQuery {
        worker: WORKER,
        tenant: *tenant,
        credential: *credential,
        request: cofre_model::id::RequestId::from_parts(1, [1; 10]),
        job_key: world.job_key,
        attendance: Some((world.job_key, cofre_model::id::AttendanceId::from_parts(1, [1; 10]))),
        now,
    };
    let consents = records.consents_of_credential(tenant, credential).await.expect("consents");
    let mut told = vec![
        show("release rows", records.release_rows(&query).await),
        show("credential", records.credential(tenant, credential).await),
        show("credentials", records.credentials_of(tenant, owner).await),
        show("subject", records.subject(tenant, owner).await),
        show("subject's tenant", records.tenant_of_subject(owner).await),
        show("credential's tenant", records.tenant_of_credential(credential).await),
        show("erasure", records.erasure_of(tenant, owner).await),
        show("consents", records.consents_of_subject(tenant, owner).await),
        show("no grant", records.grant(credential, &ask.job).await),
        show(
            "twin",
            records
                .has_twin(tenant, &cofre_model::id::CredentialId::from_parts(1, [1; 10]), &credential.to_bytes())
                .await,
        ),
        show("no twin", records.has_twin(tenant, credential, b"").await),
        show(
            "found",
            records
                .search(&Search { credential: Some(*credential), owner: Some(*owner), limit: 9, ..Search::default() })
                .await,
        ),
    ];
    for consent in consents {
        told.push(show("consent", records.consent(tenant, &consent.claimed.id).await));
        told.push(show("consent's tenant", records.tenant_of_consent(&consent.claimed.id).await));
        told.push(show("receipts", records.receipts(&consent.claimed.id).await));
    }
    told
}

#[tokio::test]
async fn every_read_gives_the_same_on_both_engines() {
    let world = story().await;
    let databases = Databases::migrated().await;
    let mut to = databases.administrator("records").await;
    copy(&mut world.file(Store::Records).await, &mut to).await;
    let copied = databases.open().await.expect("opened");
    let (one, other) = (all(world.records(), &world).await, all(&copied.records, &world).await);
    assert_eq!(one.len(), other.len());
    let mut told = 0;
    for (one, other) in one.iter().zip(&other) {
        assert!(one.1.starts_with("Ok("), "{one:?}");
        assert_eq!(one, other);
        told += usize::from(!["Ok(None)", "Ok([])", "Ok(false)"].contains(&one.1.as_str()));
    }
    assert!(told > 60, "only {told} reads found something");
}

/// Table, column and kind of every column that both engines should have.
async fn columns(file: &mut SqliteConnection) -> Vec<(String, String, String)> {
    let rows = sqlx::query(
        "SELECT t.name AS tab, c.name AS col, c.type AS kind FROM sqlite_schema t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '\\_%' ESCAPE '\\'",
    )
    .fetch_all(file)
    .await
    .expect("columns");
    rows.iter().map(|row| (row.get("tab"), row.get("col"), row.get("kind"))).collect()
}

#[tokio::test]
async fn both_engines_have_the_same_columns_and_texts_in_the_order_of_their_bytes() {
    let (world, databases) = (World::on_sqlite(None).await, Databases::migrated().await);
    for store in Store::ALL {
        let mut file = world.file(store).await;
        let store = store.name();
        let expected = columns(&mut file).await;
        assert!(!expected.is_empty(), "{store}");
        let mut session = databases.administrator(store).await;
        let found = sqlx::query(
            "SELECT c.relname::text AS tab, a.attname::text AS col, format_type(a.atttypid, NULL) AS kind,
               a.attcollation IN (0, '\"C\"'::regcollation) AS by_bytes
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             WHERE c.relnamespace = 'cofre'::regnamespace AND c.relkind = 'r' AND c.relname <> '_sqlx_migrations'
               AND a.attnum > 0 AND NOT a.attisdropped",
        )
        .fetch_all(&mut session)
        .await
        .expect("columns");
        for row in &found {
            let (table, column): (String, String) = (row.get("tab"), row.get("col"));
            assert!(row.get::<bool, _>("by_bytes"), "{store}: {table}.{column} is ordered by a language");
        }
        for (table, column, kind) in expected {
            let kind = match kind.as_str() {
                "INTEGER" => "bigint",
                "TEXT" => "text",
                "BLOB" => "bytea",
                other => panic!("{table}.{column}: {other}"),
            };
            let same = found.iter().any(|row| {
                let (tab, col, other): (String, String, String) = (row.get("tab"), row.get("col"), row.get("kind"));
                (tab, col, other.as_str()) == (table.clone(), column.clone(), kind)
            });
            assert!(same, "{store}: no column {table}.{column} of type {kind}");
        }
    }
}
