//! The unit is as tight as the service manager can tell, and keeps what the vault needs.

use std::process::Command;

use crate::folder::{deploy, text};

/// The most exposure that is allowed, in tenths as the analysis counts.
const THRESHOLD: &str = "20";

fn security(path: &std::path::Path) -> std::process::Output {
    Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={THRESHOLD}"))
        .arg(path)
        .output()
        .expect("systemd-analyze runs; it comes with Debian's package systemd")
}

#[test]
fn the_exposure_is_below_two() {
    let said = security(&deploy("systemd/cofred.service"));
    let output = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{output}{}", String::from_utf8_lossy(&said.stderr));
    let level: f64 = output
        .lines()
        .find_map(|line| {
            line.split_once("Overall exposure level for cofred.service: ")?.1.split(' ').next()?.parse().ok()
        })
        .unwrap_or_else(|| panic!("no level in {output}"));
    assert!(level < 2.0, "{level}");
    println!("exposure {level}");
}

/// The same analysis refuses the unit once it gives up what makes it tight.
#[test]
fn a_looser_unit_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cofred.service");
    let given_up = ["SystemCallFilter", "CapabilityBoundingSet", "RestrictNamespaces", "PrivateUsers", "DynamicUser"];
    let kept = |line: &&str| !given_up.iter().any(|key| line.starts_with(key));
    let looser: String = text("systemd/cofred.service").lines().filter(kept).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, looser).expect("written");
    assert!(!security(&path).status.success());
}

#[test]
fn what_the_vault_needs_is_there() {
    let unit = text("systemd/cofred.service");
    let value = |key: &str| -> Vec<&str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    // The slab is 4 MiB and counts as locked; the limit is in bytes with a suffix.
    assert_eq!(value("LimitMEMLOCK"), ["32M"]);
    assert_eq!(value("LimitCORE"), ["0"]);
    assert_eq!(value("RestartPreventExitStatus"), ["64 77"]);
    assert!(value("SystemCallFilter").iter().any(|list| list.split(' ').any(|name| name == "memfd_secret")));
    assert_eq!(value("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    // Drain, last entry, tokens, telemetry: the manager waits longer than all of them together.
    assert_eq!(value("TimeoutStopSec"), ["40"]);
    for line in unit.lines().filter(|line| line.starts_with("LoadCredential=")) {
        assert!(line.contains(":/etc/cofre/credentials/"), "{line}");
    }
}
