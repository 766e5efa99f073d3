//! What `deploy/postgres` prepares is what the migration needs, on a real server, and no role can more than it should.

use std::path::Path;
use std::process::Command;

use cofre_store::{Mode, Place, Postgres, ServingRoles, StoreConfig, Stores};
use cofre_testkit::postgres::{ADMINISTRATOR, Cluster, Wanted};

use crate::folder::deploy;

const STORES: [&str; 3] = ["records", "ciphertexts", "keyring"];

/// Runs a file as the administrator, for one store; says how it ended.
fn psql(cluster: &Cluster, file: &str, store: Option<&str>, secrets: &Path) -> std::process::Output {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--username", ADMINISTRATOR, "--dbname", "postgres"])
        .arg("--host")
        .arg(cluster.folder())
        .args(["--port", &cluster.port().to_string()])
        .arg("--file")
        .arg(deploy(file))
        .env("COFRE_SECRETS", secrets)
        .env_remove("COFRE_STORE");
    if let Some(store) = store {
        psql.env("COFRE_STORE", store);
    }
    psql.output().expect("psql runs; it comes with Debian's package postgresql")
}

fn owned(cluster: &Cluster) -> StoreConfig {
    let place = |store: &str| {
        let text = cluster.text(&format!("cofre_{store}"), &format!("cofre_{store}_owner"));
        Place::Postgres(Postgres::parse(&text, None).expect("a connection text"))
    };
    let [records, ciphertexts, keyring] = STORES.map(place);
    StoreConfig { records, ciphertexts, keyring, mode: Mode::Production, ceiling: None }
}

#[tokio::test]
async fn roles_and_databases_are_what_the_migration_takes() {
    let cluster = Cluster::start(&Wanted::default()).expect("a cluster");
    let secrets = tempfile::tempdir().expect("a folder");
    std::fs::write(secrets.path().join("owner"), "a password of the owner'; --\n").expect("written");
    std::fs::write(secrets.path().join("serving"), "another, of the role that serves\n").expect("written");
    for store in [None, Some("recods")] {
        let said = psql(&cluster, "postgres/roles.sql", store, secrets.path());
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && text.contains("COFRE_STORE"), "{store:?}: {text}");
    }
    // Twice: again changes nothing.
    for store in STORES.iter().chain(&STORES) {
        for file in ["postgres/roles.sql", "postgres/passwords.sql"] {
            let said = psql(&cluster, file, Some(store), secrets.path());
            assert!(said.status.success(), "{file} {store}: {}", String::from_utf8_lossy(&said.stderr));
        }
    }
    // Six roles, each with a verifier and with no power over the server.
    let counted = "CREATE TEMP TABLE weak AS SELECT FROM pg_authid WHERE rolname ~ '^cofre_(records|ciphertexts|keyring)' \
                   AND NOT (rolpassword LIKE 'SCRAM-SHA-256$%' AND rolcanlogin AND NOT rolsuper AND NOT rolcreaterole \
                   AND NOT rolcreatedb AND NOT rolreplication AND NOT rolbypassrls AND NOT rolinherit)";
    assert_eq!(cluster.run("postgres", &[counted]).await.expect("counted"), 0);
    let roles =
        "CREATE TEMP TABLE roles AS SELECT FROM pg_authid WHERE rolname ~ '^cofre_(records|ciphertexts|keyring)'";
    assert_eq!(cluster.run("postgres", &[roles]).await.expect("counted"), 6);

    let serving = ServingRoles {
        records: "cofre_records".to_owned(),
        ciphertexts: "cofre_ciphertexts".to_owned(),
        keyring: "cofre_keyring".to_owned(),
    };
    Stores::migrate(owned(&cluster), &serving).await.expect("migrated");
    Stores::migrate(owned(&cluster), &serving).await.expect("migrated again");
    // A role that serves and owns would be refused: the check is in force.
    let owners = ServingRoles { records: "cofre_records_owner".to_owned(), ..serving };
    Stores::migrate(owned(&cluster), &owners).await.expect_err("the owner may do more than serve");
}
