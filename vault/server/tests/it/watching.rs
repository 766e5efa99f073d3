//! The collector's sample, the scrape and the alerts: every alert is over a metric that the vault has.

use std::collections::BTreeSet;

use cofre_server::config::Config;
use yaml_rust2::Yaml;

use crate::folder::{text, yaml};

/// Names of the vault's metrics as the source has them, in Prometheus' spelling, without suffixes.
fn metrics() -> BTreeSet<String> {
    let source = [include_str!("../../src/telemetry/meters.rs"), include_str!("../../src/telemetry/watch.rs")];
    let names = source.iter().flat_map(|text| text.split('"')).filter(|text| {
        text.starts_with("cofre.") && text.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'))
    });
    names.map(|name| name.replace('.', "_")).collect()
}

fn known(name: &str, metrics: &BTreeSet<String>) -> bool {
    let suffixes = ["", "_total", "_seconds", "_seconds_count", "_seconds_sum", "_seconds_bucket"];
    suffixes.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|base| metrics.contains(base)))
}

#[test]
fn every_alert_is_over_metrics_that_exist_and_says_what_to_do() {
    let metrics = metrics();
    assert!(metrics.len() > 25, "{metrics:?}");
    assert!(!known("cofre_edge_cals_total", &metrics));
    let file = yaml("prometheus/alerts.yaml");
    let rules = file["groups"][0]["rules"].as_vec().expect("rules");
    assert!(rules.len() >= 10);
    let mut seen = BTreeSet::new();
    for rule in rules {
        let alert = rule["alert"].as_str().expect("a name");
        assert!(seen.insert(alert), "{alert} twice");
        let expression = rule["expr"].as_str().expect("an expression");
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: Vec<&str> = words.filter(|word| word.starts_with("cofre_")).collect();
        assert!(alert == "CofreDown" || !named.is_empty(), "{alert}");
        for name in named {
            assert!(known(name, &metrics), "{alert}: {name}");
        }
        for key in ["summary", "action"] {
            assert!(rule["annotations"][key].as_str().is_some_and(|text| text.len() > 20), "{alert}: {key}");
        }
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{alert}");
    }
    let scrape = yaml("prometheus/scrape.yaml");
    let target = scrape["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str().expect("a target");
    let embedded = Config::parse(&text("config/embedded.toml")).expect("a sample");
    assert_eq!(embedded.listen.metrics.map(|address| address.to_string()).as_deref(), Some(target));
}

#[test]
fn the_collector_listens_where_the_vault_sends_and_takes_all_three_signals() {
    let file = yaml("otel/collector.yaml");
    let endpoint = file["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].as_str().expect("an endpoint");
    let vault = Config::parse(&text("config/compose.toml")).expect("a sample").telemetry.expect("a collector");
    assert_eq!(vault.uri(), format!("http://{endpoint}"));
    let pipelines = &file["service"]["pipelines"];
    for signal in ["traces", "metrics", "logs"] {
        for (part, section) in [("receivers", "receivers"), ("processors", "processors"), ("exporters", "exporters")] {
            let names = pipelines[signal][part].as_vec().unwrap_or_else(|| panic!("{signal}: {part}"));
            assert!(!names.is_empty());
            for name in names {
                assert!(!matches!(file[section][name.as_str().expect("a name")], Yaml::BadValue), "{signal}: {name:?}");
            }
        }
    }
    assert!(file["exporters"]["otlp"]["tls"]["ca_file"].as_str().is_some());
}
