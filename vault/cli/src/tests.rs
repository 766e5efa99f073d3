//! Every command parses, with its connection before or after it; what it cannot mean is refused.

use clap::{CommandFactory as _, Parser as _};
use cofre_model::id::{ConsentId, CredentialId, ErasureId, KeyJobId, SubjectId, TenantId};

use super::Arguments;

fn refused(line: &[&str]) -> String {
    Arguments::try_parse_from(line).expect_err("refused").to_string()
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_parses() {
    let tenant = TenantId::from_parts(1, [1; 10]).to_string();
    let credential = CredentialId::from_parts(1, [2; 10]).to_string();
    let subject = SubjectId::from_parts(1, [3; 10]).to_string();
    let (erasure, consent) =
        (ErasureId::from_parts(1, [4; 10]).to_string(), ConsentId::from_parts(1, [5; 10]).to_string());
    let key_job = KeyJobId::from_parts(1, [6; 10]).to_string();
    let lines = [
        "verify x.jsonl".to_owned(),
        "verify - --strict".into(),
        "audit checkpoint".into(),
        "audit checkpoint --out n".into(),
        "audit entry 7 --leaf-out l".into(),
        "audit search".into(),
        format!(
            "audit search --credential {credential} --tenant {tenant} --kind GRANTED --reason REPLAY --from 1 --to 9 --limit 500"
        ),
        "audit search --caller spiffe://cofre.test/worker/pool/w1".into(),
        "audit prove 7 --out p".into(),
        "audit export --from 3 --out e".into(),
        "status".into(),
        "tenant put t.toml".into(),
        "institution put i.toml".into(),
        "template put t.toml".into(),
        "worker put w.toml".into(),
        format!("deposit-key rotate {tenant}"),
        "keys status".into(),
        "keys rewrap --to any_of(hsm-2) --from-key root-1 --rate 50 --wait".into(),
        "keys rewrap --to any_of(hsm-2) --dry-run".into(),
        "keys rotate --every-tenant --rate 50 --wait".into(),
        "keys rotate --every-tenant --dry-run".into(),
        "keys retire --tenant-keys".into(),
        format!("keys stop {key_job}"),
        "keys retire hsm-1 --custodian-key root-1".into(),
        "keys approve --plan p --out a".into(),
        "keys approve --plan p --out a --yes".into(),
        "keys countersign r --out s".into(),
        "keys countersign r --out s --yes".into(),
        "keys verify-ceremony r".into(),
        "lockdown platform".into(),
        format!("lockdown tenant {tenant}"),
        "lockdown institution ins_banco-abierto".into(),
        format!("lockdown credential {credential}"),
        "quarantine spiffe://cofre.test/worker/pool/w1".into(),
        format!("erase subject {subject}"),
        format!("certificate {erasure}"),
        format!("revoke {consent}"),
    ];
    let connection = "--address a:1 --trust-domain d --signer s --certificate c --key k --bundle b --profile p";
    for line in &lines {
        let words: Vec<_> = ["cofre"].into_iter().chain(line.split(' ')).chain(["--json"]).collect();
        assert!(Arguments::try_parse_from(&words).expect(line).json, "{line}");
        if !line.starts_with("verify") {
            let words: Vec<_> = words.into_iter().chain(connection.split(' ')).collect();
            Arguments::try_parse_from(&words).expect(line);
        }
    }
    let before: Vec<_> = "cofre audit".split(' ').chain(connection.split(' ')).chain(["entry", "7"]).collect();
    Arguments::try_parse_from(before).expect("the connection may stand before");
    let named = Arguments::command().get_subcommands().count();
    let tried: std::collections::BTreeSet<_> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(named, tried.len() + 1, "a command is not tried here (verify-proof is, with a real key, in tests/it)");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let tenant = TenantId::from_parts(1, [1; 10]).to_string();
    assert!(refused(&["cofre", "lockdown", "credential", &tenant]).contains("identifier must start with `crd_`"));
    assert!(refused(&["cofre", "lockdown", "institution", "banco"]).contains("identifier must start with `ins_`"));
    assert!(refused(&["cofre", "audit", "search", "--kind", "granted"]).contains("must be one of NODE_STARTED, "));
    assert!(refused(&["cofre", "audit", "search", "--reason", "NO"]).contains("must be one of PEER_UNTRUSTED, "));
    assert!(refused(&["cofre", "audit", "search", "--limit", "501"]).contains("501 is not in 1..=500"));
    assert!(refused(&["cofre", "audit", "export"]).contains("--out <FILE>"));
    assert!(refused(&["cofre", "verify", "x", "--key", "nonsense"]).contains("verifier key is malformed"));
    assert!(refused(&["cofre", "verify", "x", "--known", "n"]).contains("--key <KEY|@FILE>"));
    assert!(refused(&["cofre", "verify", "x", "--address", "a:1"]).contains("unexpected argument"));
    assert!(refused(&["cofre", "release"]).contains("unrecognized subcommand"));
    assert!(refused(&["cofre", "deposit"]).contains("unrecognized subcommand"));
}

#[test]
fn the_help_says_what_this_tool_will_not_do() {
    let help = Arguments::command().render_long_help().to_string();
    assert!(help.contains("No command shows or takes a secret") && help.contains("3  the vault refused"));
}

/// What a person types by the name of the issue, or of the other program, has one answer.
#[test]
fn making_keys_is_said_to_be_elsewhere() {
    for line in [
        "cofre keys init",
        "cofre keys plan --custodian hsm-1 --config c",
        "cofre keys init --help",
        "cofre keys init --config c --custodian hsm-1 --out record --approval a",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let failure = Arguments::try_parse_from(&words).expect(line).command.run().expect_err("elsewhere");
        let what = words.get(2).copied().unwrap_or_default();
        let said = failure.render(false);
        assert!(said.contains(&format!("`cofred keys {what}` does this")) && !said.contains('\n'), "{line}: {said}");
        assert_eq!(failure.exit(), 2);
    }
    let help = refused(&["cofre", "keys", "--help"]);
    assert!(help.contains("approve") && !help.contains("init "), "{help}");
}
