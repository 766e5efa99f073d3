//! Policy sets and decisions: hostile texts at load, hostile facts at a decision.
//!
//! What must hold: a permit breaks no promise, whatever the policies say; no permit stands beside a failed evaluation;
//! a set is taken only with names and digest in order; every decision's entry can be written and reads back the same.
//! The promises are told by the policy crate's own oracle, which shares no code with the checks.

mod facts;
#[path = "../../vault/policy/tests/it/oracle.rs"]
mod oracle;

use std::sync::LazyLock;

use cofre_ledger::entry;
use cofre_model::consent::ConsentState;
use cofre_policy::decision::Decision;
use cofre_policy::facts::{Evidence, Facts};
use cofre_policy::{PolicyError, Rules};

use crate::input::Input;

const SCHEMA: (&str, &str) = ("schema.cedarschema", include_str!("../../policies/schema.cedarschema"));
const SHIPPED: (&str, &str) = ("release.cedar", include_str!("../../policies/default/release.cedar"));
/// Policies that leave everything to the invariants: only that there is a consent, which every set must ask for.
const LAX: (&str, &str) = (
    "lax.cedar",
    "@id(\"lax\") permit (principal is Cofre::Worker, action == Cofre::Action::\"release\", resource is Cofre::Credential) \
     when { context has consent };",
);
/// A forbid whose arithmetic may overflow: evaluation fails, and a careless vault would permit.
const FRAGILE: (&str, &str) = (
    "fragile.cedar",
    "@id(\"fragile\") permit (principal is Cofre::Worker, action == Cofre::Action::\"release\", resource is Cofre::Credential) \
     when { context has consent && context.releases_last_hour * 9223372036854775807 < 1 };",
);

static SETS: LazyLock<Sets> = LazyLock::new(|| Sets {
    shipped: Rules::from_files(&[SCHEMA, SHIPPED]).expect("the shipped set loads"),
    lax: Rules::from_files(&[SCHEMA, LAX]).expect("a lax set loads"),
    fragile: Rules::from_files(&[SCHEMA, LAX, FRAGILE]).expect("a fragile permit loads"),
});

struct Sets {
    shipped: Rules,
    lax: Rules,
    fragile: Rules,
}

/// Attacks decisions (most first bytes) or the loading of sets.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 8 {
        0 => load(&mut input, SCHEMA.1, SHIPPED.1),
        1 => load(&mut input, SCHEMA.1, LAX.1),
        2 => load_raw(&mut input),
        _ => decide(&mut input),
    }
}

fn decide(input: &mut Input<'_>) {
    let facts = facts::from(input);
    for rules in [&SETS.shipped, &SETS.lax, &SETS.fragile] {
        held(rules, &facts);
    }
    if matches!(SETS.shipped.decide(&facts), Decision::Permit(_)) {
        assert!(oracle::is_welcome(&facts), "the shipped policies permit a visit outside the bank's hours");
    }
    // Narrowing never widens: withdrawn, expired, nothing is released.
    let mut narrowed = facts;
    if let Evidence::Genuine(consent) = &mut narrowed.consent {
        if input.flag() {
            consent.state = ConsentState::Revoked;
        } else {
            narrowed.now = narrowed.now.max(consent.valid_until);
        }
    }
    assert!(matches!(SETS.lax.decide(&narrowed), Decision::Deny(_)), "permitted after narrowing");
}

/// One decision by one set, held against everything that must be true of it.
fn held(rules: &Rules, facts: &Facts) {
    let opinion = rules.policies_alone(facts);
    let failed = opinion.rules.iter().any(|rule| rule.starts_with("error:"));
    assert!(!(opinion.permitted && failed), "policies permit although one failed: {:?}", opinion.rules);
    let entry = match rules.decide(facts) {
        Decision::Permit(grant) => {
            assert_eq!(oracle::broken_promise(facts), None, "a permit breaks a promise");
            assert!(opinion.permitted, "a permit that no policy gave");
            let terms = grant.into_terms();
            assert!(facts.now < terms.not_after && facts.now < terms.lease_until, "a permit that is over");
            assert_eq!(terms.warrant.fields, facts.request.fields);
            assert_eq!(
                (terms.warrant.worker, terms.warrant.credential),
                (facts.caller.identity.clone(), terms.credential)
            );
            let Evidence::Genuine(login) = &facts.credential else { panic!("a permit without a login") };
            assert_eq!((terms.warrant.owner, terms.warrant.secret_version), (login.owner, login.secret_version));
            terms.entry
        }
        Decision::Deny(denial) => denial.entry,
    };
    let written = entry::encode(&entry).expect("the entry of a decision can be written");
    assert_eq!(entry::decode(&written).as_ref(), Ok(&entry), "the entry of a decision reads back");
}

/// Bends a good schema and good policies.
fn load(input: &mut Input<'_>, schema: &str, policies: &str) {
    let schema = if input.byte() % 4 == 0 { input.bend_text(schema) } else { schema.to_owned() };
    let policies = input.bend_text(policies);
    taken_or_not(&[("s.cedarschema".to_owned(), schema), ("p.cedar".to_owned(), policies)]);
}

/// Files of any name and text.
fn load_raw(input: &mut Input<'_>) {
    let mut files = Vec::new();
    for _ in 0..input.byte() % 4 {
        let name = match input.byte() % 4 {
            0 => "schema.cedarschema".to_owned(),
            1 => "a.cedar".to_owned(),
            2 => "b.cedar".to_owned(),
            _ => String::from_utf8_lossy(input.chunk()).into_owned(),
        };
        let text = if input.flag() { SCHEMA.1.to_owned() } else { String::from_utf8_lossy(input.chunk()).into_owned() };
        files.push((name, text));
    }
    let rest = String::from_utf8_lossy(input.rest()).into_owned();
    files.push(("z.cedar".to_owned(), rest));
    taken_or_not(&files);
}

fn taken_or_not(files: &[(String, String)]) {
    let rules = match Rules::from_files(files) {
        Ok(rules) => rules,
        Err(PolicyError::NoPolicy | PolicyError::NoSchema) => return,
        Err(problem) => {
            assert!(!problem.to_string().trim().is_empty(), "a refusal says why");
            return;
        }
    };
    let ids: Vec<&str> = rules.ids().collect();
    assert!(!ids.is_empty() && ids.is_sorted_by(|a, b| a < b), "ids are sorted and once each: {ids:?}");
    for id in ids {
        let word = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(word && (1..=63).contains(&id.len()), "{id:?} is no id");
    }
    let again = Rules::from_files(files).expect("what was taken once is taken again");
    assert_eq!(rules.digest(), again.digest());
    for facts in [facts::permitting(), facts::unattended()] {
        held(&rules, &facts);
        let without = Facts { consent: Evidence::Absent, ..facts };
        held(&rules, &without);
        assert!(!rules.policies_alone(&without).permitted, "a set that permits without consent was taken");
    }
}

/// Shipped texts, and facts bent in one place each.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = vec![
        ("load-shipped".to_owned(), vec![0, 1, 0]),
        ("load-lax".to_owned(), vec![1, 1, 0]),
        ("decide-unattended".to_owned(), vec![3, 1]),
    ];
    let mut raw = vec![2, 1, 0, 1];
    raw.extend_from_slice(SHIPPED.1.as_bytes());
    seeds.push(("load-raw".to_owned(), raw));
    for which in 0..facts::BENDS {
        seeds.push((format!("decide-{which:02}"), vec![3, 0, 1, which, 3, 1, 4, 1, 5]));
    }
    seeds
}
