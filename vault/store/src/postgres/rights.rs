//! What a serving role may do in its database: exactly what the table of stores says, no more and no less. The
//! migration grants it, and every start looks whether it still is so, because rights granted beside the migration
//! would let whoever holds the role write around the ledger.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::error::Error;
use crate::migrations::Store;

/// The one function of records that the serving role may call.
const COMMIT: &str = "cofre_commit";

/// What a role may do to a table besides reading it.
const fn writes(store: Store) -> &'static [(&'static str, &'static [&'static str])] {
    match store {
        // Every write to records goes through the one commit.
        Store::Records => &[],
        Store::Ciphertexts => &[("sealed_fields", &["INSERT", "DELETE"])],
        Store::Keyring => &[
            // Triggers let shares go forward only, and nothing go that was not retired long ago.
            ("tenant_keys", &["INSERT", "UPDATE (state, state_at, proven)", "DELETE"]),
            ("retired_custodians", &["INSERT"]),
            ("key_claims", &["INSERT", "UPDATE", "DELETE"]),
            ("key_failures", &["INSERT", "UPDATE", "DELETE"]),
            ("key_moves", &["INSERT", "UPDATE"]),
            // They go with the shares of their version.
            ("row_keys", &["INSERT", "DELETE"]),
            // Triggers let the bound grow alone.
            ("closed_keys", &["INSERT", "UPDATE (below, at)"]),
            // Triggers let a row come under a later version, and nothing else of it change.
            ("subject_keys", &["INSERT", "UPDATE (tenant_key_version, wrapped)", "DELETE"]),
            ("data_keys", &["INSERT", "DELETE"]),
            ("deposit_keys", &["INSERT", "UPDATE (tenant_key_version, wrapped_private)", "DELETE"]),
            // What was destroyed stays destroyed.
            ("destroyed", &["INSERT"]),
            ("integrator", &["INSERT", "UPDATE"]),
        ],
    }
}

/// Every power of a role that could matter here, be it held directly, by another role or by an attribute: its name,
/// what it is over, and whether it is held.
/// What stands for many others comes first.
///
/// SECURITY: a membership counts whether its powers are inherited or not, because SET ROLE reaches it. Harmless is only
/// a role made here (16384 is the first oid that is not the server's own) without an attribute, which owns nothing and was
/// granted nothing in any database of the server: a name for the lines of pg_hba.conf.
const POWERS: &str = r"SELECT * FROM (
  SELECT p.power, c.relname::text AS over, has_table_privilege($1::name, c.oid, p.power)
      OR (p.power IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege($1::name, c.oid, p.power)) AS held
    FROM pg_class c
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) AS p(power)
    WHERE c.relnamespace = 'cofre'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL
  SELECT 'UPDATE (' || a.attname || ')', c.relname::text, has_column_privilege($1::name, c.oid, a.attnum, 'UPDATE')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'cofre'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL
  SELECT 'SEQUENCE', c.relname::text, has_sequence_privilege($1::name, c.oid, 'USAGE, UPDATE')
    FROM pg_class c WHERE c.relnamespace = 'cofre'::regnamespace AND c.relkind = 'S'
  UNION ALL
  SELECT 'EXECUTE', f.proname::text, has_function_privilege($1::name, f.oid, 'EXECUTE')
    FROM pg_proc f WHERE f.pronamespace = 'cofre'::regnamespace
  UNION ALL
  SELECT 'CREATE', 'schema cofre', has_schema_privilege($1::name, 'cofre', 'CREATE')
  UNION ALL
  SELECT 'CREATE', 'the database', has_database_privilege($1::name, current_database(), 'CREATE')
  UNION ALL
  SELECT 'TEMPORARY', 'the database', has_database_privilege($1::name, current_database(), 'TEMPORARY')
  UNION ALL
  SELECT 'MEMBER', o.rolname::text, pg_has_role($1::name, o.oid, 'MEMBER')
    FROM pg_roles o WHERE o.rolname <> $1::name AND NOT (o.oid >= 16384
      AND NOT (o.rolsuper OR o.rolcreaterole OR o.rolcreatedb OR o.rolreplication OR o.rolbypassrls)
      AND NOT EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = o.oid))
  UNION ALL
  SELECT a.power, 'the server', a.held FROM pg_roles r
    CROSS JOIN LATERAL (VALUES ('SUPERUSER', r.rolsuper), ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb),
      ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls)) AS a(power, held)
    WHERE r.rolname = $1::name
  ) AS powers ORDER BY over = 'the server' DESC, power = 'MEMBER' DESC, power, over";

/// Whether a role of this store should hold a power.
fn due(store: Store, power: &str, over: &str) -> bool {
    match power {
        "SELECT" => true,
        "EXECUTE" => store == Store::Records && over == COMMIT,
        _ => writes(store)
            .iter()
            .any(|(table, powers)| *table == over && powers.iter().any(|granted| covers(granted, power))),
    }
}

/// Whether what is granted is a power, or has it as a part: over some columns it is named with them.
fn covers(granted: &str, power: &str) -> bool {
    let (over, columns) = granted.split_once(" (").map_or((granted, None), |(over, columns)| (over, Some(columns)));
    match power.split_once(" (") {
        None => over == power,
        Some((asked, column)) => {
            let column = column.trim_end_matches(')');
            let named = |columns: &str| columns.trim_end_matches(')').split(", ").any(|one| one == column);
            over == asked && columns.is_none_or(named)
        }
    }
}

/// Refuses a role that may do more or less than it should.
pub(super) async fn check(connection: &mut PgConnection, store: Store, role: &str) -> Result<(), Error> {
    use sqlx::Row as _;
    let powers = sqlx::query(POWERS).bind(role.to_owned()).fetch_all(connection).await?;
    let mut missing = None;
    for row in &powers {
        let (power, over, held): (String, String, bool) =
            (row.try_get("power")?, row.try_get("over")?, row.try_get("held")?);
        let named = |power| format!("{power} on {over}");
        match (due(store, &power, &over), held) {
            (false, true) => {
                return Err(Error::Overpowered { store: store.name(), role: role.to_owned(), power: named(power) });
            }
            (true, false) => missing = missing.or(Some(named(power))),
            (true, true) | (false, false) => {}
        }
    }
    match missing {
        None => Ok(()),
        Some(power) => Err(Error::Powerless { store: store.name(), role: role.to_owned(), power }),
    }
}

/// Gives `role` what it should hold and takes what it, or everybody, was granted in this database before. What a
/// role holds by membership or attribute is the server's administrator to take.
pub(super) async fn grant(connection: &mut PgConnection, store: Store, role: &str) -> Result<(), Error> {
    use sqlx::Row as _;
    let names = sqlx::query("SELECT quote_ident($1) AS role, quote_ident(current_database()) AS database")
        .bind(role.to_owned())
        .fetch_one(&mut *connection)
        .await?;
    let (role, database): (String, String) = (names.try_get("role")?, names.try_get("database")?);
    let mut text = format!(
        "BEGIN;
         REVOKE ALL ON DATABASE {database} FROM PUBLIC, {role};
         REVOKE ALL ON SCHEMA cofre FROM PUBLIC, {role};
         REVOKE ALL ON ALL TABLES IN SCHEMA cofre FROM PUBLIC, {role};
         REVOKE ALL ON ALL SEQUENCES IN SCHEMA cofre FROM PUBLIC, {role};
         REVOKE ALL ON ALL ROUTINES IN SCHEMA cofre FROM PUBLIC, {role};
         GRANT CONNECT ON DATABASE {database} TO {role};
         GRANT USAGE ON SCHEMA cofre TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA cofre TO {role};"
    );
    for (table, powers) in writes(store) {
        text.push_str(&format!("GRANT {} ON cofre.{table} TO {role};", powers.join(", ")));
    }
    if store == Store::Records {
        let commits = sqlx::query(
            "SELECT oid::regprocedure::text AS name FROM pg_proc
             WHERE pronamespace = 'cofre'::regnamespace AND proname = $1",
        )
        .bind(COMMIT)
        .fetch_all(&mut *connection)
        .await?;
        for row in &commits {
            let name: String = row.try_get("name")?;
            text.push_str(&format!("GRANT EXECUTE ON FUNCTION {name} TO {role};"));
        }
    }
    text.push_str("COMMIT");
    // Names were quoted by the server; the rest is ours.
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?;
    Ok(())
}
