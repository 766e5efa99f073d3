//! A throw-away cluster lives as long as its owner and no longer, and is reached only as asked for.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cofre_model::time::Timestamp;
use cofre_testkit::ca::{Name, Options, TestCa};
use cofre_testkit::postgres::{BINARIES, CLUSTER, Cluster, Tls, WITH_PASSWORD, Wanted};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection, Row as _};

const OWNER: &str = env!("CARGO_BIN_EXE_cofre-test-postgres");

/// A process that owns a cluster; where the cluster is, and the server's process.
fn owner() -> (Child, PathBuf, String) {
    let mut owner = Command::new(OWNER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("an owner");
    let mut said = String::new();
    BufReader::new(owner.stdout.take().expect("its output")).read_line(&mut said).expect("a line");
    let folder = said.trim().strip_prefix(CLUSTER).and_then(|rest| rest.strip_prefix('=')).expect("the variable");
    let folder = PathBuf::from(folder);
    let server = server(&folder);
    assert!(Path::new("/proc").join(&server).exists());
    (owner, folder, server)
}

fn server(folder: &Path) -> String {
    let file = std::fs::read_to_string(folder.join("data/postmaster.pid")).expect("the server's file");
    file.lines().next().expect("its process").to_owned()
}

fn until_gone(folder: &Path, server: &str) {
    for _ in 0..3_000 {
        if !folder.exists() && !Path::new("/proc").join(server).exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} or process {server} is still there", folder.display());
}

async fn one(connection: &mut PgConnection, question: &'static str) -> String {
    sqlx::query(question).fetch_one(connection).await.expect(question).get(0)
}

#[test]
fn a_cluster_is_gone_after_its_owner_was_killed() {
    let (mut owner, folder, server) = owner();
    owner.kill().expect("killed");
    owner.wait().expect("buried");
    until_gone(&folder, &server);
}

#[test]
fn a_cluster_is_gone_after_its_owner_ended_in_order() {
    let (mut owner, folder, server) = owner();
    drop(owner.stdin.take());
    assert!(owner.wait().expect("it ends").success());
    assert!(!folder.exists() && !Path::new("/proc").join(&server).exists());
}

#[test]
fn where_nothing_is_installed_the_package_is_named() {
    let nowhere = tempfile::tempdir().expect("a folder");
    let run = |bin: Option<&Path>| {
        let mut owner = Command::new(OWNER);
        owner.stdin(Stdio::null());
        if let Some(bin) = bin {
            owner.env(BINARIES, bin);
        }
        let done = owner.output().expect("it ends");
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (made, why) = run(Some(nowhere.path()));
    assert!(!made && why.contains(BINARIES) && why.contains("initdb"), "{why}");
    assert_eq!(run(None), (true, String::new()));
}

#[tokio::test]
async fn without_a_wish_there_is_no_listener_and_what_costs_time_is_off() {
    let cluster = Cluster::here().expect("a cluster");
    let mut connection = cluster.administrator("postgres").await.expect("connected");
    assert_eq!(one(&mut connection, "SHOW listen_addresses").await, "");
    assert_eq!(one(&mut connection, "SHOW fsync").await, "off");
    assert_eq!(one(&mut connection, "SHOW server_encoding").await, "UTF8");
    assert_eq!(Cluster::here().expect("the same").folder(), cluster.folder());
}

/// This machine's time: the client's library asks it, and no clock of ours, whether a certificate is valid.
#[expect(clippy::disallowed_methods, reason = "certificates for a library that reads the system's clock")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_secs(since.as_secs())
}

#[tokio::test]
async fn the_listener_takes_tls_with_a_password_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = TestCa::new("cofre.test", now()).expect("an authority");
    let leaf = ca.issue_named(&[Name::Dns("localhost".into())], &Options::default()).expect("a leaf");
    let root = folder.path().join("root.pem");
    std::fs::write(&root, ca.bundle_pem()).expect("written");
    let tls = Tls { certificate: leaf.chain_pem().to_owned(), key: leaf.key_pem(), client_authority: None };
    let cluster = Cluster::start(&Wanted { tls: Some(tls), ..Wanted::default() }).expect("a cluster");
    let group = format!("CREATE ROLE {WITH_PASSWORD}");
    let member = format!("CREATE ROLE visitor LOGIN PASSWORD 'open' IN ROLE {WITH_PASSWORD}");
    cluster.run("postgres", &[&group, &member]).await.expect("a role");

    let options = PgConnectOptions::new_without_pgpass()
        .host("localhost")
        .port(cluster.port())
        .username("visitor")
        .database("postgres")
        .ssl_root_cert(&root);
    let with = |mode, password| options.clone().ssl_mode(mode).password(password);
    let mut seen = with(PgSslMode::VerifyFull, "open").connect().await.expect("TLS and the password");
    let question = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(one(&mut seen, question).await.starts_with("TLSv1."));
    assert!(with(PgSslMode::Disable, "open").connect().await.is_err(), "in clear");
    assert!(with(PgSslMode::VerifyFull, "shut").connect().await.is_err(), "another password");
    let socket = options.clone().host(&cluster.folder().display().to_string());
    assert!(socket.clone().password("shut").connect().await.is_err(), "another password over the socket");
    socket.password("open").connect().await.expect("the password over the socket");
}

#[tokio::test]
async fn a_dump_is_the_whole_database_and_a_kept_cluster_starts_again() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    // The server's account has to reach the folder.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).expect("opened");
    let wanted = Wanted { kept_in: Some(folder.path().join("kept")), ..Wanted::default() };
    let cluster = Cluster::start(&wanted).expect("a cluster");
    cluster.run("postgres", &["CREATE ROLE cofre_owner", "CREATE DATABASE one"]).await.expect("made");
    let rows = cluster.run("one", &["CREATE TABLE t (v bytea)", "INSERT INTO t VALUES ('\\x0001'), (NULL)"]).await;
    assert_eq!(rows.expect("rows"), 2);
    let file = folder.path().join("one.sql");
    cluster.dump("one", &file).expect("dumped");
    cluster.restore(&file, "two", folder.path()).await.expect("restored");
    assert!(cluster.restore(&file, "two", folder.path()).await.is_err(), "over a database that is there");
    drop(cluster);

    let cluster = Cluster::start(&wanted).expect("the same");
    let mut connection = cluster.administrator("two").await.expect("connected");
    assert_eq!(one(&mut connection, "SELECT count(*)::text FROM t WHERE v = '\\x0001'").await, "1");
}
