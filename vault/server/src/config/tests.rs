//! What a configuration may say, and how it is refused.

use super::*;

const GOOD: &str = r#"
mode = "production"
deployment = "cofre.example"
operator = "AISP Ejemplo SL"
region = "eu-nl"
listen = { tenants_and_workers = "0.0.0.0:7443", people = "127.0.0.1:7444" }
identity = { trust_domain = "cofre.example", certificate = "/etc/cofre/node.pem", key = { file = "/etc/cofre/node.key" }, bundle = "/etc/cofre/bundle.pem", revocations = "/etc/cofre/crl.pem" }
custody = { default = { any_of = ["hsm-1"] }, signer = "hsm-1", warm_for = "300s" }
policies = { dir = "/etc/cofre/policies" }
[stores]
records = { sqlite = "/var/lib/cofre/records.db" }
ciphertexts = { sqlite = "/var/lib/cofre/ciphertexts.db" }
keyring = { sqlite = "/var/lib/cofre/keyring.db" }
[custodians.hsm-1]
pkcs11 = { module = "/usr/lib/softhsm/libsofthsm2.so", token_label = "cofre", key_label = "root-1", signer_label = "ledger-1", pin = { credential = "hsm-1-pin" }, mechanism = "aes-gcm", sessions = 8 }
"#;

#[test]
fn the_sample_is_taken_with_its_defaults() {
    let config = Config::parse(GOOD).expect("good");
    assert_eq!(config.memory, Memory::MemfdSecret);
    assert_eq!(config.warm_for, Span::secs(300));
    assert_eq!(config.custody.to_string(), "any_of(hsm-1)");
}

const FILES: &str = r#"records = { sqlite = "/var/lib/cofre/records.db" }
ciphertexts = { sqlite = "/var/lib/cofre/ciphertexts.db" }
keyring = { sqlite = "/var/lib/cofre/keyring.db" }
"#;
const DATABASES: &str = r#"records = { postgres = "host=db1 dbname=cofre_records user=cofre_records", password = { credential = "records" } }
ciphertexts = { postgres = "host=db2 dbname=cofre_ciphertexts user=cofre_ciphertexts", password = { file = "/etc/cofre/c" } }
keyring = { postgres = "host=/run/postgresql dbname=cofre_keyring user=cofre_keyring" }
"#;

fn on_postgres() -> String {
    assert!(GOOD.contains(FILES));
    GOOD.replace(FILES, DATABASES)
}

#[test]
fn databases_are_taken_with_their_passwords_by_reference() {
    let config = Config::parse(&on_postgres()).expect("good");
    let StorePlace::Postgres { connection, password } = &config.stores.records else { panic!("a database") };
    assert!(connection.contains("dbname=cofre_records"));
    assert_eq!(*password, Some(SecretRef::Credential("records".into())));
    assert!(matches!(config.stores.keyring, StorePlace::Postgres { password: None, .. }));
    assert!(format!("{config:#?}").contains("dbname=cofre_keyring"), "`cofred check` prints it");
    let address = config.stores.keyring.address(StoreKey::Keyring).expect("an address").expect("a database");
    assert_eq!(address.role(), "cofre_keyring");
    let missing = config.stores.ciphertexts.open(StoreKey::Ciphertexts).expect_err("no such file").to_string();
    assert!(missing.contains("stores.ciphertexts.password"), "{missing}");
}

#[test]
fn each_mistake_about_a_store_is_refused_by_its_key() {
    let good = on_postgres();
    for (from, to, named) in [
        ("user=cofre_records", "user=cofre_records password=hunter2", ["stores.records", "password"]),
        ("user=cofre_records", "user=cofre_records pasword=x", ["stores.records", "pasword"]),
        (" user=cofre_records", "", ["stores.records", "user"]),
        ("user=cofre_ciphertexts", "user=cofre_records", ["stores.ciphertexts", "`user`"]),
        ("host=db2 dbname=cofre_ciphertexts", "host=db1 dbname=cofre_records", ["stores.ciphertexts", "its own"]),
        ("password = { credential = \"records\" }", "sqlite = \"x\"", ["stores.records", "exactly one"]),
        ("{ credential = \"records\" }", "{ credential = \"../x\" }", ["stores.records.password", "exactly one"]),
        ("{ credential = \"records\" }", "\"hunter2\"", ["password", ""]),
        (
            DATABASES.lines().nth(2).expect("a line"),
            FILES.lines().nth(2).expect("a line"),
            ["stores", "never some of each"],
        ),
        ("{ file = \"/etc/cofre/c\" }", "{ file = \"/etc/cofre/c\" }, pool = 3", ["pool", ""]),
    ] {
        assert!(good.contains(from), "{from}");
        let error = Config::parse(&good.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(named.iter().all(|word| error.contains(word)), "{to}: {error}");
        assert!(!error.contains("hunter2") || from.starts_with('{'), "{error}");
    }
    let file = GOOD.replacen("records.db\" }", "records.db\", password = { file = \"x\" } }", 1);
    assert!(Config::parse(&file).expect_err("a file").to_string().contains("takes no password"));
}

#[test]
fn each_mistake_is_refused_by_name() {
    for (from, to, named) in [
        ("region = \"eu-nl\"", "region = \"eu-nl\"\nregoin = \"x\"", "regoin"),
        ("sessions = 8", "sessions = 8, slot = 3", "slot"),
        ("mode = \"production\"", "mode = \"prod\"", "prod"),
        ("region = \"eu-nl\"", "region = \"EU\"", "region"),
        ("deployment = \"cofre.example\"", "deployment = \"Cofre Example\"", "deployment"),
        ("sessions = 8", "sessions = 0", "sessions"),
        ("\"aes-gcm\"", "\"aes-ecb\"", "mechanism"),
        ("any_of = [\"hsm-1\"]", "any_of = [\"hsm-2\"]", "custody.default"),
        ("any_of = [\"hsm-1\"]", "any_of = []", "custody.default"),
        ("signer_label = \"ledger-1\", ", "", "custody.signer"),
        ("warm_for = \"300s\"", "warm_for = \"0s\"", "custody.warm_for"),
        ("{ credential = \"hsm-1-pin\" }", "{ credential = \"a\", file = \"b\" }", "pin"),
        ("{ credential = \"hsm-1-pin\" }", "\"1234\"", "pin"),
        ("{ credential = \"hsm-1-pin\" }", "{ credential = \"../pin\" }", "pin"),
        ("\"127.0.0.1:7444\"", "\"localhost\"", "people"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = Config::parse(&GOOD.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(named), "{to}: {error}");
    }
}
