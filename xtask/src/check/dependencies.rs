//! Who may depend on whom. Normal dependencies only: a test may reach for anything.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Violation;

/// A workspace package and the names of its normal dependencies.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    name: String,
    dependencies: Vec<String>,
    features: Vec<String>,
}

/// The use cases between counter and cellar.
const USE_CASES: [&str; 7] = ["deposit", "consent", "release", "relay", "privacy", "audit", "admin"];
/// What ships.
const SHIPPED: [&str; 18] = [
    "proto", "model", "envelope", "ledger", "policy", "custody", "store", "deposit", "consent", "release", "relay",
    "privacy", "audit", "admin", "edge", "server", "client", "cli",
];

/// The Cofre crates a crate may use; nothing for a crate the table does not know.
fn allowed(name: &str) -> Option<Vec<&'static str>> {
    let names: &[&str] = match name {
        "model" | "hsm-sim" => &[],
        "envelope" | "ledger" | "policy" | "proto" => &["model"],
        "store" => &["model", "policy", "ledger"],
        "custody" => &["model", "envelope"],
        "deposit" | "consent" | "release" | "privacy" | "admin" => {
            &["model", "policy", "ledger", "store", "custody", "envelope"]
        }
        "audit" => &["model", "policy", "ledger", "store", "custody"],
        "relay" => &["model", "ledger", "store"],
        "client" => &["proto", "model", "envelope", "ledger"],
        "cli" => &["client", "proto", "model", "ledger"],
        "testkit" => &["model", "store", "custody", "envelope"],
        "edge" => return Some([&["proto", "model"][..], &USE_CASES].concat()),
        "server" => return Some(SHIPPED.iter().copied().filter(|n| *n != "server" && *n != "cli").collect()),
        "demo" => return Some([&SHIPPED[..], &["testkit"]].concat()),
        "xtask" => return Some(Vec::new()),
        _ => return None,
    };
    Some(names.to_vec())
}

/// Crates from outside that only some may use, and why.
const HELD: &[(&[&str], &[&str], &str)] = &[
    (
        &["aes-gcm", "aes-kw", "hkdf", "hpke", "x25519-dalek", "chacha20poly1305"],
        &["envelope"],
        "ciphers live in envelope",
    ),
    (&["hmac"], &["envelope", "demo"], "keyed hashes live in envelope"),
    (
        &["ed25519-dalek", "p256"],
        &["envelope", "ledger", "testkit", "demo"],
        "signatures: made in envelope, verified in ledger",
    ),
    (&["aws-lc-rs"], &["hsm-sim", "client", "edge", "demo", "testkit"], "the second make of cryptography"),
    (&["cryptoki"], &["custody"], "tokens are reached through custody"),
    (&["cryptoki-sys"], &["custody", "hsm-sim"], "tokens are reached through custody"),
    (
        &["aws-config", "aws-sdk-kms", "google-cloud-auth", "google-cloud-gax", "google-cloud-kms-v1"],
        &["custody"],
        "services that hold keys are reached through custody",
    ),
    (&["sqlx"], &["store", "testkit"], "tables are reached through store"),
    (
        &["tonic", "tonic-prost", "tonic-health", "tonic-types"],
        &["proto", "edge", "client", "server", "cli", "demo"],
        "use cases know no network",
    ),
    (
        &["rustls", "tokio-rustls"],
        // Custody speaks it to a transit engine.
        &["edge", "client", "server", "demo", "testkit", "custody"],
        "TLS ends at the counter",
    ),
    (&["rustls-webpki", "x509-parser"], &["edge", "client", "server", "demo", "testkit"], "TLS ends at the counter"),
    (
        &[
            "opentelemetry",
            "opentelemetry_sdk",
            "opentelemetry-otlp",
            "opentelemetry-prometheus",
            "prometheus",
            "tracing-opentelemetry",
        ],
        &["server"],
        "telemetry leaves through server, where it is held to one list",
    ),
    (&["cedar-policy"], &["policy"], "policies are decided in policy"),
    (&["rcgen"], &["testkit", "demo"], "certificates are made for tests and development only"),
];

/// Crates that keep a pure crate from being pure.
const IMPURE: &[(&str, &[&str])] = &[
    ("policy", &["tokio", "sqlx", "tonic", "getrandom", "rand", "rand_core"]),
    ("ledger", &["tokio", "sqlx", "tonic", "getrandom", "rand", "rand_core"]),
    ("model", &["tokio", "sqlx", "tonic", "getrandom", "rand", "rand_core"]),
];

/// The workspace's packages from `cargo metadata`.
pub(crate) fn packages(metadata: &Value) -> Vec<Package> {
    let members: Vec<&str> =
        metadata["workspace_members"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["id"].as_str().is_some_and(|id| members.contains(&id)))
        .map(|package| Package {
            name: short(package["name"].as_str().unwrap_or_default()).to_owned(),
            dependencies: package["dependencies"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
                .collect(),
            features: package["features"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        })
        .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("cofre-").unwrap_or(name)
}

/// Holds the packages against the table.
pub(crate) fn check(packages: &[Package]) -> Vec<Violation> {
    let mut broken = Vec::new();
    let by_name: BTreeMap<&str, &Package> = packages.iter().map(|p| (p.name.as_str(), p)).collect();
    for package in packages {
        let name = package.name.as_str();
        let Some(allowed) = allowed(name) else {
            broken.push(Violation(format!("{name}: not in the dependency table; say there what it may use")));
            continue;
        };
        for dependency in &package.dependencies {
            let inside = by_name.contains_key(short(dependency)) && (dependency.starts_with("cofre-"));
            if inside && !allowed.contains(&short(dependency)) {
                broken.push(Violation(format!("{name} may not use {dependency}")));
            }
            for (held, by, why) in HELD {
                if held.contains(&dependency.as_str()) && !by.contains(&name) {
                    broken.push(Violation(format!("{name} may not use {dependency}: {why}")));
                }
            }
            if IMPURE.iter().any(|(pure, list)| *pure == name && list.contains(&dependency.as_str())) {
                broken.push(Violation(format!("{name} is pure and may not use {dependency}")));
            }
        }
        for feature in &package.features {
            if SHIPPED.contains(&name) && (feature.contains("mock") || feature.contains("insecure")) {
                broken.push(Violation(format!("{name}: a shipped crate has no feature `{feature}`")));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(|d| (*d).to_owned()).collect(),
            features: Vec::new(),
        }
    }

    /// The workspace's crates with no dependency, plus one planted.
    fn planted(name: &str, dependency: &str) -> Vec<Violation> {
        let mut all: Vec<Package> = SHIPPED.iter().map(|n| package(n, &[])).collect();
        all.extend(["testkit", "demo", "hsm-sim", "xtask"].map(|n| package(n, &[])));
        assert_eq!(check(&all), []);
        all.iter_mut().filter(|p| p.name == name).for_each(|p| p.dependencies.push(dependency.to_owned()));
        check(&all)
    }

    #[test]
    fn every_row_of_the_table_fails_on_a_planted_violation() {
        for (name, dependency) in [
            ("model", "cofre-ledger"),
            ("envelope", "cofre-store"),
            ("ledger", "cofre-envelope"),
            ("policy", "cofre-store"),
            ("proto", "cofre-envelope"),
            ("store", "cofre-envelope"),
            ("custody", "cofre-store"),
            ("deposit", "cofre-proto"),
            ("consent", "cofre-edge"),
            ("release", "cofre-deposit"),
            ("relay", "cofre-envelope"),
            ("privacy", "cofre-edge"),
            ("audit", "cofre-envelope"),
            ("admin", "cofre-server"),
            ("edge", "cofre-custody"),
            ("edge", "cofre-envelope"),
            ("edge", "cofre-store"),
            ("client", "cofre-store"),
            ("cli", "cofre-store"),
            ("server", "cofre-testkit"),
            ("release", "cofre-testkit"),
            ("server", "cofre-hsm-sim"),
            ("server", "cofre-demo"),
            ("hsm-sim", "cofre-envelope"),
            ("testkit", "cofre-server"),
        ] {
            assert_eq!(planted(name, dependency).len(), 1, "{name} -> {dependency} was not noticed");
        }
    }

    #[test]
    fn every_held_and_impure_crate_fails_on_a_planted_violation() {
        for (held, by, _) in HELD {
            for dependency in *held {
                let outsider = SHIPPED.iter().find(|name| !by.contains(name)).expect("somebody is outside");
                assert!(!planted(outsider, dependency).is_empty(), "{outsider} -> {dependency} was not noticed");
            }
        }
        for (name, list) in IMPURE {
            for dependency in *list {
                assert!(!planted(name, dependency).is_empty(), "{name} -> {dependency} was not noticed");
            }
        }
    }

    #[test]
    fn an_unlisted_crate_and_a_mock_feature_are_noticed() {
        assert_eq!(check(&[package("common", &[])]).len(), 1);
        let mut release = package("release", &[]);
        release.features.push("mock-hsm".to_owned());
        assert_eq!(check(&[release]).len(), 1);
    }
}
