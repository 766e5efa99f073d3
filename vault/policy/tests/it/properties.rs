//! Properties over random facts. They start from a release in which everything is right and disturb a few things, so
//! that permits and refusals by every step both occur; both are counted and asserted.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofre_model::consent::ConsentState;
use cofre_model::credential::{CredentialState, FieldRequest};
use cofre_model::registry::{InstitutionState, LockdownScope, TenantState, WorkerState};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Class, Form, Purpose, Scope, ScopeSet};
use cofre_policy::checks::ORDER;
use cofre_policy::decision::Decision;
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, JobFault, LeaseFacts, Repeat};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::change::{consent_of, credential_of};
use crate::facts::{
    OTHER, OWN, asked, at, credential, institution, job, permitting, recipient, request, shipped, slug, subject,
    tenant, worker,
};
use crate::oracle::{broken_promise, is_welcome};

/// One disturbance: which, and how strong.
type Disturbance = (u8, u32);
const DISTURBANCES: u8 = 34;

fn near(now: Timestamp, strength: u32) -> Timestamp {
    // Up to twelve minutes either way, often exactly on a boundary.
    let seconds = u64::from(strength % 1441) / 30 * 30;
    now.plus(Span::secs(seconds)).minus(Span::secs(720))
}

fn some_scopes(strength: u32) -> ScopeSet {
    Scope::ALL.iter().enumerate().filter(|(place, _)| strength >> place & 1 == 1).map(|(_, scope)| *scope).collect()
}

fn whose(strength: u32) -> u8 {
    if strength.is_multiple_of(3) { OTHER } else { OWN }
}

fn pick<T: Copy>(all: &[T], strength: u32) -> T {
    all[strength as usize % all.len()]
}

/// Disturbs what stands on record.
fn disturb_rows(facts: &mut Facts, which: u8, strength: u32) {
    let when = near(facts.now, strength);
    let consent = matches!(facts.consent, Evidence::Genuine(_));
    let login = matches!(facts.credential, Evidence::Genuine(_));
    match which {
        0 if consent => consent_of(facts).state = pick(ConsentState::ALL, strength),
        1 if consent => consent_of(facts).valid_until = when,
        2 if consent => consent_of(facts).valid_from = when,
        3 if consent => consent_of(facts).scopes = some_scopes(strength),
        4 if consent => consent_of(facts).purpose = pick(Purpose::ALL, strength),
        5 if consent => consent_of(facts).credential = credential(whose(strength)),
        6 if consent => consent_of(facts).subject = subject(whose(strength)),
        7 if consent => consent_of(facts).tenant = tenant(whose(strength)),
        8 if consent => consent_of(facts).unattended_per_day = (strength % 5) as u8,
        9 => facts.consent = if strength.is_multiple_of(2) { Evidence::Absent } else { Evidence::Forged },
        10 if login => credential_of(facts).state = pick(CredentialState::ALL, strength),
        11 if login => credential_of(facts).secret_version = strength % 3,
        12 if login => credential_of(facts).not_before = when,
        13 if login => credential_of(facts).tenant = tenant(whose(strength)),
        14 if login => {
            credential_of(facts).institution = institution(pick(&["ins_banco-abierto", "ins_otro"], strength))
        }
        15 => facts.credential = if strength.is_multiple_of(2) { Evidence::Absent } else { Evidence::Forged },
        16 => facts.lockdown = Some(pick(LockdownScope::ALL, strength)),
        17 => facts.region = slug(pick(&["eu-nl", "eu-es"], strength)),
        18 => {
            if let Some(row) = &mut facts.worker {
                row.state = pick(WorkerState::ALL, strength);
                row.scopes.push((tenant(whose(strength)), institution("ins_otro")));
            }
        }
        19 => {
            if let Some(row) = &mut facts.worker {
                row.scopes = vec![(tenant(whose(strength)), institution("ins_banco-abierto"))];
            }
        }
        20 => {
            if let Some(row) = &mut facts.tenant {
                row.state = pick(TenantState::ALL, strength);
            }
        }
        21 => {
            if let Some(row) = &mut facts.institution {
                row.state = pick(InstitutionState::ALL, strength);
                row.unattended_from = (strength % 700) as u16;
            }
        }
        _ => disturb_call(facts, which, strength),
    }
}

/// Disturbs what is asked, and by whom.
fn disturb_call(facts: &mut Facts, which: u8, strength: u32) {
    let when = near(facts.now, strength);
    match which {
        22 => facts.clock_trusted = !strength.is_multiple_of(4),
        23 => facts.request.id = request(when),
        24 => facts.request.repeat = pick(&[Repeat::New, Repeat::Same { first: 1 }, Repeat::Other], strength),
        25 => facts.request.class = pick(Class::ALL, strength),
        26 => facts.request.fields = some_fields(strength),
        27 => match &mut facts.job {
            Ok(job) => job.deadline = when,
            Err(_) => facts.job = Err(JobFault::Key),
        },
        28 => {
            if let Ok(job) = &mut facts.job {
                job.scopes = some_scopes(strength);
            }
        }
        29 => {
            if let Ok(job) = &mut facts.job {
                job.worker = worker(pick(&["w1", "w1", "w2"], strength)).to_string();
                job.recipient = recipient(whose(strength / 3));
                job.history_from = at(pick(&["2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z"], strength));
            }
        }
        30 => {
            facts.attendance = AttendanceFacts::Unattended {
                granted_last_day: strength % 4,
                last_at: (!strength.is_multiple_of(5))
                    .then(|| facts.now.minus(Span::minutes(u64::from(strength % 61)))),
            };
        }
        31 => match &mut facts.attendance {
            AttendanceFacts::Attended { statement, used } => {
                statement.issued_at = when;
                statement.owner = subject(whose(strength / 5));
                *used = strength.is_multiple_of(7);
            }
            AttendanceFacts::Unattended { .. } | AttendanceFacts::Invalid => {
                facts.attendance = AttendanceFacts::Invalid
            }
        },
        32 => {
            facts.lease = Some(LeaseFacts {
                job: job(whose(strength)),
                worker: worker(pick(&["w1", "w1", "w1", "w2"], strength)).to_string(),
                seal_key_digest: if strength.is_multiple_of(5) { [0; 32] } else { facts.request.seal_key_digest },
                since: facts.now.minus(Span::secs(u64::from(strength % 400))),
                attendance: pick(&[Attendance::Attended, Attendance::Unattended], strength / 3),
                until: near(facts.now, strength / 7),
            });
        }
        _ => facts.template = facts.template.take().filter(|_| strength.is_multiple_of(2)),
    }
}

fn some_fields(strength: u32) -> Vec<FieldRequest> {
    let key = |at: u32| pick(&["user", "password", "card", "signature", "pin"], at);
    let positions = pick::<&[u16]>(&[&[], &[], &[1, 2], &[2, 1], &[0], &[3]], strength / 11);
    (0..strength % 3).map(|at| asked(key(strength / 3 + at), pick(Form::ALL, strength / 5), positions)).collect()
}

fn random_facts() -> impl Strategy<Value = (Facts, Vec<Disturbance>)> {
    let disturbances = prop::collection::vec((0..DISTURBANCES, any::<u32>()), 0..4);
    (any::<bool>(), disturbances).prop_map(|(attended, disturbances)| {
        let mut facts = if attended { permitting() } else { crate::facts::unattended() };
        for (which, strength) in &disturbances {
            disturb_rows(&mut facts, *which, *strength);
        }
        (facts, disturbances)
    })
}

/// Fifty times as many cases at night.
fn runner(cases: u32) -> TestRunner {
    let cases = if std::env::var_os("COFRE_NIGHT").is_some() { cases * 50 } else { cases };
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn a_permit_means_that_every_promise_holds_and_a_refusal_that_one_does_not() {
    let rules = shipped();
    let (permits, reasons) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let outcome = runner(6_000).run(&random_facts(), |(facts, _)| {
        let broken = broken_promise(&facts);
        match rules.decide(&facts) {
            Decision::Permit(grant) => {
                permits.fetch_add(1, Ordering::Relaxed);
                prop_assert_eq!(broken, None);
                prop_assert!(is_welcome(&facts));
                prop_assert!(facts.now < grant.terms().not_after && facts.now < grant.terms().lease_until);
                prop_assert!(rules.policies_alone(&facts).permitted);
            }
            Decision::Deny(denial) => {
                reasons.lock().expect("unpoisoned").insert(denial.reason);
                let text = |number: u8| format!("invariant:{number}");
                let step = ORDER.iter().find(|step| denial.entry.rules == [text(step.number)]);
                let step = step.or_else(|| ORDER.iter().find(|step| step.number == 16)).expect("a step");
                prop_assert!(step.reasons.contains(&denial.reason), "{} by step {}", denial.reason, step.number);
                prop_assert!(broken.is_some() || !is_welcome(&facts), "{} without cause", denial.reason);
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (permits, reasons) = (permits.into_inner(), reasons.into_inner().expect("unpoisoned"));
    assert!(permits > 600, "only {permits} permits: the disturbances are too strong to say much");
    assert!(reasons.len() >= 20, "only {reasons:?}");
}

#[test]
fn withdrawing_expiring_or_locking_down_never_turns_a_refusal_into_a_permit() {
    let rules = shipped();
    let denies = AtomicUsize::new(0);
    let outcome = runner(1_500).run(&(random_facts(), any::<u32>()), |((facts, _), strength)| {
        if matches!(rules.decide(&facts), Decision::Deny(_)) {
            denies.fetch_add(1, Ordering::Relaxed);
        }
        let mut withdrawn = facts.clone();
        let mut expired = facts.clone();
        let mut locked = facts.clone();
        if let Evidence::Genuine(consent) = &mut withdrawn.consent {
            consent.state = ConsentState::Revoked;
        }
        if let Evidence::Genuine(consent) = &expired.consent {
            expired.now = consent.valid_until.max(facts.now).plus(Span::micros(u64::from(strength % 3)));
        }
        locked.lockdown = Some(pick(LockdownScope::ALL, strength));
        // Stronger than asked: after any of the three nothing is permitted, whatever was decided before.
        for narrowed in [withdrawn, expired, locked] {
            let refused = matches!(rules.decide(&narrowed), Decision::Deny(_));
            prop_assert!(refused, "permitted after narrowing");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(denies.into_inner() > 300);
}

#[test]
fn the_same_facts_give_the_same_decision() {
    let (one, other) = (shipped(), shipped());
    let outcome = runner(500).run(&random_facts(), |(facts, _)| {
        let entry = |decision| match decision {
            Decision::Permit(grant) => grant.into_terms().entry,
            Decision::Deny(denial) => denial.entry,
        };
        prop_assert_eq!(entry(one.decide(&facts)), entry(other.decide(&facts)));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
