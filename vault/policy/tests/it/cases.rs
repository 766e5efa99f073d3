//! Every file in `policies/cases`, and that every reason a decision can give is among them.

use std::collections::{BTreeMap, BTreeSet};

use cofre_model::reason::Reason;
use cofre_policy::checks::ORDER;
use cofre_policy::decision::Decision;
use cofre_policy::facts::Facts;
use serde::Deserialize;

use crate::change::Change;
use crate::facts::{at, permitting, policies_dir, shipped};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    change: Change,
    expect: String,
    pub(crate) policies: Option<Says>,
    rules: Option<Vec<String>>,
    retry_at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Says {
    #[serde(rename = "PERMIT")]
    Permit,
    #[serde(rename = "DENY")]
    Deny,
}

impl Case {
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = permitting();
        self.change.clone().apply(&mut facts);
        facts
    }
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for item in std::fs::read_dir(policies_dir().join("cases")).expect("the cases folder") {
        let path = item.expect("an item").path();
        if path.extension().is_some_and(|end| end == "toml") {
            let text = std::fs::read_to_string(&path).expect("a readable case file");
            let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            cases.extend(file.case);
        }
    }
    cases
}

#[test]
fn every_case_ends_as_its_file_says() {
    let rules = shipped();
    let cases = all();
    assert!(cases.len() > 90, "only {} cases were found", cases.len());
    for case in &cases {
        let facts = case.facts();
        let (outcome, retry_at, entry) = match rules.decide(&facts) {
            Decision::Permit(grant) => ("PERMIT", None, grant.into_terms().entry),
            Decision::Deny(denial) => (denial.reason.as_str(), denial.retry_at, denial.entry),
        };
        assert_eq!(outcome, case.expect, "{}", case.name);
        assert_eq!(retry_at, case.retry_at.as_deref().map(at), "{}", case.name);
        if let Some(expected) = &case.rules {
            assert_eq!(&entry.rules, expected, "{}", case.name);
        }
        if let Some(says) = case.policies {
            assert_eq!(rules.policies_alone(&facts).permitted, says == Says::Permit, "policies alone: {}", case.name);
        }
    }
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeMap::new();
    for case in all() {
        assert!(seen.insert(case.name.clone(), ()).is_none(), "{} stands twice", case.name);
    }
}

#[test]
fn every_reason_a_decision_can_give_has_a_case() {
    let possible: BTreeSet<Reason> = ORDER.iter().flat_map(|step| step.reasons.iter().copied()).collect();
    let shown: BTreeSet<Reason> = all().iter().filter_map(|case| Reason::from_text(&case.expect)).collect();
    assert_eq!(possible, shown);
}
