//! What whoever has the serving role of the keyring may do to shares of tenant keys: put the next wrapping, and retire what
//! a newer one stands for. Always on PostgreSQL: an SQLite file has no roles.

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
