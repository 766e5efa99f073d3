//! `cofred migrate` as an operator meets it, on databases an administrator has just made.

use std::path::Path;
use std::process::Command;

use cofre_demo::world::identities::Identities;
use cofre_demo::world::token::{self, binary};
use cofre_demo::world::vault::{Vault, write_config};
use cofre_demo::world::{Wishes, stores};
use cofre_model::time::Clock as _;
use cofre_server::clock::SystemClock;
use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::Store;

/// Runs `cofred migrate`; whether it succeeded, and what it said.
fn migrate(config: &Path, arguments: &[&str]) -> (bool, String) {
    let mut cofred = Command::new(binary("cofred").expect("cofred is built"));
    let done = cofred.arg("migrate").arg("--config").arg(config).args(arguments).output().expect("it ends");
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn refused(config: &Path, arguments: &[&str], words: &[&str]) {
    let (done, said) = migrate(config, arguments);
    assert!(!done && words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_serve_once_their_owner_migrated_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = folder.path();
    let cluster = Cluster::here().expect("a cluster");
    let wishes = Wishes { cluster: Some(cluster.clone()), ..Wishes::usual(world).expect("hsm-sim is built") };
    Identities::make(&world.join("identities"), 1, SystemClock::new().now()).expect("identities");
    token::make(world, &wishes.module).expect("a token");
    let lines = stores::lines(world, Some(&cluster)).await.expect("databases");
    let config = write_config(world, &wishes, &lines).expect("a configuration");

    let early = Vault::start(world, &config).expect_err("no tables yet").to_string();
    assert!(early.contains("cofred migrate"), "{early}");
    let serving = databases::name(&stores::folder(world), Store::Keyring);
    refused(&config, &[], &["--owner"]);
    refused(&config, &["--owner", "records=cofre_owner"], &["--owner", "ciphertexts"]);
    let both = ["--owner", "cofre_owner", "--owner", &format!("keyring={serving}")];
    refused(&config, &both, &[&serving, "keyring", "must not own"]);
    refused(&config, &["--owner", "ledger=cofre_owner"], &["ledger", "records, ciphertexts or keyring"]);
    refused(&config, &["--owner", "nobody_at_all"], &["nobody_at_all"]);
    let absent = ["--owner", "cofre_owner", "--owner-password-file", "/nowhere/at/all"];
    refused(&config, &absent, &["--owner-password-file", "cannot be read"]);

    for _ in 0..2 {
        let (done, said) = migrate(&config, &["--owner", databases::OWNER]);
        assert!(done && said.matches("at this release").count() == 3, "{said}");
    }
    Vault::start(world, &config).expect("it serves").stop().expect("it stops in order");

    let text = std::fs::read_to_string(&config).expect("the configuration");
    let files = stores::lines(&world.join("files"), None).await.expect("files");
    std::fs::write(&config, text.replace(&lines, &files)).expect("written");
    refused(&config, &["--owner", databases::OWNER], &["stores.records", "SQLite"]);
}
