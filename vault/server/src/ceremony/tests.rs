//! Plans from configurations, and a ceremony over keys of a service that speaks its wire form.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

use cofre_testkit::ca::TestCa;
use cofre_testkit::kms::{CALLER, Kind, Kms, MOUNT};

use super::*;

/// A configuration whose one custodian is this, with this ceremony, and authorities in the folder.
fn config(folder: &Path, custodian: &str, ceremony: &str) -> Config {
    let now = SystemClock::new().now();
    let ca = TestCa::new("cofre.test", now).expect("a CA");
    let lists = ca.revocations(&[], now, now.plus(cofre_model::time::Span::days(1))).expect("a list");
    let (bundle, crl) = (folder.join("bundle.pem"), folder.join("crl.pem"));
    std::fs::write(&bundle, ca.bundle_pem()).expect("written");
    std::fs::write(&crl, lists).expect("written");
    let (bundle, crl) = (bundle.display(), crl.display());
    let text = format!(
        r#"
mode = "dev"
deployment = "cofre.test"
operator = "AISP Ejemplo SL"
region = "eu-nl"
memory = "mlock"
listen = {{ tenants_and_workers = "127.0.0.1:0", people = "127.0.0.1:0" }}
identity = {{ trust_domain = "cofre.test", certificate = "a", key = {{ file = "b" }}, bundle = "{bundle}", revocations = "{crl}" }}
custody = {{ default = {{ any_of = ["one"] }}, signer = "one" }}
policies = {{ dir = "e" }}
[stores]
records = {{ sqlite = "f" }}
ciphertexts = {{ sqlite = "g" }}
keyring = {{ sqlite = "h" }}
[custodians.one]
{custodian}
{ceremony}
"#
    );
    Config::parse(&text).expect("good")
}

fn one() -> CustodianId {
    CustodianId::try_from("one").expect("a name")
}

#[test]
fn a_plan_names_what_is_to_be_made_and_by_which_module() {
    let folder = tempfile::tempdir().expect("a folder");
    let module = folder.path().join("module.so");
    std::fs::write(&module, "abc").expect("written");
    let token = format!(
        "pkcs11 = {{ module = \"{}\", token_label = \"cofre\", key_label = \"root-1\", signer_label = \"ledger-1\", \
         mechanism = \"aes-kwp\", pin = {{ prompt = true }} }}",
        module.display()
    );
    let config_with = |token: &str| config(folder.path(), token, "ceremony = { people = 2, record = \"r\" }");
    let plan_of = |token: &str| plan(&config_with(token), &one());
    let plan = plan_of(&token).expect("a plan").to_text();
    // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        plan,
        format!(
            "cofre/v1/key-plan\ndeployment cofre.test\ncustodian one\nplace token label cofre\nmodule-sha256 {digest}\n\
             people 2\nkey wrap\nlabel root-1\nmechanism aes-kwp\nkey sign\nlabel ledger-1\n\
             mechanism ed25519 or ecdsa-p256-sha256\n"
        )
    );
    let refused = |token: &str, words: &str| {
        let why = format!("{:#}", plan_of(token).expect_err("refused"));
        assert!(why.contains(words), "{why}");
    };
    refused(&token.replace("ledger-1", "root-1"), "key_label and signer_label must differ");
    refused(&token.replace("pin =", &format!("module_sha256 = \"{}\", pin =", "00".repeat(32))), digest);
    refused(&token.replace("module.so", "nowhere.so"), "nowhere.so cannot be read");
    assert!(super::plan(&config_with(&token), &CustodianId::try_from("two").expect("a name")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_service_are_looked_at_and_recorded() {
    let kms = Kms::start().await.expect("a port");
    kms.make("root-1", Kind::Aes).expect("a key");
    kms.make("ledger-1", Kind::Ed25519).expect("a key");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("token"), CALLER).expect("written");
    let key = |label: &str| {
        format!(
            "transit = {{ address = \"{}\", mount = \"{MOUNT}\", key = \"{label}\", signer_key = \"ledger-1:v1\", \
             token = {{ file = \"{}\" }} }}",
            kms.endpoint(),
            file("token").display()
        )
    };
    let ceremony = format!("ceremony = {{ people = 0, record = \"{}\" }}", file("record").display());
    let good = config(folder.path(), &key("root-1"), &ceremony);
    let order =
        |record: Option<&str>| Order { custodian: one(), plan: None, approvals: Vec::new(), record: record.map(file) };
    let Done::Rehearsed(words) = init(&good, &order(None)).await.expect("looked at") else {
        panic!("no record was asked")
    };
    assert!(words.contains("exportable false"), "{words}");
    let Done::Recorded(record) = init(&good, &order(Some("record"))).await.expect("recorded") else {
        panic!("a record")
    };
    let body = record.body();
    assert_eq!(body.plan.place, format!("transit {}", kms.endpoint()));
    assert_eq!((body.mechanism.as_str(), body.plan.module_sha256.as_str()), ("transit-aead", "-"));
    let text = record.to_string();
    assert!(text.contains(&format!("attribute witness-key {MOUNT}/root-1:v1\n")), "{text}");
    assert!(body.witness.starts_with(b"vault:v1:") && body.witness_sha256().is_some(), "{text}");
    assert_eq!(record.verify(None, |_, _| panic!("nobody approved")).map(|verified| verified.is_finished()), Ok(true));
    let kept = kept(&good, &one()).expect("finished").expect("configured");
    let kept = kept.of_service(&one()).expect("a service's");
    assert_eq!((&kept.witness, Some(kept.sha256)), (&body.witness, body.witness_sha256()));
    assert_eq!(kept.signer.map(|key| key.as_bytes().to_vec()), body.keys.last().and_then(|key| key.public.clone()));

    // A key that is missing leaves no record.
    let missing = config(folder.path(), &key("root-9"), &ceremony);
    let why = format!("{:#}", init(&missing, &order(Some("other"))).await.expect_err("missing"));
    assert!(why.contains("KEY_MISSING") && !file("other").exists(), "{why}");
    let why = format!("{:#}", recorded::kept(&missing, &one()).expect_err("of another key"));
    assert!(
        why.contains("says `key wrap transit/root-1`, and the configuration says `key wrap transit/root-9`"),
        "{why}"
    );

    // The same names at another place, and another version that signs.
    let elsewhere = Kms::start().await.expect("a port");
    let moved = config(folder.path(), &key("root-1").replace(&kms.endpoint(), &elsewhere.endpoint()), &ceremony);
    let why = format!("{:#}", recorded::kept(&moved, &one()).expect_err("elsewhere"));
    assert!(why.contains(&format!("configuration says `place transit {}`", elsewhere.endpoint())), "{why}");
    let signs = config(folder.path(), &key("root-1").replace("ledger-1:v1", "ledger-1:v2"), &ceremony);
    let why = format!("{:#}", recorded::kept(&signs, &one()).expect_err("another version"));
    assert!(why.contains("configuration says `key sign transit/ledger-1:v2`"), "{why}");
}

/// Between the plan and the loading somebody puts another module in its place: it is not loaded.
#[tokio::test(flavor = "multi_thread")]
async fn no_module_is_loaded_but_the_one_that_the_plan_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let (module, pin) = (folder.path().join("module.so"), folder.path().join("pin"));
    std::fs::write(&module, "abc").expect("written");
    std::fs::write(&pin, "1234").expect("written");
    let token = format!(
        "pkcs11 = {{ module = \"{}\", token_label = \"cofre\", key_label = \"root-1\", signer_label = \"ledger-1\", \
         host = \"inside\", pin = {{ file = \"{}\" }} }}",
        module.display(),
        pin.display()
    );
    let config = config(folder.path(), &token, "ceremony = { people = 0, record = \"r\" }");
    let plan = plan(&config, &one()).expect("a plan");
    std::fs::write(&module, "abd").expect("written");
    let Some(Configured::Pkcs11(token)) = config.custodians.get(&one()) else { panic!("a token") };
    assert_eq!(token.module_sha256, None, "the configuration pins nothing");
    let pinned = tokens::settings(&plan, &one(), token).expect("settings").module_sha256;
    assert_eq!(pinned.map(hex::encode), Some(plan.module_sha256.clone()));
    let slab = node::locked_memory(&config).expect("locked memory");
    let why = rehearse(&config, &plan, &one(), &slab).await.expect_err("another module");
    assert!(format!("{why:#}").contains("MODULE_UNUSABLE"), "{why:#}");
}
