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
