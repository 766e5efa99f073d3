//! Every sample configuration is taken by the server, and by `cofred check`.

use std::collections::BTreeSet;
use std::process::Command;

use cofre_server::config::{Config, Configured, Mode, SecretRef};

use crate::folder::{deploy, text};

fn samples() -> Vec<String> {
    let folder = std::fs::read_dir(deploy("config")).expect("deploy/config");
    let mut names: Vec<String> =
        folder.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    assert!(names.len() >= 4 && names.iter().all(|name| name.ends_with(".toml")), "{names:?}");
    names
}

#[test]
fn every_sample_is_for_production_and_holds_no_secret() {
    for name in samples() {
        let path = format!("config/{name}");
        let config = Config::parse(&text(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(config.mode, Mode::Production, "{path}");
        // By name, for systemd and containers alike; a path would have to be readable by the service.
        assert!(matches!(config.identity.key, SecretRef::Credential(_)), "{path}");
        let secrets = config.custodians.values().filter_map(Configured::secret);
        assert!(secrets.into_iter().all(|secret| matches!(secret, SecretRef::Credential(_))), "{path}");
        assert!(config.listen.metrics.is_none_or(|address| address.ip().is_loopback()), "{path}");
    }
}

#[test]
fn cofred_check_prints_what_would_run_and_refuses_what_it_does_not_know() {
    for name in samples() {
        let check = |path: &std::path::Path| {
            let mut check = Command::new(env!("CARGO_BIN_EXE_cofred"));
            check.args(["check", "--config"]).arg(path).output().expect("cofred runs")
        };
        let said = check(&deploy(&format!("config/{name}")));
        assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        assert!(String::from_utf8_lossy(&said.stdout).contains("mode: Production"), "{name}");
        let folder = tempfile::tempdir().expect("a folder");
        let wrong = folder.path().join(&name);
        let changed = text(&format!("config/{name}")).replacen("deployment =", "deploymant =", 1);
        std::fs::write(&wrong, changed).expect("written");
        let said = check(&wrong);
        assert_eq!(said.status.code(), Some(64), "{name}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("deploymant"), "{name}");
    }
}

/// What the samples name as a credential is what the unit loads, or the drop-in for databases, or compose mounts.
#[test]
fn every_credential_of_a_sample_is_provided_by_its_unit() {
    let unit = text("systemd/cofred.service") + &text("systemd/cofred.service.d/postgresql.conf");
    let loaded: BTreeSet<&str> =
        unit.lines().filter_map(|line| line.strip_prefix("LoadCredential=")?.split(':').next()).collect();
    for name in ["embedded.toml", "postgresql.toml", "compose.toml"] {
        let path = format!("config/{name}");
        let sample = text(&path);
        let named = sample.split("{ credential = \"").skip(1).filter_map(|rest| rest.split('"').next());
        let named: BTreeSet<&str> = named.collect();
        assert!(named.contains("node-key"), "{path}: {named:?}");
        assert!(named.is_subset(&loaded), "{path}: {named:?} in {loaded:?}");
    }
}
