//! What a configuration may say, and how it is refused.

use cofre_custody::pkcs11::TokenName;
use cofre_custody::pkcs11::host::{Profile, Sandbox};

use super::*;

const GOOD: &str = r#"
mode = "production"
deployment = "cofre.example"
operator = "AISP Ejemplo SL"
region = "eu-nl"
listen = { tenants_and_workers = "0.0.0.0:7443", people = "127.0.0.1:7444", metrics = "127.0.0.1:9464" }
telemetry = { otlp = "http://127.0.0.1:4317", interval = "30s", sampling = 0.25 }
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
    let telemetry = config.telemetry.expect("a collector");
    assert_eq!((telemetry.uri().as_str(), telemetry.sampled_ppm), ("http://127.0.0.1:4317", 250_000));
    assert_eq!(config.stores.ceiling(), None);
    let limited = Config::parse(&GOOD.replacen("[stores]", "[stores]\nrecords_limit_mib = 16", 1)).expect("good");
    // In SQLite's pages of 4 KiB.
    assert_eq!(limited.stores.ceiling(), Some(4_096));
}

#[test]
fn a_ceremony_names_its_people_and_its_record() {
    let with = |ceremony: &str| Config::parse(&format!("{GOOD}ceremony = {ceremony}\n"));
    let config = with("{ people = 2, record = \"/etc/cofre/hsm-1.ceremony\" }").expect("good");
    let ceremony = config.ceremonies.values().next().expect("one");
    assert_eq!((ceremony.people, ceremony.bundle.as_ref()), (2, None));
    let refused = |ceremony: &str| with(ceremony).expect_err("refused").to_string();
    assert!(refused("{ people = 9, record = \"r\" }").contains("must be 0 to 8"));
    assert!(refused("{ people = 2 }").contains("missing field `record`"));
    assert!(refused("{ record = \"r\" }").contains("missing field `people`"));
    let wraps = "[custodians.hsm-2]\npkcs11 = { module = \"m\", token_label = \"b\", key_label = \"k\", pin = { prompt = true } }\n";
    let nobody = Config::parse(&format!("{GOOD}{wraps}ceremony = {{ people = 0, record = \"r\" }}\n"));
    assert!(nobody.expect_err("refused").to_string().contains("must be at least 1"));
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
        assert!(!error.contains("hunter2"), "{error}");
    }
    let limited = good.replacen("[stores]", "[stores]\nrecords_limit_mib = 64", 1);
    let refused = Config::parse(&limited).expect_err("a database").to_string();
    assert!(refused.contains("stores.records_limit_mib is for files"), "{refused}");
    let file = GOOD.replacen("records.db\" }", "records.db\", password = { file = \"x\" } }", 1);
    assert!(Config::parse(&file).expect_err("a file").to_string().contains("takes no password"));
}

#[test]
fn each_mistake_is_refused_by_name() {
    for (from, to, named) in [
        ("region = \"eu-nl\"", "region = \"eu-nl\"\nregoin = \"x\"", "regoin"),
        ("[stores]", "[stores]\nrecords_limit_mib = 15", "stores.records_limit_mib"),
        ("sessions = 8", "sessions = 8, slot = 3", "slot"),
        ("mode = \"production\"", "mode = \"prod\"", "prod"),
        ("region = \"eu-nl\"", "region = \"EU\"", "region"),
        ("deployment = \"cofre.example\"", "deployment = \"Cofre Example\"", "deployment"),
        ("sessions = 8", "sessions = 0", "sessions"),
        ("\"aes-gcm\"", "\"aes-ecb\"", "mechanism"),
        ("any_of = [\"hsm-1\"]", "any_of = [\"hsm-2\"]", "custody.default"),
        ("any_of = [\"hsm-1\"]", "any_of = []", "custody.default"),
        ("any_of = [\"hsm-1\"]", "any_of = [\"hsm-1\", { any_of = [\"hsm-1\"] }]", "custody.default"),
        ("any_of = [\"hsm-1\"]", "any_of = [\"hsm-1\", { all_of = [\"hsm-1\"] }]", "custody.default"),
        ("any_of = [\"hsm-1\"]", "any_of = [{ all_of = [\"hsm-1\"], any_of = [\"a\"] }]", "custody.default"),
        ("any_of = [\"hsm-1\"]", "any_of = [{ all_of = [\"hsm-9\"] }]", "custody.default"),
        ("signer_label = \"ledger-1\", ", "", "custody.signer"),
        ("warm_for = \"300s\"", "warm_for = \"500ms\"", "custody.warm_for"),
        ("{ credential = \"hsm-1-pin\" }", "{ credential = \"a\", file = \"b\" }", "pin"),
        ("{ credential = \"hsm-1-pin\" }", "\"1234\"", "pin"),
        ("{ credential = \"hsm-1-pin\" }", "{ credential = \"../pin\" }", "pin"),
        ("{ credential = \"hsm-1-pin\" }", "{ descriptor = 2 }", "pin"),
        ("{ credential = \"hsm-1-pin\" }", "{ prompt = false }", "pin"),
        ("{ credential = \"hsm-1-pin\" }", "{ prompt = true, descriptor = 3 }", "pin"),
        ("token_label = \"cofre\"", "token_label = \"cofre\", token_serial = \"1\"", "token_serial"),
        ("token_label = \"cofre\", ", "", "token_label"),
        ("sessions = 8", "deadline = \"0s\"", "deadline"),
        ("sessions = 8", "deadline = \"2m\"", "deadline"),
        ("sessions = 8", "module_sha256 = \"00\"", "module_sha256"),
        ("sessions = 8", "host = \"outside\"", "pkcs11.host"),
        ("sessions = 8", "environment = [\"A=b\"]", "environment"),
        ("sessions = 8", "environment = [\"\"]", "environment"),
        ("sessions = 8", "sandbox = { profile = \"none\" }", "sandbox.profile"),
        ("sessions = 8", "sandbox = { writable = [\"tokens\"] }", "sandbox"),
        ("\"127.0.0.1:7444\"", "\"localhost\"", "people"),
        ("\"127.0.0.1:9464\"", "\"9464\"", "metrics"),
        ("interval = \"30s\"", "intervall = \"30s\"", "intervall"),
        ("interval = \"30s\"", "interval = \"10ms\"", "telemetry.interval"),
        ("sampling = 0.25", "sampling = 1.5", "telemetry.sampling"),
        ("sampling = 0.25", "sampling = nan", "telemetry.sampling"),
        ("http://127.0.0.1:4317", "http://10.0.0.7:4317", "telemetry.otlp"),
        ("http://127.0.0.1:4317", "http://localhost:4317", "telemetry.otlp"),
        ("http://127.0.0.1:4317", "https://collector.example:4317", "telemetry.ca"),
        ("http://127.0.0.1:4317", "grpc://127.0.0.1:4317", "telemetry.otlp"),
        ("http://127.0.0.1:4317", "http://127.0.0.1", "telemetry.otlp"),
        ("http://127.0.0.1:4317", "http://user:word@127.0.0.1:4317", "telemetry.otlp"),
        ("http://127.0.0.1:4317\"", "http://127.0.0.1:4317\", ca = \"/etc/ca.pem\"", "telemetry.ca"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = Config::parse(&GOOD.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(named), "{to}: {error}");
    }
}

#[test]
fn a_module_runs_walled_in_unless_told_otherwise() {
    let id = CustodianId::try_from("hsm-1").expect("a name");
    let token = |text: &str| match Config::parse(text).expect("good").custodians.remove(&id) {
        Some(Configured::Pkcs11(token)) => token,
        other => panic!("not the token: {other:?}"),
    };
    let plain = token(GOOD);
    assert_eq!(plain.host, Some(Hosted { environment: vec![], sandbox: Sandbox::default() }));
    assert_eq!(plain.host.map(|host| host.sandbox.profile), Some(Profile::Files));
    assert_eq!((plain.reserve, plain.deadline), (1, Duration::from_secs(5)));
    assert_eq!(token(&GOOD.replacen("sessions = 8", "host = \"inside\"", 1)).host, None);
    let given = "environment = [\"SOFTHSM2_CONF\"], sandbox = { profile = \"network\", writable = [\"/var/lib/t\"] }";
    let host = token(&GOOD.replacen("sessions = 8", given, 1)).host.expect("a process");
    assert_eq!(host.environment, ["SOFTHSM2_CONF"]);
    let sandbox = Sandbox { profile: Profile::Network, readable: vec![], writable: vec!["/var/lib/t".into()] };
    assert_eq!(host.sandbox, sandbox);
    let serial = GOOD.replacen("token_label = \"cofre\"", "token_serial = \"0f3a\"", 1);
    assert_eq!(token(&serial).token, TokenName::Serial("0f3a".into()));
}

#[test]
fn a_pin_comes_by_descriptor() {
    use std::os::fd::AsRawFd;
    let (from, mut to) = std::io::pipe().expect("a pipe");
    std::io::Write::write_all(&mut to, b"4711\n").expect("written");
    drop(to);
    let number = u32::try_from(from.as_raw_fd()).expect("a descriptor");
    let text = format!("{{ descriptor = {number} }}");
    let config = Config::parse(&GOOD.replacen("{ credential = \"hsm-1-pin\" }", &text, 1)).expect("good");
    let reference = config.custodians.values().next().and_then(Configured::secret).expect("hsm-1 has a PIN");
    let custodian = CustodianId::try_from("hsm-1").expect("a name");
    let pin = reference.read_pin(&custodian).expect("there");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&pin), "4711");
    drop(from);
    let gone = reference.read_pin(&custodian).map(drop).expect_err("closed").to_string();
    assert!(gone.contains("custodians.*.pkcs11.pin"), "{gone}");
}

#[test]
fn a_collector_elsewhere_shows_a_certificate_and_telemetry_is_off_unless_asked_for() {
    let https = "https://collector.example:4317\", ca = \"/etc/cofre/collector.pem";
    let config = Config::parse(&GOOD.replacen("http://127.0.0.1:4317", https, 1)).expect("https with an authority");
    assert_eq!(config.telemetry.map(|telemetry| telemetry.uri()).as_deref(), Some("https://collector.example:4317"));
    let six = Config::parse(&GOOD.replacen("127.0.0.1:4317", "[::1]:4317", 1)).expect("loopback of IPv6");
    assert_eq!(six.telemetry.map(|telemetry| telemetry.uri()).as_deref(), Some("http://[::1]:4317"));
    let without: String =
        GOOD.lines().filter(|line| !line.starts_with("telemetry")).map(|line| format!("{line}\n")).collect();
    assert_eq!(Config::parse(&without.replace(", metrics = \"127.0.0.1:9464\"", "")).expect("good").telemetry, None);
}

#[test]
fn no_error_quotes_a_value_of_the_file() {
    let reference = "{ credential = \"hsm-1-pin\" }";
    for (to, place) in [
        ("\"hunter2\"", "custodians.hsm-1.pkcs11.pin"),
        ("hunter2", "line 16, column "),
        ("\"hunter2", "line 16, column "),
        ("[\"hunter2, expected hunter2\"]", "custodians.hsm-1.pkcs11.pin"),
        ("{ file = [\"hunter2\"] }", "custodians.hsm-1.pkcs11.pin.file"),
        ("\"hunter2\\nin `hunter2`\"", "custodians.hsm-1.pkcs11.pin"),
    ] {
        let error = Config::parse(&GOOD.replacen(reference, to, 1)).expect_err(to);
        let shown = error.to_string();
        assert!(shown.contains(place) && shown.contains("line 16, "), "{to}: {shown}");
        assert!(!shown.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{to}: {shown}");
    }
    let named = Config::parse(&GOOD.replacen("eu-nl\"", "eu-nl\"\nmode = \"hunter2\"", 1)).expect_err("twice");
    assert!(!named.to_string().contains("hunter2"), "{named}");
}

#[test]
fn a_set_may_stand_in_a_set() {
    let nested = GOOD.replacen("any_of = [\"hsm-1\"]", "any_of = [{ all_of = [\"hsm-1\"] }]", 1);
    assert_eq!(Config::parse(&nested).expect("good").custody.to_string(), "any_of(all_of(hsm-1))");
}

const SERVICES: &str = r#"
[custodians.aws-1]
aws_kms = { key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd", region = "eu-west-1", signer_key = "arn:aws:kms:eu-west-1:111122223333:key/0987dcba" }
[custodians.gcp-1]
gcp_kms = { key = "projects/cofre/locations/europe-west4/keyRings/vault/cryptoKeys/root-1", signer_key = "projects/cofre/locations/europe-west4/keyRings/vault/cryptoKeys/ledger-1/cryptoKeyVersions/1" }
[custodians.bao-1]
transit = { address = "https://bao.example:8200", ca = "/etc/cofre/bao-ca.pem", key = "root-1", signer_key = "ledger-1:v2", token = { credential = "bao-token" } }
"#;

fn with_services() -> String {
    GOOD.replacen("any_of = [\"hsm-1\"]", "all_of = [\"hsm-1\", \"aws-1\", \"gcp-1\", \"bao-1\"]", 1) + SERVICES
}

#[test]
fn keys_of_services_are_taken_with_their_addresses_settled() {
    let config = Config::parse(&with_services()).expect("good");
    let of = |name: &str| config.custodians[&CustodianId::try_from(name).expect("a name")].clone();
    let (Configured::AwsKms(aws), Configured::GcpKms(gcp), Configured::Transit(bao)) =
        (of("aws-1"), of("gcp-1"), of("bao-1"))
    else {
        panic!("one of each")
    };
    assert_eq!(aws.endpoint, "https://kms.eu-west-1.amazonaws.com");
    assert_eq!(gcp.endpoint, "https://cloudkms.googleapis.com");
    assert_eq!((bao.mount.as_str(), bao.signer_key), ("transit", Some(("ledger-1".to_owned(), 2))));
    assert_eq!(of("bao-1").secret(), Some(&SecretRef::Credential("bao-token".into())));
    for signer in ["aws-1", "gcp-1", "bao-1"] {
        let text = with_services().replacen("signer = \"hsm-1\"", &format!("signer = \"{signer}\""), 1);
        Config::parse(&text).unwrap_or_else(|error| panic!("{signer}: {error}"));
    }
}

#[test]
fn each_mistake_about_a_service_is_refused_by_its_key() {
    for (from, to, named) in [
        (":key/1234abcd", ":alias/root", "aws_kms.key"),
        ("kms:eu-west-1:111122223333:key/1234abcd", "kms:eu-west-2:111122223333:key/1234abcd", "aws_kms.key"),
        (":111122223333:key/1234abcd", ":1111:key/1234abcd", "aws_kms.key"),
        (":key/1234abcd", ":key/../1234abcd", "aws_kms.key"),
        (":key/0987dcba", ":alias/ledger", "aws_kms.signer_key"),
        ("key = \"arn:aws:", "key = \"arn:aws-iso:", "aws_kms.endpoint"),
        ("region = \"eu-west-1\"", "region = \"eu-west-1\", endpoint = \"http://kms.example:80\"", "aws_kms.endpoint"),
        ("region = \"eu-west-1\"", "region = \"eu-west-1\", endpoint = \"https://a@b\"", "aws_kms.endpoint"),
        ("region = \"eu-west-1\"", "region = \"eu-west-1\", endpoint = \"https://kms.example/x\"", "aws_kms.endpoint"),
        ("region = \"eu-west-1\"", "region = \"eu-west-1\", secret = \"x\"", "secret"),
        ("cryptoKeys/root-1\"", "cryptoKeys/root-1/cryptoKeyVersions/1\"", "gcp_kms.key"),
        ("projects/cofre/locations/europe-west4/keyRings/vault/cryptoKeys/root-1", "root-1", "gcp_kms.key"),
        ("cryptoKeys/ledger-1/cryptoKeyVersions/1", "cryptoKeys/ledger-1", "gcp_kms.signer_key"),
        ("https://bao.example:8200", "http://bao.example:8200", "transit.address"),
        ("https://bao.example:8200", "http://127.0.0.1:8200", "transit.ca"),
        (", ca = \"/etc/cofre/bao-ca.pem\"", "", "transit.ca"),
        ("key = \"root-1\", signer", "key = \"../root-1\", signer", "transit.key"),
        ("ledger-1:v2", "ledger-1", "transit.signer_key"),
        ("ledger-1:v2", "ledger-1:v0", "transit.signer_key"),
        ("key = \"root-1\", signer", "mount = \"/transit\", key = \"root-1\", signer", "transit.mount"),
        ("{ credential = \"bao-token\" }", "\"hunter2\"", "token"),
        ("[custodians.bao-1]\n", "[custodians.bao-1]\ngcp_kms = { key = \"x\" }\n", "exactly one"),
        ("[custodians.bao-1]\n", "[custodians.none]\n[custodians.bao-1]\n", "exactly one"),
    ] {
        let good = with_services();
        assert!(good.contains(from), "{from}");
        let error = Config::parse(&good.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(named) && !error.contains("hunter2"), "{to}: {error}");
    }
    let unsigned = with_services().replacen(", signer_key = \"ledger-1:v2\"", "", 1);
    let error =
        Config::parse(&unsigned.replacen("signer = \"hsm-1\"", "signer = \"bao-1\"", 1)).expect_err("signs not");
    assert!(error.to_string().contains("custody.signer"), "{error}");
}
