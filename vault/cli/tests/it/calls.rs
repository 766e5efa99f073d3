//! Calls over TLS to a counter that answers from a ledger of the test: what is shown, kept and refused.

use cofre_model::id::{ErasureId, SubjectId, TenantId};

use crate::support::{Ledger, cofre, exists, note_key};
use crate::vault::{Vault, key_job, pending};

fn vault() -> Vault {
    Vault::serve(Ledger::good(), |_, _| {})
}

#[test]
fn the_register_is_read_searched_and_proved() {
    let vault = vault();
    let (note, leaf, proof) = (vault.path("note"), vault.path("leaf"), vault.path("proof"));
    let ran = vault.ask(&["audit", "checkpoint", "--out", &note]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("signature verified with the pinned key: 20 entries"), "{}", ran.out);
    let ran = vault.ask(&["audit", "entry", "7", "--leaf-out", &leaf]);
    assert!(ran.code == 0 && ran.out.contains("CONSENT_REVOKED"), "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("A LIE"), "the vault's own rendering is not shown");
    let ran = vault.ask(&["audit", "search", "--kind", "DENIED"]);
    assert!(ran.code == 0 && ran.out.contains("CONSENT_REVOKED"), "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with("1 entries; more with --from 8\n"), "{}", ran.out);
    let ran = vault.ask(&["audit", "prove", "7", "--out", &proof]);
    assert!(ran.code == 0 && ran.out.starts_with("PROVED: entry 7 of cofre.test/ledger"), "{}{}", ran.out, ran.err);
    let ran = cofre(&["verify-proof", &proof, "--leaf", &leaf, "--key", &note_key(1).to_string()]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    // Evidence is never overwritten.
    let ran = vault.ask(&["audit", "checkpoint", "--out", &note]);
    assert!(ran.code == 2 && ran.err.contains("exists already"), "{}", ran.err);
}

#[test]
fn an_export_is_verified_and_kept() {
    let vault = vault();
    let out = vault.path("e.jsonl");
    let ran = vault.ask(&["audit", "export", "--out", &out]);
    assert!(ran.code == 0 && ran.out.contains("exported 20 entries from 0 on"), "{}{}", ran.out, ran.err);
    let ran = cofre(&["verify", &out, "--key", &note_key(1).to_string()]);
    assert_eq!(ran.code, 0, "{}", ran.out);
}

#[test]
fn a_vault_that_lies_is_found_out() {
    let vault = Vault::serve(Ledger::good(), |leaves, export| {
        leaves.swap(7, 8);
        *export = export.replacen("{\"index\":7,", "{\"index\":6,", 1);
    });
    let out = vault.path("e.jsonl");
    let ran = vault.ask(&["audit", "export", "--out", &out]);
    assert!(ran.code == 1 && ran.err.contains("DOES NOT VERIFY, kept as evidence: line 9"), "{}", ran.err);
    assert!(exists(&out));
    let ran = vault.ask(&["audit", "entry", "7"]);
    assert!(ran.code == 1 && ran.err.contains("answered with another entry"), "{}", ran.err);
}

#[test]
fn refusals_exit_with_three_and_say_what_to_do() {
    let vault = vault();
    let ran = vault.ask(&["audit", "entry", "99"]);
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.err,
        "refused: NOT_FOUND\n  way out: there is no such entry; ask below the size\n  ledger entry: 77\n"
    );
    let ran = vault.ask(&["quarantine", "nobody", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&ran.err).expect("JSON");
    assert_eq!(
        (ran.code, &said["reason"], &said["fields"][0]["field"]),
        (3, &"BAD_REQUEST".into(), &"spiffe_id".into())
    );
    let ran = vault.ask(&["deposit-key", "rotate", &TenantId::from_parts(1, [1; 10]).to_string()]);
    assert!(ran.code == 3 && ran.err.contains("ledger entry: 78"), "{}", ran.err);
}

#[test]
fn changes_name_their_entry_and_a_part_that_is_not_ready_fails() {
    let vault = vault();
    let ran = vault.ask(&["lockdown", "institution", "ins_banco-abierto"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "locked down INSTITUTION ins_banco-abierto: ledger entry 7 at 2026-09-21T14:13:27Z\n"),
        "{}",
        ran.err
    );
    let ran = vault.ask(&["status"]);
    assert!(ran.code == 1 && ran.out.contains("NOT READY"), "{}{}", ran.out, ran.err);
    let line = ran.out.lines().find(|line| line.trim_start().starts_with("hsm-1")).expect("the custodian's line");
    for cell in ["Maker Model", "aes-kwp", "LEFT ALONE", " 12 ", " 5 ", "2026-09-21T"] {
        assert!(line.contains(cell), "{cell} is not in {line}");
    }
    let told: serde_json::Value = serde_json::from_str(&vault.ask(&["status", "--json"]).out).expect("JSON");
    assert_eq!(told["custodians"][0]["failed_last_hour"], 5);
}

#[test]
fn another_signer_than_the_pinned_one_is_not_believed() {
    let vault = vault();
    let ran = vault.ask(&["audit", "checkpoint", "--signer", &note_key(2).to_string()]);
    assert!(ran.code == 1 && ran.out.is_empty(), "{}{}", ran.out, ran.err);
    let ran = vault.ask(&["status", "--trust-domain", "other.test"]);
    assert!(ran.code == 1 && ran.err.contains("not the expected node"), "{}", ran.err);
}

#[test]
fn registries_are_put_from_files() {
    let vault = vault();
    let put = |what: &str, text: &str| vault.ask(&[what, "put", &vault.ledger.keep("put.toml", text)]);
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let tenant = format!(
        "slug = \"acme\"\nlegal_name = \"Acme\"\nhome_region = \"eu-nl\"\nrecipients = [\"Acme advisers\"]\n\
         [[signing_keys]]\nkind = \"job\"\npublic_key = \"{key}\"\nnot_after = \"2027-01-31T00:00:00Z\"\n"
    );
    let ran = put("tenant", &tenant);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let id = TenantId::from_parts(1, [1; 10]);
    assert!(ran.out.contains(&format!("put tenant {id}: ledger entry 1")), "{}", ran.out);
    assert!(ran.out.contains(key) && ran.out.contains("Acme advisers"), "{}", ran.out);
    let institution = "id = \"ins_a\"\nname = \"A\"\ncountry = \"ES\"\nlockout_threshold = 3\nunattended_from = 0\n\
                       unattended_to = 1440\nsuspended = false\n";
    let ran = put("institution", institution);
    assert!(ran.out.contains("put institution ins_a: ledger entry 2"), "{}{}", ran.out, ran.err);
    let template = "institution = \"ins_a\"\nversion = 2\n[[fields]]\nkey = \"user\"\npattern = \"^a$\"\nrequired = true\n\
                    secret = false\nsigning_factor = false\nidentifies = true\nrelease_form = \"FULL\"\n";
    let ran = put("template", template);
    assert!(ran.out.contains("put template ins_a version 2: ledger entry 3"), "{}{}", ran.out, ran.err);
    let worker = format!(
        "spiffe_id = \"spiffe://cofre.test/worker/pool/w1\"\n[[scopes]]\ntenant = \"{id}\"\ninstitution = \"ins_a\"\n"
    );
    let ran = put("worker", &worker);
    assert!(ran.out.contains("/worker/pool/w1: ledger entry 4"), "{}{}", ran.out, ran.err);
}

#[test]
fn an_erasure_says_where_its_certificate_is_and_shows_only_a_verified_one() {
    let vault = vault();
    let (subject, erasure) = (SubjectId::from_parts(1, [3; 10]), ErasureId::from_parts(1, [4; 10]));
    let ran = vault.ask(&["erase", "subject", &subject.to_string()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(&format!("erased {subject}: erasure {}, ledger entry 9", pending())), "{}", ran.out);
    assert!(ran.out.contains(&format!("ask later with `cofre certificate {}`", pending())), "{}", ran.out);
    let ran = vault.ask(&["certificate", &pending().to_string()]);
    assert!(ran.code == 1 && ran.out.contains("not signed yet"), "{}{}", ran.out, ran.err);
    let out = vault.path("certificate.jws");
    let ran = vault.ask(&["certificate", &erasure.to_string(), "--out", &out]);
    assert!(ran.code == 0 && ran.out.contains("\"keys_destroyed\": 3"), "{}{}", ran.out, ran.err);
    let kept = std::fs::read_to_string(&out).expect("kept");
    assert!(kept.split('.').count() == 3 && ran.out.contains(&kept), "{kept}");
    let ran = vault.ask(&["certificate", &erasure.to_string(), "--signer", &note_key(2).to_string()]);
    assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("not the pinned deployment's word"), "{}", ran.err);
}

#[test]
fn keys_are_moved_watched_stopped_and_not_retired_too_early() {
    let (vault, job) = (vault(), key_job().job_id);
    let move_to = ["keys", "rewrap", "--to", "any_of(hsm-2)", "--from-key", "root 1"];
    let ran = vault.ask(&[&move_to[..], &["--dry-run"]].concat());
    assert!(
        ran.code == 0 && ran.out.contains("5 tenant keys would be moved to any_of(hsm-2)"),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = vault.ask(&[&move_to[..], &["--rate", "50"]].concat());
    assert!(ran.code == 0 && ran.out.starts_with(&format!("{job} moves 5 tenant keys: ledger entry")), "{}", ran.out);
    // What is left has failed: it is listed, and the exit code says that the job is not done. No terminal, no bar.
    let ran = vault.ask(&[&move_to[..], &["--rate", "50", "--wait"]].concat());
    assert!(
        ran.code == 1 && ran.out.contains("a key/1: does not open") && ran.err.is_empty(),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = vault.ask(&["--json", "keys", "status"]);
    assert!(ran.code == 0 && ran.out.contains(r#""cause":"does not open""#), "{}", ran.out);
    let ran = vault.ask(&["keys", "rotate", "--every-tenant", "--dry-run"]);
    assert!(ran.code == 0 && ran.out.contains("3 tenants would get a new key"), "{}{}", ran.out, ran.err);
    let one = TenantId::from_parts(1, [1; 10]).to_string();
    let ran = vault.ask(&["keys", "rotate", "--tenant", &one, "--rate", "50"]);
    let told = format!("{job} moves 3 tenants to a new key: ledger entry");
    assert!(ran.code == 0 && ran.out.starts_with(&told), "{}{}", ran.out, ran.err);
    let ran = vault.ask(&["keys", "retire", "--tenant-keys"]);
    assert!(ran.code == 0 && ran.out.starts_with("retired 4 shares of older tenant keys"), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("2 tenants keep theirs") && ran.out.contains("give the command again"), "{}", ran.out);
    let both = ["keys", "rotate", "--tenant", &one, "--every-tenant"];
    for both_or_none in
        [&["keys", "retire"][..], &["keys", "retire", "hsm-1", "--tenant-keys"], &["keys", "rotate"], &both]
    {
        assert_eq!(vault.ask(both_or_none).code, 2);
    }
    let ran = vault.ask(&["keys", "stop", &job]);
    assert!(ran.code == 0 && ran.out.starts_with(&format!("stopped {job}: ledger entry")), "{}{}", ran.out, ran.err);
    let ran = vault.ask(&["keys", "retire", "hsm-1"]);
    assert!(ran.code == 3 && ran.err.contains("still wraps keys in force"), "{}{}", ran.out, ran.err);
    let ran = vault.ask(&["keys", "retire", "HSM"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let ran = vault.ask(&["keys", "rewrap", "--to", "any_of(b)", "--rate", "0"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}
