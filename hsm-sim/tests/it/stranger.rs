//! A program that knows nothing of this module: OpenSC's `pkcs11-tool` makes a token and keys, and runs its own test.

use std::path::Path;
use std::process::Command;

use crate::harness::module_path;

/// Runs the tool on the token in `folder`; answers what it printed. It must end well.
fn tool(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("pkcs11-tool")
        .arg("--module")
        .arg(module_path())
        .args(arguments)
        .env("COFRE_HSM_SIM_DIR", folder)
        .output()
        .unwrap_or_else(|error| panic!("pkcs11-tool: {error}; as root, type: apt-get install opensc"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

#[test]
fn pkcs11_tool_finds_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let tool = |arguments: &[&str]| tool(folder.path(), arguments);
    tool(&["--init-token", "--label", "stranger", "--so-pin", "12345678", "--slot-index", "0"]);
    tool(&["--login", "--login-type", "so", "--so-pin", "12345678", "--init-pin", "--pin", "4711-4711"]);
    let user = ["--login", "--pin", "4711-4711"];
    let with = |more: &[&str]| tool(&[&user, more].concat());
    with(&["--keygen", "--key-type", "AES:32", "--sensitive", "--label", "root"]);
    for (kind, label, id) in [("EC:edwards25519", "ed", "01"), ("EC:prime256v1", "ec", "02")] {
        with(&["--keypairgen", "--key-type", kind, "--label", label, "--id", id]);
    }
    let objects = with(&["--list-objects"]);
    for label in ["root", "ed", "ec"] {
        assert!(objects.contains(&format!("label:      {label}")), "{objects}");
    }
    assert!(objects.contains("never extractable"), "{objects}");
    let tested = with(&["--test"]);
    assert!(tested.trim_end().lines().any(|line| line == "No errors"), "{tested}");
    assert!(!tested.contains("ERR:"), "{tested}");
    signs(folder.path(), &user);
}

/// What `--test` leaves to RSA: a signature that the tool itself finds good, and one over another message that it does not.
fn signs(folder: &Path, user: &[&str]) {
    let at = |name: &str| folder.join(name).display().to_string();
    std::fs::write(at("message"), "checkpoint").unwrap();
    std::fs::write(at("other"), "another").unwrap();
    let (message, other, signature) = (at("message"), at("other"), at("signature"));
    let sign = ["--sign", "--mechanism", "ECDSA-SHA256", "--id", "02", "-i", &message, "-o", &signature];
    tool(folder, &[user, &sign].concat());
    let verify = ["--verify", "--mechanism", "ECDSA-SHA256", "--id", "02", "--signature-file", &signature, "-i"];
    let good = tool(folder, &[user, &verify, &[message.as_str()]].concat());
    assert!(good.contains("Signature is valid"), "{good}");
    let bad = tool(folder, &[user, &verify, &[other.as_str()]].concat());
    assert!(bad.contains("Invalid signature"), "{bad}");
}
