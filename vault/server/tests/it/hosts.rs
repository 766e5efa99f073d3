//! The custody host as a person meets it: it serves a vault, and nobody else.

use std::process::{Command, Stdio};

#[test]
fn a_custody_host_that_no_vault_started_says_so_and_ends() {
    let by_hand = Command::new(env!("CARGO_BIN_EXE_cofred"))
        .args(["custody-host", "hsm-1"])
        .stdin(Stdio::null())
        .output()
        .expect("cofred starts");
    assert_eq!(by_hand.status.code(), Some(1), "{by_hand:?}");
    let said = String::from_utf8_lossy(&by_hand.stderr);
    assert!(said.contains("started by cofred, not by hand"), "{said}");
    assert!(by_hand.stdout.is_empty(), "{by_hand:?}");
}
