//! What whoever has the serving role of the keyring may do to shares of tenant keys and to what lies under them: put the
//! next wrapping, move a row to a later version, and retire what something newer stands for. Always on PostgreSQL: an SQLite
//! file has no roles.

use sqlx::{AssertSqlSafe, Executor as _};

use crate::databases::Databases;

/// Puts a share, as the keyring does: custodian, wrapping, how many shares that has, its set.
fn put(custodian: &str, wrapping: u32, count: u32, set: &str) -> String {
    format!(
        "INSERT INTO tenant_keys VALUES ('t', 1, {wrapping}, '{custodian}', 0, {count}, '', 'm', 'k', '{set}', 'CURRENT', 7, 0)"
    )
}

#[tokio::test]
async fn a_stolen_role_of_the_keyring_destroys_no_tenant_key_within_thirty_days() {
    const REFUSED: Option<&str> = Some("23001");
    let databases = Databases::migrated().await;
    let retire = "UPDATE tenant_keys SET state = 'RETIRED', state_at = 0 WHERE wrapping = 1";
    for (statement, expected) in [
        (put("a", 1, 1, "any_of(a)").as_str(), None),
        // The newest wrapping goes nowhere.
        ("UPDATE tenant_keys SET state = 'RETIRED'", REFUSED),
        ("UPDATE tenant_keys SET state = 'CLOSED'", REFUSED),
        ("DELETE FROM tenant_keys", REFUSED),
        (put("b", 2, 1, "any_of(b)").as_str(), None),
        ("UPDATE tenant_keys SET state = 'CLOSED'", REFUSED),
        ("UPDATE tenant_keys SET state = 'CLOSED', state_at = 1 WHERE wrapping = 1", None),
        ("UPDATE tenant_keys SET state = 'CURRENT' WHERE wrapping = 1", REFUSED),
        ("DELETE FROM tenant_keys WHERE wrapping = 1", REFUSED),
        // Nobody has opened what stands in its place.
        (retire, REFUSED),
        ("UPDATE tenant_keys SET proven = 9 WHERE wrapping = 2", None),
        ("UPDATE tenant_keys SET proven = 8 WHERE wrapping = 2", REFUSED),
        (retire, None),
        ("UPDATE tenant_keys SET state = 'CLOSED' WHERE wrapping = 1", REFUSED),
        ("UPDATE tenant_keys SET state_at = 0 WHERE wrapping = 1", REFUSED),
        // It was retired just now, whatever was said.
        ("DELETE FROM tenant_keys WHERE wrapping = 1", REFUSED),
        ("DELETE FROM tenant_keys", REFUSED),
        ("UPDATE retired_custodians SET custodian_id = 'z'", Some("42501")),
        ("DELETE FROM retired_custodians", Some("42501")),
    ] {
        let code = databases.attempt("keyring", "keyring", statement).await;
        assert_eq!(code.as_deref(), expected, "{statement}");
    }
    let aged = "SET session_replication_role = replica; \
        UPDATE cofre.tenant_keys SET state_at = state_at - 2592001000000 WHERE wrapping = 1";
    databases.administer("keyring", aged).await;
    assert_eq!(databases.attempt("keyring", "keyring", "DELETE FROM tenant_keys WHERE wrapping = 1").await, None);
}

#[tokio::test]
async fn a_share_is_put_with_the_newest_wrapping_and_as_one_that_was_never_opened() {
    const REFUSED: Option<&str> = Some("23001");
    let databases = Databases::migrated().await;
    let proven = put("a", 1, 1, "any_of(a)").replace("7, 0)", "7, 5)");
    let closed = put("a", 1, 1, "any_of(a)").replace("CURRENT", "CLOSED");
    for (statement, expected) in [
        (proven, REFUSED),
        (closed, REFUSED),
        (put("a", 2, 1, "any_of(a)"), REFUSED),
        (put("a", 0, 1, "any_of(a)"), REFUSED),
        (put("a", 1, 2, "all_of(a,b)"), None),
        // Beside it only what was wrapped with it.
        (put("b", 1, 2, "any_of(a,b)"), REFUSED),
        (put("b", 1, 3, "all_of(a,b)"), REFUSED),
        (put("b", 3, 2, "all_of(a,b)"), REFUSED),
        (put("b", 1, 2, "all_of(a,b)"), None),
        (put("c", 1, 2, "all_of(a,b)"), REFUSED),
        (put("c", 2, 1, "any_of(c)"), None),
        (put("d", 1, 2, "all_of(a,b)"), REFUSED),
    ] {
        let code = databases.attempt("keyring", "keyring", &statement).await;
        assert_eq!(code.as_deref(), expected, "{statement}");
    }
}

#[tokio::test]
async fn a_stolen_role_of_the_keyring_has_no_retired_custodian_hold_a_key_and_proves_nothing_for_later() {
    const REFUSED: Option<&str> = Some("23001");
    let databases = Databases::migrated().await;
    let other_key = |custodian| put(custodian, 1, 1, "any_of(a)").replace("'k'", "'newer'");
    let proven = "SELECT 1 / (SELECT COUNT(*) FROM tenant_keys WHERE proven > 9
      AND proven <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";
    for (statement, expected) in [
        ("INSERT INTO retired_custodians VALUES ('gone', '', 1), ('a', 'k', 1)".to_owned(), None),
        (put("gone", 1, 1, "any_of(gone)"), REFUSED),
        (other_key("gone"), REFUSED),
        (put("a", 1, 1, "any_of(a)"), REFUSED),
        (other_key("a"), None),
        ("UPDATE tenant_keys SET proven = 9000000000000000000".to_owned(), None),
        (proven.to_owned(), None),
        ("UPDATE tenant_keys SET proven = 9000000000000000000".to_owned(), None),
        (proven.to_owned(), None),
    ] {
        let code = databases.attempt("keyring", "keyring", &statement).await;
        assert_eq!(code.as_deref(), expected, "{statement}");
    }
}

#[tokio::test]
async fn a_role_that_may_change_another_column_of_a_share_is_not_served() {
    let databases = Databases::migrated().await;
    databases.open().await.expect("opened").close().await;
    let role = databases.role("keyring");
    for gain in ["UPDATE (custody_set)", "UPDATE"] {
        databases.administer("keyring", &format!("GRANT {gain} ON cofre.tenant_keys TO {role}")).await;
        let refused = databases.open().await.map(drop).expect_err("opened").to_string();
        assert!(refused.contains("may do more than serve (UPDATE (custod"), "{gain}: {refused}");
        databases.migrate().await.expect("migrated");
        databases.open().await.expect("opened").close().await;
    }
}

/// The first share of a version of the key of `t`.
fn version(version: u32) -> String {
    put("a", 1, 1, "any_of(a)").replace("'t', 1, 1", &format!("'t', {version}, 1"))
}

/// An owner's key under a version of the key of `t`.
fn row(owner: &str, version: u32) -> String {
    format!("INSERT INTO subject_keys VALUES ('{owner}', 1, 't', {version}, 'k')")
}

/// A deposit key under a version of the key of `t`.
fn pair(id: &str, version: u32) -> String {
    format!("INSERT INTO deposit_keys VALUES ('{id}', 't', {version}, 1, 'p', 'k', 1, 2, 's')")
}

#[tokio::test]
async fn a_stolen_role_moves_rows_to_later_versions_alone() {
    const REFUSED: Option<&str> = Some("23001");
    const DENIED: Option<&str> = Some("42501");
    let databases = Databases::migrated().await;
    for (statement, expected) in [
        (version(1).as_str(), None),
        (&version(2), None),
        (&version(3), None),
        (&row("o", 1), None),
        (&row("p", 2), None),
        (&pair("d", 1), None),
        (&pair("e", 2), None),
        // Nothing but where it lies, and what it is there.
        ("UPDATE subject_keys SET owner_id = 'z'", DENIED),
        ("UPDATE subject_keys SET tenant_id = 'z', tenant_key_version = 3", DENIED),
        ("UPDATE subject_keys SET version = 2", DENIED),
        ("UPDATE subject_keys SET wrapped = 'z'", REFUSED),
        ("UPDATE subject_keys SET tenant_key_version = 1", REFUSED),
        ("UPDATE subject_keys SET tenant_key_version = 1 WHERE owner_id = 'p'", REFUSED),
        ("UPDATE subject_keys SET tenant_key_version = 4", REFUSED),
        ("TRUNCATE subject_keys", DENIED),
        ("UPDATE deposit_keys SET not_after = 9", DENIED),
        ("UPDATE deposit_keys SET public = 'z', tenant_key_version = 3", DENIED),
        ("UPDATE deposit_keys SET wrapped_private = 'z'", REFUSED),
        ("UPDATE deposit_keys SET tenant_key_version = 1 WHERE id = 'e'", REFUSED),
        ("UPDATE deposit_keys SET tenant_key_version = 4", REFUSED),
        // Versions are closed for good, and one that is in force is not.
        ("INSERT INTO closed_keys VALUES ('t', 4, 1)", REFUSED),
        ("INSERT INTO closed_keys VALUES ('u', 1, 1)", REFUSED),
        ("INSERT INTO closed_keys VALUES ('t', 2, 1)", None),
        ("UPDATE closed_keys SET below = 1", REFUSED),
        ("UPDATE closed_keys SET below = 2", REFUSED),
        ("UPDATE closed_keys SET below = 4", REFUSED),
        ("UPDATE closed_keys SET tenant_id = 'u'", DENIED),
        ("DELETE FROM closed_keys", DENIED),
        ("UPDATE closed_keys SET below = 3", None),
        (&row("q", 1), REFUSED),
        (&row("q", 2), REFUSED),
        (&pair("f", 2), REFUSED),
        ("UPDATE subject_keys SET tenant_key_version = 2 WHERE owner_id = 'o'", REFUSED),
        ("UPDATE deposit_keys SET tenant_key_version = 2 WHERE id = 'd'", REFUSED),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE subject_keys SET tenant_key_version = 3; COMMIT", REFUSED),
        ("UPDATE subject_keys SET tenant_key_version = 3, wrapped = 'm'", None),
        ("UPDATE deposit_keys SET tenant_key_version = 3, wrapped_private = 'm'", None),
        (&row("q", 3), None),
    ] {
        let code = databases.attempt("keyring", "keyring", statement).await;
        assert_eq!(code.as_deref(), expected, "{statement}");
    }
}

#[tokio::test]
async fn a_stolen_role_retires_no_version_that_something_lies_under() {
    const REFUSED: Option<&str> = Some("23001");
    let databases = Databases::migrated().await;
    let retire = "UPDATE tenant_keys SET state = 'RETIRED', state_at = 0 WHERE version = 1";
    let carried = |version| format!("INSERT INTO row_keys VALUES ('t', {version}, 'integrity', 'k')");
    for (statement, expected) in [
        (carried(1).as_str(), REFUSED),
        (&version(1), None),
        (&carried(1), None),
        ("DELETE FROM row_keys", REFUSED),
        (&row("o", 1), None),
        (&pair("d", 1), None),
        (retire, REFUSED),
        (&version(2), None),
        ("INSERT INTO closed_keys VALUES ('t', 2, 1)", None),
        ("UPDATE tenant_keys SET proven = 9 WHERE version = 2", None),
        // What it carries comes before it was opened.
        (&carried(2), REFUSED),
        (retire, REFUSED),
        ("DELETE FROM tenant_keys WHERE version = 1", REFUSED),
        ("UPDATE tenant_keys SET state = 'CLOSED' WHERE version = 1", REFUSED),
        ("UPDATE subject_keys SET tenant_key_version = 2", None),
        (retire, REFUSED),
        ("UPDATE deposit_keys SET tenant_key_version = 2", None),
        // The one that takes rows goes nowhere.
        ("UPDATE tenant_keys SET state = 'RETIRED' WHERE version = 2", REFUSED),
        ("UPDATE tenant_keys SET state = 'RETIRED'", REFUSED),
        (retire, None),
        ("UPDATE tenant_keys SET state = 'CURRENT' WHERE version = 1", REFUSED),
        // It was retired just now, whatever was said; and it gets no share any more.
        ("DELETE FROM tenant_keys WHERE version = 1", REFUSED),
        (&put("b", 2, 1, "any_of(b)"), REFUSED),
        ("DELETE FROM row_keys", REFUSED),
    ] {
        let code = databases.attempt("keyring", "keyring", statement).await;
        assert_eq!(code.as_deref(), expected, "{statement}");
    }
    let aged = "SET session_replication_role = replica; \
        UPDATE cofre.tenant_keys SET state_at = state_at - 2592001000000 WHERE version = 1";
    databases.administer("keyring", aged).await;
    for (statement, expected) in [
        ("DELETE FROM tenant_keys WHERE version = 1", None),
        ("DELETE FROM row_keys WHERE version = 1", None),
        (version(1).as_str(), REFUSED),
    ] {
        let code = databases.attempt("keyring", "keyring", statement).await;
        assert_eq!(code.as_deref(), expected, "{statement}");
    }
}

#[tokio::test]
async fn whoever_puts_a_row_and_whoever_closes_its_version_wait_for_each_other() {
    let databases = Databases::migrated().await;
    for statement in [version(1), version(2)] {
        assert_eq!(databases.attempt("keyring", "keyring", &statement).await, None, "{statement}");
    }
    let mut putting = databases.administrator("keyring").await;
    putting.execute("SET search_path = cofre; BEGIN").await.expect("begun");
    putting.execute(AssertSqlSafe(row("o", 1))).await.expect("put");
    let mut closing = databases.administrator("keyring").await;
    closing.execute("SET search_path = cofre; SET lock_timeout = 200").await.expect("set");
    closing.execute("BEGIN").await.expect("begun");
    let close = "INSERT INTO closed_keys VALUES ('t', 2, 1)";
    let waited = closing.execute(close).await.expect_err("a row of it is being put");
    let code = waited.as_database_error().and_then(|told| told.code());
    assert_eq!(code.as_deref(), Some("55P03"), "it waits: {waited}");
    closing.execute("ROLLBACK; BEGIN").await.expect("begun");
    putting.execute("COMMIT; BEGIN; SET lock_timeout = 200").await.expect("committed");
    closing.execute(close).await.expect("closed");
    let waited = putting.execute(AssertSqlSafe(row("p", 1))).await.expect_err("it is being closed");
    let code = waited.as_database_error().and_then(|told| told.code());
    assert_eq!(code.as_deref(), Some("55P03"), "it waits: {waited}");
    putting.execute("ROLLBACK").await.expect("rolled back");
    closing.execute("COMMIT").await.expect("committed");
    let late = putting.execute(AssertSqlSafe(row("p", 1))).await.expect_err("it is closed");
    assert_eq!(late.as_database_error().and_then(|told| told.code()).as_deref(), Some("23001"), "{late}");
}
