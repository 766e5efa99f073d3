//! Arguments, environment and profile, up to the point where the vault would be called.

use crate::support::{Ledger, cofre, cofre_with, exists, note_key};

#[test]
fn every_command_shows_its_help() {
    for line in [
        "verify",
        "verify-proof",
        "audit",
        "audit checkpoint",
        "audit entry",
        "audit search",
        "audit prove",
        "audit export",
        "status",
        "tenant",
        "tenant put",
        "institution put",
        "template put",
        "worker put",
        "deposit-key rotate",
        "lockdown",
        "lockdown platform",
        "lockdown tenant",
        "lockdown institution",
        "lockdown credential",
        "quarantine",
        "erase",
        "erase subject",
        "certificate",
        "revoke",
    ] {
        let words: Vec<_> = line.split(' ').chain(["--help"]).collect();
        let ran = cofre(&words);
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        assert!(ran.out.contains(&format!("Usage: cofre {line}")), "{line}: {}", ran.out);
    }
    assert!(cofre(&["--help"]).out.contains("Deposits and releases are for the client library"));
}

#[test]
fn a_missing_part_is_named_with_its_three_places() {
    let ran = cofre(&["status"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.err, "error: --address is missing; give it, set COFRE_ADDRESS, or write address in a --profile\n");
    let ran = cofre_with(&["status"], &[("COFRE_ADDRESS", "localhost:1")]);
    assert!(
        ran.code == 2 && ran.err.contains("--trust-domain is missing; give it, set COFRE_TRUST_DOMAIN"),
        "{}",
        ran.err
    );
    let ran = cofre(&["status", "--address", "a:1", "--trust-domain", "d", "--signer", "x", "--json"]);
    assert_eq!(ran.code, 2);
    let said: serde_json::Value = serde_json::from_str(&ran.err).expect("JSON");
    assert_eq!(said["error"], "usage");
    assert!(said["message"].as_str().is_some_and(|text| text.starts_with("--signer: verifier key is malformed")));
}

#[test]
fn a_profile_with_an_unknown_key_is_refused() {
    let ledger = Ledger::good();
    let profile = ledger.keep("profile.toml", "address = \"localhost:1\"\npassword = \"x\"\n");
    let ran = cofre(&["status", "--profile", &profile]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("profile.toml") && ran.err.contains("unknown field `password`"), "{}", ran.err);
    let ran = cofre(&["status", "--profile", "/nowhere/p.toml"]);
    assert!(ran.code == 2 && ran.err.contains("/nowhere/p.toml: cannot be read"), "{}", ran.err);
}

#[test]
fn a_profile_names_files_beside_itself_and_arguments_go_before_it() {
    let ledger = Ledger::good();
    ledger.keep("signer", note_key(1).to_string() + "\n");
    let profile = ledger.keep(
        "profile.toml",
        "address = \"localhost:1\"\ntrust_domain = \"cofre.test\"\nsigner = \"@signer\"\n\
         certificate = \"c.pem\"\nkey = \"k.pem\"\nbundle = \"b.pem\"\n",
    );
    let beside = ledger.folder.path().join("c.pem");
    let ran = cofre(&["status", "--profile", &profile]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains(&format!("{}: cannot be read", beside.display())), "{}", ran.err);
    let ran = cofre_with(&["status", "--profile", &profile], &[("COFRE_CERTIFICATE", "/env/c.pem")]);
    assert!(ran.err.contains("/env/c.pem"), "{}", ran.err);
    let ran = cofre_with(
        &["status", "--profile", &profile, "--certificate", "/arg/c.pem"],
        &[("COFRE_CERTIFICATE", "/env/c.pem")],
    );
    assert!(ran.err.contains("/arg/c.pem"), "{}", ran.err);
}

#[test]
fn a_malformed_registry_file_is_refused_before_anything_is_sent() {
    let ledger = Ledger::good();
    let file = ledger.keep("i.toml", "id = \"ins_a\"\nnam = \"A\"\n");
    let ran = cofre(&["institution", "put", &file]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("i.toml") && ran.err.contains("unknown field `nam`"), "{}", ran.err);
}

#[test]
fn material_that_is_not_pem_is_named() {
    let ledger = Ledger::good();
    let junk = ledger.keep("junk.pem", "junk");
    let out = ledger.folder.path().join("e.jsonl").display().to_string();
    let ran = cofre(&[
        "audit",
        "export",
        "--out",
        &out,
        "--address",
        "localhost:1",
        "--trust-domain",
        "cofre.test",
        "--signer",
        &note_key(1).to_string(),
        "--certificate",
        &junk,
        "--key",
        &junk,
        "--bundle",
        &junk,
    ]);
    assert!(ran.code == 2 && ran.err.contains("certificate: must be PEM"), "{}", ran.err);
    assert!(!exists(&out), "nothing is written before there is a connection");
}
