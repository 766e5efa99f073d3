//! A PostgreSQL over the network: who the server is, and who asks, is proven before anything is said.

use std::path::PathBuf;

use cofre_model::time::Timestamp;
use cofre_store::*;
use cofre_testkit::ca::{Name, Options, TestCa};
use cofre_testkit::postgres::{Cluster, Tls, Wanted};
use zeroize::Zeroizing;

const PASSWORD: &str = "correct horse battery";

/// The server's and the driver's clocks are the machine's.
#[expect(clippy::disallowed_methods, reason = "a certificate that the driver looks at by the machine's clock")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_secs(since.as_secs())
}

struct Server {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Server {
    /// One that has a certificate for `localhost` alone.
    async fn start() -> Self {
        let ca = TestCa::new("cofre.test", now()).expect("authority");
        let issued = ca.issue_named(&[Name::Dns("localhost".into())], &Options::default()).expect("issued");
        let tls = Tls { certificate: issued.chain_pem().to_owned(), key: issued.key_pem(), client_authority: None };
        let cluster = Cluster::start(&Wanted { tls: Some(tls), ..Wanted::default() }).expect("cluster");
        let role = format!("CREATE ROLE node LOGIN PASSWORD '{PASSWORD}'");
        cluster.run("postgres", &[&role, "CREATE DATABASE vault"]).await.expect("prepared");
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("ca.pem"), ca.bundle_pem()).expect("written");
        let other = TestCa::new("cofre.test", now()).expect("authority");
        std::fs::write(folder.path().join("other.pem"), other.bundle_pem()).expect("written");
        Self { cluster, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What opening comes to. A database without tables is as far as an honest connection gets here.
    async fn try_open(&self, host: &str, rest: &str, password: &str) -> Error {
        let text = format!("host={host} port={} dbname=vault user=node {rest}", self.cluster.port());
        let place = Postgres::parse(&text, Some(Zeroizing::new(password.to_owned()))).expect("parsed");
        let place = Place::Postgres(place);
        let config = StoreConfig {
            records: place.clone(),
            ciphertexts: place.clone(),
            keyring: place,
            mode: Mode::Production,
            ceiling: None,
        };
        crate::databases::open(config).await.map(drop).expect_err("nothing is migrated")
    }
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_and_asks_for_the_password() {
    let server = Server::start().await;
    let root = format!("sslrootcert={}", server.file("ca.pem").display());
    let reached = |cause: Error| matches!(cause, Error::Unmigrated { store: "records", found: 0, .. });
    assert!(reached(server.try_open("localhost", &root, PASSWORD).await));
    let any_name = format!("{root} sslmode=verify-ca");
    assert!(reached(server.try_open("127.0.0.1", &any_name, PASSWORD).await), "verify-ca looks at no name");

    let other = format!("sslrootcert={}", server.file("other.pem").display());
    let absent = format!("sslrootcert={}", server.file("absent.pem").display());
    for (host, rest, password) in [
        ("127.0.0.1", root.as_str(), PASSWORD),
        ("localhost", "", PASSWORD),
        ("localhost", &other, PASSWORD),
        ("localhost", &absent, PASSWORD),
        ("localhost", &format!("{other} sslmode=verify-ca"), PASSWORD),
        ("localhost", "sslmode=disable", PASSWORD),
        ("localhost", &root, "another password"),
        ("localhost", &root, ""),
    ] {
        let cause = server.try_open(host, rest, password).await;
        assert!(matches!(cause, Error::Unavailable(_)), "{host} {rest}: {cause:?}");
        let shown = format!("{cause} {cause:?}");
        assert!(!shown.contains(PASSWORD) && !shown.contains("another password"), "{shown}");
    }
}
