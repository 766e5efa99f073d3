//! Whoever has the serving role of the records, and nothing else: they can commit and read, and no trick makes more of
//! it. Always on PostgreSQL: an SQLite file has no roles.

use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::Store;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};
use tempfile::TempDir;

/// PostgreSQL's code for an operation the role has no right to.
const DENIED: &str = "42501";

pub(crate) struct Attack {
    _folder: TempDir,
    database: String,
    pub(crate) role: PgConnection,
}

impl Attack {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        cofre_testkit::stores::postgres(folder.path()).await.expect("databases");
        let database = databases::name(folder.path(), Store::Records);
        let role = connected(&database).await;
        Self { _folder: folder, database, role }
    }

    /// The code of the error that a statement ends with; nothing where it runs.
    async fn code(&mut self, text: &str) -> Option<String> {
        let refused = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut self.role).await.err()?;
        let refused = refused.into_database_error().expect("an answer of the server");
        Some(refused.code().expect("a code").into_owned())
    }

    async fn as_administrator(&self, statements: &[&str]) {
        Cluster::here().expect("a cluster").run(&self.database, statements).await.expect("done");
    }

    /// Names of relations or functions in the schema.
    async fn names(&mut self, query: &'static str) -> Vec<String> {
        let rows = sqlx::query(query).fetch_all(&mut self.role).await.expect("names");
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn commit(&mut self, group: &Value) -> Result<Value, sqlx::Error> {
        sqlx::query_scalar("SELECT cofre.cofre_commit($1)").bind(group).fetch_one(&mut self.role).await
    }

    pub(crate) async fn number(&mut self, query: &'static str) -> i64 {
        sqlx::query(query).fetch_one(&mut self.role).await.expect("a number").get(0)
    }
}

async fn connected(database: &str) -> PgConnection {
    let cluster = Cluster::here().expect("a cluster");
    let options = PgConnectOptions::new_without_pgpass()
        .host(&cluster.folder().display().to_string())
        .port(cluster.port())
        .username(&databases::serving(Store::Records))
        .database(database);
    options.connect().await.expect("connected")
}

pub(crate) const NODE: &str = "spiffe://cofre.test/node/eu-nl/n1";

/// A group with one request, the `count`th of its node's life.
pub(crate) fn group(count: u64, request: &Value) -> Value {
    let id = format!("{}{count:016x}", "09".repeat(16));
    json!({"group": id, "life": "07".repeat(64), "node": NODE, "now": 1_000_000, "outcomes": {}, "requests": [request]})
}

fn varint(number: u64) -> Vec<u8> {
    let more = if number > 127 { varint(number >> 7) } else { Vec::new() };
    [vec![(number & 127) as u8 | if more.is_empty() { 0 } else { 128 }], more].concat()
}

/// An encoded field of bytes.
pub(crate) fn part(number: u32, content: &[u8]) -> String {
    hex::encode([varint((number << 3 | 2).into()), varint(content.len() as u64), content.to_vec()].concat())
}

/// Two encoded fields, 1 and 2, as the content of another.
pub(crate) fn pair(name: &[u8], bytes: &[u8]) -> Vec<u8> {
    hex::decode([part(1, name), part(2, bytes)].concat()).expect("hex")
}

/// The entry of a kind, by its word and number, that names `reference`.
pub(crate) fn entry(kind: &str, number: u8, reference: &str) -> Value {
    json!({
        "fields": {"1": hex::encode([8, number]), "2": part(2, &[1; 16]), "4": part(4, &pair(NODE.as_bytes(), &[9; 16])),
            "34": part(34, reference.as_bytes())},
        "facets": {"kind": kind, "tenant": null, "credential": null, "owner": null, "caller": null, "reason": null, "follows": null},
    })
}

/// A stop button, which anybody with this role may press: it is recorded.
pub(crate) fn lockdown() -> Value {
    json!({"op": "LOCKDOWN", "scope": "PLATFORM", "id": "", "entry": entry("LOCKDOWN", 28, "PLATFORM")})
}

/// A note that changes nothing, with fields and facets besides.
pub(crate) fn note(fields: &[(&str, String)], facets: &[(&str, &str)]) -> Value {
    let mut entry = entry("AUDIT_READ", 33, "search");
    for (field, bytes) in fields {
        entry["fields"][field] = bytes.as_str().into();
    }
    for (facet, text) in facets {
        entry["facets"][facet] = (*text).into();
    }
    json!({"op": "NOTE", "withdraws": null, "entry": entry})
}

const TABLES: &str = "SELECT relname::text FROM pg_class WHERE relnamespace = 'cofre'::regnamespace AND relkind = 'r'";

#[tokio::test]
async fn no_table_is_written_but_through_the_commit() {
    let mut attack = Attack::new().await;
    let tables = attack.names(TABLES).await;
    assert!(tables.len() > 25 && tables.iter().any(|table| table == "consents"), "{tables:?}");
    for table in tables {
        let column = sqlx::query(
            "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = ('cofre.' || quote_ident($1))::regclass AND attnum > 0 AND attidentity = '' ORDER BY attnum LIMIT 1",
        )
        .bind(&table)
        .fetch_one(&mut attack.role)
        .await
        .expect("a column")
        .get::<String, _>(0);
        for text in [
            format!("INSERT INTO cofre.{table} DEFAULT VALUES"),
            format!("UPDATE cofre.{table} SET {column} = {column}"),
            format!("DELETE FROM cofre.{table}"),
            format!("TRUNCATE cofre.{table}"),
            format!("SELECT 1 FROM cofre.{table} FOR UPDATE"),
            format!("DO $$ BEGIN LOCK TABLE cofre.{table} IN ROW EXCLUSIVE MODE; END $$"),
            format!("ALTER TABLE cofre.{table} DISABLE TRIGGER ALL"),
            format!("DROP TABLE cofre.{table}"),
        ] {
            assert_eq!(attack.code(&text).await.as_deref(), Some(DENIED), "{text}");
        }
        assert_eq!(attack.code(&format!("SELECT count(*) FROM cofre.{table}")).await, None, "{table} is read");
    }
}

#[tokio::test]
async fn no_function_is_called_but_the_commit() {
    let mut attack = Attack::new().await;
    let rows = sqlx::query(
        "SELECT p.proname::text AS name, p.prosecdef AS definer, coalesce(p.proconfig::text, '') AS settings,
           p.oid::regprocedure::text AS signature, p.proisstrict AS strict, has_function_privilege(p.oid, 'EXECUTE') AS callable,
           (SELECT coalesce(string_agg(format('NULL::%s', format_type(t, NULL)), ', '), '') FROM unnest(p.proargtypes) t) AS arguments
         FROM pg_proc p WHERE p.pronamespace = 'cofre'::regnamespace",
    )
    .fetch_all(&mut attack.role)
    .await
    .expect("functions");
    assert!(rows.len() > 50, "{} functions", rows.len());
    for row in rows {
        let (name, definer, callable): (String, bool, bool) =
            (row.get("name"), row.get("definer"), row.get("callable"));
        let (settings, arguments): (String, String) = (row.get("settings"), row.get("arguments"));
        let signature: String = row.get("signature");
        if name == "cofre_commit" {
            assert!(definer && callable && settings.contains("search_path=pg_catalog, cofre, pg_temp"), "{settings}");
            continue;
        }
        assert!(!definer && !callable, "{signature}");
        // A strict function of nulls is not called at all.
        if !row.get::<bool, _>("strict") {
            let called = attack.code(&format!("SELECT cofre.{name}({arguments})")).await;
            assert_eq!(called.as_deref(), Some(DENIED), "{signature}");
        }
    }
    for text in [
        "CREATE FUNCTION cofre.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE cofre.mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE cell (one bigint, epoch bigint)",
        "ALTER FUNCTION cofre.cofre_commit(jsonb) SECURITY INVOKER",
        "DROP FUNCTION cofre.cofre_commit(jsonb)",
        "SET ROLE cofre_owner",
        "SET session_replication_role = replica",
    ] {
        assert_eq!(attack.code(text).await.as_deref(), Some(DENIED), "{text}");
    }
}

#[tokio::test]
async fn objects_of_ones_own_stand_in_for_nothing() {
    let mut attack = Attack::new().await;
    // Somebody has handed the role more than it should have.
    let temporary = format!("GRANT TEMPORARY, CREATE ON DATABASE {} TO PUBLIC", attack.database);
    attack.as_administrator(&[&temporary]).await;
    for text in [
        "CREATE TEMPORARY TABLE cell (one bigint, epoch bigint)",
        "CREATE TEMPORARY TABLE lockdowns (scope_kind text, scope_id text)",
        "CREATE TEMPORARY TABLE leases (LIKE cofre.leases)",
        "CREATE TEMPORARY TABLE ledger_head (one bigint, size bigint, last_time bigint)",
        "CREATE TEMPORARY TABLE ledger_entries (LIKE cofre.ledger_entries)",
        "CREATE TEMPORARY TABLE ledger_facets (LIKE cofre.ledger_facets)",
        "CREATE TEMPORARY TABLE incarnations (LIKE cofre.incarnations)",
        "INSERT INTO pg_temp.cell VALUES (1, 1)",
        "INSERT INTO pg_temp.ledger_head VALUES (1, 0, 0)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
        "CREATE FUNCTION mine.commit_append(cofre.commit_group, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $2'",
        "CREATE FUNCTION mine.differ(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "CREATE OPERATOR mine.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = mine.differ)",
        "CREATE OPERATOR mine.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = pg_catalog.jsonb_object_field_text)",
        "SET search_path = pg_temp, mine, cofre, pg_catalog",
        "SET standard_conforming_strings = off",
        "SET transform_null_equals = on",
        "SET bytea_output = 'escape'",
    ] {
        assert_eq!(attack.code(text).await, None, "{text}");
    }
    let verdicts = attack.commit(&group(1, &lockdown())).await.expect("committed");
    assert_eq!(verdicts[0]["verdict"], "WRITTEN", "{verdicts}");
    assert_eq!(attack.number("SELECT count(*) FROM cofre.lockdowns").await, 1);
    assert_eq!(attack.number("SELECT size FROM cofre.ledger_head").await, 1);
    assert_eq!(attack.number("SELECT epoch FROM cofre.cell").await, 2);
    let true_hash =
        "SELECT count(*) FROM cofre.ledger_entries WHERE leaf_hash = pg_catalog.sha256('\\\\x00'::bytea || bytes)";
    assert_eq!(attack.number(true_hash).await, 1);
    let mine = "SELECT (SELECT count(*) FROM pg_temp.lockdowns) + (SELECT count(*) FROM pg_temp.ledger_entries)";
    assert_eq!(attack.number(mine).await, 0);
}

#[tokio::test]
async fn a_commit_on_an_old_snapshot_is_refused() {
    let mut attack = Attack::new().await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        assert_eq!(attack.code(&format!("BEGIN ISOLATION LEVEL {level}")).await, None);
        let refused = attack.commit(&group(1, &lockdown())).await;
        assert!(refused.is_err_and(|cause| cause.to_string().contains("READ COMMITTED")), "{level}");
        assert_eq!(attack.code("ROLLBACK").await, None);
    }
    assert_eq!(attack.number("SELECT size FROM cofre.ledger_head").await, 0);
}

#[tokio::test]
async fn what_is_no_group_leaves_nothing() {
    let mut attack = Attack::new().await;
    let nameless = json!({"op": "LOCKDOWN", "scope": "PLATFORM", "id": ""});
    let long = note(&[("34", part(34, &[b'a'; 70_000]))], &[]);
    let other_node = {
        let mut group = group(3, &lockdown());
        group["node"] = "spiffe://cofre.test/node/eu-nl/n2".into();
        group
    };
    assert_eq!(attack.commit(&group(1, &lockdown())).await.expect("committed")[0]["verdict"], "WRITTEN");
    let refused = attack.commit(&group(2, &long)).await.expect_err("beyond 65,535 bytes");
    assert_eq!(refused.as_database_error().and_then(|told| told.code()).as_deref(), Some("CF002"), "{refused}");
    for (what, asked) in [
        ("no entry", group(2, &nameless)),
        ("an operation nobody knows", group(2, &json!({"op": "DELETE_EVERYTHING"}))),
        ("another node under this incarnation", other_node),
        ("no group id", json!({"node": "n", "now": 1, "requests": [lockdown()]})),
        ("nothing", Value::Null),
        // The first request would stand by itself.
        ("half a group", {
            let mut half = group(2, &lockdown());
            half["requests"] = json!([lockdown(), nameless]);
            half
        }),
    ] {
        assert!(attack.commit(&asked).await.is_err(), "{what}");
        assert_eq!(attack.number("SELECT size FROM cofre.ledger_head").await, 1, "{what}");
        assert_eq!(attack.number("SELECT epoch FROM cofre.cell").await, 2, "{what}");
    }
    // A refusal is a verdict of its own request and takes nothing with it.
    let mut both = group(4, &lockdown());
    let quarantine = entry("WORKER_QUARANTINED", 29, "nobody");
    both["requests"] = json!([{"op": "QUARANTINE", "worker": "nobody", "entry": quarantine}, lockdown()]);
    let verdicts = attack.commit(&both).await.expect("committed");
    assert_eq!((&verdicts[0]["verdict"], &verdicts[0]["reason"]), (&json!("REFUSED"), &json!("NOT_FOUND")));
    assert_eq!(verdicts[1]["verdict"], "WRITTEN");
}

#[tokio::test]
async fn no_call_ends_the_cell_or_another_nodes_life() {
    let mut attack = Attack::new().await;
    attack.as_administrator(&["UPDATE cofre.clock_bound SET ahead = 10000000"]).await;
    let mut late = group(1, &lockdown());
    for now in [i64::MAX - 1, i64::MAX, 4_102_444_800_000_000, -1] {
        late["now"] = now.into();
        assert!(attack.commit(&late).await.is_err(), "{now}");
    }
    assert_eq!(attack.code("UPDATE cofre.clock_bound SET ahead = 9").await.as_deref(), Some(DENIED));
    attack.commit(&group(1, &lockdown())).await.expect("committed");

    // Somebody else, who has the role as well, and not the node's key.
    let mut stolen = group(2, &lockdown());
    stolen["life"] = "08".repeat(64).into();
    assert!(attack.commit(&stolen).await.is_err(), "another life's secret");
    stolen.as_object_mut().expect("a group").remove("life");
    assert!(attack.commit(&stolen).await.is_err(), "no secret");
    let settle = |doubted: String| json!({"op": "SETTLE", "group": doubted});
    let own = "0a".repeat(16);
    let from_outside = |doubted: String| {
        let mut group = group(1, &settle(doubted));
        group["group"] = format!("{own}{:016x}", 1).into();
        group
    };
    let victim = "09".repeat(16);
    assert!(attack.commit(&from_outside(format!("{victim}{:016x}", u32::MAX))).await.is_err(), "another life's");
    assert!(attack.commit(&group(2, &settle(format!("{victim}{:016x}", 1_000)))).await.is_err(), "not sent yet");
    assert!(attack.commit(&group(2, &settle(format!("{victim}{:016x}", u64::MAX)))).await.is_err(), "below nought");
    attack.commit(&group(3, &settle(format!("{victim}{:016x}", 2)))).await.expect("its own");
    attack.commit(&group(4, &lockdown())).await.expect("goes on");
}

#[tokio::test]
async fn tiles_are_tiles_and_few() {
    let mut attack = Attack::new().await;
    let tile = |level: i64, width: i64, bytes: usize| json!({"level": level, "n": 0, "width": width, "hashes": "00".repeat(bytes)});
    let asked = |tiles: Vec<Value>, size: i64, note: &str| json!({"op": "INTEGRATE", "tiles": tiles, "size": size, "note": note});
    for (what, request) in [
        ("beyond the ledger", asked(vec![], 1, "n")),
        ("before its beginning", asked(vec![], -1, "n")),
        ("no note", asked(vec![], 0, "")),
        ("a long note", asked(vec![], 0, &"n".repeat(4_097))),
        ("no width", asked(vec![tile(0, 0, 0)], 0, "n")),
        ("too wide", asked(vec![tile(0, 257, 257 * 32)], 0, "n")),
        ("half a hash", asked(vec![tile(0, 1, 16)], 0, "n")),
        ("too high", asked(vec![tile(8, 1, 32)], 0, "n")),
        ("below the leaves", asked(vec![tile(-1, 1, 32)], 0, "n")),
        ("too many", asked(vec![tile(0, 1, 32); 65], 0, "n")),
    ] {
        let verdicts = attack.commit(&group(1, &request)).await.expect(what);
        assert_eq!(verdicts[0]["verdict"], "REFUSED", "{what}");
    }
    assert_eq!(attack.number("SELECT count(*) FROM cofre.ledger_tiles").await, 0);
    let verdicts = attack.commit(&group(1, &asked(vec![tile(7, 1, 32)], 0, "n"))).await.expect("kept");
    assert_eq!(verdicts[0]["verdict"], "DONE");
}
