//! Stores in a folder, and an administrator's hands on them, on PostgreSQL and on the engine of this run.

use std::path::Path;

use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::{self, ENGINE, Engine, Store};
use sqlx::Row as _;

async fn names(folder: &Path) -> Vec<String> {
    let mut connection = Cluster::here().expect("a cluster").administrator("postgres").await.expect("connected");
    let question = "SELECT datname::text FROM pg_database WHERE shobj_description(oid, 'pg_database') = $1 ORDER BY 1";
    let rows = sqlx::query(question).bind(folder.display().to_string()).fetch_all(&mut connection).await;
    rows.expect("databases").iter().map(|row| row.get(0)).collect()
}

async fn id(folder: &Path, store: Store) -> Vec<u8> {
    let database = databases::name(folder, store);
    let mut connection = Cluster::here().expect("a cluster").administrator(&database).await.expect("connected");
    let row = sqlx::query("SELECT value FROM cofre.meta WHERE key = 'store_id'").fetch_one(&mut connection).await;
    row.expect("a name").get(0)
}

#[tokio::test]
async fn each_folder_has_databases_of_its_own_until_it_is_gone() {
    let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for folder in [&one, &other] {
        stores::postgres(folder.path()).await.expect("made");
        stores::postgres(folder.path()).await.expect("the same again");
        assert_eq!(names(folder.path()).await.len(), 3);
    }
    let set = id(one.path(), Store::Records).await;
    assert_eq!(set, id(one.path(), Store::Keyring).await);
    assert_ne!(set, id(other.path(), Store::Records).await, "each set has a name of its own");

    let gone = one.path().to_path_buf();
    drop(one);
    let third = tempfile::tempdir().expect("a folder");
    stores::postgres(third.path()).await.expect("made");
    assert_eq!(names(&gone).await, Vec::<String>::new(), "dropped after its folder");
    assert_eq!(names(other.path()).await.len(), 3);
}

#[tokio::test]
async fn a_role_serves_from_its_own_database_only_and_shows_its_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::here().expect("a cluster");
    cluster.make_empty(folder.path(), "open").await.expect("made");
    let [records, keyring] = [Store::Records, Store::Keyring].map(|store| databases::name(folder.path(), store));
    let options = |password: &str| {
        let host = cluster.folder().display().to_string();
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass().host(&host).port(cluster.port());
        options.database(&records).username(&records).password(password)
    };
    use sqlx::ConnectOptions as _;
    assert!(options("shut").connect().await.is_err());
    options("open").connect().await.expect("its own database");
    assert!(cluster.make_empty(folder.path(), "open").await.is_err(), "twice");
    cluster.drop_all(folder.path()).await.expect("dropped");
    assert!(options("open").connect().await.is_err());
    assert!(!cluster.has(folder.path()).await.expect("asked"), "{keyring}");
}

#[tokio::test]
async fn a_store_that_was_put_back_is_what_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = stores::config(folder.path()).await.expect("stores");
    if Engine::of_this_run().expect("an engine") == Engine::Sqlite {
        // The file is made by whoever opens it first; here that is this test.
        let file = Store::Keyring.file(folder.path());
        std::fs::write(&file, []).expect("written");
        stores::edit_file(&file, &["CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL)"])
            .await
            .expect("a table");
    }
    drop(config);
    let put = "INSERT INTO meta VALUES ('mark', x'00ff')";
    assert_eq!(stores::edit(folder.path(), Store::Keyring, &[put]).await.expect("edited"), 1);
    stores::back_up(folder.path(), Store::Keyring).await.expect("kept");
    let twice = [put.replace("mark", "other")];
    assert_eq!(stores::edit(folder.path(), Store::Keyring, &[&twice[0]]).await.expect("edited"), 1);
    stores::restore(folder.path(), Store::Keyring).await.expect("put back");
    let emptied = "DELETE FROM meta WHERE key IN ('mark', 'other')";
    assert_eq!(stores::edit(folder.path(), Store::Keyring, &[emptied]).await.expect("edited"), 1);
}

#[test]
fn an_engine_nobody_knows_is_refused_by_name() {
    if std::env::var_os(ENGINE).is_some_and(|name| name == "mysql") {
        let error = Engine::of_this_run().expect_err("no such engine").to_string();
        assert!(error.contains("mysql") && error.contains("sqlite or postgres"), "{error}");
        return;
    }
    let this = std::env::current_exe().expect("this test");
    let again = std::process::Command::new(this)
        .args(["--exact", "stores::an_engine_nobody_knows_is_refused_by_name"])
        .env(ENGINE, "mysql")
        .output()
        .expect("it runs");
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"));
}
